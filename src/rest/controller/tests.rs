//! Questions and what is done with answers, with a controller in memory in the place of that by HTTP.

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::config::{ServerConfig, TargetConfig};
use crate::log::LevelFilter;
use crate::proto::message;
use crate::rest::controller::matters::{Open, Step};
use crate::rest::controller::memory::LOSS_PAUSE;
use crate::rest::controller::question::{Load, Pending};
use crate::server::ListenOptions;
use crate::session::{ClientSession, SessionConfig};

/// The longest any step may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives the answers of a list, and keeps what it was asked; without an answer left it is silent.
#[derive(Default)]
struct InMemory {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Question>>,
}

impl Controller for InMemory {
    fn next<'a>(&'a self, question: &'a Question) -> Pending<'a, Result<Answer>> {
        locked(&self.asked).push(question.clone());
        let answer = locked(&self.answers).pop_front();
        Box::pin(async move { answer.ok_or_else(|| Failure::peers(RRError::Timeout, "silent")) })
    }

    fn heartbeat<'a>(&'a self, _: &'a Heartbeat) -> Pending<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

struct Rig {
    server: Arc<RRServer>,
    memory: Arc<InMemory>,
    running: NextThread,
}

impl Rig {
    fn new() -> Self {
        let server = Arc::new(RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap());
        let memory = Arc::<InMemory>::default();
        let controller: Arc<dyn Controller> = Arc::<InMemory>::clone(&memory);
        let setup = Setup::new(controller, settings(60_000));
        let running = NextThread::with(&server, setup).unwrap();
        Self { server, memory, running }
    }

    fn desk(&self) -> &Arc<Desk> {
        self.running.0.desk()
    }

    fn matters(&self) -> MutexGuard<'_, HashMap<Matter, Open>> {
        self.desk().matters.table()
    }

    fn asked(&self) -> usize {
        locked(&self.memory.asked).len()
    }

    fn targets(&self, stream: Id) -> Vec<Id> {
        self.server.list(stream, kind::TARGET).unwrap()
    }

    fn answers(&self, deed: Deed) {
        locked(&self.memory.answers).push_back(Answer { deed, ttl: Duration::from_millis(100) });
    }
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let by = std::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < by, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Settings of one controller.
fn settings(timeout_ms: u32) -> ControllerConfig {
    let urls = vec!["http://127.0.0.1:9".to_owned()];
    ControllerConfig { urls, timeout_ms, heartbeat_ms: None, ..ControllerConfig::default() }
}

fn target(url: &str) -> TargetConfig {
    TargetConfig { url: url.to_owned(), of_controller: true, ..TargetConfig::default() }
}

fn placing(number: u64) -> Placing {
    let name = StreamName { app: b"live".to_vec(), key: b"show".to_vec() };
    Placing { number, session: 1, name, publishes: true }
}

#[test]
fn a_silent_controller_is_asked_again_while_the_stream_goes_on() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    rig.server.stream_write(stream, message::kind::VIDEO, 0, &[0x17, 1, 0, 0, 0], false).unwrap();
    assert!(Placement::ask(&**rig.desk(), placing(1)).is_some_and(|patience| patience.allow));
    until("it was silent", || rig.asked() == 1);
    rig.answers(Deed::Wait);
    rig.answers(Deed::Relay(vec![target("rtmp://127.0.0.1:9/a"), target("rtmp://127.0.0.1:9/b")]));
    until("both are opened", || rig.targets(stream).len() == 2);
    until("the matter is closed", || rig.matters().keys().all(|of| matches!(of, Matter::Lost(_))));
    // Nobody listens there, and nobody is asked in vain: they go on trying by themselves.
    until("both losses were asked about in silence", || rig.matters().len() == 2 && rig.asked() >= 5);
    let tries = || rig.targets(stream).iter().map(|id| rig.server.stats(*id).unwrap().failures).min();
    until("both are tried again", || tries() >= Some(2));
    assert_eq!(rig.targets(stream).len(), 2);
}

#[test]
fn a_stream_that_has_ended_is_asked_about_no_more() {
    let rig = Rig::new();
    rig.answers(Deed::Wait);
    assert!(Placement::ask(&**rig.desk(), placing(1)).is_some());
    until("it was asked", || rig.asked() == 1);
    until("the matter is closed", || rig.matters().is_empty());
    assert_eq!(rig.asked(), 1);
}

