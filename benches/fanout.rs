//! Cost and latency of relaying, for loads of different shapes: the bundled server compared with nginx-rtmp, a minimal
//! relay and older builds of itself, in turn in the same run.
//!
//! `cargo bench --bench fanout -- --help` lists the options. Each server is a process of its own, and so is the load
//! tool: this program starts itself again with a role. Cost is the CPU time of the server's process, user and system,
//! over the bytes that its consumers received. Latency is from the publisher's `send` to the player's `recv`, in one
//! process.
// Clocks of other processes, affinities and epoll have no safe form in std.
#![allow(unsafe_code)]

#[path = "fanout/flv.rs"]
mod flv;
#[path = "fanout/load.rs"]
mod load;
#[path = "fanout/media.rs"]
mod media;
#[path = "fanout/minimal.rs"]
mod minimal;
#[path = "fanout/options.rs"]
mod options;
#[path = "fanout/rtmp.rs"]
mod rtmp;
#[path = "fanout/servers.rs"]
mod servers;
#[path = "fanout/shape.rs"]
mod shape;
#[path = "fanout/system.rs"]
mod system;
#[path = "fanout/table.rs"]
mod table;
#[path = "fanout/way.rs"]
mod way;

use options::Asked;

fn main() {
    let files = system::raise_file_limit();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["as", "minimal", port, merge_ms, sink_port, targets] => {
            let number = |word: &str| word.parse::<u32>().expect("a number");
            minimal::main(number(port) as u16, number(merge_ms), number(sink_port) as u16, number(targets) as usize);
        }
        ["as", "load", rest @ ..] => load::main(rest),
        words => match options::parse(words, files) {
            Ok(Asked::Measure(options)) => table::run(&options),
            Ok(Asked::Print(text)) => println!("{text}"),
            Err(text) => {
                eprintln!("{text}");
                std::process::exit(2);
            }
        },
    }
}
