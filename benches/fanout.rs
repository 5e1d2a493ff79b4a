//! One stream to many players: what it costs and how late it is, beside a program that only writes the same bytes, and
//! beside nginx-rtmp. And what players that stall cost the others.
//!
//! `cargo bench --bench fanout -- [players] [seconds] [rounds]`; without arguments 200 players in interleaved rounds, then
//! 2,000 in one short round, then those that stall, which `-- stalled [rounds]` gives alone. Each server is a process of its own, and so is the load tool: this program starts itself
//! again with a role. Cost is the CPU time of the server's process over the bytes its players received.
// Clocks of other processes and the limit of open files have no safe form in std.
#![allow(unsafe_code)]

#[path = "fanout/load.rs"]
mod load;
#[path = "fanout/media.rs"]
mod media;
#[path = "fanout/servers.rs"]
mod servers;
#[path = "fanout/stalled.rs"]
mod stalled;
#[path = "fanout/system.rs"]
mod system;

use load::Report;
use servers::Contestant;

fn main() {
    system::raise_file_limit();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["as", "floor"] => servers::floor(),
        ["as", "rrelay", merge_ms] => servers::rrelay(number(merge_ms)),
        ["as", "bounded", limit_bytes] => servers::bounded(number(limit_bytes).into()),
        ["as", "load", rest @ ..] => load::main(rest),
        [] => {
            table(200, 8, 3);
            table(2000, 4, 1);
            stalled::table(stalled::ROUNDS);
        }
        ["stalled"] => stalled::table(stalled::ROUNDS),
        ["stalled", rounds] => stalled::table(number(rounds)),
        [players] => table(number(players), 8, 3),
        [players, seconds] => table(number(players), number(seconds), 3),
        [players, seconds, rounds, ..] => table(number(players), number(seconds), number(rounds)),
    }
}

/// The number that an argument is.
fn number(arg: &str) -> u32 {
    arg.parse().unwrap_or_else(|_| panic!("\"{arg}\" is not a number"))
}

/// Runs every contestant `rounds` times, in turn, and prints the medians.
fn table(players: u32, seconds: u32, rounds: u32) {
    println!(
        "\n{players} players, one stream of {:.1} Mbit/s, {:.0} messages a second; {rounds} round(s) of {seconds} s, interleaved",
        media::bits_per_second() / 1e6,
        media::messages_per_second()
    );
    let contestants: Vec<Contestant> = servers::all();
    let mut reports: Vec<Vec<Report>> = contestants.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (contestant, reports) in contestants.iter().zip(&mut reports) {
            match contestant.run(players, seconds) {
                Ok(report) => reports.push(report),
                Err(why) => println!("  {}: {why}", contestant.name()),
            }
        }
    }
    let cost = |kind: Contestant| {
        let at = contestants.iter().position(|contestant| *contestant == kind)?;
        median(reports[at].iter().map(|report| report.cpu_s_per_gb))
    };
    let (floor, nginx) = (cost(Contestant::Floor), cost(Contestant::Nginx));
    println!(
        "                      CPU s/GB  /floor  /nginx     p50      p90      p99      max ms   delivered   load tool"
    );
    for (contestant, reports) in contestants.iter().zip(&reports) {
        let Some(cost) = median(reports.iter().map(|report| report.cpu_s_per_gb)) else { continue };
        let ratio = |base: Option<f64>| base.map_or_else(|| "-".to_owned(), |base| format!("{:.2}", cost / base));
        let value = |pick: fn(&Report) -> f64| median(reports.iter().map(pick)).unwrap_or(0.0);
        let delivered = value(|report| report.delivered_pct);
        // A server that cannot keep up delivers what was sent long before: no age of what it has not delivered is known.
        let age = |ms: f64| if delivered < 99.0 { "overload".to_owned() } else { format!("{ms:.2}") };
        println!(
            "  {:18} {cost:9.3}  {:>6}  {:>6} {:>8} {:>8} {:>8} {:>8}     {delivered:6.1} %    {:5.0} %",
            contestant.name(),
            ratio(floor),
            ratio(nginx),
            age(value(|report| report.p50_ms)),
            age(value(|report| report.p90_ms)),
            age(value(|report| report.p99_ms)),
            age(reports.iter().map(|report| report.max_ms).fold(0.0, f64::max)),
            value(|report| report.load_busy_pct),
        );
    }
}

/// The middle one of a figure over all rounds.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