#[test]
fn many_who_wait_share_a_question_and_a_new_publisher_is_asked_about_at_once() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    rig.server.stream_write(stream, message::kind::VIDEO, 0, &[0x17, 1, 0, 0, 0], false).unwrap();
    locked(&rig.memory.answers).push_back(Answer { deed: Deed::Wait, ttl: Duration::from_secs(3_600) });
    assert!(Placement::ask(&**rig.desk(), placing(1)).is_some());
    let sleeps = || rig.matters().values().any(|open| open.step == Step::Sleeps);
    until("the question sleeps", || rig.asked() == 1 && sleeps());
    rig.answers(Deed::Relay(Vec::new()));
    assert!(Placement::ask(&**rig.desk(), placing(2)).is_some());
    until("it is asked and closed", || rig.asked() == 2 && rig.matters().is_empty());
}

#[test]
fn a_stream_that_has_ended_is_not_kept_until_it_was_to_be_asked_about_again() {
    let rig = Rig::new();
    locked(&rig.memory.answers).push_back(Answer { deed: Deed::Wait, ttl: Duration::from_secs(3_600) });
    assert!(Placement::ask(&**rig.desk(), placing(1)).is_some());
    until("it was asked", || rig.asked() == 1);
    until("the matter is closed", || rig.matters().is_empty());
}

/// A desk that asks in an hour what players wait for who came with the stream from another process.
fn comes_with_players() -> Rig {
    let rig = Rig::new();
    rig.desk().came(placing(1).name, 3_600_000);
    assert_eq!(rig.matters().len(), 1);
    rig
}

#[test]
fn a_new_player_of_a_stream_of_another_process_is_asked_about_at_once() {
    let rig = comes_with_players();
    rig.answers(Deed::Reject("no".to_owned()));
    assert!(Placement::ask(&**rig.desk(), Placing { publishes: false, ..placing(1) }).is_some());
    until("it is asked and closed", || rig.asked() == 1 && rig.matters().is_empty());
}

#[test]
fn other_controllers_are_asked_at_once_about_a_stream_of_another_process() {
    let rig = comes_with_players();
    rig.running.change(settings(59_000)).unwrap();
    until("it is looked after and closed, as nobody waits", || rig.matters().is_empty());
}

/// Somebody who plays the stream at the moment at which an answer about it is told.
struct Late {
    desk: Arc<Desk>,
    asked: Mutex<Option<bool>>,
}

impl Subscriber for Late {
    fn tell(&self, event: &Event) {
        let mut asked = locked(&self.asked);
        if event.kind == EventKind::Next && asked.is_none() {
            *asked = Some(Placement::ask(&*self.desk, Placing { publishes: false, ..placing(2) }).is_some());
        }
    }
}

#[test]
fn a_session_that_comes_while_an_answer_is_carried_out_causes_a_new_question() {
    let rig = Rig::new();
    let late = Arc::new(Late { desk: Arc::clone(rig.desk()), asked: Mutex::default() });
    let subscriber: Arc<dyn Subscriber> = Arc::<Late>::clone(&late);
    rig.server.subscribe(&subscriber);
    rig.answers(Deed::Reject("no".to_owned()));
    rig.answers(Deed::Reject("no".to_owned()));
    assert!(Placement::ask(&**rig.desk(), Placing { publishes: false, ..placing(1) }).is_some());
    until("the answer is told", || locked(&late.asked).is_some());
    assert_eq!(*locked(&late.asked), Some(true), "it waits for an answer of its own");
    until("both were asked about", || rig.asked() == 2 && rig.matters().is_empty());
}

#[test]
fn relays_that_are_lost_at_once_are_asked_about_with_pauses() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    rig.server.stream_write(stream, message::kind::VIDEO, 0, &[0x17, 1, 0, 0, 0], false).unwrap();
    for n in 0..12 {
        rig.answers(Deed::Relay(vec![target(&format!("rtmp://127.0.0.1:9/{n}"))]));
    }
    let began = std::time::Instant::now();
    assert!(Placement::ask(&**rig.desk(), placing(1)).is_some());
    rig.running.ask(&rig.server, stream, "moved").unwrap();
    until("many were lost", || rig.asked() >= 10);
    assert!(began.elapsed() >= 2 * LOSS_PAUSE);
}

