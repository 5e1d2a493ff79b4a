//! The OpenAPI document and the server agree: schemathesis makes valid and invalid requests from the document, and
//! compares the answers with the document.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]
#![allow(clippy::duplicate_mod, reason = "two parts of the support have the same waiting")]

#[path = "support/live.rs"]
mod live;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use live::Client;
use rrelay::config::TargetConfig;
use rrelay::rest::{Rest, RestOptions};
use rrelay::server::{Id, kind};
use rrelay::session::SessionConfig;
use support::flv;
use support::program::Room;
use support::server::Relay;

const TOKEN: &str = "token-of-tests";

/// The same requests every time, a few for each route.
const OPTIONS: &str =
    "--seed 1 --max-examples 10 --generation-database none --no-color --continue-on-failure --request-timeout 60";

/// Some settings must agree with each other, so valid data may be refused; and deleted objects end only after a while.
const NOT_PROMISED: &str = "--exclude-checks positive_data_acceptance,use_after_free,ensure_resource_availability";

/// Settings that are too long in all do not fit into a request, whatever the length of each.
const CONFIG: &str = "[checks]\nnegative_data_rejection.expected-statuses = [\"4xx\"]\n";

/// It makes some 600 requests, which take a minute on an idle machine.
const PATIENCE: Duration = Duration::from_secs(400);

/// Makes a stream with media and a target whose server does not exist; returns both.
fn streams(relay: &Relay, key: &str) -> (Id, Id) {
    let stream = relay.server.stream_create(b"live", key.as_bytes(), None).unwrap();
    let away = TargetConfig { url: "rtmp://127.0.0.1:1/live".to_owned(), ..TargetConfig::default() };
    let target = relay.server.target_add(stream, away).unwrap();
    let film = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/media/many-tracks.flv");
    for tag in flv::read(film.as_ref()) {
        relay.server.stream_write(stream, tag.kind, tag.ts_ms.into(), &tag.body, false).unwrap();
    }
    (stream, target)
}

/// A player that reconnects when it is closed, as long as the relay listens.
fn is_watched(relay: &Relay, key: &'static str) {
    let port = relay.port;
    std::thread::spawn(move || {
        while let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) {
            if let Ok(mut player) = Client::over(socket, port, key, false, &SessionConfig::default()) {
                while player.turn(Duration::from_millis(50)).is_ok() {}
            }
        }
    });
    relay.has_players(key, 1);
}

/// Runs schemathesis against the relay, and asserts that every answer is in the document.
fn asked(room: &Room, relay: &Relay, config: &str, options: &str) {
    std::fs::write(room.file("schemathesis.toml"), format!("{config}\n{CONFIG}")).unwrap();
    let rest = Rest::new(Arc::clone(&relay.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let program = target.join("python-schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is not there (tests/setup.sh installs it)", program.display());
    let (at, token) = (format!("http://127.0.0.1:{port}/v1/openapi.json"), format!("Authorization: Bearer {TOKEN}"));
    let given = [OPTIONS, options].into_iter().flat_map(|options| options.split(' '));
    let all: Vec<&str> = ["run", &at, "--header", &token].into_iter().chain(given).collect();
    let mut program = room.start("schemathesis", program.to_str().unwrap(), &all);
    let status = program.ends_within(PATIENCE);
    assert!(status.success(), "{}", program.words());
}

#[test]
fn every_answer_is_one_that_the_document_has() {
    let room = Room::new("openapi");
    let relay = Relay::new();
    // The stream of the document's examples, which is deleted sooner or later, and one that stays.
    streams(&relay, "show");
    let (_, target) = streams(&relay, "stays");
    let config = format!(
        "[[operations]]\ninclude-operation-id = [\"get_target\", \"update_target\", \"retry_target\"]\n\
         parameters = {{ app = \"live\", key = \"stays\", id = \"{target}\" }}\n"
    );
    is_watched(&relay, "stays");
    // An answer to /v1/events has no end, and after /v1/drain there is nothing to ask about.
    asked(&room, &relay, &config, &format!("{NOT_PROMISED} --exclude-path /v1/events --exclude-path /v1/drain"));
}

#[test]
fn a_stop_is_answered_as_the_document_says() {
    asked(&Room::new("openapi-drain"), &Relay::new(), "", &format!("{NOT_PROMISED} --include-path /v1/drain"));
}

#[test]
fn settings_that_the_document_allows_are_accepted() {
    let room = Room::new("openapi-settings");
    let relay = Relay::new();
    let (stream, target) = streams(&relay, "stays");
    let before = relay.server.target_config(target).unwrap();
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi/agreeing.py");
    std::fs::copy(hooks, room.file("agreeing.py")).unwrap();
    let config =
        format!("hooks = \"agreeing\"\nparameters = {{ app = \"live\", key = \"stays\", id = \"{target}\" }}\n");
    let routes = ["put_stream", "add_target", "update_target"].map(|id| format!(" --include-operation-id {id}"));
    let checks = "--mode positive --exclude-checks use_after_free,ensure_resource_availability --phases examples,coverage,fuzzing";
    asked(&room, &relay, &config, &(checks.to_owned() + &routes.concat()));
    assert_ne!(relay.server.target_config(target).unwrap(), before, "it was changed");
    assert_ne!(relay.server.stream_config(stream).unwrap(), relay.server.default_stream_config(), "it was changed");
    let streams = relay.server.list(0, kind::STREAM).unwrap();
    let usual = relay.server.default_stream_config();
    let others = streams.iter().filter(|&&id| relay.server.stream_config(id).is_ok_and(|config| config != usual));
    assert!(others.count() > 10, "streams have settings of their own");
}
