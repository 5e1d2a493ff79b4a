//! The hooks' decision about a session goes with it to another server, whose hooks are asked about the result of that
//! decision.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, Weak};

use super::gone::without_threads;
use super::live::{Live, command, connect, handshake, shaken, until};
use crate::config::{Decision, ServerConfig, TargetConfig, ask};
use crate::error::{Failure, RRError};
use crate::proto::amf0::Value;
use crate::server::hooks::{Hooks, Question, Wanted};
use crate::server::inbox::{ToDialler, ToListener};
use crate::server::place::Patience;
use crate::server::{ListenOptions, RRRestOut, slots};
use crate::stream::RRStream;
use crate::stream::event::{EventKind, Id};
use crate::stream::record::{Caller, Export, RRSession};

/// Hooks that keep what they are asked.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<Question>>);

impl Hooks for Asked {
    fn ask(&self, question: Question) -> Option<Patience> {
        let asks = question.wanted != Wanted::Connect;
        asks.then(|| self.0.lock().unwrap().push(question))?;
        Some(Patience { by_ms: u64::MAX, allow: false })
    }
    fn began(&self, _: &Arc<RRSession>, _: &RRStream, _: bool, _: bool) {}
    fn ended(&self, _: &RRSession, _: Id) {}
    fn over(&self, _: &RRSession, _: &Failure) {}
    fn moved(&self, _: &RRSession) {}
}

impl Asked {
    fn of(live: &Live) -> Arc<Self> {
        let asked = Arc::new(Self::default());
        live.server.set_hooks(Arc::<Self>::clone(&asked));
        asked
    }

    /// The one question so far, once there is one.
    fn question(&self) -> Question {
        until("hooks are asked", || !self.0.lock().unwrap().is_empty());
        self.0.lock().unwrap().remove(0)
    }
}

/// Allows the session of this question, on these terms.
fn answer(live: &Live, question: &Question, decision: Decision) {
    let allow = RRRestOut::Allow { session: question.session.id, decision: Box::new(decision) };
    live.server.answer_question(question.number, allow).unwrap();
}

/// The session whose question the host has, once there is one.
fn asks(live: &Live) -> Id {
    until("the host is asked", || !live.events_of(EventKind::PublishAsk).is_empty());
    live.events_of(EventKind::PublishAsk)[0].session
}

fn asking() -> Live {
    Live::new(ServerConfig { ask: ask::PUBLISH, ask_ms: u32::MAX, ..ServerConfig::default() })
}

fn publish(live: &Live) -> TcpStream {
    let mut socket = shaken(live.port);
    begin(&mut socket);
    socket
}

fn begin(socket: &mut TcpStream) {
    let values = [Value::Null, Value::String(b"show"), Value::String(b"live")];
    let publish = command(1, "publish", 3.0, &values);
    let all = [connect(), command(0, "createStream", 2.0, &[Value::Null]), publish].concat();
    socket.write_all(&all).unwrap();
}

#[test]
fn the_name_that_hooks_gave_goes_with_the_session_and_the_next_hooks_may_give_another() {
    for renamed_again in [false, true] {
        let (here, there) = (asking(), Live::new(ServerConfig::default()));
        let (hooks_here, hooks_there) = (Asked::of(&here), Asked::of(&there));
        let _peer = publish(&here);
        let question = hooks_here.question();
        let failure = here.server.session_export(question.session.id, 1 << 20).map(drop).unwrap_err();
        assert_eq!(failure.kind, RRError::State, "only hooks are asked so far");
        answer(&here, &question, Decision { rename: Some(b"first".to_vec()), ..Decision::default() });
        let Export::Gone { fd, state } = here.server.session_export(asks(&here), 1 << 20).unwrap() else {
            panic!("there was room")
        };
        there.server.session_import(fd, &state).unwrap();
        let question = hooks_there.question();
        assert_eq!(question.wanted, Wanted::Publish { kind: b"live".to_vec() });
        let names = question.session.names();
        assert_eq!((&names.key[..], &names.key_asked[..]), (&b"first"[..], &b"show"[..]));
        let second = renamed_again.then(|| b"second".to_vec());
        let key = second.clone().unwrap_or_else(|| b"first".to_vec());
        answer(&there, &question, Decision { rename: second, ..Decision::default() });
        until("it publishes", || there.server.stream_find(b"live", &key).is_ok());
        assert_eq!(question.session.names().key_asked, b"show");
    }
}

#[test]
fn a_session_whose_stream_hooks_gave_targets_stays_with_them() {
    let live = asking();
    let hooks = Asked::of(&live);
    let _peer = publish(&live);
    let question = hooks.question();
    let target = TargetConfig { url: "rtmp://127.0.0.1:1/live".to_owned(), ..TargetConfig::default() };
    answer(&live, &question, Decision { targets: vec![target], ..Decision::default() });
    let session = asks(&live);
    let failure = live.server.session_export(session, 1 << 20).map(drop).unwrap_err();
    assert!(failure.kind == RRError::Unsupported && failure.text.contains("targets"), "{failure}");
    live.server.session_allow(session, Decision::default()).unwrap();
    until("it has its target", || live.server.list(0, slots::kind::TARGET).unwrap().len() == 1);
}

#[test]
fn a_session_goes_on_whatever_the_host_calls_its_address() {
    for name in ["a\nb".to_owned(), "ä".repeat(2000)] {
        let (here, there) = (asking(), Live::new(ServerConfig::default()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let fd = listener.accept().unwrap().0.into();
        here.server.accept_fd(fd, Some(&name), ListenOptions::default()).unwrap();
        handshake(&mut peer);
        begin(&mut peer);
        let Export::Gone { fd, state } = here.server.session_export(asks(&here), 1 << 20).unwrap() else {
            panic!("there was room")
        };
        there.server.session_import(fd, &state).unwrap();
        until("it publishes", || there.server.stream_find(b"live", b"show").is_ok());
    }
}

#[test]
fn nobody_who_was_handed_over_is_lost_because_an_inbox_is_full() {
    let here = asking();
    let stream = here.server.stream_create(b"live", b"pushed", None).unwrap();
    let target = TargetConfig { url: "rtmp://127.0.0.1:1/live".to_owned(), ..TargetConfig::default() };
    here.server.target_add(stream, target).unwrap();
    let _peer = publish(&here);
    asks(&here);
    // Its threads take nothing.
    let (there, inboxes) = without_threads(ServerConfig::default());
    while there.core.to_listener(ToListener::Offer { verdict: Arc::default(), caller: Caller::new().0 }).is_ok() {}
    while there.core.to_dialler(ToDialler::Target(Weak::new())).is_ok() {}
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| there.take_over(theirs.into(), 30_000));
        here.server.hand_over(ours.into(), 30_000, 30_000).unwrap();
        let (mut sessions, mut targets, mut listeners) = (0, 0, 0);
        until("all have come", || {
            for arrival in inboxes.listener.try_iter() {
                sessions += u32::from(matches!(arrival, ToListener::Imported(..)));
                listeners += u32::from(matches!(arrival, ToListener::Listener(..)));
            }
            for arrival in inboxes.dialler.try_iter() {
                targets += u32::from(matches!(arrival, ToDialler::Target(target) if target.upgrade().is_some()));
            }
            (sessions, targets, listeners) == (1, 1, 1)
        });
        taking.join().unwrap().unwrap();
    });
}
