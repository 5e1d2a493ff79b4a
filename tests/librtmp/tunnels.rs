//! Programs on our library that reach their server through RTMP in HTTP, encrypted or in TLS or neither, or through a
//! SOCKS proxy.

use std::net::SocketAddrV4;

use super::film::{FilmServer, assert_film};
use super::programs::{assert_same_frames, on_ours, stored};
use super::transports::certificate;
use crate::support::flv;
use crate::support::media::{ffmpeg_publishes, media};
use crate::support::nginx::Nginx;
use crate::support::program::{Program, Room};
use crate::support::server::Relay;
use crate::support::tunnel::{SlowLine, Socks, Tunnel};
use crate::support::{PATIENCE, until};

/// Most bytes of an answer that fit librtmp's buffer; librtmp stops at longer ones.
const SMALL_ANSWERS: usize = 12_000;

/// Most bytes of an answer that takes more than one read of ours.
const LARGE_ANSWERS: usize = 200_000;

/// Bytes of a long answer's head; a head may have 16 KiB.
const LONG_HEAD: usize = 15_000;

fn tunnelled(tunnel: &Tunnel, scheme: &str, path: &str) -> String {
    format!("{scheme}://127.0.0.1:{}/{path}", tunnel.port())
}

#[test]
fn rtmpdump_plays_live_through_a_tunnel() {
    let (room, relay) = (Room::new("librtmp-rtmpt-live"), Relay::new());
    let tunnels = [Tunnel::to(relay.port, SMALL_ANSWERS), Tunnel::to(relay.port, LARGE_ANSWERS)];
    let mut players = [0, 1].map(|number| {
        let (name, url) = (format!("player{number}"), tunnelled(&tunnels[number], "rtmpt", "live/show"));
        on_ours(&room, &name, "rtmpdump", &["-q", "-v", "-r", &url, "-o", &format!("{name}.flv")])
    });
    relay.has_players("show", 2);
    ffmpeg_publishes(&room, "ffmpeg", media(), &relay.url("show")).ends_well();
    for (number, player) in players.iter_mut().enumerate() {
        player.ends_within(PATIENCE);
        let arrived = flv::read(&room.file(&format!("player{number}.flv")));
        flv::assert_same(&flv::as_librtmp_keeps(&media().published), &arrived);
        let posts = tunnels[number].posts();
        assert!(posts.open == 1 && posts.send > 5 && posts.idle > 5 && posts.close == 1, "{posts:?}");
    }
}

#[test]
fn curl_publishes_through_a_tunnel() {
    let (room, relay) = (Room::new("librtmp-rtmpt-publish"), Relay::new());
    let tunnel = Tunnel::to(relay.port, SMALL_ANSWERS);
    let url = relay.url("show");
    let mut player = on_ours(&room, "player", "rtmpdump", &["-q", "-v", "-r", &url, "-o", "player.flv"]);
    relay.has_players("show", 1);
    let url = tunnelled(&tunnel, "rtmpt", "live/show");
    on_ours(&room, "curl", "curl", &["-s", "-T", media().file.to_str().unwrap(), &url]).ends_well();
    player.ends_within(PATIENCE);
    assert_film(&room.file("player.flv"));
    let posts = tunnel.posts();
    assert_eq!((posts.open, posts.close), (1, 1));
}

/// curl never reads a server's messages to a publisher. The answers here are more than all buffers on the way hold.
#[test]
fn a_publisher_that_does_not_read_does_not_stop_its_tunnel() {
    let room = Room::new("librtmp-rtmpt-unread");
    let mut server = FilmServer::start(&room, "ours");
    let most_kept: usize = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem")
        .unwrap()
        .split_whitespace()
        .last()
        .and_then(|bytes| bytes.parse().ok())
        .unwrap();
    let count = (most_kept / LONG_HEAD + 200) as u32;
    let sound = |number: u32| flv::Tag {
        kind: flv::AUDIO,
        ts_ms: number,
        body: [&[0xaf, 1][..], &number.to_be_bytes()].concat(),
    };
    let film: Vec<flv::Tag> = (0..count).map(sound).collect();
    flv::write(&room.file("film.flv"), &film);
    let tunnel = Tunnel::stuffed(server.port, SMALL_ANSWERS, LONG_HEAD);
    let url = tunnelled(&tunnel, "rtmpt", "app/film");
    on_ours(&room, "curl", "curl", &["-s", "-T", "film.flv", &url]).ends_well();
    server.has_saved(&room, &film);
    assert!(tunnel.posts().send > count);
}

