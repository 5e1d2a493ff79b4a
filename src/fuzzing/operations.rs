//! Operations on a whole server, in any order: peers connect, publish, play, send garbage and leave, while the host
//! closes, exports, switches, writes, stops, and adds targets and sources.
//!
//! The input is a setup byte and a list of operations of three bytes: the operation, its object, an amount. Peers are
//! unix sockets handed in by `accept_fd`; every second target or source connects to the server itself over loopback.
//! The checks are guarantees to hosts: no panic, every object's events in order with one end, nothing left at the end,
//! and an end in time.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{ClockMode, Decision, PublisherPolicy, ServerConfig, StreamConfig, TargetConfig};
use crate::error::{RRError, Result};
use crate::log::LevelFilter;
use crate::proto::amf0::Value;
use crate::proto::chunk_write::encode;
use crate::proto::command::build::{self, Hello};
use crate::proto::message::{MessageHead, kind};
use crate::server::slots::kind as objects;
use crate::server::{Export, ListenOptions, RRServer};
use crate::session::State;
use crate::stream::event::{Event, EventKind, Id, flag};

/// Operations of one run; they bound its time.
const MAX_OPERATIONS: usize = 96;

/// Peers of one run.
const MAX_PEERS: usize = 16;

/// Targets of one run.
const MAX_TARGETS: usize = 8;

/// Longest time that a server may take to end.
const END: Duration = Duration::from_secs(20);

const KEYS: [&str; 3] = ["a", "b", "c"];

/// A peer's end of a connection. It never waits: bytes that the server does not take are dropped.
struct Wire {
    socket: UnixStream,
    time_ms: u32,
}

impl Wire {
    fn send(&mut self, type_id: u8, stream_id: u32, body: &[u8]) {
        let len = u32::try_from(body.len()).expect("small bodies");
        let head = MessageHead { timestamp_ms: self.time_ms, type_id, stream_id, len, chunk_stream: 3 };
        let mut wire = Vec::new();
        encode(&head, body, 128, &mut wire);
        self.raw(&wire);
    }

    fn raw(&mut self, bytes: &[u8]) {
        // On a full or closed socket the server gets half a message, as real peers may send.
        let _ = self.socket.write(bytes);
    }

    fn call(&mut self, stream_id: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let mut body = Vec::new();
        write(&mut body);
        self.send(kind::COMMAND, stream_id, &body);
    }

    /// Sends handshake, `connect` and `createStream`, all at once.
    fn greet(&mut self) {
        let mut handshake = vec![0; 1 + 2 * 1536];
        handshake[0] = 3;
        self.raw(&handshake);
        let hello = Hello { app: b"live", tc_url: "rtmp://h/live", publish: true, caps_ex: 1, asks_via: false };
        self.call(0, |body| build::connect(body, 1.0, &hello));
        self.call(0, |body| build::call(body, "createStream", 2.0, &[Value::Null]));
    }

    fn media(&mut self, what: u8, amount: usize) {
        self.time_ms = self.time_ms.wrapping_add(if what == 0xFF { 5_000 } else { u32::from(what) });
        let body = vec![what; amount];
        match what % 5 {
            0 => self.send(kind::VIDEO, 1, &[&[0x17, 0, 0, 0, 0, 1][..], &body[..amount.min(40)]].concat()),
            1 => self.send(kind::VIDEO, 1, &[&[0x17, 1, 0, 0, 0][..], &body].concat()),
            2 => self.send(kind::VIDEO, 1, &[&[0x27, 1, 0, 0, 0][..], &body].concat()),
            3 => self.send(kind::AUDIO, 1, &[&[0xAF, 1][..], &body].concat()),
            _ => self.send(kind::DATA, 1, b"\x02\0\x0a"),
        }
    }

    fn read(&mut self) {
        let mut scratch = [0; 4096];
        let _ = self.socket.read(&mut scratch);
    }
}

/// A server with its peers.
struct World {
    server: RRServer,
    port: u16,
    wires: Vec<Wire>,
    targets: usize,
    story: Story,
}

impl World {
    fn new(setup: u8) -> Self {
        let policies = [PublisherPolicy::Reject, PublisherPolicy::Takeover, PublisherPolicy::Standby];
        let stream = StreamConfig {
            publisher_policy: policies[usize::from(setup) % 3],
            grace_ms: if setup & 4 == 0 { 0 } else { 5 },
            clock: if setup & 8 == 0 { ClockMode::Pass } else { ClockMode::Repair },
            merge_ms: if setup & 16 == 0 { 0 } else { 2 },
            gop_bytes: 64 * 1024,
            ..StreamConfig::default()
        };
        let config = ServerConfig {
            stream: Arc::new(stream),
            ask: if setup & 32 == 0 { 0 } else { 6 },
            ask_ms: 20,
            ask_default_allow: setup & 64 == 0,
            mem_limit_bytes: (setup & 128 != 0).then_some(1 << 20),
            // There is room for every event, so none is folded and all are checked.
            event_limit: 1 << 20,
            ..ServerConfig::default()
        };
        let server = RRServer::new(config, LevelFilter::Off, None).expect("a server");
        let port = server.listen("127.0.0.1:0", ListenOptions::default()).expect("a free port");
        Self { server, port, wires: Vec::new(), targets: 0, story: Story::default() }
    }

