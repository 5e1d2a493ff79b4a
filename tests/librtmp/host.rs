//! A host of the relay face that also uses libcurl with `rtmp://`: both work in one process, and with each other, with
//! libcurl's calls to either library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::linked;
use crate::support::c::{good, root, workshop};
use crate::support::flv;
use crate::support::media::{ffmpeg_publishes, media};
use crate::support::program::Room;

/// The folder with the relay's library.
fn relay() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| workshop("librtmp-host"))
}

/// Builds the host, with the relay's library before or after librtmp's in the order in which symbols are looked up.
fn build(room: &Room, relay_first: bool) {
    let folder = relay();
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g", "-I"]).arg(root().join("include"));
    cc.arg(root().join("tests/librtmp/curl_host.c")).arg("-o").arg(room.file("host")).arg("-Wl,--no-as-needed");
    if !relay_first {
        cc.arg("-l:librtmp.so.1");
    }
    cc.arg(folder.join("librrelay.so.0")).arg(format!("-Wl,-rpath,{}", folder.display()));
    cc.args(["-lcurl", "-lpthread", "-ldl"]);
    good(&cc.output().unwrap(), "curl_host.c");
}

/// Runs the host; `home` is the library that libcurl's calls must go to. curl publishes too where that library takes
/// its slices of a film, which the distribution's does not.
fn relays_and_pulls(name: &str, relay_first: bool, ours: bool, home: &Path) {
    let room = Room::new(&format!("librtmp-host-{name}"));
    build(&room, relay_first);
    let path = format!("LD_LIBRARY_PATH={}", if ours { linked::folder().to_str().unwrap() } else { "" });
    let mut arguments = vec![path.as_str(), "./host", "outer.flv"];
    let uploads = relay_first || ours;
    if uploads {
        arguments.extend(["inner.flv", media().file.to_str().unwrap()]);
    }
    let mut host = room.start("host", "env", &arguments);
    host.says("outer waits");
    let words = host.words();
    let said = |what: &str| words.lines().find_map(|line| line.strip_prefix(what)).unwrap().to_owned();
    let there = Path::new(&said("RTMP_Read ")).canonicalize().unwrap();
    assert_eq!(there, home.canonicalize().unwrap());
    let url = format!("rtmp://127.0.0.1:{}/live/outer", said("port "));
    ffmpeg_publishes(&room, "ffmpeg", media(), &url).ends_well();
    host.ends_well();
    flv::assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&room.file("outer.flv")));
    if uploads {
        let published = flv::as_librtmp_keeps(&flv::read(&media().file));
        flv::assert_same(&published, &flv::read(&room.file("inner.flv")));
    }
}

/// The distribution's library, as programs find it.
fn theirs() -> PathBuf {
    let output = Command::new("ldd").arg("/usr/bin/rtmpdump").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("librtmp.so.1")).unwrap();
    line.split_whitespace().nth(2).unwrap().into()
}

#[test]
fn libcurl_in_a_relays_process_calls_the_relays_librtmp() {
    let relay = relay().join("librrelay.so.0");
    relays_and_pulls("relay-theirs", true, false, &relay);
    relays_and_pulls("relay-ours", true, true, &relay);
}

#[test]
fn a_relay_works_beside_another_librtmp_that_libcurl_calls() {
    relays_and_pulls("theirs", false, false, &theirs());
    relays_and_pulls("ours", false, true, &linked::folder().join("librtmp.so.1"));
}
