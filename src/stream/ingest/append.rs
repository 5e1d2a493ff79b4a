//! A message on its way into the log: what is marked on it, what is taken off it, and what is counted.

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::net::clock;
use crate::proto::flv;
use crate::proto::message::{MessageHead, kind};
use crate::stream::event::{Event, EventKind};
use crate::stream::front::RRStream;
use crate::stream::log::buffer::{Entry, RRBuffer};
use crate::stream::log::segment::flag;
use crate::stream::tracks;

/// Appends one message to the log, as consumers are to get it: data messages bare, everything verbatim.
pub(in crate::stream) fn append(
    stream: &RRStream,
    buffer: &mut RRBuffer,
    head: &MessageHead,
    facts: &flv::FrameFacts,
    body: &[u8],
    now_us: u64,
) -> Result<()> {
    let mut flags = 0;
    for (fact, bit) in [
        (facts.key, flag::KEY),
        (facts.seq_start, flag::SEQ),
        (facts.metadata || facts.side_config, flag::META),
        (facts.set_data_frame, flag::SET_DATA_FRAME),
    ] {
        if fact {
            flags |= bit;
        }
    }
    let entry =
        Entry { ts_ms: head.timestamp_ms, type_id: head.type_id, flags, track: facts.track, arrival_us: now_us };
    match flv::strip_set_data_frame(head.type_id, body) {
        // An AMF3 data message keeps its leading 0.
        Some(bare) if head.type_id == kind::DATA_AMF3 => {
            buffer.append(&entry, &[body.get(..1).unwrap_or_default(), body.get(bare..).unwrap_or_default()])?;
        }
        Some(bare) => buffer.append(&entry, &[body.get(bare..).unwrap_or_default()])?,
        None => buffer.append(&entry, &[body])?,
    }
    count(stream, head, facts, body, now_us);
    Ok(())
}

fn count(stream: &RRStream, head: &MessageHead, facts: &flv::FrameFacts, body: &[u8], now_us: u64) {
    let (counters, bytes) = (stream.stats().incoming(), body.len() as u64);
    counters.message_in(head.type_id, bytes, tracks::of_picture(head.type_id, facts, body), now_us);
    counters.bytes_in.add(bytes);
    counters.rate_in.add(bytes, now_us);
    counters.time(head.timestamp_ms, facts.is_key_frame(head.type_id));
    counters.last_media_us.store(clock::wall_us(), Ordering::Relaxed);
    let media = matches!(head.type_id, kind::AUDIO | kind::VIDEO);
    tell_tracks(stream, media && stream.tracks.note(head.type_id, facts, body), now_us);
}

/// Tells the host that tracks are new or have other codecs, if they are and it has not just been told often.
pub(in crate::stream) fn tell_tracks(stream: &RRStream, changed: bool, now_us: u64) {
    if stream.tracks.tells(changed, now_us) {
        let text = stream.tracks.text().into_bytes();
        stream.upcalls().event(Event { text, ..stream.event(EventKind::Tracks) });
    }
}
