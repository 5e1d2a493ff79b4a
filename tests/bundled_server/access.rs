//! The options for access: the encoder and the log get the reason of a refusal, and SIGHUP reloads the rules and the
//! keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::support::program::Room;
use super::support::rml::{Client, key_frame, sequence_header};
use super::support::until;
use super::{PATIENCE, Server, program};

/// The output of ffmpeg about a publish that ends by itself.
fn encoder_says(room: &Room, port: u16, key: &str) -> String {
    let url = format!("rtmp://127.0.0.1:{port}/live/{key}");
    let source = ["-hide_banner", "-re", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10", "-t", "1"];
    let mut encoder = room.start("encoder", "ffmpeg", &[&source[..], &["-c:v", "flv1", "-f", "flv", &url]].concat());
    encoder.ends_within(PATIENCE);
    encoder.words()
}

#[test]
fn the_first_matching_rule_decides_and_a_refused_peer_gets_the_reason() {
    let room = Room::new("bundled-access");
    let rules = [
        "--allow",
        "publish",
        "127.0.0.0/8",
        "--deny=publish all",
        "--deny",
        "play 127.0.0.1",
        "--http",
        "127.0.0.1:0",
    ];
    let mut server = Server::start(&rules);
    let mut publisher = Client::publish(server.port, "show");
    publisher.send(0, sequence_header(1));
    let mut player = Client::ask_to_play(server.port, "show");
    player.wait_over();
    assert!(
        !player.started && player.said.iter().any(|word| word.contains("NetStream.Play.Failed")),
        "{:?}",
        player.said
    );
    let line = server.complains("may play here");
    assert!(line.contains("FAILED") && line.contains("nobody may play here from this address"), "{line}");
    let (_, rest) = server.greeting.split_once("http://127.0.0.1:").expect("the port is said");
    let http: u16 = rest.split('/').next().unwrap().parse().unwrap();
    let output = Command::new("curl").args(["-si", &format!("http://127.0.0.1:{http}/live/show.flv")]).output();
    let answer = String::from_utf8(output.expect("tests/setup.sh installs it").stdout).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 403 ") && answer.contains("nobody may play here from this address"),
        "{answer}"
    );
    drop(server);
    let server = Server::start(&["--deny", "publish", "127.0.0.1", "--allow", "publish", "all"]);
    let said = encoder_says(&room, server.port, "show");
    assert!(said.contains("nobody may publish here from this address"), "{said}");
}

/// Publishes and leaves. The one before may not have left yet.
fn publishes_two(port: u16) {
    until("its publisher is let in", || {
        let mut publisher = Client::ask_to_publish(port, "two");
        publisher.wait("an answer", |publisher| publisher.started || publisher.over);
        publisher.started.then_some(())
    });
}

#[test]
fn sighup_reloads_rules_and_keys_and_running_publishers_go_on() {
    let room = Room::new("bundled-keys");
    let [options, keys] = ["options", "keys"].map(|name| room.file(name));
    let name = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let write = |lines: &str| fs::write(&keys, lines).unwrap();
    write("one\nshow?pass=sesame\n");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&options, format!("publish-key {}\n", name(&keys))).unwrap();
    let mut server = Server::start(&["--config", &name(&options)]);
    let mut publisher = Client::publish(server.port, "show?pass=sesame");
    publisher.send(0, sequence_header(1));
    let mut player = Client::play(server.port, "show");
    let said = encoder_says(&room, server.port, "show");
    assert!(said.contains("this stream key may not publish here"), "{said}");
    let line = server.complains("may not publish");
    assert!(!line.contains("sesame"), "{line}");
    // The file has another key and nobody may play any more; running sessions stay.
    write("two\n");
    fs::write(&options, format!("publish-key {}\ndeny play all\n", name(&keys))).unwrap();
    server.signal(1);
    server.says("need a key that --publish-key holds now");
    publishes_two(server.port);
    for mut refused in [Client::ask_to_publish(server.port, "one"), Client::ask_to_play(server.port, "show")] {
        refused.wait_over();
        assert!(!refused.started, "{:?}", refused.said);
    }
    publisher.send(40, key_frame(1));
    player.wait("it goes on", |player| player.video.iter().any(|got| got.body == key_frame(1)));
    // A wrong file changes nothing.
    for (keys_are, rules, words) in [
        ("# none yet\n", "", "it holds no key"),
        ("three\n", "allow play 300.0.0.1\n", "rules has \"allow play 300.0.0.1\""),
    ] {
        write(keys_are);
        fs::write(&options, format!("publish-key {}\n{rules}", name(&keys))).unwrap();
        server.signal(1);
        let line = server.complains("SIGHUP, --allow, --deny and --publish-key stay as they were");
        assert!(line.contains(words), "{line}");
        publishes_two(server.port);
    }
    fs::write(&options, format!("publish-key {}\n", name(&keys))).unwrap();
    fs::remove_file(&keys).unwrap();
    server.signal(1);
    server.complains("No such file");
    publishes_two(server.port);
}

#[test]
fn a_start_with_rules_or_keys_that_are_none_fails_with_the_reason() {
    let room = Room::new("bundled-access-wrong");
    let (empty, open) = (room.file("empty"), room.file("open"));
    fs::write(&empty, "\n").unwrap();
    fs::write(&open, "key\n").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    for (options, words) in [
        (&["--allow", "publish", "localhost"][..], "rules has \"allow publish localhost\", which has no address"),
        (&["--deny", "publish"], "rules has \"deny publish\", which has no address"),
        (&["--publish-key", "/no/such/keys"], "/no/such/keys: No such file"),
        (&["--publish-key", empty.to_str().unwrap()], "it holds no key, so nobody could publish"),
    ] {
        let output = Command::new(program()).args(["--port", "0"]).args(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(words), "{options:?}: {said}");
    }
    let mut server = Server::start(&["--publish-key", open.to_str().unwrap()]);
    server.complains("others may read or change the keys that may publish (mode 644): chmod 600");
}
