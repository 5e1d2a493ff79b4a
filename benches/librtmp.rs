//! The cost of `RTMP_ReadPacket` and `RTMP_SendPacket` in our `librtmp.so.1`, compared with the distribution's library
//! and with a bare `recv` into 16 KiB, or one bare `send` for each message.
//!
//! One C program (`librtmp/driver.c`) runs on either library, each run in a process of its own, in turn; this program
//! is the peer it talks to over loopback. Cost is the CPU time of the driver's one thread over the bytes of message
//! bodies. Where the two run decides how much a read returns, so there are three ways.
//! `cargo bench --bench librtmp -- [rounds] [megabytes] [names]`, names of modes, chunk sizes and ways (unpinned, split,
//! one), measures all of a kind of which no name is given; it fails where the distribution's library is missing.
// Affinities have no safe form in std.
#![allow(unsafe_code)]

#[allow(dead_code, reason = "the fan-out bench uses the rest")]
#[path = "fanout/system.rs"]
mod system;
#[path = "fanout/way.rs"]
mod way;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rrelay::proto::chunk_write;
use rrelay::proto::message::{MessageHead, kind};

use way::Way;

/// Sizes of pictures, in turn; a sound comes after each. The first mix gives the ratios. Its sends are small, so little
/// of their cost is librtmp's chunks; the second mix is a stream of 6 Mbit/s, 30 pictures a second.
const SMALL: &[u32] = &[4000, 6000, 9000, 12_000, 16_000];
const LARGE: &[u32] = &[120_000, 22_000, 21_000, 22_000, 21_000, 22_000, 21_000, 22_000, 21_000, 22_000];
const AUDIO_BYTES: u32 = 300;

/// Bytes that the peer writes at a time.
const WRITE_BYTES: usize = 256 * 1024;

/// One system call for each chunk is slow, so the sender's 128-byte case uses this part of the bytes.
const SLOW_PART: u64 = 16;

/// Bytes of a plain handshake after its first.
const HELLO_BYTES: usize = 1536;

/// The names that choose cases.
const MODES: &[&str] = &["client", "server", "polled", "send"];
const CHUNKS: &[&str] = &["4096", "128"];

/// One measurement.
#[derive(Clone, Copy)]
struct Case {
    mode: &'static str,
    what: &'static str,
    chunk: u32,
    pictures: &'static [u32],
    /// The largest ratio wanted.
    aim: Option<f64>,
}

const CASES: [Case; 10] = [
    Case { mode: "client", what: "ReadPacket, connected itself", chunk: 4096, pictures: SMALL, aim: Some(0.85) },
    Case { mode: "client", what: "ReadPacket, connected itself", chunk: 128, pictures: SMALL, aim: Some(0.6) },
    Case { mode: "server", what: "ReadPacket, RTMP_Serve", chunk: 4096, pictures: SMALL, aim: Some(0.85) },
    Case { mode: "server", what: "ReadPacket, RTMP_Serve", chunk: 128, pictures: SMALL, aim: Some(0.6) },
    Case { mode: "polled", what: "ReadPacket, socket preset", chunk: 4096, pictures: SMALL, aim: None },
    Case { mode: "polled", what: "ReadPacket, socket preset", chunk: 128, pictures: SMALL, aim: None },
    Case { mode: "send", what: "SendPacket", chunk: 4096, pictures: SMALL, aim: Some(0.6) },
    Case { mode: "send", what: "SendPacket", chunk: 128, pictures: SMALL, aim: Some(0.1) },
    Case { mode: "client", what: "ReadPacket, large pictures", chunk: 4096, pictures: LARGE, aim: None },
    Case { mode: "send", what: "SendPacket, large pictures", chunk: 4096, pictures: LARGE, aim: None },
];

/// The cost of one run, in seconds per gigabyte of bodies.
#[derive(Clone, Copy)]
struct Cost {
    total: f64,
    kernel: f64,
}

