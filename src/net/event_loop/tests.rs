//! Promises of the loop: turns are shared, tasks come and go, a panic stays with its task, and a sleeping task is woken
//! by the right causes.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, bounded, unbounded};

use super::seat::AnySeat;
use super::*;
use crate::error::RRError;
use crate::net::poll::Pulse;
use crate::sync::locked;

/// The record of a task's calls, for the test.
#[derive(Default)]
struct Seen {
    turns: AtomicU64,
    rounds: AtomicU64,
    /// When the last round began.
    round_us: AtomicU64,
    /// Ticks that came by themselves, and those after a nudge.
    ticks: AtomicU64,
    nudges: AtomicU64,
    media: AtomicU64,
    /// Turns for media in other threads.
    media_turns: AtomicU64,
    ended: AtomicBool,
    messages: Mutex<Vec<u32>>,
    panic: Mutex<Option<String>>,
}

/// A message to a task of these tests.
enum Say {
    Number(u32),
    /// A socket to watch under slot 0.
    Watch(Socket),
    /// The socket gets a turn in every round, for more rounds than the test waits for.
    Flood,
    /// Adds media for another task and calls that task.
    Bring(Arc<AtomicU64>, Arc<Wake>),
    /// Adds media for this task at the end of its first round in which it collects no more, and calls it.
    BringAfter(Arc<AtomicU64>, Arc<Wake>),
    /// Adds media for another task of the same loop, and has that task take it.
    Offer(Arc<AtomicU64>, Arc<Wake>),
    Collect(u64),
    /// From now on the task wants ticks or not, and one is due at this time.
    Tick(bool, u64),
    /// What the task does with media in other threads.
    OnMedia(OnMedia),
    /// The task is paused until this is false.
    Pause(Arc<AtomicBool>),
    /// The task does not return from this call as long as the test holds this.
    Hang(Arc<Mutex<()>>),
    /// The task goes so many bytes deep, and tells where its stack is.
    GoDeep(usize, Sender<Stack>),
    Panic,
    End,
}

/// What a task does with media in another thread.
#[derive(Clone, Default)]
enum OnMedia {
    /// It leaves media to its own thread.
    #[default]
    Leave,
    Take,
    /// It takes media, and wants a round at this time, monotonic us.
    TakeUntil(u64),
    /// It collects media for this long, in microseconds, if the caller comes again then.
    Collect(u64),
    /// It stands still until this is false.
    Stand(Arc<AtomicBool>),
    Panic,
}

#[derive(Default)]
struct Probe {
    on_media: OnMedia,
    wants_us: Option<u64>,
    seen: Arc<Seen>,
    media: Arc<AtomicU64>,
    taken: u64,
    socket: Option<Socket>,
    floods: bool,
    wants_ticks: bool,
    tick_by_us: Option<u64>,
    brings_after: Option<(Arc<AtomicU64>, Arc<Wake>)>,
    collects_until_us: Option<u64>,
    paused: Arc<AtomicBool>,
    over: bool,
    at_end: Option<Box<dyn FnOnce() + Send>>,
}

impl Task for Probe {
    type Message = Say;

    const TICK_MS: u64 = 3_600_000;
    const SCRATCH_BYTES: usize = 64;

    fn wants_ticks(&self) -> bool {
        self.wants_ticks
    }

    fn next_timeout(&self) -> Option<u64> {
        self.wants_us
    }

    fn on_media(&mut self, now_us: u64, comes_again: bool) -> bool {
        match &self.on_media {
            OnMedia::Leave => return false,
            OnMedia::Take => {}
            OnMedia::Collect(_) if !comes_again => return false,
            OnMedia::Collect(us) => {
                let until_us = *self.collects_until_us.get_or_insert(now_us + us);
                self.seen.media_turns.fetch_add(1, Ordering::AcqRel);
                if until_us <= now_us {
                    self.collects_until_us = None;
                    self.take_media();
                }
                return true;
            }
            OnMedia::TakeUntil(at_us) => self.wants_us = Some(*at_us),
            OnMedia::Stand(stands) => {
                self.seen.media_turns.fetch_add(1, Ordering::AcqRel);
                while stands.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                return true;
            }
            OnMedia::Panic => {
                self.seen.media_turns.fetch_add(1, Ordering::AcqRel);
                panic!("as expected");
            }
        }
        self.seen.media_turns.fetch_add(1, Ordering::AcqRel);
        self.take_media();
        true
    }