#[test]
fn a_relay_that_is_named_again_however_often_it_fails_is_tried_with_growing_pauses() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    rig.server.stream_write(stream, message::kind::VIDEO, 0, &[0x17, 1, 0, 0, 0], false).unwrap();
    // Nobody listens there, and each failure is one for good.
    let fails = TargetConfig { retry_count: Some(0), ..target("rtmp://127.0.0.1:9/a") };
    for _ in 0..6 {
        rig.answers(Deed::Relay(vec![fails.clone()]));
    }
    let began = std::time::Instant::now();
    rig.running.ask(&rig.server, stream, "moved").unwrap();
    // The host's question, that about the first failure, and four with pauses of 1, 2, 4 and 8 times the shortest.
    until("it has failed often", || rig.asked() >= 6);
    assert!(began.elapsed() >= 15 * LOSS_PAUSE, "{:?}", began.elapsed());
}

#[test]
fn a_relay_that_has_failed_and_is_named_again_is_tried_again_as_it_is_named_now() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    rig.server.stream_write(stream, message::kind::VIDEO, 0, &[0x17, 1, 0, 0, 0], false).unwrap();
    // Nobody listens there.
    rig.answers(Deed::Relay(vec![TargetConfig { retry_count: Some(0), user: 7, ..target("rtmp://127.0.0.1:9/a") }]));
    rig.running.ask(&rig.server, stream, "moved").unwrap();
    until("it has failed for good, and that was asked about in silence", || rig.asked() >= 2);
    let [id] = rig.targets(stream)[..] else { panic!() };
    until("it is seen to have failed", || rig.server.info(id).unwrap().state == State::Failed);
    rig.answers(Deed::Relay(vec![target("rtmp://127.0.0.1:9/a")]));
    until("it is tried again", || rig.server.stats(id).unwrap().failures >= 2);
    let config = rig.server.target_config(id).unwrap();
    assert_eq!((config.retry_count, config.user, rig.targets(stream)), (None, 7, vec![id]));
}

#[test]
fn the_controllers_relays_stand_before_all_others_in_its_order() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    let own = TargetConfig { of_controller: false, ..target("rtmp://127.0.0.1:9/own") };
    rig.server.target_add(stream, own).unwrap();
    let relays = [target("rtmp://127.0.0.1:9/a"), target("rtmp://127.0.0.1:9/b")];
    rig.server.stream_open(stream, &relays, &[], None).unwrap();
    let stream = rig.server.stream_named(&placing(1).name).unwrap();
    let urls = stream.book().targets().into_iter().map(|target| target.endpoint().config.url.clone());
    let expected = ["rtmp://127.0.0.1:9/a", "rtmp://127.0.0.1:9/b", "rtmp://127.0.0.1:9/own"];
    assert_eq!(urls.collect::<Vec<_>>(), expected);
}

#[test]
fn relays_that_are_named_for_a_lost_one_stand_in_its_place() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    let book = rig.server.stream_named(&placing(1).name).unwrap();
    let urls = || {
        let targets = book.book().targets();
        targets.iter().map(|target| target.endpoint().config.url.clone()).collect::<Vec<_>>().join(" ")
    };
    let opens = |names: &[&str], instead_of: Option<&str>| {
        let relays: Vec<_> = names.iter().map(|name| target(&format!("rtmp://{name}"))).collect();
        let lost = instead_of.map(|name| {
            let targets = book.book().targets();
            targets.iter().find(|target| target.endpoint().config.url.ends_with(name)).unwrap().id
        });
        rig.server.stream_open(stream, &relays, &[], lost).unwrap();
    };
    let own = TargetConfig { of_controller: false, ..target("rtmp://h/own") };
    rig.server.target_add(stream, own).unwrap();
    opens(&["h/a", "h/b", "h/c"], None);
    for (names, lost, becomes) in [
        (&["h/d"][..], "h/a", "h/d h/b h/c h/own"),
        (&["h/e", "h/f"], "h/b", "h/d h/e h/f h/c h/own"),
        (&["h/c", "h/g"], "h/d", "h/g h/e h/f h/c h/own"),
        // What is named again stays where it was named.
        (&["h/i", "h/f", "h/j"], "h/f", "h/g h/e h/i h/f h/j h/c h/own"),
        (&["h/c", "h/k"], "h/c", "h/g h/e h/i h/f h/j h/c h/k h/own"),
        (&[], "h/g", "h/e h/i h/f h/j h/c h/k h/own"),
    ] {
        opens(names, Some(lost));
        let becomes = becomes.replace("h/", "rtmp://h/");
        until(&format!("{becomes} and not {}", urls()), || urls() == becomes);
    }
}