/// A contestant: a library in a folder, which the driver uses or, for the floor, does not.
struct Contestant<'a> {
    library: &'a Path,
    floor: bool,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let number = |at: usize, otherwise: u64| {
        args.get(at).map_or(otherwise, |arg| arg.parse().unwrap_or_else(|_| panic!("\"{arg}\" is not a number")))
    };
    let rounds = number(0, 7).max(1) as usize;
    let megabytes = number(1, 400).max(1);
    let names = args.get(2..).unwrap_or_default();
    let all_ways = Way::all();
    let chosen = |all: &[&str], one: &str| {
        let is_named = |known: &str| names.iter().any(|name| name == known);
        is_named(one) || !all.iter().any(|known| is_named(known))
    };
    let wanted = |case: &&Case| chosen(MODES, case.mode) && chosen(CHUNKS, &case.chunk.to_string());
    let way_names: Vec<&str> = all_ways.iter().map(|way| way.name).collect();
    let ways = all_ways.iter().filter(|way| chosen(&way_names, way.name));
    let theirs = distribution();
    let ours = own();
    let driver = compile(&ours);
    println!(
        "\nlibrtmp's interface: {} on ours and on {}\n\
         messages of {SMALL:?} bytes (large: {LARGE:?}), one of {AUDIO_BYTES} after each; {megabytes} MB a run (SendPacket at 128: a \
         {SLOW_PART}th), {rounds} rounds in turn, medians",
        driver.display(),
        theirs.display()
    );
    for way in ways {
        println!(
            "  {:36}  CPU s/GB (of it in the kernel)            ratio to the distribution's",
            format!("{}:", way.words())
        );
        println!("                               chunk   distribution         ours          bare    ours   aim  bare");
        for case in CASES.iter().filter(wanted) {
            report(case, way, &driver, [&theirs, &ours], rounds, megabytes * 1_000_000);
        }
    }
}

/// Runs one case in turn on both libraries and on the bare socket, and prints the medians: of the costs, and of the ratios
/// in the same rounds.
fn report(case: &Case, way: &Way, driver: &Path, [theirs, ours]: [&Path; 2], rounds: usize, bytes: u64) {
    let bytes = if case.mode != "send" || case.chunk > 128 { bytes } else { bytes / SLOW_PART };
    let contestants = [
        Contestant { library: theirs, floor: false },
        Contestant { library: ours, floor: false },
        Contestant { library: theirs, floor: true },
    ];
    let mut costs = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (contestant, costs) in contestants.iter().zip(&mut costs) {
            costs.push(run(case, way, contestant, driver, bytes));
        }
    }
    let medians: Vec<Cost> = costs
        .iter()
        .map(|costs| Cost { total: median(costs, |cost| cost.total), kernel: median(costs, |cost| cost.kernel) })
        .collect();
    let ratio = |at: usize| median_of(costs[at].iter().zip(&costs[0]).map(|(one, theirs)| one.total / theirs.total));
    let shown = |cost: &Cost| format!("{:.3} ({:3.0} %)", cost.total, 100.0 * cost.kernel / cost.total);
    println!(
        "  {:28} {:5}  {:>13}  {:>13}  {:>13}   {:5.3}  {:>4}  {:4.2}",
        case.what,
        case.chunk,
        shown(&medians[0]),
        shown(&medians[1]),
        shown(&medians[2]),
        ratio(1),
        case.aim.map_or_else(|| "-".to_owned(), |aim| aim.to_string()),
        ratio(2),
    );
}

/// One run of the driver, and its peer.
fn run(case: &Case, way: &Way, contestant: &Contestant<'_>, driver: &Path, bytes: u64) -> Cost {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of our own");
    let port = listener.local_addr().expect("it has an address").port();
    let mode = match (contestant.floor, case.mode) {
        (true, "send") => "sendfloor",
        (true, _) => "floor",
        (false, mode) => mode,
    };
    let sizes: Vec<String> = case.pictures.iter().map(u32::to_string).collect();
    let mut command = Command::new(driver);
    command
        .args([mode, &port.to_string(), &case.chunk.to_string(), &bytes.to_string(), &sizes.join(",")])
        .env("LD_LIBRARY_PATH", contestant.library)
        .stdout(Stdio::piped());
    let child = system::pinned(&way.measured, || command.spawn()).expect("the driver starts");
    let (stream, _) = listener.accept().expect("the driver connects");
    // A thread that the peer starts may use the same processors.
    let expected = system::pinned(&way.other, || peer(stream, mode, case, bytes)).expect("the conversation");
    let output = child.wait_with_output().expect("the driver ends");
    good(&output, "the driver");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let &[path, total, kernel, messages, bodies] = words.as_slice() else { panic!("the driver says {text}") };
    let folder = Path::new(path).parent().expect("a library lies in a folder");
    assert_eq!(folder, contestant.library, "the loader took another library");
    let number = |word: &str| word.parse::<u64>().expect("a number");
    if let (Some(expected), false) = (expected, contestant.floor) {
        assert_eq!((number(messages), number(bodies)), expected, "messages and bytes");
    }
    let per_gb = |ns: &str| number(ns) as f64 / number(bodies) as f64;
    Cost { total: per_gb(total), kernel: per_gb(kernel) }
}