    fn come(&mut self) {
        if self.wires.len() >= MAX_PEERS {
            self.wires.remove(0);
        }
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket's flag");
        self.server.accept_fd(OwnedFd::from(theirs), Some("peer"), ListenOptions::default()).expect("it is taken");
        let mut wire = Wire { socket: ours, time_ms: 0 };
        wire.greet();
        self.wires.push(wire);
    }

    /// One of the live objects of a kind; 0 if there is none.
    fn object(&self, kind: u8, which: usize) -> Id {
        let ids = self.server.list(0, kind).expect("lists of the server");
        ids.get(which % ids.len().max(1)).copied().unwrap_or(0)
    }

    fn wire(&mut self, which: usize) -> Option<&mut Wire> {
        let count = self.wires.len().max(1);
        self.wires.get_mut(which % count)
    }

    fn target(&mut self, stream: Id, which: usize) {
        if self.targets >= MAX_TARGETS {
            return;
        }
        self.targets += 1;
        let config = self.way(which);
        // The stream may have ended by now.
        let _ = if which & 0x80 == 0 {
            self.server.target_add(stream, TargetConfig { on_demand: false, ..config })
        } else {
            self.server.source_add(stream, config)
        };
    }

    /// Settings of a target or a source.
    fn way(&self, which: usize) -> TargetConfig {
        // Port 1 refuses connections; the other port is the server's own.
        let port = if which.is_multiple_of(2) { 1 } else { self.port };
        TargetConfig {
            url: format!("rtmp://127.0.0.1:{port}/live/{}", KEYS[which / 2 % KEYS.len()]),
            retry_min_ms: 1,
            retry_max_ms: 4,
            retry_count: which.is_multiple_of(3).then_some(2),
            on_demand: which & 0x40 != 0,
            ..TargetConfig::default()
        }
    }

    /// Does one operation. The server may refuse it: operations come in any order.
    fn operate(&mut self, what: u8, who: u8, amount: u8) {
        let (which, many) = (usize::from(who), usize::from(amount));
        let key = KEYS[many % KEYS.len()];
        match what % 20 {
            0 => self.come(),
            1 | 2 => {
                let Some(wire) = self.wire(which) else { return self.come() };
                wire.call(1, |body| build::publish(body, 3.0, key.as_bytes()));
            }
            3 | 4 => {
                let Some(wire) = self.wire(which) else { return self.come() };
                wire.call(1, |body| build::play(body, 4.0, key.as_bytes()));
            }
            5..=8 => {
                let Some(wire) = self.wire(which) else { return self.come() };
                wire.media(amount, many * 40);
            }
            9 => {
                let Some(wire) = self.wire(which) else { return };
                wire.call(0, |body| build::call(body, "deleteStream", 0.0, &[Value::Null, Value::Number(1.0)]));
                wire.call(0, |body| build::call(body, "createStream", 2.0, &[Value::Null]));
            }
            10 => {
                let Some(wire) = self.wire(which) else { return };
                wire.raw(&[what, who, amount]);
            }
            11 if !self.wires.is_empty() => drop(self.wires.remove(which % self.wires.len())),
            12 => {
                let Some(wire) = self.wire(which) else { return };
                wire.read();
            }
            13 => drop(self.server.session_close(self.object(objects::SESSION, which), "kicked", 0)),
            14 => {
                let stream = self.object(objects::STREAM, many);
                drop(self.server.stream_switch(stream, self.object(objects::SESSION, which)));
            }
            15 => drop(self.server.stream_create(b"live", key.as_bytes(), None)),
            16 => {
                let body = [&[if amount & 1 == 0 { 0x17 } else { 0x27 }, 1, 0, 0, 0][..], &vec![who; many]].concat();
                let stream = self.object(objects::STREAM, which);
                drop(self.server.stream_write(stream, kind::VIDEO, many as i64 * 10, &body, amount >= 0xF0));
            }
            17 => {
                let stream = self.object(objects::STREAM, which);
                self.target(stream, many);
            }
            18 if amount < 0x80 => drop(self.server.stream_stop(self.object(objects::STREAM, which), amount.into())),
            18 if amount < 0xC0 => drop(self.server.target_stop(self.object(objects::TARGET, which), amount.into())),
            18 if amount < 0xD0 => drop(self.server.target_retry(self.object(objects::TARGET, which))),
            18 => drop(self.server.target_update(self.object(objects::TARGET, which), self.way(many))),
            19 if amount & 1 == 0 => std::thread::sleep(Duration::from_micros(u64::from(who) * 10)),
            19 => {
                let session = self.object(objects::SESSION, which);
                let rename = (amount & 2 != 0).then(|| b"b".to_vec());
                drop(match amount & 12 {
                    0 => self.server.session_deny(session, "", "no"),
                    4 => self.server.session_redirect(session, "rtmp://h/live"),
                    8 => self.export(session, which),
                    _ => {
                        let media = u32::from(who) & crate::config::media::ALL;
                        self.server.session_allow(session, Decision { rename, media, ..Decision::default() })
                    }
                });
            }
            _ => {}
        }
    }

