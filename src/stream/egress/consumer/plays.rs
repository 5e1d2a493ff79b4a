//! The other plays on a consumer's connection: their messages between its own, and changes of hands.

use std::mem;
use std::sync::Arc;

use super::{Consumer, Place};
use crate::error::Result;
use crate::session;
use crate::stream::egress::guest::Play;
use crate::stream::egress::join::Waits;
use crate::stream::front::RRStream;
use crate::stream::peer::RRSession;

impl Consumer {
    /// Puts what the other plays have into `out`; true where that is anything. One that is over is told so.
    pub(super) fn send_plays(&mut self, now_us: u64) -> Result<bool> {
        let (mut any, mut ended) = (false, Vec::new());
        for play in &mut self.plays {
            let brought = play.encode(&mut self.out)?;
            any |= brought.any;
            self.others = (self.others.0 + brought.bytes, self.others.1 + brought.messages);
            self.tally.sent(0, brought.messages, now_us, self.who.counters());
            if brought.over {
                ended.push(play.stream_id);
            }
        }
        self.plays.retain(|play| !ended.contains(&play.stream_id));
        for stream_id in &ended {
            if let Some(session) = self.conn.server() {
                session.end_play(*stream_id);
            }
        }
        Ok(any || !ended.is_empty())
    }

    /// Pause and the like of another play.
    pub(in crate::stream) fn tell_play(&mut self, event: &session::Event) {
        for play in &mut self.plays {
            match event {
                session::Event::Pause { stream_id, on, .. } if *stream_id == play.stream_id => play.pause(*on),
                session::Event::Receive { stream_id, audio, video } if *stream_id == play.stream_id => {
                    play.receive(*audio, *video);
                }
                _ => {}
            }
        }
    }

    /// As a guest of its stream, for a connection that goes elsewhere.
    pub(in crate::stream) fn make_guest(&mut self, stream: &Arc<RRStream>, record: &Arc<RRSession>) -> Play {
        let play = Play::new(Arc::clone(stream), Arc::clone(record), self.rewrite.stream_id, self.start);
        let play = match mem::replace(&mut self.place, Place::Waiting(Waits::to_join())) {
            Place::At(cursor) => play.at(cursor, self.due.take()),
            Place::Waiting(waits) => play.waiting(waits),
        };
        play.getting((self.rewrite.media, self.rewrite.allowed), self.paused, mem::take(&mut self.pending_filters))
    }

    /// It was a guest so far, and is at home now.
    pub(in crate::stream) fn resume(&mut self, mut play: Play) {
        self.leave_at = play.come_home();
        (self.rewrite.media, self.rewrite.allowed) = (play.media, play.allowed);
        (self.paused, self.due) = (play.paused, play.due.take());
        self.pending_filters = mem::take(&mut play.pending_filters);
        self.place = match play.cursor.take() {
            Some(cursor) => Place::At(cursor),
            None => Place::Waiting(play.waits()),
        };
    }
}