/// The other end: does the handshake, then writes this many bytes of bodies, or reads everything. Returns the number of
/// messages and bytes written.
fn peer(mut stream: TcpStream, mode: &str, case: &Case, bytes: u64) -> io::Result<Option<(u64, u64)>> {
    let serves = mode != "server";
    let mut hello = [0; 1 + HELLO_BYTES];
    if serves {
        stream.read_exact(&mut hello)?;
    }
    let mut own = [0; 1 + HELLO_BYTES];
    own[0] = 3;
    stream.write_all(&own)?;
    if !serves {
        stream.read_exact(&mut hello)?;
    }
    stream.write_all(&hello[1..])?;
    stream.read_exact(&mut hello[1..])?;
    if mode.starts_with("send") {
        io::copy(&mut stream, &mut io::sink())?;
        return Ok(None);
    }
    // Reads the session's own messages, mainly its reports of bytes read.
    let mut words = stream.try_clone()?;
    let listens = std::thread::spawn(move || io::copy(&mut words, &mut io::sink()));
    let (wire, messages, bodies) = wire(case);
    let turns = bytes.div_ceil(bodies);
    for _ in 0..turns {
        for part in wire.chunks(WRITE_BYTES) {
            stream.write_all(part)?;
        }
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let _ = listens.join();
    Ok(Some((turns * messages, turns * bodies)))
}

/// Some megabytes of messages in chunks, how many messages these are, and how many bytes their bodies have.
fn wire(case: &Case) -> (Vec<u8>, u64, u64) {
    let largest = case.pictures.iter().copied().max().expect("there are pictures");
    let body: Vec<u8> = (0..largest).map(|i| (i * 31 % 251) as u8).collect();
    let (mut wire, mut messages, mut bodies) = (Vec::new(), 0, 0);
    while wire.len() < 2 << 20 {
        let video = case.pictures[(messages / 2) as usize % case.pictures.len()];
        for (type_id, chunk_stream, len) in [(kind::VIDEO, 6, video), (kind::AUDIO, 4, AUDIO_BYTES)] {
            let head = MessageHead { timestamp_ms: messages as u32 * 16, type_id, stream_id: 1, len, chunk_stream };
            chunk_write::encode(&head, &body[..len as usize], case.chunk, &mut wire);
            messages += 1;
            bodies += u64::from(len);
        }
    }
    (wire, messages, bodies)
}

/// The folder in which the C compiler finds the distribution's library.
fn distribution() -> PathBuf {
    let output = Command::new("cc").arg("-print-file-name=librtmp.so.1").output().expect("a C compiler");
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    match path.canonicalize() {
        Ok(file) if path.is_absolute() => file.parent().expect("a file has a folder").to_owned(),
        _ => {
            eprintln!(
                "This benchmark compares with the distribution's librtmp.so.1, which is not on this machine: make setup \
                 installs it (Debian and Ubuntu: apt install librtmp1)."
            );
            std::process::exit(1);
        }
    }
}

/// A folder with our `librtmp.so.1`, linked as `make librtmp` does from the library this benchmark was built with.
fn own() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-librtmp");
    let me = std::env::current_exe().expect("a program knows its own path");
    let archive = me.with_file_name("librrelay.a");
    let mut link = Command::new(root().join("packaging/librtmp.sh"));
    good(&link.arg(archive).arg(&folder).output().expect("a shell"), "packaging/librtmp.sh");
    folder.canonicalize().expect("it was made")
}

/// The driver, against our headers.
fn compile(ours: &Path) -> PathBuf {
    let program = ours.join("driver");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror"]).arg("-I").arg(root().join("include"));
    cc.arg(root().join("benches/librtmp/driver.c")).arg("-o").arg(&program);
    cc.arg("-L").arg(ours).args(["-l:librtmp.so.1", "-ldl"]);
    good(&cc.output().expect("a C compiler"), "cc");
    program
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn good(output: &Output, what: &str) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n{words}", output.status);
}

/// The median of a figure.
fn median(costs: &[Cost], figure: fn(&Cost) -> f64) -> f64 {
    median_of(costs.iter().map(figure))
}

fn median_of(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
