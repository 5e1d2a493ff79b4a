//! Players that stall: 180 that read, with and without 20 beside them that never do. The healthy ones are to notice
//! nothing, and the server's memory is to stay within its bound.

use crate::load::{self, Report};
use crate::median;
use crate::servers::Running;
use crate::system::resident_bytes;

const HEALTHY: u32 = 180;
const STALLED: u32 = 20;

/// Long enough that those who stall are full, pass their bound of lag (5 s) and jump, and not closed yet (20 s).
const SECONDS: u32 = 8;

/// Rounds of each, one with and one without in turn.
pub(crate) const ROUNDS: u32 = 5;

/// What media may use. 20 players that hold all they may behind the newest key frame need a third of it.
const LIMIT_BYTES: u64 = 4 << 20;

/// What the healthy ones' p99 may be with the others there, beside without.
const MOST: f64 = 1.2;

/// One round: its figures, what the server used at most, and the messages that those who stall did not get.
struct Round {
    report: Report,
    accounted: u64,
    dropped: u64,
    grown: u64,
}

/// Runs both in turn and prints the medians, the ratios and the memory. A ratio is the median of those of neighbouring
/// rounds: what else the machine does changes less between these than over all.
pub(crate) fn table(rounds: u32) {
    println!(
        "\n{HEALTHY} players that read, without and with {STALLED} that never do; {rounds} round(s) of {SECONDS} s each, in turn"
    );
    let mut sides: [Vec<Round>; 2] = Default::default();
    for _ in 0..rounds {
        match (round(0), round(STALLED)) {
            (Ok(without), Ok(with)) => {
                sides[0].push(without);
                sides[1].push(with);
            }
            (Err(why), _) | (_, Err(why)) => println!("  a round without a result: {why}"),
        }
    }
    println!(
        "                        p50      p99   max ms   delivered   dropped   memory: accounted, limit, growth of RSS"
    );
    for (side, name) in sides.iter().zip(["without", "with"]) {
        let value = |pick: fn(&Report) -> f64| median(side.iter().map(|round| pick(&round.report))).unwrap_or(0.0);
        let most = |pick: fn(&Round) -> u64| side.iter().map(pick).max().unwrap_or(0);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "  {name:18} {:8.2} {:8.2} {:8.2}    {:6.1} %  {:8}   {:.2} MiB, {:.2} MiB, {:.2} MiB",
            value(|report| report.p50_ms),
            value(|report| report.p99_ms),
            side.iter().map(|round| round.report.max_ms).fold(0.0, f64::max),
            value(|report| report.delivered_pct),
            most(|round| round.dropped),
            mib(most(|round| round.accounted)),
            mib(LIMIT_BYTES),
            mib(most(|round| round.grown)),
        );
    }
    let ratio = |pick: fn(&Report) -> f64| {
        let pairs = sides[0].iter().zip(&sides[1]);
        median(pairs.map(|(without, with)| pick(&with.report) / pick(&without.report))).unwrap_or(f64::NAN)
    };
    let (p50, p99) = (ratio(|report| report.p50_ms), ratio(|report| report.p99_ms));
    let bounded = sides.iter().flatten().all(|round| round.accounted <= LIMIT_BYTES);
    let word = |holds: bool| if holds { "holds" } else { "DOES NOT HOLD" };
    println!("  with / without     {p50:8.2} {p99:8.2}");
    println!("  p99 at most {MOST} times: {}; memory within the limit: {}", word(p99 <= MOST), word(bounded));
}

fn round(stalled: u32) -> Result<Round, String> {
    let mut server = Running::itself(&["as", "bounded", &LIMIT_BYTES.to_string()])?;
    let before = resident_bytes(server.pid(), "VmRSS");
    let report = load::start(false, server.port, server.pid(), HEALTHY, stalled, SECONDS)?;
    let (accounted, dropped) = server.ask()?;
    let grown = resident_bytes(server.pid(), "VmHWM").saturating_sub(before);
    Ok(Round { report, accounted, dropped, grown })
}