    /// Exports a session that waits for an answer, and imports it into the same server, into one that refuses it, or
    /// nowhere.
    fn export(&self, session: Id, which: usize) -> Result<()> {
        let Export::Gone { fd, mut state } = self.server.session_export(session, which << 6)? else { return Ok(()) };
        match which % 8 {
            0 => return Ok(()),
            1 => state.truncate(which),
            _ => {}
        }
        self.server.session_import(fd, &state)
    }

    /// Takes the server's events, as a host does.
    fn listen(&mut self) {
        while let Ok(Some(event)) = self.server.next_event(0) {
            self.story.tell(&event);
        }
    }

    /// Ends the server and checks its events.
    fn end(mut self) {
        let started = Instant::now();
        self.server.shutdown().expect("this is no callback");
        assert!(started.elapsed() < END, "the end took {:?}", started.elapsed());
        self.listen();
        self.story.end();
        for kind in [objects::STREAM, objects::SESSION, objects::TARGET] {
            assert_eq!(self.server.list(0, kind).expect("lists of the server"), [0; 0], "left of kind {kind}");
        }
        let figures = self.server.stats(0).expect("figures of the server");
        assert_eq!(figures.queue_bytes, 0, "memory is left charged");
        assert_eq!(self.server.state(), State::Stopped);
        let life = self.server.life();
        drop(self.server);
        assert_eq!(life.strong_count(), 0, "something still holds the freed server");
    }
}

/// The last state of each object by its events, and whether it has ended.
#[derive(Default)]
struct Story {
    objects: HashMap<Id, (State, bool)>,
    /// A session's later question has replaced one that was not taken, so one of its changes of state is missing.
    folded: bool,
}

impl Story {
    fn tell(&mut self, event: &Event) {
        assert_ne!(event.error, Some(RRError::Panic), "{event:?}");
        self.folded |= event.kind == EventKind::Overflow;
        let id = match event.kind {
            EventKind::Stream => event.stream,
            EventKind::Session => event.session,
            // A question moves the session to the waiting state.
            EventKind::ConnectAsk | EventKind::PublishAsk | EventKind::PlayAsk => event.session,
            EventKind::Target => event.target,
            _ => return,
        };
        let (state, over) = self.objects.get(&id).copied().unwrap_or((State::None, false));
        assert!(!over, "after its last event: {event:?}");
        assert!(self.folded || state == event.prev, "it was {state:?} before {event:?}");
        self.objects.insert(id, (event.state, event.flags & flag::LAST != 0));
    }

    fn end(&self) {
        for (id, (state, over)) in &self.objects {
            assert!(over, "{id:#x} has not ended, it is {state:?}");
        }
    }
}

/// Fuzz body: after any operations of peers and host, in any order, a server stops properly and in time, with nothing
/// left and with complete events of each object.
///
/// # Panics
/// If a check fails.
pub fn operations(data: &[u8]) {
    let Some((&setup, rest)) = data.split_first() else { return };
    let mut world = World::new(setup);
    for operation in rest.chunks_exact(3).take(MAX_OPERATIONS) {
        world.operate(operation[0], operation[1], operation[2]);
        world.listen();
    }
    world.end();
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::fuzzing::XorShift;

    #[test]
    fn a_server_keeps_its_promises_whatever_is_done_to_it_in_any_order() {
        let mut random = XorShift::new(13);
        let (start, mut runs) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(3) || runs < 20 {
            let len = 1 + 3 * (1 + random.below(MAX_OPERATIONS));
            let input: Vec<u8> = (0..len).map(|_| random.number() as u8).collect();
            let run = std::panic::AssertUnwindSafe(|| operations(&input));
            assert!(std::panic::catch_unwind(run).is_ok(), "run {runs} of the seeded list: {input:?}");
            runs += 1;
        }
    }
}
