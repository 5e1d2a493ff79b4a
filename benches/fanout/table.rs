//! Rounds in turn, and the table of their results.

use crate::load::Report;
use crate::media;
use crate::options::Options;
use crate::servers::{Contestant, Papers};
use crate::shape::{Row, Shape};
use crate::system;
use crate::way::Way;

/// A server that delivers less than this part of the messages does not keep up: ages of missing messages are not known.
const KEEPS_UP_PCT: f64 = 99.0;

/// The results of all rounds of one contestant; a round that failed is `None`, so that rounds stay side by side.
struct Rounds(Vec<Option<Report>>);

/// Runs everything and prints a table, in Markdown, row by row.
pub(crate) fn run(options: &Options) {
    let papers = Papers::new();
    println!("{}\n", machine());
    println!(
        "CPU seconds of the server's process for each GB that its consumers received, x that of the minimal relay in the\n\
         same rounds, x that of whom it is beside (median latency, p99, in ms); medians of {} round(s) of {} s, interleaved. Streams of {:.0} messages a\n\
         second on loopback. \"late\": less than {KEEPS_UP_PCT} % arrived.\n",
        options.rounds,
        options.seconds,
        media::messages_per_second(),
    );
    let heads: Vec<&str> = options.ways.iter().map(Way::words).collect();
    println!("| load | server | {} |\n|---|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for row in &options.rows {
        print_row(options, row, &papers);
    }
}

/// One line of a row: a contestant, and its load.
struct Entry<'a> {
    contestant: &'a Contestant,
    shape: Shape,
    name: String,
}

/// The lines of a row. If players come over TLS or HTTP, or streams run in processes or have several relay threads, every
/// contestant has a second line without that.
fn entries<'a>(options: &'a Options, row: &Row) -> Vec<Entry<'a>> {
    let relay_threads = row.shape.relay_threads.min(1);
    let plain = Shape { tls: false, http: false, isolated: false, relay_threads, ..row.shape };
    let kinds = match row.shape {
        Shape { isolated: true, .. } => vec![(plain, ", threads"), (row.shape, ", processes")],
        Shape { relay_threads: 2.., .. } => vec![(plain, ", 1 relay thread"), (row.shape, ", 2 relay threads")],
        Shape { tls: true, .. } | Shape { http: true, .. } => vec![(plain, ", plain"), (row.shape, "")],
        shape => vec![(shape, "")],
    };
    let mut entries = Vec::new();
    for contestant in &options.contestants {
        for &(shape, suffix) in &kinds {
            match contestant.can(&shape) {
                Ok(()) => entries.push(Entry { contestant, shape, name: format!("{}{suffix}", contestant.name()) }),
                Err(why) => eprintln!("  {} without {}: {why}", row.name, contestant.name()),
            }
        }
    }
    entries
}

fn print_row(options: &Options, row: &Row, papers: &Papers) {
    let entries = entries(options, row);
    let mut cells: Vec<Vec<String>> = entries.iter().map(|_| Vec::new()).collect();
    for way in &options.ways {
        // The memory of idle players does not depend on processors.
        if row.shape.idle && !cells.iter().all(Vec::is_empty) {
            cells.iter_mut().for_each(|cells| cells.push(String::new()));
            continue;
        }
        let mut all: Vec<Rounds> = entries.iter().map(|_| Rounds(Vec::new())).collect();
        for round in 0..options.rounds {
            for (entry, rounds) in entries.iter().zip(&mut all) {
                let report = entry.contestant.run(&entry.shape, way, options.seconds, papers);
                if let Err(why) = &report {
                    eprintln!("  {}, {}, {}, round {round}: {why}", row.name, entry.name, way.words());
                }
                rounds.0.push(report.ok());
            }
        }
        for (at, cells) in cells.iter_mut().enumerate() {
            let beside = |(other, rounds)| Some((compared(&entries, at, other)?, rounds));
            cells.push(cell(&all[at], all.iter().enumerate().filter_map(beside), row));
        }
    }
    for (number, (entry, cells)) in entries.iter().zip(cells).enumerate() {
        let load = if number == 0 { row.shape.words() } else { String::new() };
        println!("| {load} | {} | {} |", entry.name, cells.join(" | "));
    }
}