/// Answers when it is told to.
struct Slow {
    asked: std::sync::atomic::AtomicBool,
    answers: Notify,
    deed: Deed,
}

impl Slow {
    fn new(deed: Deed) -> Arc<Self> {
        Arc::new(Self { asked: Default::default(), answers: Notify::new(), deed })
    }
}

impl Controller for Slow {
    fn next<'a>(&'a self, _: &'a Question) -> Pending<'a, Result<Answer>> {
        self.asked.store(true, std::sync::atomic::Ordering::Release);
        Box::pin(async {
            self.answers.notified().await;
            Ok(Answer { deed: self.deed.clone(), ttl: Duration::from_secs(3_600) })
        })
    }

    fn heartbeat<'a>(&'a self, _: &'a Heartbeat) -> Pending<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

#[test]
fn an_answer_that_comes_late_is_not_taken_for_that_of_other_controllers() {
    let rig = Rig::new();
    let slow = Slow::new(Deed::Relay(Vec::new()));
    rig.desk().change(Setup::new(Arc::<Slow>::clone(&slow), settings(59_000)));
    assert!(Placement::ask(&**rig.desk(), placing(1)).is_some());
    until("it was asked", || slow.asked.load(std::sync::atomic::Ordering::Acquire));
    rig.desk().change(Setup::new(Arc::<InMemory>::clone(&rig.memory), settings(58_000)));
    slow.answers.notify_one();
    until("the answer is carried out", || rig.matters().is_empty());
    let Placing { name, .. } = placing(1);
    let question = Question { why: Why::Publish, name, load: Load::default(), tried: Vec::new() };
    assert_eq!(rig.desk().setup().memory().answer(&question), None);
}

/// A publisher that keeps the rules, once it is let in.
fn publish(port: u16) -> std::net::TcpStream {
    use std::io::{Read, Write};
    let url = RtmpUrl::parse(&format!("rtmp://127.0.0.1:{port}/live/show"), None).unwrap();
    let mut session = ClientSession::publish(&SessionConfig::default(), &url, 0).unwrap();
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = vec![0; 4096];
    while !session.started() {
        socket.write_all(&session.take_output()).unwrap();
        let n = socket.read(&mut buffer).unwrap();
        assert_ne!(n, 0, "it is let in");
        let mut at = 0;
        while session.next(&buffer[..n], &mut at, 0).unwrap().is_some() {}
    }
    socket
}

#[test]
fn an_answer_that_comes_after_the_publisher_was_let_in_still_opens_its_relays() {
    for deed in [Deed::Relay(vec![target("rtmp://127.0.0.1:9/a")]), Deed::Reject("no".to_owned())] {
        let rig = Rig::new();
        let events = Arc::<AnswerEvents>::default();
        let subscriber: Arc<dyn Subscriber> = Arc::<AnswerEvents>::clone(&events);
        rig.server.subscribe(&subscriber);
        let port = rig.server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
        let slow = Slow::new(deed.clone());
        rig.desk().change(Setup::new(Arc::<Slow>::clone(&slow), settings(0)));
        let publisher = publish(port);
        assert!(slow.asked.load(std::sync::atomic::Ordering::Acquire));
        slow.answers.notify_one();
        until("an event reports the answer", || !locked(&events.0).is_empty());
        let stream = rig.server.stream_find(b"live", b"show").unwrap();
        let event = locked(&events.0).remove(0);
        match deed {
            Deed::Relay(_) => assert_eq!((event.error, rig.targets(stream).len()), (None, 1)),
            _ => assert_eq!(
                String::from_utf8_lossy(&event.text),
                "publish: the publisher was let in before the answer came"
            ),
        }
        drop(publisher);
    }
}

/// Keeps the events about answers.
#[derive(Default)]
struct AnswerEvents(Mutex<Vec<Event>>);

impl Subscriber for AnswerEvents {
    fn tell(&self, event: &Event) {
        if event.kind == EventKind::Next {
            locked(&self.0).push(event.clone());
        }
    }
}

#[test]
fn other_controllers_are_asked_at_once_about_what_rests_and_hear_nothing_of_the_answers_before() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    rig.server.stream_write(stream, message::kind::VIDEO, 0, &[0x17, 1, 0, 0, 0], false).unwrap();
    rig.desk().setup().memory().note_tried(&placing(1).name, "rtmp://127.0.0.1:9/a".to_owned());
    locked(&rig.memory.answers).push_back(Answer { deed: Deed::Wait, ttl: Duration::from_secs(3_600) });
    assert!(Placement::ask(&**rig.desk(), placing(1)).is_some());
    until("the question sleeps", || rig.matters().values().any(|open| open.step == Step::Sleeps));
    let other = Arc::<InMemory>::default();
    locked(&other.answers).push_back(Answer { deed: Deed::Relay(Vec::new()), ttl: Duration::ZERO });
    rig.desk().change(Setup::new(Arc::<InMemory>::clone(&other), settings(59_000)));
    until("it is asked and closed", || rig.matters().is_empty());
    let tried = |memory: &InMemory| locked(&memory.asked).iter().map(|asked| asked.tried.len()).collect::<Vec<_>>();
    assert_eq!((tried(&rig.memory), tried(&other)), (vec![1], vec![0]));
}