#[test]
fn rtmpte_is_spoken_with_both_libraries() {
    let room = Room::new("librtmp-rtmpte");
    let server = FilmServer::start(&room, "ours");
    let tunnel = Tunnel::to(server.port, SMALL_ANSWERS);
    let url = tunnelled(&tunnel, "rtmpte", "app/film");
    on_ours(&room, "ours", "rtmpdump", &["-q", "-r", &url, "-o", "ours.flv"]).ends_well();
    assert_film(&room.file("ours.flv"));
    let theirs = FilmServer::start(&room, "theirs");
    let tunnel = Tunnel::to(theirs.port, SMALL_ANSWERS);
    let url = tunnelled(&tunnel, "rtmpte", "app/film");
    on_ours(&room, "ours-theirs", "rtmpdump", &["-q", "-r", &url, "-o", "theirs.flv"]).ends_well();
    assert_film(&room.file("theirs.flv"));
}

#[test]
fn curl_publishes_through_an_encrypted_tunnel() {
    let room = Room::new("librtmp-rtmpte-publish");
    let mut server = FilmServer::start(&room, "ours");
    let tunnel = Tunnel::to(server.port, SMALL_ANSWERS);
    let url = tunnelled(&tunnel, "rtmpte", "app/film");
    on_ours(&room, "curl", "curl", &["-s", "-T", media().file.to_str().unwrap(), &url]).ends_well();
    server.has_saved(&room, &flv::read(&media().file));
}

/// A tunnel behind nginx, which has the TLS and a certificate for `localhost` that nobody has signed.
struct Secured {
    room: Room,
    relay: Relay,
    tunnel: Tunnel,
    nginx: Nginx,
}

impl Secured {
    fn new(name: &str) -> Self {
        let (room, relay) = (Room::new(name), Relay::new());
        certificate(&room);
        let tunnel = Tunnel::to(relay.port, SMALL_ANSWERS);
        let nginx = Nginx::secures(&room, tunnel.port());
        Self { room, relay, tunnel, nginx }
    }

    fn url(&self, host: &str) -> String {
        format!("rtmpts://{host}:{}/live/show", self.nginx.port)
    }

    /// Runs a program on our library with these settings of the environment.
    fn run(&self, name: &str, settings: &[&str], arguments: &[&str]) -> Program {
        let all: Vec<&str> = settings.iter().chain(arguments).copied().collect();
        on_ours(&self.room, name, "env", &[&["-u", "RRELAY_TLS_INSECURE", "-u", "RRELAY_CA_FILE"], &all[..]].concat())
    }

    /// Plays a publisher's film live into a file.
    fn play(&self, name: &str, settings: &[&str], arguments: &[&str]) {
        let before = self.tunnel.posts();
        let file = format!("{name}.flv");
        let mut player =
            self.run(name, settings, &[&["rtmpdump", "-q", "-v", "-o", file.as_str()], arguments].concat());
        self.relay.has_players("show", 1);
        ffmpeg_publishes(&self.room, "ffmpeg", media(), &self.relay.url("show")).ends_well();
        player.ends_within(PATIENCE);
        flv::assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&self.room.file(&file)));
        let posts = self.tunnel.posts();
        assert_eq!((posts.open - before.open, posts.close - before.close), (1, 1));
    }

    fn roots(&self) -> String {
        format!("RRELAY_CA_FILE={}", self.room.file("cert.pem").display())
    }
}

