//! The distribution's own programs on our library, against nginx and each other: media arrives unchanged.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::linked;
use crate::support::flv;
use crate::support::media::media;
use crate::support::nginx::Nginx;
use crate::support::program::{Program, Room};
use crate::support::reserved::Reserved;
use crate::support::until;

/// Starts a program whose librtmp is ours.
pub(crate) fn on_ours(room: &Room, name: &str, program: &str, arguments: &[&str]) -> Program {
    let path = format!("LD_LIBRARY_PATH={}", linked::folder().display());
    let all: Vec<&str> = [path.as_str(), program].iter().chain(arguments).copied().collect();
    room.start(name, "env", &all)
}

/// Whether the loader gives this program our library.
#[test]
fn the_programs_load_our_library() {
    for program in ["/usr/bin/rtmpdump", "/usr/bin/curl"] {
        let output = Command::new("ldd").arg(program).env("LD_LIBRARY_PATH", linked::folder()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains("librtmp.so.1")).expect("it links librtmp");
        assert!(line.contains(&*linked::folder().to_string_lossy()), "{line}");
    }
}

/// The frames of two files are the same, whatever muxed them.
pub(crate) fn assert_same_frames(one: &Path, other: &Path) {
    let (one, other) = (flv::frames_since_first(&flv::read_so_far(one)), flv::frames_since_first(&flv::read(other)));
    assert!(!other.is_empty());
    assert_eq!(one.len(), other.len());
    flv::assert_same(&other, &one);
}

/// A folder with a file that nginx plays, and the url of the two.
pub(crate) fn stored(room: &Room) -> (Nginx, String) {
    let nginx = Nginx::start(room);
    let url = format!("rtmp://127.0.0.1:{}/vod/a.flv", nginx.port);
    fs::copy(&media().file, room.file("nginx/a.flv")).unwrap();
    (nginx, url)
}

#[test]
fn rtmpdump_downloads_a_stored_stream_as_with_its_own_library() {
    let room = Room::new("librtmp-rtmpdump-stored");
    let (_nginx, url) = stored(&room);
    on_ours(&room, "ours", "rtmpdump", &["-q", "-r", &url, "-o", "ours.flv"]).ends_within(super::support::PATIENCE);
    room.start("theirs", "rtmpdump", &["-q", "-r", &url, "-o", "theirs.flv"]).ends_within(super::support::PATIENCE);
    assert_same_frames(&room.file("ours.flv"), &media().file);
    assert_eq!(fs::read(room.file("ours.flv")).unwrap(), fs::read(room.file("theirs.flv")).unwrap());
}

#[test]
fn curl_downloads_a_stored_stream() {
    let room = Room::new("librtmp-curl-stored");
    let (_nginx, url) = stored(&room);
    on_ours(&room, "curl", "curl", &["-s", "-o", "curl.flv", &url]).ends_well();
    assert_same_frames(&room.file("curl.flv"), &media().file);
}

#[test]
fn rtmpgw_passes_a_stored_stream_on_by_http() {
    let room = Room::new("librtmp-rtmpgw");
    let (_nginx, url) = stored(&room);
    // rtmpgw does not share its port, so it has the port at another address. It ends with its input.
    let (address, reserved) = ("127.0.0.9", Reserved::new());
    let number = reserved.port.to_string();
    let serve = format!("sleep 40 | timeout 25 /usr/sbin/rtmpgw -D {address} -g {number} -r {url}");
    let _gateway = on_ours(&room, "rtmpgw", "sh", &["-c", &serve]);
    until("rtmpgw listens", || std::net::TcpStream::connect((address, reserved.port)).ok());
    let page = format!("http://{address}:{number}/");
    room.start("curl", "curl", &["-s", "-m", "20", "-o", "gw.flv", &page]).ends_within(super::support::PATIENCE);
    assert_same_frames(&room.file("gw.flv"), &media().file);
}

/// Publishes by one program to nginx, which records; the record holds every frame.
pub(crate) fn publishes(room: &Room, publisher: impl FnOnce(&Nginx, &str) -> Program) {
    let nginx = Nginx::start(room);
    let url = format!("rtmp://127.0.0.1:{}/live/k", nginx.port);
    let mut program = publisher(&nginx, &url);
    program.ends_well();
    let record = room.file("nginx/k.flv");
    let all = flv::frames_since_first(&flv::read(&media().file)).len();
    until("nginx has recorded all", || {
        (record.exists() && flv::frames_since_first(&flv::read_so_far(&record)).len() == all).then_some(())
    });
    assert_same_frames(&record, &media().file);
}

#[test]
fn curl_publishes() {
    let room = Room::new("librtmp-curl-publish");
    let file = media().file.to_str().unwrap();
    publishes(&room, |_, url| on_ours(&room, "curl", "curl", &["-s", "-T", file, url]));
}

