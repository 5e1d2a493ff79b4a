//! A player that asks for more gets what it plays already while the question is open, and then what the answer says.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{PATIENCE, Player, Rig, objects, patient};
use rrelay::config::{Decision, ServerConfig, TargetConfig};
use rrelay::error::RRError;
use rrelay::proto::amf0::Value;
use rrelay::proto::command::build;
use rrelay::server::{Export, Id};
use rrelay::session::State;

impl Rig {
    /// The session of the question of this number, which this player asks, once the host has the question.
    fn asked(&self, player: &mut Player, number: usize) -> Id {
        player.reads_until("the host is asked", |_| self.questions() > number);
        self.held.lock().unwrap()[number]
    }

    fn questions(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    fn state(&self, session: Id) -> State {
        self.server.info(session).unwrap().state
    }

    fn ends(&self, session: Id) {
        let end = Instant::now() + PATIENCE;
        while self.server.info(session).is_ok() {
            assert!(Instant::now() < end, "the session ends");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

impl Player {
    fn is_refused(&mut self, words: &str) {
        self.reads_until(words, |player| player.refusals.iter().any(|text| text.contains(words)));
        self.refusals.clear();
    }
}

fn as_key(key: &str) -> Decision {
    Decision { rename: Some(key.as_bytes().to_vec()), ..Decision::default() }
}

/// Three streams, and a player of the first.
fn begin(config: ServerConfig) -> (Rig, Player) {
    let mut rig = Rig::with(config);
    for (key, first) in [("one", 0), ("two", 1_000_000), ("three", 2_000_000)] {
        rig.feed(key, first);
    }
    let mut player = Player::of(&rig, "one");
    player.sees(1, 5);
    (rig, player)
}

#[test]
fn what_is_played_goes_on_whatever_the_host_answers_about_more() {
    let (rig, mut player) = begin(patient());
    player.also(2, "held");
    let session = rig.asked(&mut player, 0);
    player.sees(1, 50);
    assert_eq!((rig.state(session), player.numbers(2).len()), (State::Waiting, 0));
    rig.server.session_deny(session, "", "not this one").unwrap();
    player.is_refused("not this one");
    player.sees(1, 20);
    assert_eq!(rig.server.info(session).unwrap().key, b"one");

    player.also(3, "held");
    assert_eq!(rig.asked(&mut player, 1), session);
    player.sees(1, 50);
    rig.server.session_redirect(session, "rtmp://127.0.0.1:9/live").unwrap();
    player.is_refused("NetStream.Play");
    player.sees(1, 20);

    player.also(4, "held");
    rig.asked(&mut player, 2);
    player.sees(1, 50);
    // An export that finds too little room changes nothing.
    assert!(matches!(rig.server.session_export(session, 0), Ok(Export::Needs(_))));
    player.sees(1, 20);
    assert_eq!(rig.state(session), State::Waiting);
    rig.server.session_allow(session, as_key("two")).unwrap();
    player.sees(4, 20);

    // With two plays, each at the relay of its own stream in turn.
    player.also(5, "held");
    rig.asked(&mut player, 3);
    player.sees(1, 50);
    player.sees(4, 50);
    rig.server.session_allow(session, as_key("three")).unwrap();
    player.sees(5, 20);
    for (stream_id, of) in [(1, 0), (4, 1), (5, 2)] {
        player.sees(stream_id, 20);
        player.has_no_gap(stream_id);
        assert!(player.numbers(stream_id).iter().all(|number| number / 1_000_000 == of));
    }
    assert_eq!(rig.server.list(0, objects::SESSION).unwrap(), [session]);
}

#[test]
fn a_play_whose_source_is_refused_ends_without_the_others() {
    let (rig, mut player) = begin(patient());
    player.also(2, "held");
    let session = rig.asked(&mut player, 0);
    let url = format!("rtmp://127.0.0.1:{}/live/denied", rig.port);
    let source = TargetConfig { url, retry_count: Some(0), ..TargetConfig::default() };
    rig.server.session_allow(session, Decision { sources: vec![source], ..Decision::default() }).unwrap();
    player.is_refused("NetStream.Play");
    player.sees(1, 50);
    player.has_no_gap(1);
    // The connection takes further requests.
    player.also(3, "two");
    player.sees(3, 20);
}

#[test]
fn without_an_answer_in_time_the_default_is_taken_and_the_media_goes_on() {
    for ask_default_allow in [false, true] {
        let (rig, mut player) = begin(ServerConfig { ask_ms: 1_000, ask_default_allow, ..patient() });
        player.also(2, "held");
        rig.asked(&mut player, 0);
        if ask_default_allow {
            // Nobody publishes "held": the play begins and waits.
            player.reads_until("it is let in", |_| rig.server.stream_find(b"live", b"held").is_ok());
        } else {
            player.is_refused("nobody allowed it in time");
        }
        player.sees(1, 50);
        player.has_no_gap(1);
    }
}

#[test]
fn what_is_played_goes_on_while_the_host_takes_no_events_and_more_waits_for_it() {
    let (rig, mut player) = begin(ServerConfig { event_limit: 16, ..patient() });
    rig.busy.store(true, Ordering::Relaxed);
    for n in 0..40 {
        rig.server.stream_create(b"live", format!("other-{n}").as_bytes(), None).unwrap();
    }
    player.also(2, "two");
    player.sees(1, 100);
    assert!(player.numbers(2).is_empty());
    rig.busy.store(false, Ordering::Relaxed);
    player.sees(2, 20);
    player.sees(1, 20);
    [1, 2].into_iter().for_each(|stream_id| player.has_no_gap(stream_id));
}

#[test]
fn commands_that_come_while_a_question_is_open_are_acted_on_after_it_in_their_order() {
    let (rig, mut player) = begin(patient());
    player.also(2, "held");
    let session = rig.asked(&mut player, 0);
    player.no_longer(1);
    player.also(3, "three");
    player.sees(1, 50);
    assert!(player.numbers(3).is_empty());
    player.has_no_gap(1);
    rig.server.session_allow(session, as_key("two")).unwrap();
    player.sees(3, 20);
    player.sees_no_more(1, 2);
    [2, 3].into_iter().for_each(|stream_id| player.has_no_gap(stream_id));
}

#[test]
fn a_question_stays_open_when_what_is_played_ends_and_ends_with_the_connection() {
    let (mut rig, mut player) = begin(patient());
    player.also(2, "held");
    let session = rig.asked(&mut player, 0);
    player.sees(1, 10);
    rig.stop("one");
    player.reads_until("the stream ends", |_| rig.server.stream_find(b"live", b"one").is_err());
    assert_eq!(rig.state(session), State::Waiting);
    rig.server.session_allow(session, as_key("two")).unwrap();
    player.sees(2, 20);

    // The host closes a session about which it is asked.
    player.also(3, "held");
    rig.asked(&mut player, 1);
    player.sees(2, 20);
    rig.server.session_close(session, "enough", 0).unwrap();
    rig.ends(session);

    // The peer leaves.
    rig.feed("four", 3_000_000);
    let mut player = Player::of(&rig, "four");
    player.sees(1, 5);
    player.also(2, "held");
    let session = rig.asked(&mut player, 2);
    player.sees(1, 20);
    drop(player);
    rig.ends(session);
    assert_eq!(rig.server.session_allow(session, Decision::default()).unwrap_err().kind, RRError::NotFound);
}

#[test]
fn many_requests_at_once_are_asked_about_one_after_another() {
    const MANY: usize = 40;
    let (rig, mut player) = begin(patient());
    for n in 0..MANY {
        let stream_id = 2 + u32::try_from(n % 8).unwrap();
        player.call(stream_id, |out| build::play(out, 0.0, b"held"));
        player.call(0, |out| build::call(out, "getStreamLength", 0.0, &[Value::Null, Value::String(b"held")]));
    }
    for number in 0..MANY {
        let session = rig.asked(&mut player, number);
        player.sees(1, 3);
        assert_eq!(rig.questions(), number + 1, "one at a time");
        rig.server.session_deny(session, "", "not this one").unwrap();
    }
    player.sees(1, 50);
    player.has_no_gap(1);
    assert_eq!((rig.questions(), rig.server.stats(0).unwrap().sessions), (MANY, 1));
}

#[cfg(feature = "rest")]
mod by_http {
    use std::sync::mpsc::{Sender, channel};
    use std::sync::{Arc, Mutex};

    use super::super::backend::{self, Asked, Backend};
    use super::*;
    use rrelay::config::{ControllerConfig, HooksConfig, Value as Setting};
    use rrelay::rest::Rest;

    /// A back end that answers questions about "slow" when the test sends the answer, and allows all others.
    fn back_end(yes: &'static str) -> (Backend, Sender<String>) {
        let (answers, answer) = channel::<String>();
        let answer = Mutex::new(answer);
        let backend = Backend::new(move |asked: &Asked| {
            let slow = asked.body.contains("\"slow\"");
            let said = slow.then(|| answer.lock().unwrap().recv_timeout(PATIENCE).ok()).flatten();
            backend::json(said.as_deref().unwrap_or(yes))
        });
        (backend, answers)
    }

    #[test]
    fn what_is_played_goes_on_while_a_hook_is_asked_about_more() {
        let (backend, answers) = back_end("{}");
        let (rig, mut player) = begin(patient());
        let rest = Rest::new(Arc::clone(&rig.server));
        let hooks = HooksConfig { on_play: Some(backend.url("play")), timeout_ms: 60_000, ..HooksConfig::default() };
        rest.set_hooks(Some(hooks)).unwrap();
        player.also(2, "slow");
        player.sees(1, 50);
        answers.send(r#"{"action": "deny", "text": "hooks say no"}"#.to_owned()).unwrap();
        player.is_refused("hooks say no");
        // The hook's answer leads to the host's question.
        player.also(3, "slow");
        player.sees(1, 50);
        answers.send(r#"{"rename": "held"}"#.to_owned()).unwrap();
        let session = rig.asked(&mut player, 0);
        player.sees(1, 50);
        rig.server.session_allow(session, as_key("two")).unwrap();
        player.sees(3, 20);
        // No answer comes in time.
        let hooks = HooksConfig { on_play: Some(backend.url("play")), timeout_ms: 1_000, ..HooksConfig::default() };
        rest.set_hooks(Some(hooks)).unwrap();
        player.also(4, "slow");
        player.is_refused("NetStream.Play.Failed");
        [1, 3].into_iter().for_each(|stream_id| {
            player.sees(stream_id, 20);
            player.has_no_gap(stream_id);
        });
    }

    #[test]
    fn what_is_played_goes_on_while_a_controller_is_asked_about_more() {
        let (backend, answers) = back_end(r#"{"action": "relay"}"#);
        let (rig, mut player) = begin(patient());
        let rest = Rest::new(Arc::clone(&rig.server));
        let mut config = ControllerConfig { timeout_ms: 60_000, heartbeat_ms: None, ..ControllerConfig::default() };
        config.set("urls", Setting::Texts(&[backend.url("")])).unwrap();
        rest.set_controller(Some(config)).unwrap();
        player.also(2, "slow");
        player.sees(1, 50);
        answers.send(r#"{"action": "reject", "text": "nobody has it"}"#.to_owned()).unwrap();
        player.is_refused("nobody has it");
        player.also(3, "slow");
        player.sees(1, 50);
        let from = format!(r#"{{"action": "pull", "urls": ["rtmp://127.0.0.1:{}/live/two"]}}"#, rig.port);
        answers.send(from).unwrap();
        player.sees(3, 20);
        player.sees(1, 20);
        player.has_no_gap(1);
    }
}