    fn collects_until(&self) -> Option<u64> {
        self.collects_until_us
    }

    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    fn on_message(&mut self, message: Say, io: &mut Io<'_>) {
        match message {
            Say::Number(number) => locked(&self.seen.messages).push(number),
            Say::Watch(mut socket) => {
                io.add(&mut socket, 0).unwrap();
                self.socket = Some(socket);
            }
            Say::Flood => {
                self.floods = true;
                io.again(0);
            }
            Say::Bring(media, wake) => {
                media.fetch_add(1, Ordering::AcqRel);
                wake.wake_for_data();
            }
            Say::BringAfter(media, wake) => self.brings_after = Some((media, wake)),
            Say::Offer(media, wake) => {
                media.fetch_add(1, Ordering::AcqRel);
                wake.turn_for_data(true, false, 0);
            }
            Say::Collect(until_us) => self.collects_until_us = Some(until_us),
            Say::Tick(wants, by_us) => {
                self.wants_ticks = wants;
                self.tick_by_us = Some(by_us);
            }
            Say::OnMedia(on_media) => self.on_media = on_media,
            Say::Pause(paused) => self.paused = paused,
            Say::Hang(held) => drop(locked(&held)),
            Say::GoDeep(bytes, told) => {
                crate::net::stack::go_deep(bytes);
                told.send(Stack::of_caller().unwrap()).unwrap();
            }
            Say::Panic => panic!("as expected"),
            Say::End => self.over = true,
        }
    }

    fn begin_round(&mut self, _ready: &[Ready], io: &mut Io<'_>) {
        self.seen.rounds.fetch_add(1, Ordering::AcqRel);
        self.seen.round_us.store(io.now_us, Ordering::Release);
        self.collects_until_us = self.collects_until_us.filter(|&until_us| io.now_us < until_us);
        self.wants_us = self.wants_us.filter(|&at_us| io.now_us < at_us);
        if self.collects_until().is_none() {
            self.take_media();
        }
    }

    fn on_ready(&mut self, ready: Ready, io: &mut Io<'_>) {
        assert_eq!(ready.slot, 0);
        self.seen.turns.fetch_add(1, Ordering::AcqRel);
        assert_eq!(io.scratch.len(), Self::SCRATCH_BYTES);
        if self.floods {
            io.again(0);
        } else if let Some(socket) = &mut self.socket {
            while socket.read(io.scratch).is_ok_and(|n| n > 0) {}
        }
    }

    fn on_tick(&mut self, nudged: bool, _io: &mut Io<'_>) {
        let count = if nudged { &self.seen.nudges } else { &self.seen.ticks };
        count.fetch_add(1, Ordering::AcqRel);
    }

