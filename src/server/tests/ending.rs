//! A stream that ends while something of its name is wanted.

use std::sync::Arc;

use super::live::{Live, until};
use crate::config::{ServerConfig, StreamConfig};
use crate::proto::message::kind;

#[test]
fn a_stream_that_is_made_while_another_of_its_name_ends_is_a_new_one() {
    let stream = StreamConfig { queue_bytes: 1 << 30, queue_ms: 600_000, ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() });
    let first = live.server.stream_create(b"live", b"show", None).unwrap();
    let mut late = live.play("show");
    let picture = [&[0x17, 1, 0, 0, 0][..], &[7; 200_000]].concat();
    live.server.stream_write(first, kind::VIDEO, 0, &picture, false).unwrap();
    late.message();
    // More than its socket takes: it keeps the stream until it has read.
    (0..100).for_each(|_| live.server.stream_write(first, kind::VIDEO, 0, &picture, false).unwrap());
    live.server.stream_stop(first, 600_000).unwrap();

    let given = live.server.stream_create(b"live", b"show", Some(StreamConfig::default())).unwrap();
    assert!(given != first && live.server.info(first).is_ok(), "the first one is still there");
    let known = live.server.stream_create(b"live", b"show", None).unwrap();
    assert_eq!((known, live.server.stream_find(b"live", b"show").unwrap()), (given, given));
    let mut player = live.play("show");
    live.server.stream_write(given, kind::VIDEO, 0, &[0x17, 1, 0, 0, 0, 1], false).unwrap();
    assert!(player.message().1.ends_with(&[1]));
    (0..100).for_each(|_| assert_eq!(late.message().1, picture));
    until("the first one has ended", || live.server.info(first).is_err());
    assert_eq!(live.server.stream_find(b"live", b"show").unwrap(), given);
}