#[test]
fn rtmpsink_publishes_in_slices_cut_anywhere() {
    let room = Room::new("librtmp-rtmpsink");
    let file = format!("location={}", media().file.display());
    publishes(&room, |_, url| {
        let target = format!("location={url}");
        let pipeline = ["-q", "filesrc", &file, "blocksize=777", "!", "rtmpsink", &target];
        on_ours(&room, "gst", "gst-launch-1.0", &pipeline)
    });
}

#[test]
fn rtmpdump_and_rtmpsrc_play_live() {
    let room = Room::new("librtmp-live");
    let nginx = Nginx::start(&room);
    let url = format!("rtmp://127.0.0.1:{}/live/k", nginx.port);
    let mut dump = on_ours(&room, "rtmpdump", "rtmpdump", &["-v", "-V", "-r", &url, "-o", "dump.flv"]);
    let source = format!("location={url} live=1");
    let pipeline = ["-q", "rtmpsrc", &source, "num-buffers=100", "!", "filesink", "location=gst.flv"];
    let mut gst = on_ours(&room, "gst", "gst-launch-1.0", &pipeline);
    dump.says("Starting Live Stream");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut publisher = crate::support::media::ffmpeg_publishes(&room, "ffmpeg", media(), &url);
    publisher.ends_well();
    gst.ends_well();
    let published = flv::frames_since_first(&media().published);
    // nginx does not say that a live stream is over: rtmpdump would wait for the next publisher.
    dump.says("received ctrl. type: 1");
    dump.terminate();
    dump.ends_within(super::support::PATIENCE);
    let dumped = flv::frames_since_first(&flv::read_so_far(&room.file("dump.flv")));
    assert!(dumped.len() >= published.len() - 2, "{} of {}", dumped.len(), published.len());
    flv::assert_same(&published[..dumped.len()], &dumped);
    let got = flv::frames_since_first(&flv::read_so_far(&room.file("gst.flv")));
    assert!(got.len() > 20);
    flv::assert_same(&published[..got.len()], &got);
}

/// A turn for programs that listen on port 1935 alone. Where another program has the port they cannot be tested.
pub(crate) fn standard_port() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    until("port 1935, where alone these programs listen, is free: stop what has it", || {
        std::net::TcpListener::bind(("0.0.0.0", 1935)).ok()
    });
    turn
}

#[test]
fn rtmpe_is_spoken_with_the_original_both_ways() {
    let room = Room::new("librtmp-rtmpe");
    let _turn = standard_port();
    for (server_is_ours, client_is_ours) in [(true, false), (false, true)] {
        let run = |ours: bool, name: &str, arguments: &[&str]| {
            if ours { on_ours(&room, name, "sh", arguments) } else { room.start(name, "sh", arguments) }
        };
        // At the end of its input rtmpsrv writes without end: the input outlives it.
        let mut server = run(server_is_ours, "rtmpsrv", &["-c", "sleep 40 | timeout 12 /usr/sbin/rtmpsrv -z"]);
        until("rtmpsrv listens", || std::net::TcpListener::bind(("0.0.0.0", 1935)).err());
        let play = "rtmpdump -V -m 3 -r rtmpe://127.0.0.1:1935/app/key -o key.flv";
        let mut client = run(client_is_ours, "rtmpdump", &["-c", play]);
        client.says("NetStream.Play.Stop");
        client.ends_within(super::support::PATIENCE);
        until("the port is free", || std::net::TcpListener::bind(("0.0.0.0", 1935)).ok());
        assert!(!server.words().contains("broke the protocol"), "{}", server.words());
        assert!(server.is_running(), "its input has not ended");
    }
}

#[test]
fn rtmpsuck_records_what_passes_through() {
    let room = Room::new("librtmp-rtmpsuck");
    let (nginx, _) = stored(&room);
    let _turn = standard_port();
    let _suck = on_ours(&room, "rtmpsuck", "sh", &["-c", "sleep 40 | timeout 20 /usr/sbin/rtmpsuck"]);
    until("rtmpsuck listens", || std::net::TcpListener::bind(("0.0.0.0", 1935)).err());
    let application = format!("rtmp://127.0.0.1:{}/vod", nginx.port);
    let through = "rtmp://127.0.0.1:1935/vod/a.flv";
    let arguments = ["-q", "-r", through, "-t", &application, "-o", "through.flv"];
    room.start("rtmpdump", "rtmpdump", &arguments).ends_within(super::support::PATIENCE);
    assert_same_frames(&room.file("through.flv"), &media().file);
    until("the port is free", || std::net::TcpListener::bind(("0.0.0.0", 1935)).ok());
}