#[test]
fn settings_that_are_set_again_keep_the_answers_and_let_what_rests_rest() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    rig.server.stream_write(stream, message::kind::VIDEO, 0, &[0x17, 1, 0, 0, 0], false).unwrap();
    let question = |key: &[u8]| {
        let name = StreamName { app: b"live".to_vec(), key: key.to_vec() };
        Question { why: Why::Publish, name, load: Load::default(), tried: Vec::new() }
    };
    let answer = Answer { deed: Deed::Relay(Vec::new()), ttl: Duration::from_secs(3_600) };
    rig.desk().setup().memory().keep(&question(b"other"), &answer);
    locked(&rig.memory.answers).push_back(Answer { deed: Deed::Wait, ttl: Duration::from_secs(3_600) });
    assert!(Placement::ask(&**rig.desk(), placing(1)).is_some());
    until("the question sleeps", || rig.matters().values().any(|open| open.step == Step::Sleeps));

    rig.running.change(settings(60_000)).unwrap();
    assert_eq!(rig.desk().setup().memory().answer(&question(b"other")), Some(answer));
    assert!(!rig.desk().matters.is_wanted_at_once(&Matter::Publish(placing(1).name.path())));

    rig.running.change(settings(59_000)).unwrap();
    assert_eq!(rig.desk().setup().memory().answer(&question(b"other")), None);
}

#[test]
fn a_failed_url_is_reported_as_the_controller_named_it() {
    let [first, second] =
        ["rtmp://u:p@a.example:1935/live/key?x=1", "rtmps://B.example/live?auth=1"].map(str::to_owned);
    let config = TargetConfig { backup_urls: vec![second.clone()], ..target(&first) };
    for (shown, named) in [
        ("rtmp://a.example/live", &first),
        ("rtmps://B.example/live?auth=1&challenge=2", &second),
        ("rtmp://elsewhere.example/live", &first),
    ] {
        assert_eq!(named_as(&config, shown.as_bytes()), *named, "{shown}");
    }
}

#[test]
fn the_end_of_the_server_ends_what_is_asked() {
    let Rig { server, memory, running } = Rig::new();
    let life = server.life();
    locked(&memory.answers).push_back(Answer { deed: Deed::Wait, ttl: Duration::from_secs(3_600) });
    assert!(Placement::ask(&**running.0.desk(), placing(1)).is_some());
    until("it was asked", || locked(&memory.asked).len() == 1);
    drop(running);
    drop(server);
    until("nothing is left", || life.upgrade().is_none());
}
