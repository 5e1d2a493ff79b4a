//! The state of a stream may have gigabytes, so whoever waits for it makes it, and not a thread that others share.

use super::live::{Live, until};
use crate::config::ServerConfig;
use crate::server::StreamExport;
use crate::stream::exported::stream::{ExportedStream, ToExport};
use crate::stream::record::Caller;

#[test]
fn a_state_is_made_by_whoever_waits_for_it_and_the_loop_of_its_stream_goes_on() {
    let live = Live::new(ServerConfig { threads: Some(1), ..ServerConfig::default() });
    let (mut publisher, mut neighbour) = (live.publish("show"), live.publish("neighbour"));
    let (mut player, mut neighbours) = (live.play("show"), live.play("neighbour"));
    publisher.key_frame(0, b"in the state").unwrap();
    assert!(player.message().1.ends_with(b"in the state"));
    let stream = live.server.stream(live.server.stream_find(b"live", b"show").unwrap()).unwrap();

    let parts = || {
        let (caller, wait) = Caller::new();
        stream.export(1 << 20, caller).unwrap();
        match wait.outcome(|| false) {
            Some(Ok(ToExport::Parts(parts))) => parts,
            other => panic!("{other:?}"),
        }
    };
    let (first, second) = (parts(), parts());
    // Neither is made. Both streams go on, and what comes now is not in the state.
    neighbour.key_frame(0, b"meanwhile").unwrap();
    assert!(neighbours.message().1.ends_with(b"meanwhile"));
    publisher.key_frame(40, b"after it").unwrap();
    assert!(player.message().1.ends_with(b"after it"));
    until("all is in the log", || stream.logged() == 2);

    let StreamExport::State(state) = first.export(1 << 20).unwrap() else { panic!("there is room") };
    ExportedStream::read(&state).unwrap();
    let has = |words: &[u8]| state.windows(words.len()).any(|part| part == words);
    assert_eq!((has(b"in the state"), has(b"after it")), (true, false));
    let StreamExport::Needs(needs) = second.export(state.len() - 1).unwrap() else { panic!("there is no room") };
    assert!((state.len()..state.len() + 64).contains(&needs), "{needs}");
}