#[test]
fn rtmpdump_and_curl_reach_a_tunnel_in_tls_that_they_trust() {
    let secured = Secured::new("librtmp-rtmpts");
    let (url, roots) = (secured.url("localhost"), secured.roots());
    secured.play("player", &[&roots], &["-r", &url]);
    let plain = secured.relay.url("show");
    let mut player = on_ours(&secured.room, "plain", "rtmpdump", &["-q", "-v", "-r", &plain, "-o", "plain.flv"]);
    secured.relay.has_players("show", 1);
    secured.run("curl", &[&roots], &["curl", "-s", "-T", media().file.to_str().unwrap(), &url]).ends_well();
    player.ends_within(PATIENCE);
    assert_film(&secured.room.file("plain.flv"));
}

#[test]
fn a_tunnel_in_tls_is_refused_where_nobody_vouches_for_it_unless_all_are_taken() {
    let secured = Secured::new("librtmp-rtmpts-trust");
    let (url, other, roots) = (secured.url("localhost"), secured.url("127.0.0.1"), secured.roots());
    for (name, settings, url) in [("unsigned", &[][..], &url), ("other-name", &[roots.as_str()], &other)] {
        let mut player = secured.run(name, settings, &["rtmpdump", "-v", "-r", url, "-o", "nothing.flv"]);
        player.fails_within(PATIENCE);
        assert!(player.words().contains("TLS_Connect failed"), "{}", player.words());
    }
    assert_eq!(secured.tunnel.posts().open, 0, "nothing was asked of a server that is not trusted");
    secured.play("option", &[], &["-i", &format!("{url} tlsInsecure=1")]);
    secured.play("variable", &["RRELAY_TLS_INSECURE=1"], &["-r", &other]);
}

/// The server's acknowledgements come to a publisher that reads none: closing the socket with those unread would reset
/// the connection, and lose the bytes that had not left yet.
#[test]
fn what_is_published_over_a_slow_line_arrives_to_its_last_message() {
    let room = Room::new("librtmp-slow-line");
    let mut server = FilmServer::start(&room, "ours");
    let line = SlowLine::to(server.port);
    let url = format!("rtmp://127.0.0.1:{}/app/film", line.port());
    on_ours(&room, "curl", "curl", &["-s", "-T", media().file.to_str().unwrap(), &url]).ends_well();
    server.has_saved(&room, &flv::read(&media().file));
}

#[test]
fn rtmpdump_reaches_its_server_through_a_proxy() {
    let room = Room::new("librtmp-socks");
    let (nginx, url) = stored(&room);
    let proxy = Socks::new(false);
    for library in ["ours", "theirs"] {
        let file = format!("{library}.flv");
        let arguments = ["-q", "--socks", &proxy.address(), "-r", &url, "-o", &file];
        let mut player = match library {
            "ours" => on_ours(&room, library, "rtmpdump", &arguments),
            _ => room.start(library, "rtmpdump", &arguments),
        };
        player.ends_within(PATIENCE);
        assert_same_frames(&room.file(&file), &media().file);
    }
    let server: SocketAddrV4 = format!("127.0.0.1:{}", nginx.port).parse().unwrap();
    assert_eq!(proxy.asked(), [server; 2]);
}

#[test]
fn rtmpdump_tunnels_through_a_proxy() {
    let room = Room::new("librtmp-socks-rtmpt");
    let server = FilmServer::start(&room, "ours");
    let (tunnel, proxy) = (Tunnel::to(server.port, SMALL_ANSWERS), Socks::new(false));
    let url = tunnelled(&tunnel, "rtmpt", "app/film");
    on_ours(&room, "player", "rtmpdump", &["-q", "--socks", &proxy.address(), "-r", &url, "-o", "film.flv"])
        .ends_well();
    assert_film(&room.file("film.flv"));
    assert_eq!((proxy.asked().len(), tunnel.posts().open), (1, 1));
}

#[test]
fn a_proxy_that_refuses_ends_the_program_at_once() {
    let room = Room::new("librtmp-socks-refused");
    let proxy = Socks::new(true);
    let arguments = ["--socks", &proxy.address(), "-r", "rtmp://127.0.0.1:1/app/film", "-o", "film.flv"];
    let mut player = on_ours(&room, "player", "rtmpdump", &arguments);
    player.fails_within(crate::support::AT_ONCE);
    assert!(player.words().contains("SOCKS negotiation failed"), "{}", player.words());
    until("the proxy was asked", || (proxy.asked().len() == 1).then_some(()));
}
