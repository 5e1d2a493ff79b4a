//! Players over HTTP and HTTPS: the server prints the addresses of its streams, and curl gets them there.

use super::support::flv;
use super::support::program::Room;
use super::support::rml::{Client, key_frame, sequence_header};
use super::{Server, secure};

#[test]
fn curl_plays_over_http_and_over_https() {
    let (room, papers) = (Room::new("bundled-http"), secure::Papers::new("bundled-http"));
    let [cert, key] = [&papers.certificate, &papers.key].map(|file| file.to_str().unwrap());
    let options = ["--http", "127.0.0.1:0", "--https=127.0.0.1:0", "--cert", cert, "--key", key];
    let mut server = Server::start(&options);
    let url = |scheme: &str| {
        let said = server
            .greeting
            .lines()
            .find_map(|line| line.trim().strip_prefix("ffplay ").filter(|url| url.starts_with(scheme)));
        said.unwrap_or_else(|| panic!("{scheme} is not in:\n{}", server.greeting)).to_owned()
    };
    let urls = [url("http://127.0.0.1:"), url("https://127.0.0.1:")];
    let absent = ["-sS", "--fail", "--cacert", cert];
    for url in &urls {
        let mut player = room.start("absent", "curl", &[&absent[..], &[&url.replace("show", "none")]].concat());
        player.fails_within(super::PATIENCE);
        assert!(player.words().contains("404"), "{}", player.words());
    }
    let mut publisher = Client::publish(server.port, "show");
    publisher.send(0, sequence_header(1));
    publisher.send(0, key_frame(1));
    let mut players = ["http", "https"].map(|name| {
        let (file, url) = (room.file(name), if name == "http" { &urls[0] } else { &urls[1] });
        let player = room.start(name, "curl", &["-sS", "--fail", "--cacert", cert, "-o", file.to_str().unwrap(), url]);
        (player, file)
    });
    let mut playing = 0;
    while playing < players.len() {
        let line = server.says(": IN_PROGRESS");
        playing += usize::from(line.contains("player 127.0.0.1"));
    }
    publisher.send(40, key_frame(2));
    publisher.stop_publishing();
    for (player, file) in &mut players {
        player.ends_well();
        let bodies: Vec<Vec<u8>> = flv::read(file).into_iter().map(|tag| tag.body).collect();
        assert_eq!(bodies, [sequence_header(1), key_frame(1), key_frame(2)]);
    }
}
