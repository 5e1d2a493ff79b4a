//! The command line.

use std::path::PathBuf;

use crate::servers::{Contestant, Role};
use crate::shape::{Row, rows};
use crate::way::Way;

const HELP: &str = "\
The fan-out bench: rows of load, each with every contestant, in interleaved rounds.

  --quick               two minutes: fewer rows, unpinned, three short rounds
  --rows NAME,...       these rows alone; STREAMSxPLAYERS@KBPS[+MERGE_MS][/rtmps] is one of your own
  --ways NAME,...       of unpinned, split (server and load on a processor each), one (both on one)
  --rounds N            (5)
  --seconds S           measured in each round (1.2)
  --server PROGRAM      the rr_server to measure (target/rr_server, which make build makes)
  --beside NAME=PROGRAM another rr_server, or librrelay.so, with options of its own behind it; several times
  --without NAME,...    contestants that are left out: minimal, nginx-rtmp, rrelay, rrelay --threads 1
  --list                the rows by their names";

/// The result of reading the command line.
pub(crate) enum Asked {
    Measure(Options),
    /// Print this text and exit.
    Print(String),
}

/// The run that the command line asks for.
pub(crate) struct Options {
    pub(crate) rows: Vec<Row>,
    pub(crate) ways: Vec<Way>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) contestants: Vec<Contestant>,
}

/// Idle players, where the limit of open files allows.
const IDLE: usize = 10_000;

/// Open files that are not players.
const OTHERS: usize = 200;

/// Reads the command line; `Err` has the reason why it is wrong. `files` is the limit of open files.
pub(crate) fn parse(words: &[&str], files: u64) -> Result<Asked, String> {
    let idle = IDLE.min((files as usize).saturating_sub(OTHERS));
    let (mut all, mut ways) = (rows(idle), Way::all());
    let (mut rounds, mut seconds) = (5, 1.2);
    let mut server = built();
    let (mut beside, mut without) = (Vec::new(), Vec::new());
    if words.contains(&"--quick") {
        all.retain(|row| row.is_quick);
        ways.truncate(1);
        (rounds, seconds) = (3, 0.6);
    }
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("{word} wants a value\n\n{HELP}"));
        match word {
            "--quick" => {}
            "--rows" => {
                let named = |name: &str| {
                    let known = rows(idle).into_iter().find(|row| row.name == name);
                    known
                        .or_else(|| Row::custom(name))
                        .ok_or_else(|| format!("there is no row {name}; --list lists them"))
                };
                all = value()?.split(',').map(named).collect::<Result<_, _>>()?;
            }
            "--ways" => {
                let named = |name: &str| {
                    let known = Way::all().into_iter().find(|way| way.name == name);
                    known.ok_or_else(|| format!("{name} is no way, or not one on this machine"))
                };
                ways = value()?.split(',').map(named).collect::<Result<_, _>>()?;
            }
            "--rounds" => rounds = value()?.parse().ok().filter(|&rounds| rounds > 0).ok_or("--rounds: a number")?,
            "--seconds" => seconds = value()?.parse().ok().filter(|&s| s > 0.0).ok_or("--seconds: a number")?,
            "--server" => server = PathBuf::from(value()?),
            "--beside" => beside.push(value()?),
            "--without" => without.extend(value()?.split(',')),
            "--list" => {
                let lines: Vec<String> =
                    rows(idle).iter().map(|row| format!("{:12} {}", row.name, row.shape.words())).collect();
                return Ok(Asked::Print(lines.join("\n")));
            }
            "--help" => return Ok(Asked::Print(HELP.to_owned())),
            _ => return Err(format!("there is no option {word}\n\n{HELP}")),
        }
    }
    if idle < IDLE && all.iter().any(|row| row.shape.idle) {
        println!("{files} open files are allowed: the row of idle players has {idle} instead of {IDLE}");
    }
    let mut contestants = vec![Contestant::Minimal, Contestant::own(server.clone())];
    for text in beside {
        contestants
            .push(Contestant::beside(text, &server).ok_or_else(|| format!("--beside {text}: NAME=PROGRAM is wanted"))?);
    }
    // Who compares two builds has a line for a shared loop by --beside.
    if contestants.iter().all(|contestant| !contestant.has_role(Role::Beside)) {
        contestants.push(Contestant::shared_loop(server));
    }
    contestants.push(Contestant::Nginx);
    contestants.retain(|contestant| !without.contains(&contestant.name()));
    Ok(Asked::Measure(Options { rows: all, ways, rounds, seconds, contestants }))
}

/// The place where `make build` puts the server; cargo puts this program into `release/deps` beside it.
fn built() -> PathBuf {
    let me = std::env::current_exe().expect("a running program has a file");
    me.ancestors().nth(3).expect("it is in a folder of cargo's").join("rr_server")
}