/// The name of the ratio of one line's cost to another's; `None` where the table does not show it. The table compares
/// every contestant with the minimal relay and with itself without TLS, and this tree's server with all others.
fn compared(entries: &[Entry<'_>], one: usize, other: usize) -> Option<String> {
    let is_rrelay = |entry: &Entry<'_>| matches!(entry.contestant, Contestant::Rrelay { .. });
    let first = entries.iter().find(|entry| is_rrelay(entry)).map(|entry| entry.contestant);
    let (one, other) = (&entries[one], &entries[other]);
    if one.contestant == other.contestant {
        let is_plain = |entry: &Entry<'_>| special(&entry.shape) == (false, false, false, false);
        let name = match one.shape {
            Shape { isolated: true, .. } => " of threads",
            Shape { relay_threads: 2.., .. } => " of 1",
            _ => " of plain",
        };
        return (!is_plain(one) && is_plain(other)).then(|| name.to_owned());
    }
    match other.contestant {
        // The others run no streams in processes.
        Contestant::Minimal if one.shape.isolated => Some(String::new()),
        // Nor do they have several threads for a stream.
        Contestant::Minimal if one.shape.relay_threads > 1 => Some(String::new()),
        _ if special(&one.shape) != special(&other.shape) => None,
        Contestant::Minimal => Some(String::new()),
        Contestant::Rrelay { name, .. } if first == Some(one.contestant) => Some(format!(" of {name}")),
        _ => None,
    }
}

/// What a line without that is also measured for.
fn special(shape: &Shape) -> (bool, bool, bool, bool) {
    (shape.tls, shape.http, shape.isolated, shape.relay_threads > 1)
}

fn cell<'a>(rounds: &Rounds, beside: impl Iterator<Item = (String, &'a Rounds)>, row: &Row) -> String {
    let value = |pick: fn(&Report) -> f64| median(rounds.0.iter().flatten().map(pick));
    let Some(cost) = value(|report| report.cost) else { return "-".to_owned() };
    let figure = if cost < 10.0 { format!("{cost:.2}") } else { format!("{cost:.1}") };
    // The ratio of neighbouring rounds: other work on the machine changes less between these than over all rounds.
    let ratio = |(name, other): (String, &Rounds)| {
        let pairs = rounds.0.iter().zip(&other.0);
        let ratio = median(pairs.filter_map(|(one, other)| Some((*one)?.cost / (*other)?.cost)));
        ratio.map(|ratio| format!(" x{ratio:.2}{name}"))
    };
    let ratio: String = beside.filter_map(ratio).collect();
    if row.shape.idle {
        return format!("{figure}{ratio}");
    }
    let ages =
        match (value(|report| report.delivered_pct), value(|report| report.p50_ms), value(|report| report.p99_ms)) {
            (Some(delivered), ..) if delivered < KEEPS_UP_PCT => format!("late: {delivered:.0} %"),
            (_, Some(p50), Some(p99)) => format!("{p50:.1}, {p99:.1}"),
            _ => String::new(),
        };
    // A busy load tool with a processor of its own would be the bottleneck itself.
    let busy = value(|report| report.load_busy_pct).filter(|&busy| busy > 90.0);
    let busy = busy.map_or_else(String::new, |busy| format!(", load tool {busy:.0} %"));
    let starts =
        match (value(|report| report.stream_kib), value(|report| report.join_ms), value(|report| report.begin_ms)) {
            (Some(kib), Some(join), Some(begin)) if row.shape.starts => {
                format!("; {kib:.0} KiB a stream, first picture {join:.1} ms, of a new stream {begin:.1} ms")
            }
            _ => String::new(),
        };
    let rate = value(|report| report.delivered_pct).filter(|_| row.shape.relay_threads > 0);
    let sent = f64::from(row.shape.kbps) / 8e3 * (row.shape.streams * row.shape.players) as f64;
    let rate = rate.map_or_else(String::new, |pct| format!(", {:.0} MB/s", sent * pct / 100.0));
    format!("{figure}{ratio} ({ages}{rate}{busy}{starts})")
}

/// The median of a figure over all rounds.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The machine and the date of the measurement.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("processor unknown", |(_, model)| model);
    let date = std::process::Command::new("date").arg("+%F %H:%M").output().map(|output| output.stdout);
    format!(
        "{}: {model}, {} of them, Linux {}, load {}",
        String::from_utf8_lossy(&date.unwrap_or_default()).trim(),
        system::processors().len(),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    )
}
