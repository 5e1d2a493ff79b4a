//! Rounds in turn, and the table of their results.

use std::time::Instant;

use crate::load::Report;
use crate::media;
use crate::options::Options;
use crate::servers::{Contestant, Papers, Role};
use crate::shape::{Row, Shape};
use crate::system;
use crate::way::Way;

/// A server that delivers less than this part of the messages does not keep up: ages of missing messages are not known.
const KEEPS_UP_PCT: f64 = 99.0;

/// Shares of processors above which these set the figures: of one by the load tool, of all that both may use together.
const LOAD_BUSY_PCT: f64 = 90.0;
const ALL_BUSY_PCT: f64 = 95.0;

/// The results of all rounds of one line in one way; a round that failed is `None`, so that rounds stay side by side.
struct Rounds(Vec<Option<Report>>);

/// Runs everything and prints a table, in Markdown, row by row.
pub(crate) fn run(options: &Options) {
    let (papers, begun) = (Papers::new(), Instant::now());
    println!("{}\n", machine());
    println!(
        "CPU seconds of the server's process for each GB that its consumers received, x that of the minimal relay in the\n\
         same rounds, x those of others (median latency, p99, in ms); medians of {} round(s) of {} s, interleaved. Streams of\n\
         {:.0} messages a second on loopback. KiB: the server's memory for each stream with its players, before its media and\n\
         with it, or for each idle player. *late*: less than {KEEPS_UP_PCT} % arrived; *load tool*: it took more than\n\
         {LOAD_BUSY_PCT} % of a processor; *full*: both took more than {ALL_BUSY_PCT} % of theirs. Such figures cannot be compared.\n",
        options.rounds,
        options.seconds,
        media::messages_per_second(),
    );
    let heads: Vec<&str> = options.ways.iter().map(Way::words).collect();
    println!("| load | server | {} | KiB |\n|---|---|{}---|", heads.join(" | "), "---|".repeat(heads.len()));
    for row in &options.rows {
        print_row(options, row, &papers);
        eprintln!("  {}: {:.0} minutes so far", row.name, begun.elapsed().as_secs_f64() / 60.0);
    }
}

/// One line of a row: a contestant, and its load.
struct Line<'a> {
    contestant: &'a Contestant,
    shape: Shape,
    name: String,
}

/// The lines of a row. If players come over TLS or HTTP, or streams run in processes or have several relay threads,
/// rrelay has another line without that.
fn lines<'a>(options: &'a Options, row: &Row) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for contestant in options.contestants.iter().filter(|contestant| contestant.is_wanted(&row.shape)) {
        let (plain, without, with) = row.shape.kinds();
        if let Some(without) = without.filter(|_| contestant.is_rrelay()) {
            lines.push(Line { contestant, shape: plain, name: format!("{}, {without}", contestant.name()) });
        }
        let name = with.filter(|_| contestant.is_rrelay()).map_or_else(String::new, |with| format!(", {with}"));
        match contestant.can(&row.shape) {
            Ok(()) => lines.push(Line { contestant, shape: row.shape, name: format!("{}{name}", contestant.name()) }),
            Err(why) => eprintln!("  {} without {}: {why}", row.name, contestant.name()),
        }
    }
    lines
}

fn print_row(options: &Options, row: &Row, papers: &Papers) {
    let lines = lines(options, row);
    let mut cells: Vec<Vec<String>> = lines.iter().map(|_| Vec::new()).collect();
    let mut sizes: Vec<Vec<Report>> = lines.iter().map(|_| Vec::new()).collect();
    for (at, way) in options.ways.iter().enumerate() {
        // The memory of idle players does not depend on processors, and several relay threads are for several of them.
        if (row.shape.idle || row.shape.relay_threads > 0) && at > 0 {
            cells.iter_mut().for_each(|cells| cells.push(String::new()));
            continue;
        }
        let mut all: Vec<Rounds> = lines.iter().map(|_| Rounds(Vec::new())).collect();
        for round in 0..options.rounds {
            for (line, rounds) in lines.iter().zip(&mut all) {
                let report = line.contestant.run(&line.shape, way, options.seconds, papers);
                if let Err(why) = &report {
                    eprintln!("  {}, {}, {}, round {round}: {why}", row.name, line.name, way.words());
                }
                rounds.0.push(report.ok());
            }
        }
        for (at, cells) in cells.iter_mut().enumerate() {
            let beside = |(other, rounds)| Some((compared(&lines, at, other)?, rounds));
            cells.push(cell(&all[at], all.iter().enumerate().filter_map(beside), &lines[at].shape, way));
            sizes[at].extend(all[at].0.iter().flatten());
        }
    }
    for (number, ((line, cells), sizes)) in lines.iter().zip(cells).zip(sizes).enumerate() {
        let load = if number == 0 { row.shape.words() } else { String::new() };
        println!("| {load} | {} | {} | {} |", line.name, cells.join(" | "), memory(&sizes, &row.shape));
    }
}

