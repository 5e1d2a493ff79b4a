//! The distribution's rtmpsrv on our library: it tells what a player asks for, and starts rtmpdump to fetch it.

use super::linked;
use super::programs::{assert_same_frames, on_ours, standard_port, stored};
use super::transports::certificate;
use crate::support::flv;
use crate::support::media::{ffmpeg_publishes, media};
use crate::support::program::{Program, Room};
use crate::support::{PATIENCE, until};

/// Starts rtmpsrv on one of the libraries, in a folder of its own. At the end of its input it writes without end, so
/// its input stays open, and where this program dies its files are bounded.
fn rtmpsrv(room: &Room, ours: bool, arguments: &[&str]) -> Program {
    let path = if ours { linked::folder().to_str().unwrap() } else { "" };
    let library = format!("LD_LIBRARY_PATH={path}");
    let mut all = vec!["--fsize=16777216", "env", &library, "/usr/sbin/rtmpsrv"];
    all.extend(arguments);
    let mut server = room.start_typed("rtmpsrv", "prlimit", &all);
    server.says("Streaming on rtmp://0.0.0.0:1935");
    server
}

/// Ends rtmpsrv as its user does.
fn quit(mut server: Program) {
    server.type_in("q");
    server.ends_well();
    until("the port is free", || std::net::TcpListener::bind(("0.0.0.0", 1935)).ok());
}

/// The command line for rtmpdump that rtmpsrv printed.
fn command_line(server: &Program) -> String {
    let words = server.words();
    let line = words.lines().find(|line| line.starts_with("rtmpdump -r"));
    line.unwrap_or_else(|| panic!("no command line in:\n{words}")).to_owned()
}

#[test]
fn rtmpsrv_tells_what_a_player_asks_for_and_fetches_it() {
    let mut told = Vec::new();
    for ours in [true, false] {
        let room = Room::new(if ours { "librtmp-rtmpsrv" } else { "librtmp-rtmpsrv-theirs" });
        let (nginx, _) = stored(&room);
        let _turn = standard_port();
        let server = rtmpsrv(&room, ours, &[]);
        // The film's server, in the player's tcUrl: rtmpsrv itself only listens.
        let film = format!("rtmp://127.0.0.1:{}/vod", nginx.port);
        let asks = [
            &["-q", "-m", "5", "-r", "rtmp://127.0.0.1:1935/vod", "-y", "a.flv", "-t", &film, "-f", "LNX 9,0,1,2"][..],
            &["-p", "http://page.example/watch", "-o", "nothing.flv"],
            &["-C", "S:text", "-C", "B:1", "-C", "O:1", "-C", "NN:number:7.5", "-C", "NS:name:value", "-C", "O:0"],
        ]
        .concat();
        on_ours(&room, "player", "rtmpdump", &asks).ends_within(PATIENCE);
        let fetched = room.file("a.flv");
        until("it has fetched the film", || {
            let [got, all] =
                [&fetched, &media().file].map(|file| flv::frames_since_first(&flv::read_so_far(file)).len());
            (got == all).then_some(())
        });
        assert_same_frames(&fetched, &media().file);
        told.push(command_line(&server).replace(&film, "FILM"));
        quit(server);
    }
    let expected = "rtmpdump -r \"FILM\" -a \"vod\" -f \"LNX 9,0,1,2\" -p \"http://page.example/watch\" -C S:text -C B:1 \
        -C O:1 -C NN:number:7.500000 -C NS:name:value -C O:0 -y \"a.flv\" -o a.flv";
    assert_eq!(told, [expected; 2]);
}

#[test]
fn rtmpsrv_understands_what_ffmpeg_asks_for_and_sends() {
    let room = Room::new("librtmp-rtmpsrv-ffmpeg");
    let (nginx, _) = stored(&room);
    let _turn = standard_port();
    let mut server = rtmpsrv(&room, true, &["-z"]);
    let film = format!("rtmp://127.0.0.1:{}/vod", nginx.port);
    let page = "http://page.example/watch";
    let asks = ["-hide_banner", "-nostdin", "-rtmp_tcurl", &film, "-rtmp_playpath", "a.flv", "-rtmp_pageurl", page];
    let asks = [&asks[..], &["-i", "rtmp://127.0.0.1:1935/vod", "-c", "copy", "nothing.flv"]].concat();
    room.start("player", "ffmpeg", &asks).fails_within(PATIENCE);
    server.says("\" -o a.flv");
    let told = command_line(&server);
    for part in [format!("-r \"{film}\" -a \"vod\""), format!("-p \"{page}\""), "-y \"a.flv\"".to_owned()] {
        assert!(told.contains(&part), "{told}");
    }
    // rtmpsrv does not answer a publisher, but prints what it asks for.
    let url = "rtmp://127.0.0.1:1935/studio/secret?token=1";
    let encoder = ffmpeg_publishes(&room, "encoder", media(), url);
    server.says("client invoking <publish>");
    let words = server.words();
    for part in ["STRING:\tstudio>", "STRING:\tsecret?token=1>", "STRING:\tlive>"] {
        assert!(words.contains(part), "{part} in\n{words}");
    }
    drop(encoder); // before it quits, rtmpsrv waits for its clients
    quit(server);
}

#[test]
fn rtmpsrv_takes_players_over_tls() {
    let room = Room::new("librtmp-rtmpsrv-tls");
    certificate(&room);
    let (nginx, _) = stored(&room);
    let _turn = standard_port();
    let server = rtmpsrv(&room, true, &["-c", "cert.pem", "-k", "key.pem"]);
    let film = format!("rtmp://127.0.0.1:{}/vod", nginx.port);
    let url = format!("rtmps://127.0.0.1:1935/vod playpath=a.flv tcUrl={film} timeout=5 tlsInsecure=1");
    on_ours(&room, "player", "rtmpdump", &["-q", "-i", &url, "-o", "nothing.flv"]).ends_within(PATIENCE);
    until("it has fetched the film", || {
        let [got, all] =
            [&room.file("a.flv"), &media().file].map(|file| flv::frames_since_first(&flv::read_so_far(file)));
        (got.len() == all.len()).then_some(())
    });
    assert_same_frames(&room.file("a.flv"), &media().file);
    assert!(command_line(&server).starts_with(&format!("rtmpdump -r \"{film}\" -a \"vod\"")));
    quit(server);
}
