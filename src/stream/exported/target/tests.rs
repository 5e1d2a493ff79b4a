//! A state that no target can have is refused with the reason, and a target's state is read back completely.

use super::*;
use crate::fuzzing::snapshot::running_client;

const NOW_MS: u64 = 1_000;

fn read(state: &[u8]) -> Result<ExportedTarget> {
    ExportedTarget::read(&SessionConfig::default(), state, NOW_MS)
}

fn pushing() -> ExportedTarget {
    ExportedTarget::pushing(running_client(true), b"unread")
}

#[test]
fn all_of_a_target_is_read_again() {
    for pause in [Pause::Rests, Pause::Waits(77), Pause::Failed] {
        let target = ExportedTarget::pausing(pause);
        let again = read(&target.state(NOW_MS).unwrap()).unwrap();
        assert!(matches!(again.stage, Stage::Pauses(other) if other == pause));
        assert_eq!(again.about, target.about);
    }
    let target = pushing();
    let again = read(&target.state(NOW_MS).unwrap()).unwrap();
    let (Stage::Pushes(before, push), Stage::Pushes(after, same)) = (&target.stage, &again.stage) else {
        panic!("it pushes")
    };
    assert_eq!((same, &after.unread), (push, &before.unread));
    let login = RtmpUrl { user: Some("me".to_owned()), password: Some("secret".to_owned()), ..before.url.clone() };
    // It is at its second url, which has no login.
    assert_eq!((&after.url, login == after.url), (&before.url, false));
    assert_eq!(again.about, target.about);
    let source = ExportedTarget::pulling(running_client(false), b"unread");
    let again = read(&source.state(NOW_MS).unwrap()).unwrap();
    let (Stage::Pulls(before, pull), Stage::Pulls(after, same)) = (&source.stage, &again.stage) else {
        panic!("it pulls")
    };
    assert_eq!((same, &after.unread), (pull, &before.unread));
    assert_eq!(again.about, source.about);
}

#[test]
fn only_the_host_that_the_settings_name_gets_their_login() {
    for (host, user) in [("h", Some("me")), ("other", None)] {
        let mut target = pushing();
        target.about.history = Backoff::default();
        target.about.config.url = format!("rtmp://me:secret@{host}/live");
        let Stage::Pushes(Connected { url, .. }, _) = read(&target.state(NOW_MS).unwrap()).unwrap().stage else {
            panic!("it pushes")
        };
        assert_eq!((&*url.host, url.user.as_deref(), url.password.is_some()), ("h", user, user.is_some()));
    }
}

#[test]
fn the_url_of_a_target_stays_as_it_is_however_long_it_may_be() {
    let long = format!("rtmp://192.0.2.1/{}", "\u{e9}".repeat(4_000));
    let mut target = ExportedTarget::pausing(Pause::Rests);
    target.about.way.url = shown(&long, URL_BYTES);
    let again = read(&target.state(NOW_MS).unwrap()).unwrap();
    assert_eq!(again.about.way.url, long);
    assert_eq!(shown("a\n\u{e9}b", 2), "a");
}

#[test]
fn a_wait_of_another_process_goes_on_where_this_ones_clock_began_later() {
    let target = ExportedTarget::pausing(Pause::Rests);
    let state = target.about.paused(Pause::Rests, 50_000).unwrap();
    let again = ExportedTarget::read(&SessionConfig::default(), &state, 3).unwrap();
    let state = again.about.paused(Pause::Rests, 10_003).unwrap();
    let later = ExportedTarget::read(&SessionConfig::default(), &state, 60_000).unwrap();
    assert_eq!(later.about.history, target.about.history, "in all, as much time has passed");
}

#[test]
fn what_no_target_has_is_refused_in_words() {
    let refused = |change: fn(&mut ExportedTarget), kind: RRError, words: &str| {
        let mut target = pushing();
        change(&mut target);
        let failure = read(&target.state(NOW_MS).unwrap()).map(drop).unwrap_err();
        assert!(failure.kind == kind && !failure.by_peer && failure.text.contains(words), "{failure}");
    };
    fn pushes(target: &mut ExportedTarget) -> (&mut Connected, &mut MovedPush) {
        match &mut target.stage {
            Stage::Pushes(connected, push) => (connected, push),
            _ => panic!("it pushes"),
        }
    }
    refused(|target| target.about.name.app = b"li\0ve".to_vec(), RRError::Arg, "NUL");
    refused(|target| target.about.config.url.clear(), RRError::Arg, "url");
    refused(|target| target.about.config.queue_ms = 1, RRError::Arg, "queue_ms");
    refused(|target| target.about.config.on_demand = true, RRError::Arg, "on_demand");
    refused(|target| target.about.config.chunk_size = 4096, RRError::Arg, "chunk size");
    refused(|target| target.about.pulls = true, RRError::Unsupported, "for targets");
    refused(|target| target.about.way.addr = "a\nb".to_owned(), RRError::Arg, "address");
    refused(|target| target.about.connects = u32::MAX, RRError::Arg, "so often");
    refused(|target| target.about.failures = u32::MAX, RRError::Arg, "so often");
    refused(|target| target.about.counted.bytes_out = u64::MAX, RRError::Arg, "counters");
    refused(|target| pushes(target).0.unread = vec![0; UNREAD_BYTES + 1], RRError::Limit, "unread");
    refused(|target| pushes(target).1.share.media = 64, RRError::Arg, "kinds");
    refused(
        |target| pushes(target).1.share.place = Some(LogPlace { log: vec![b'a'; 1000], position: 0 }),
        RRError::Arg,
        "no log",
    );
    refused(
        |target| {
            let session = &mut pushes(target).0.session;
            let snapshot = session.snapshot(0).unwrap();
            **session = ClientSession::restore(&SessionConfig::default(), &snapshot, 0).unwrap();
            session.close();
        },
        RRError::Arg,
        "does not do what",
    );
    let mut newer = pushing().state(NOW_MS).unwrap();
    newer[4] += 1;
    assert_eq!(read(&newer).map(drop).unwrap_err().kind, RRError::Version);
    newer.pop();
    newer[4] -= 1;
    assert_eq!(read(&newer).map(drop).unwrap_err().kind, RRError::Arg);
}