/// The name of the ratio of one line's cost to another's, empty for the minimal relay's; `None` where the table does not
/// show it. The table compares every server with the minimal relay, this tree's with nginx-rtmp and other builds, and
/// rrelay with itself without TLS and the like.
fn compared(lines: &[Line<'_>], one: usize, other: usize) -> Option<String> {
    let (one, other) = (&lines[one], &lines[other]);
    let (_, one_without, _) = one.shape.kinds();
    let (_, other_without, _) = other.shape.kinds();
    if one.contestant == other.contestant {
        return one_without.filter(|_| other_without.is_none()).map(|without| format!(" of {without}"));
    }
    if one_without.is_some() != other_without.is_some() {
        return None;
    }
    match other.contestant {
        Contestant::Minimal => Some(String::new()),
        Contestant::Nginx if one.contestant.is_rrelay() => Some(" of nginx".to_owned()),
        Contestant::Rrelay { name, role: Role::Beside, .. } if one.contestant.has_role(Role::Own) => {
            Some(format!(" of {name}"))
        }
        _ => None,
    }
}

fn cell<'a>(rounds: &Rounds, beside: impl Iterator<Item = (String, &'a Rounds)>, shape: &Shape, way: &Way) -> String {
    let value = |pick: fn(&Report) -> f64| median(rounds.0.iter().flatten().map(pick));
    let Some(cost) = value(|report| report.cost).filter(|_| !shape.idle) else { return "-".to_owned() };
    let figure = if cost < 10.0 { format!("{cost:.2}") } else { format!("{cost:.1}") };
    // The ratio of neighbouring rounds: other work on the machine changes less between these than over all rounds.
    let ratio = |(name, other): (String, &Rounds)| {
        let pairs = rounds.0.iter().zip(&other.0);
        let ratio = median(pairs.filter_map(|(one, other)| Some((*one)?.cost / (*other)?.cost)));
        ratio.map(|ratio| format!(" x{ratio:.2}{name}"))
    };
    let ratio: String = beside.filter_map(ratio).collect();
    let mut notes = Vec::new();
    let delivered = value(|report| report.delivered_pct).unwrap_or_default();
    if delivered < KEEPS_UP_PCT {
        notes.push(format!("late: {delivered:.0} %"));
    } else if let (Some(p50), Some(p99)) = (value(|report| report.p50_ms), value(|report| report.p99_ms)) {
        notes.push(format!("{p50:.1}, {p99:.1}"));
    }
    if shape.relay_threads > 0 {
        let sent = f64::from(shape.kbps) / 8e3 * (shape.streams * shape.players) as f64;
        notes.push(format!("{:.0} MB/s", sent * delivered / 100.0));
        notes.extend(value(|report| report.pass_ms).map(|ms| format!("one message to all in {ms:.1}")));
    }
    // A busy load tool with a processor of its own would be the bottleneck itself.
    if let Some(busy) = value(|report| report.load_busy_pct).filter(|&busy| busy > LOAD_BUSY_PCT) {
        notes.push(format!("load tool {busy:.0} %"));
    }
    let both = value(|report| report.server_busy_pct + report.load_busy_pct);
    if both.is_some_and(|both| both > ALL_BUSY_PCT * processors(way) as f64) {
        notes.push("full".to_owned());
    }
    if let (true, Some(join), Some(begin)) =
        (shape.starts, value(|report| report.join_ms), value(|report| report.begin_ms))
    {
        notes.push(format!("first picture {join:.1}, of a new stream {begin:.1}"));
    }
    format!("{figure}{ratio} ({})", notes.join(", "))
}

/// How many processors the server and the load tool have together.
fn processors(way: &Way) -> usize {
    way.other.iter().filter(|cpu| !way.measured.contains(cpu)).count() + way.measured.len()
}

/// The memory of the rounds of all ways.
fn memory(reports: &[Report], shape: &Shape) -> String {
    let value = |pick: fn(&Report) -> f64| median(reports.iter().map(pick));
    match (value(|report| report.bare_kib), value(|report| report.kib)) {
        (_, Some(kib)) if shape.idle => format!("{kib:.2}"),
        (Some(bare), Some(kib)) if shape.streams > 1 => format!("{bare:.0}, {kib:.0}"),
        _ => String::new(),
    }
}

/// The median of a figure over all rounds.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The date of the measurement, the machine, and what was measured.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let said = |program: &str, args: &[&str]| {
        let output = std::process::Command::new(program).args(args).output().map(|output| output.stdout);
        String::from_utf8_lossy(&output.unwrap_or_default()).trim().to_owned()
    };
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("processor unknown", |(_, model)| model);
    let commit = said("git", &["describe", "--always", "--dirty"]);
    format!(
        "{}, commit {}: {model}, {} of them, Linux {}, load {}, {} priority",
        said("date", &["+%F %H:%M"]),
        if commit.is_empty() { "unknown" } else { &commit },
        system::processors().len(),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        if system::is_real_time() { "real-time" } else { "usual" },
    )
}