    fn end_round(&mut self, _inbox: &Receiver<Say>, io: &mut Io<'_>) {
        if self.collects_until().is_none()
            && let Some((media, wake)) = self.brings_after.take()
        {
            media.fetch_add(1, Ordering::AcqRel);
            wake.wake_for_data();
        }
        // The message came with a nudge, whose tick is over now.
        if let Some(by_us) = self.tick_by_us.take() {
            io.tick_by(by_us);
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn on_end(&mut self, inbox: &Receiver<Say>, _io: &mut Io<'_>) {
        assert!(self.over && inbox.is_empty());
        self.at_end.take().into_iter().for_each(|at_end| at_end());
        self.seen.ended.store(true, Ordering::Release);
    }
}

impl Probe {
    fn take_media(&mut self) {
        self.taken = self.media.load(Ordering::Acquire);
        self.seen.media.store(self.taken, Ordering::Release);
    }
}

/// A task as the test sees it.
struct Handle {
    seen: Arc<Seen>,
    media: Arc<AtomicU64>,
    inbox: Sender<Say>,
    wake: Arc<Wake>,
}

impl Handle {
    /// Makes a probe and its handle; `add` gives the probe to a loop.
    fn new(wake: Arc<Wake>, add: impl FnOnce(Probe, Receiver<Say>, Arc<Wake>, OnPanic)) -> Self {
        let probe = Probe::default();
        let (seen, media) = (Arc::clone(&probe.seen), Arc::clone(&probe.media));
        let told = Arc::clone(&seen);
        let on_panic = move |text: &str| *locked(&told.panic) = Some(text.to_owned());
        let (inbox, receiver) = unbounded();
        add(probe, receiver, Arc::clone(&wake), Box::new(on_panic));
        Self { seen, media, inbox, wake }
    }

    fn on(event_loop: &mut EventLoop) -> Self {
        Self::new(event_loop.wake().unwrap(), |probe, inbox, wake, on_panic| {
            event_loop.add(probe, inbox, wake, on_panic)
        })
    }

    fn say(&self, what: Say) {
        self.inbox.send(what).unwrap();
        self.wake.wake();
    }

    /// Has a tick due in a moment, and waits for it while `meanwhile` is called.
    fn ticks_when_due(&self, wants: bool, meanwhile: impl Fn()) {
        let ticks = || self.seen.ticks.load(Ordering::Acquire);
        let before = ticks();
        let due_us = clock::now_us() + 50_000;
        self.say(Say::Tick(wants, due_us));
        until("the order is there", || self.inbox.is_empty());
        until("the tick comes", || {
            meanwhile();
            ticks() > before
        });
        assert!(clock::now_us() >= due_us, "and not at once");
    }

    fn bring_media(&self) {
        self.media.fetch_add(1, Ordering::AcqRel);
        self.wake.wake_for_data();
    }

    /// Brings media, and offers to do the task's work for it.
    fn offer_media(&self) {
        self.media.fetch_add(1, Ordering::AcqRel);
        self.wake.turn_for_data(false, false, 0);
    }

    /// Sets what the task does with media in this thread, and brings media until it has done that, so that it sleeps.
    fn falls_asleep(&self, on_media: OnMedia) {
        self.say(Say::OnMedia(on_media));
        until("the order is there", || self.inbox.is_empty());
        let before = self.seen.media_turns.load(Ordering::Acquire);
        // A socket may just wake it; then this calls it, and it sleeps again later.
        until("it sleeps", || {
            self.wake.finds_sleep() && {
                self.offer_media();
                self.seen.media_turns.load(Ordering::Acquire) > before
            }
        });
    }

    fn has_ended(&self) -> bool {
        self.seen.ended.load(Ordering::Acquire)
    }

    /// Gives the task a socket to watch, and returns the other end.
    fn give_socket(&self) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        self.say(Say::Watch(Socket::adopt(OwnedFd::from(ours)).unwrap()));
        listener.accept().unwrap().0
    }
}

fn run(event_loop: EventLoop) -> JoinHandle<()> {
    std::thread::spawn(move || event_loop.run())
}

fn until(what: &str, is: impl Fn() -> bool) {
    let began_us = clock::now_us();
    while !is() {
        assert!(clock::now_us() - began_us < 60_000_000, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_thread_that_sleeps_or_pauses_goes_on_and_one_that_hangs_does_not() {
    let mut event_loop = EventLoop::new().unwrap();
    let (task, other) = (Handle::on(&mut event_loop), Handle::on(&mut event_loop));
    let thread = run(event_loop);
    let paused = Arc::new(AtomicBool::new(true));
    task.say(Say::Pause(Arc::clone(&paused)));
    // It has nothing to do, and no deadline.
    for _ in 0..100 {
        let pulse = task.wake.pulse();
        until("it goes on", || pulse.has_passed());
    }
    assert_eq!(task.seen.nudges.load(Ordering::Acquire), 0, "nobody has left an order");
    let held = Arc::new(Mutex::new(()));
    let holds = locked(&held);
    other.say(Say::Hang(Arc::clone(&held)));
    until("it has begun to hang", || other.inbox.is_empty());
    let pulses = [&task, &other].map(|handle| handle.wake.pulse());
    std::thread::sleep(Duration::from_millis(100));
    assert!(pulses.iter().all(|pulse| !pulse.has_passed()));
    drop(holds);
    until("it goes on", || pulses.iter().all(Pulse::has_passed));
    let pulse = task.wake.pulse();
    paused.store(false, Ordering::Release);
    [&task, &other].into_iter().for_each(|handle| handle.say(Say::End));
    thread.join().unwrap();
    assert!(pulse.has_passed() && task.wake.pulse().has_passed(), "one that has ended is nobody to wait for");
}

#[test]
fn a_paused_task_does_nothing_and_misses_nothing() {
    let mut event_loop = EventLoop::new().unwrap();
    let (task, other) = (Handle::on(&mut event_loop), Handle::on(&mut event_loop));
    let thread = run(event_loop);
    let mut socket = task.give_socket();
    let paused = Arc::new(AtomicBool::new(true));
    task.say(Say::OnMedia(OnMedia::Take));
    task.say(Say::Number(1));
    task.say(Say::Pause(Arc::clone(&paused)));
    task.say(Say::Number(2));
    until("it is paused", || task.inbox.len() == 1);
    let turns = task.seen.turns.load(Ordering::Acquire);
    socket.write_all(b"media").unwrap();
    task.bring_media();
    task.offer_media();
    // The loop goes on with others meanwhile, round after round.
    for number in 0..3 {
        other.say(Say::Number(number));
        until("the other one has its turn", || locked(&other.seen.messages).len() > number as usize);
        task.offer_media();
    }
    assert_eq!((locked(&task.seen.messages).clone(), task.seen.turns.load(Ordering::Acquire)), (vec![1], turns));
    assert_eq!(task.seen.media.load(Ordering::Acquire), 0, "nobody does its work either");
    paused.store(false, Ordering::Release);
    task.wake.wake();
    until("the message is there", || locked(&task.seen.messages).len() == 2);
    until("the socket has its turn", || task.seen.turns.load(Ordering::Acquire) > turns);
    until("so has media", || task.seen.media.load(Ordering::Acquire) == 5);
    [task, other].iter().for_each(|task| task.say(Say::End));
    thread.join().unwrap();
}

#[test]
fn tasks_of_one_loop_have_their_own_sockets_under_the_same_slots() {
    let mut event_loop = EventLoop::new().unwrap();
    let tasks = [Handle::on(&mut event_loop), Handle::on(&mut event_loop)];
    let thread = run(event_loop);
    let mut peers = [tasks[0].give_socket(), tasks[1].give_socket()];
    let turns = |task: usize| tasks[task].seen.turns.load(Ordering::Acquire);
    // A new socket is writable.
    until("each hears of its socket", || turns(0) > 0 && turns(1) > 0);
    let before = [turns(0), turns(1)];
    peers[1].write_all(b"for the second").unwrap();
    until("the second hears of it", || turns(1) > before[1]);
    assert_eq!(turns(0), before[0], "the first does not");
    tasks.iter().for_each(|task| task.say(Say::End));
    thread.join().unwrap();
    assert!(tasks.iter().all(Handle::has_ended));
}

#[test]
fn a_flood_in_one_task_leaves_the_others_their_turns() {
    let mut event_loop = EventLoop::new().unwrap();
    let (flooded, other) = (Handle::on(&mut event_loop), Handle::on(&mut event_loop));
    let thread = run(event_loop);
    flooded.say(Say::Flood);
    until("it floods", || flooded.seen.turns.load(Ordering::Acquire) > 1_000);
    for number in 0..100 {
        other.say(Say::Number(number));
    }
    until("the other has all of them", || locked(&other.seen.messages).len() == 100);
    assert!(locked(&other.seen.messages).iter().copied().eq(0..100));
    let (turns, rounds) = (flooded.seen.turns.load(Ordering::Acquire), flooded.seen.rounds.load(Ordering::Acquire));
    assert!(turns <= rounds + 1, "{turns} turns in {rounds} rounds");
    flooded.say(Say::End);
    other.say(Say::End);
    thread.join().unwrap();
}

#[test]
fn a_panic_ends_only_its_task() {
    let mut event_loop = EventLoop::new().unwrap();
    let (falls, lives) = (Handle::on(&mut event_loop), Handle::on(&mut event_loop));
    let thread = run(event_loop);
    let mut peer = falls.give_socket();
    falls.say(Say::Panic);
    until("the panic is told", || locked(&falls.seen.panic).is_some());
    assert_eq!(locked(&falls.seen.panic).as_deref(), Some("as expected"));
    assert!(std::io::Read::read(&mut peer, &mut [0; 8]).is_ok_and(|n| n == 0), "what it held is closed");
    assert!(!falls.has_ended(), "a task that has panicked is not asked for an orderly end");
    lives.say(Say::Number(7));
    until("the other goes on", || *locked(&lives.seen.messages) == [7]);
    lives.say(Say::End);
    thread.join().unwrap();
    assert!(lives.has_ended());
}

#[test]
fn tasks_are_added_to_a_loop_that_runs_and_leave_by_themselves() {
    let mut event_loop = EventLoop::with_room(200).unwrap();
    let handle = event_loop.handle().unwrap();
    let thread = run(event_loop);
    let tasks: Vec<Handle> = (0..100)
        .map(|_| {
            Handle::new(handle.wake().unwrap(), |probe, inbox, wake, on_panic| {
                until("there is room", || handle.has_room());
                handle.add(probe, inbox, wake, on_panic).unwrap();
            })
        })
        .collect();
    for (task, number) in tasks.iter().zip(0..) {
        task.say(Say::Number(number));
        until("it runs", || *locked(&task.seen.messages) == [number]);
        task.say(Say::End);
        until("it leaves", || task.has_ended());
    }
    assert!(!thread.is_finished(), "more may come");
    drop(handle);
    thread.join().unwrap();
}

#[test]
fn whoever_adds_a_task_to_a_loop_that_ends_since_it_cannot_wait_learns_so() {
    let mut event_loop = EventLoop::new().unwrap();
    let handle = Arc::new(event_loop.handle().unwrap());
    let adder = {
        let handle = Arc::clone(&handle);
        move |at_end: Option<Box<dyn FnOnce() + Send>>| {
            let probe = Probe { over: true, at_end, ..Probe::default() };
            let seen = Arc::clone(&probe.seen);
            let running = handle.add(probe, unbounded().1, handle.wake().unwrap(), Box::new(|_| {}));
            (running, seen)
        }
    };
    let (late, result) = bounded(1);
    let add = adder.clone();
    let (before, seen) = adder(Some(Box::new(move || late.send(add(None).0.map(drop)).unwrap())));
    event_loop.poller.spoil();
    run(event_loop).join().unwrap();
    before.unwrap().wait();
    assert!(seen.ended.load(Ordering::Acquire), "a task that was there, or on its way, ends in order");
    assert_eq!(result.recv().unwrap().unwrap_err().kind, RRError::Limit, "while the loop ends");
    assert_eq!(adder(None).0.unwrap_err().kind, RRError::Limit, "and after that");
    assert!(handle.has_ended());
}

#[test]
fn a_task_that_another_one_of_its_loop_calls_has_its_turn_in_the_same_round() {
    let mut event_loop = EventLoop::new().unwrap();
    let tasks = [Handle::on(&mut event_loop), Handle::on(&mut event_loop)];
    let mut round = || {
        event_loop.wait().unwrap();
        event_loop.round();
    };
    round();
    for (caller, called) in [(0, 1), (1, 0)] {
        let (caller, called) = (&tasks[caller], &tasks[called]);
        caller.say(Say::Bring(Arc::clone(&called.media), Arc::clone(&called.wake)));
        round();
        assert_eq!(called.seen.media.load(Ordering::Acquire), 1);
        assert_eq!(caller.seen.media.load(Ordering::Acquire), caller.media.load(Ordering::Acquire));
    }
    assert!(tasks.iter().all(|task| task.seen.rounds.load(Ordering::Acquire) == 3), "nobody has a turn without reason");
}

#[test]
fn a_task_takes_media_of_another_one_of_its_loop_in_that_ones_turn() {
    let mut event_loop = EventLoop::new().unwrap();
    let (brings, takes) = (Handle::on(&mut event_loop), Handle::on(&mut event_loop));
    let mut round = || {
        event_loop.wait().unwrap();
        event_loop.round();
    };
    takes.say(Say::OnMedia(OnMedia::Take));
    round();
    let count = |of: &AtomicU64| of.load(Ordering::Acquire);
    let offer = || brings.say(Say::Offer(Arc::clone(&takes.media), Arc::clone(&takes.wake)));
    for media in 1..=3 {
        offer();
        round();
        assert_eq!((count(&takes.seen.media_turns), count(&takes.seen.media)), (media, media));
    }
    assert_eq!(count(&takes.seen.rounds), 1, "it needs no round for that");
    takes.say(Say::OnMedia(OnMedia::Leave));
    round();
    offer();
    round();
    assert_eq!((count(&takes.seen.media_turns), count(&takes.seen.media), count(&takes.seen.rounds)), (3, 4, 3));
}

#[test]
fn what_was_collected_costs_one_round() {
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    event_loop.wait().unwrap();
    event_loop.round();
    task.say(Say::Collect(clock::now_us() + 1_000));
    while task.seen.media.load(Ordering::Acquire) == 0 {
        event_loop.wait().unwrap();
        event_loop.round();
        (0..2).for_each(|_| task.bring_media());
    }
    assert!(event_loop.again.is_empty(), "it has looked for media after all of it had come");
}

#[test]
fn media_that_comes_once_a_task_has_looked_for_what_it_collected_has_a_round_of_its_own() {
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    let round = |event_loop: &mut EventLoop| {
        event_loop.wait().unwrap();
        event_loop.round();
    };
    round(&mut event_loop);
    task.say(Say::Collect(clock::now_us() + 1_000));
    task.say(Say::BringAfter(Arc::clone(&task.media), Arc::clone(&task.wake)));
    (0..2).for_each(|_| round(&mut event_loop));
    let media = || [&task.media, &task.seen.media].map(|media| media.load(Ordering::Acquire));
    assert_eq!((media(), event_loop.again.len()), ([1, 0], 1), "it came after the look");
    round(&mut event_loop);
    assert_eq!(media(), [1, 1]);
}

#[test]
fn media_wakes_a_task_unless_it_collects_and_an_order_always_does() {
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    let thread = run(event_loop);
    let rounds = || task.seen.rounds.load(Ordering::Acquire);
    for media in 1..=1_000 {
        task.bring_media();
        until("media wakes it", || task.seen.media.load(Ordering::Acquire) == media);
    }
    task.say(Say::Collect(clock::now_us() + 3_600_000_000));
    task.say(Say::Number(1));
    until("both have come", || !locked(&task.seen.messages).is_empty());
    // The current round ends first; then the task sleeps.
    until("it sleeps", || task.wake.finds_sleep());
    let before = rounds();
    (0..1_000).for_each(|_| task.bring_media());
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(rounds(), before, "it collects");
    let nudges = task.seen.nudges.load(Ordering::Acquire);
    task.wake.wake();
    until("an order wakes it", || task.seen.nudges.load(Ordering::Acquire) > nudges);
    task.say(Say::Collect(clock::now_us() + 5_000));
    until("the time it collects for ends by itself", || task.seen.media.load(Ordering::Acquire) == 2_000);
    task.say(Say::End);
    thread.join().unwrap();
    assert!(task.has_ended());
}

#[test]
fn a_tick_comes_earlier_where_the_task_has_a_deadline_before_it() {
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    let thread = run(event_loop);
    task.say(Say::Tick(true, clock::now_us() + 3_600_000_000));
    until("the order is there", || task.seen.nudges.load(Ordering::Acquire) > 0);
    // That is an hour early.
    task.ticks_when_due(true, || {});
    task.say(Say::End);
    thread.join().unwrap();
}

#[test]
fn a_tick_comes_with_a_round_once_it_is_due_and_wakes_the_thread_only_an_eighth_later() {
    const TICK_US: u64 = Probe::TICK_MS * 1000;
    let poller = Poller::new(1).unwrap();
    let probe = Probe { wants_ticks: true, ..Probe::default() };
    let seen = Arc::clone(&probe.seen);
    let (_inbox, receiver) = unbounded();
    let mut seat = Seat::new(probe, receiver, poller.wake().unwrap(), Box::new(|_| {}), None);
    let mut round = |now_us: u64| {
        let wakes_us = seat.round(now_us, &mut Vec::new(), poller.watch(0), &mut [0; Probe::SCRATCH_BYTES]);
        (seen.ticks.load(Ordering::Acquire), wakes_us)
    };
    let wakes_us = TICK_US / 8 * 9;
    assert_eq!(round(1_000), (1, Some(1_000 + wakes_us)));
    assert_eq!(round(999 + TICK_US), (1, Some(1_000 + wakes_us)));
    assert_eq!(round(1_000 + TICK_US), (2, Some(1_000 + TICK_US + wakes_us)));
    assert_eq!(round(1_000 + TICK_US + wakes_us), (3, Some(1_000 + TICK_US + 2 * wakes_us)));
}

#[test]
fn media_is_taken_by_the_thread_that_brings_it_while_the_task_sleeps() {
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    let thread = run(event_loop);
    task.falls_asleep(OnMedia::Take);
    let (rounds, turns) = (task.seen.rounds.load(Ordering::Acquire), task.seen.media_turns.load(Ordering::Acquire));
    for media in 1..=1_000 {
        task.offer_media();
        assert_eq!(task.seen.media_turns.load(Ordering::Acquire), turns + media);
        assert_eq!(task.seen.media.load(Ordering::Acquire), task.media.load(Ordering::Acquire));
    }
    assert_eq!(task.seen.rounds.load(Ordering::Acquire), rounds, "its own thread sleeps on");
    task.say(Say::OnMedia(OnMedia::Leave));
    until("the order is there", || task.seen.rounds.load(Ordering::Acquire) > rounds);
    task.offer_media();
    until("media that it leaves wakes it", || {
        task.seen.media.load(Ordering::Acquire) == task.media.load(Ordering::Acquire)
    });
    task.say(Say::End);
    thread.join().unwrap();
}

#[test]
fn a_deadline_that_a_turn_in_another_thread_makes_is_kept() {
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    let thread = run(event_loop);
    for _ in 0..20 {
        let due_us = clock::now_us() + 5_000;
        task.falls_asleep(OnMedia::TakeUntil(due_us));
        until("a round at that time", || task.seen.round_us.load(Ordering::Acquire) >= due_us);
    }
    task.say(Say::End);
    thread.join().unwrap();
}

#[test]
fn the_time_of_a_task_that_collects_is_kept_by_the_caller_that_comes_again() {
    const HOUR_US: u64 = 3_600_000_000;
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    let round = |event_loop: &mut EventLoop| {
        event_loop.wait().unwrap();
        event_loop.round();
    };
    let tick_us = clock::now_us() + 10 * HOUR_US;
    task.say(Say::Tick(true, tick_us));
    task.say(Say::OnMedia(OnMedia::Collect(HOUR_US)));
    round(&mut event_loop);
    // The tick's own time is an hour.
    let own_us = event_loop.deadlines.first();
    let offer = |comes_again, now_us| {
        task.media.fetch_add(1, Ordering::AcqRel);
        task.wake.turn_for_data(true, comes_again, now_us)
    };
    let turns = || task.seen.media_turns.load(Ordering::Acquire);
    let until_us = offer(true, 0).unwrap();
    assert_eq!((offer(true, until_us - 1), turns()), (Some(until_us), 1), "it collects");
    task.wake.wake();
    round(&mut event_loop);
    let tick_us = event_loop.deadlines.first();
    assert!(tick_us != until_us && tick_us >= own_us, "its own thread does not wake for that");
    assert_eq!((offer(true, until_us), turns()), (Some(until_us), 2), "at that time it has a turn");
    task.wake.leave();
    round(&mut event_loop);
    assert_eq!(event_loop.deadlines.first(), until_us, "the caller does not come again");
    assert_eq!((offer(false, 0), turns()), (None, 2), "nor does this one");
    assert_eq!((offer(true, 0), turns()), (Some(until_us), 3));
}

#[test]
fn a_task_that_collects_is_called_where_it_leaves_a_turn_to_its_own_thread() {
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    let thread = run(event_loop);
    task.say(Say::Collect(clock::now_us() + 3_600_000_000));
    task.say(Say::Number(1));
    until("both have come", || !locked(&task.seen.messages).is_empty());
    let rounds = || task.seen.rounds.load(Ordering::Acquire);
    let before = rounds();
    // The round of the messages may come to its end first; after it the thread sleeps.
    until("two further rounds", || {
        assert_eq!(task.wake.turn_for_data(false, true, 0), None);
        rounds() >= before + 2
    });
    task.say(Say::End);
    thread.join().unwrap();
}

#[test]
fn a_tick_that_nobody_wants_comes_with_media_when_it_is_due() {
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    let thread = run(event_loop);
    task.falls_asleep(OnMedia::Take);
    task.ticks_when_due(false, || task.offer_media());
    task.say(Say::End);
    thread.join().unwrap();
}

#[test]
fn only_the_tasks_own_thread_waits_while_another_one_does_its_work() {
    let mut event_loop = EventLoop::new().unwrap();
    let task = Arc::new(Handle::on(&mut event_loop));
    let thread = run(event_loop);
    let stands = Arc::new(AtomicBool::new(true));
    let standing = std::thread::spawn({
        let (task, stands) = (Arc::clone(&task), Arc::clone(&stands));
        move || task.falls_asleep(OnMedia::Stand(stands))
    });
    until("it stands", || task.seen.media_turns.load(Ordering::Acquire) == 1);
    let rounds = task.seen.rounds.load(Ordering::Acquire);
    let other = std::thread::spawn({
        let task = Arc::clone(&task);
        move || task.offer_media()
    });
    until("another one that brings media does not wait", || other.is_finished());
    assert_eq!(task.seen.rounds.load(Ordering::Acquire), rounds, "its own thread does");
    assert!(task.seen.media.load(Ordering::Acquire) < task.media.load(Ordering::Acquire));
    stands.store(false, Ordering::Release);
    until("then it has all", || task.seen.media.load(Ordering::Acquire) == task.media.load(Ordering::Acquire));
    standing.join().unwrap();
    task.say(Say::End);
    thread.join().unwrap();
}

#[test]
fn a_panic_in_another_thread_ends_the_task_and_not_that_thread() {
    let mut event_loop = EventLoop::new().unwrap();
    let (falls, lives) = (Handle::on(&mut event_loop), Handle::on(&mut event_loop));
    let thread = run(event_loop);
    let mut peer = falls.give_socket();
    falls.falls_asleep(OnMedia::Panic);
    let rounds = falls.seen.rounds.load(Ordering::Acquire);
    (0..100).for_each(|_| falls.offer_media());
    until("the panic is told", || locked(&falls.seen.panic).is_some());
    assert_eq!(locked(&falls.seen.panic).as_deref(), Some("as expected"));
    assert!(std::io::Read::read(&mut peer, &mut [0; 8]).is_ok_and(|n| n == 0), "what it held is closed");
    assert_eq!(falls.seen.media_turns.load(Ordering::Acquire), 1, "nobody goes on with it");
    assert_eq!(falls.seen.rounds.load(Ordering::Acquire), rounds, "its own thread neither");
    assert!(!falls.has_ended());
    lives.say(Say::Number(7));
    until("the other goes on", || *locked(&lives.seen.messages) == [7]);
    lives.say(Say::End);
    thread.join().unwrap();
}

/// The depth of a hand-over stays in nobody's memory: a stream has two threads, and each takes a few connections over.
#[test]
fn a_thread_gives_back_what_its_tasks_have_used_of_the_stack_for_messages() {
    const DEEP_BYTES: usize = 512 * 1024;
    let mut event_loop = EventLoop::new().unwrap();
    let task = Handle::on(&mut event_loop);
    let thread = run(event_loop);
    let (tell, told) = unbounded();
    for _ in 0..3 {
        task.say(Say::GoDeep(DEEP_BYTES, tell.clone()));
        let stack = told.recv().unwrap();
        until("it is given back", || stack.resident_bytes() < DEEP_BYTES / 2);
        assert!(stack.resident_bytes() > 0);
    }
    task.say(Say::End);
    thread.join().unwrap();
}
