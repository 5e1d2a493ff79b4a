//! Relays and the example controller (`examples/controller.py`): a stream goes from the first over the second to the third, and
//! on when the second is killed, and when the controller is.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sha2::{Digest, Sha256};

use super::Server;
use super::support::program::Room;
use super::support::rml::Client;
use super::support::until;

const TOKEN: &str = "token-of-tests";

/// The example controller, which ends with the test.
struct Controller {
    child: Child,
    port: u16,
}

impl Controller {
    fn start(token_file: &Path, hops: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/controller.py");
        let mut child = Command::new("python3")
            .args([script, "--listen", "127.0.0.1:0", "--hops", hops, "--token-file"])
            .arg(token_file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        Self { child, port }
    }

    /// The controller's knowledge, without white space.
    fn knows(&self) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(socket, "GET / HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.replace(' ', "")
    }

    /// Waits until the stream goes through these relays.
    fn has_route(&self, relays: &[&Relay]) {
        let addresses: Vec<String> = relays.iter().map(|relay| format!("\"{}\"", relay.address)).collect();
        let route = format!("\"live/show\":[{}]", addresses.join(","));
        until(&route, || self.knows().contains(&route).then_some(()));
    }

    /// Waits until the relay has told that it has media of a stream.
    fn has_stream(&self, relay: &Relay) {
        until("a heartbeat with the stream", || {
            let knows: serde_json::Value = serde_json::from_str(&self.knows()).unwrap();
            (knows["relays"][&relay.address]["streams"][0]["state"] == "IN_PROGRESS").then_some(())
        });
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay, which is killed and gone when it is dropped.
struct Relay {
    server: Server,
    address: String,
}

impl Relay {
    fn start(room: &Room, name: &str, controller: &Controller) -> Self {
        let options = room.file(name);
        fs::write(&options, "").unwrap();
        // Its players stay while another relay replaces a lost one.
        let mut server = Server::start(&["--grace", "120000", "--config", options.to_str().unwrap()]);
        let address = format!("rtmp://127.0.0.1:{}", server.port);
        let token = room.file("token");
        let text = format!(
            "controller http://127.0.0.1:{}\nself {address}\ncontroller-token {}\ncontroller-heartbeat 1000\n\
             controller-timeout 20000\n",
            controller.port,
            token.display()
        );
        fs::write(&options, text).unwrap();
        server.signal(1);
        server.says("SIGHUP, options were read from");
        until("the controller has heard of it", || controller.knows().contains(&address).then_some(()));
        Self { server, address }
    }
}

/// A publisher of pictures that are all different.
struct Publisher {
    client: Client,
    sent: u32,
}

impl Publisher {
    fn new(relay: &Relay, key: &str) -> Self {
        Self { client: Client::publish(relay.server.port, key), sent: 0 }
    }

    fn send(&mut self) -> Vec<u8> {
        self.sent += 1;
        let picture: Vec<u8> = (0..500).flat_map(|n: u32| (n * self.sent).to_be_bytes()).collect();
        let body = [&[0x17, 1, 0, 0, 0][..], &picture].concat();
        self.client.send(40 * self.sent, body.clone());
        body
    }

    /// What a player gets is what is published, by hash.
    fn arrives_at(&mut self, player: &mut Client) {
        let first = self.send();
        player.wait("the first picture", |player| player.video.iter().any(|got| got.body == first));
        let before = player.video.len();
        let mut sent = Sha256::new();
        for _ in 0..50 {
            sent.update(self.send());
        }
        player.wait("50 more", |player| player.video.len() >= before + 50);
        let mut got = Sha256::new();
        player.video[before..].iter().for_each(|picture| got.update(&picture.body));
        assert_eq!(sent.finalize(), got.finalize());
    }
}

#[test]
fn a_stream_goes_over_three_relays_and_on_when_the_middle_and_the_controller_are_killed() {
    let room = Room::new("topology-push");
    fs::write(room.file("token"), TOKEN).unwrap();
    let controller = Controller::start(&room.file("token"), "2");
    let mut first = Relay::start(&room, "first", &controller);
    let mut publisher = Publisher::new(&first, "show");
    publisher.send();
    first.server.says("wait");
    // Each relay asks again until there is a relay to push to.
    let second = Relay::start(&room, "second", &controller);
    controller.has_route(&[&first, &second]);
    let mut third = Relay::start(&room, "third", &controller);
    controller.has_route(&[&first, &second, &third]);
    // A player that comes before the stream does has it pulled.
    third.server.says("tracks");
    let mut player = Client::play(third.server.port, "show");
    publisher.arrives_at(&mut player);

    drop(second);
    controller.has_route(&[&first, &third]);
    publisher.arrives_at(&mut player);
    first.server.says("target_lost: relay");

    drop(controller);
    publisher.arrives_at(&mut player);
    // There is no controller any more, so sessions are let in as if none had been set.
    let mut other = Publisher::new(&first, "other");
    first.server.complains("publish: ");
    other.arrives_at(&mut Client::play(first.server.port, "other"));
    publisher.arrives_at(&mut player);
}

#[test]
fn a_player_anywhere_gets_what_is_published_elsewhere_and_keeps_it_when_its_way_is_lost() {
    let room = Room::new("topology-pull");
    fs::write(room.file("token"), TOKEN).unwrap();
    // Nothing is pushed, so no relay takes the place of another one's source.
    let controller = Controller::start(&room.file("token"), "0");
    let first = Relay::start(&room, "first", &controller);
    let mut publisher = Publisher::new(&first, "show");
    publisher.send();
    let second = Relay::start(&room, "second", &controller);
    let _player_of_second = Client::play(second.server.port, "show");
    controller.has_stream(&second);
    let mut edge = Relay::start(&room, "edge", &controller);
    let mut player = Client::play(edge.server.port, "show");
    publisher.arrives_at(&mut player);
    // A stream begins at the first, so the second counts as less busy.
    edge.server.says(&format!("{}/live: play: pull", second.address));
    drop(second);
    publisher.arrives_at(&mut player);
    edge.server.says(&format!("{}/live: target_lost: pull", first.address));
}
