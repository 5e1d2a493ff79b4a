//! Several plays on one connection. The connection belongs to one relay, that of the stream that was asked for last; the
//! other plays are guests of their streams' relays.
//!
//! A relay tells its guests what only its join index knows: where to begin, where the stream ends, that there is more. The
//! owner reads the other stream's log with a cursor of its own and sends between two messages of its own stream; what it
//! sends so is counted by the other stream. When the owner's own play ends, the connection goes to the relay of the newest
//! play that is left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::config::{Start, media};
use crate::error::Result;
use crate::net::poll::Wake;
use crate::stream::egress::consumer::OUT_BYTES;
use crate::stream::egress::join::{HeaderForm, HeaderSet, JoinIndex, JoinPoint, Seen, Waits};
use crate::stream::egress::pending_filter::PendingFilters;
use crate::stream::egress::rewrite::Rewrite;
use crate::stream::front::RRStream;
use crate::stream::log::cursor::{Cursor, Lag};
use crate::stream::peer::RRSession;
use crate::sync::locked;

/// How other relays ring the one that owns connections with plays of their streams.
#[derive(Debug)]
pub(in crate::stream) struct Bell {
    wake: Arc<Wake>,
    rung: AtomicBool,
}

impl Bell {
    pub(in crate::stream) fn new(wake: Arc<Wake>) -> Arc<Self> {
        Arc::new(Self { wake, rung: AtomicBool::new(false) })
    }

    fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.wake.wake_for_data();
    }

    pub(in crate::stream) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    pub(in crate::stream) fn silence(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

#[derive(Default)]
struct Seat {
    owner: Option<Arc<Bell>>,
    /// It holds no cursor and is to begin.
    asks: Option<Waits>,
    point: Option<JoinPoint>,
    /// It wants to know the next key frame, to get more from there on.
    wants_key: bool,
    key: Option<JoinPoint>,
    indexed: u64,
    end: Option<u64>,
    /// It is to let go of the log, and has not done so yet.
    retreats: bool,
    gone: bool,
}

/// What a stream's relay knows of a play that another relay sends.
pub(in crate::stream) struct Guest {
    start: Start,
    seat: Mutex<Seat>,
    /// Bytes and messages it got that its stream has not counted yet.
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Guest {
    /// What is new in the stream, for the owner; false where the play is over.
    pub(in crate::stream) fn serve(&self, join_index: &JoinIndex, seen: &Seen, live: bool, end: Option<u64>) -> bool {
        let mut seat = locked(&self.seat);
        let point = seat.asks.filter(|_| live).and_then(|waits| join_index.place_at(seen, self.start, waits));
        let begins = point.is_some();
        if begins {
            (seat.point, seat.asks) = (point, None);
        }
        if seat.wants_key {
            seat.key = seen.key.clone().or_else(|| seat.key.take());
            seat.indexed = join_index.head().position;
        }
        let ends = end.is_some() && seat.end.is_none();
        if ends {
            seat.end = end;
        }
        let (goes_on, owner) = (!seat.gone, seat.owner.clone());
        drop(seat);
        if let Some(owner) = owner.filter(|_| seen.messages > 0 || begins || ends) {
            owner.ring();
        }
        goes_on
    }
}

impl Guest {
    /// Bytes and messages it got since this was last asked, for its stream's figures.
    pub(in crate::stream) fn take_sent(&self) -> (u64, u64) {
        (self.bytes.swap(0, Ordering::Relaxed), self.messages.swap(0, Ordering::Relaxed))
    }

    /// Memory is short: whatever it holds of the log goes, and it begins again at a key frame behind `after`.
    pub(in crate::stream) fn retreat(&self, after: u64) {
        let mut seat = locked(&self.seat);
        (seat.retreats, seat.point, seat.asks) = (true, None, Some(Waits::behind(after)));
        let owner = seat.owner.clone();
        drop(seat);
        if let Some(owner) = owner {
            owner.ring();
        }
    }
}

/// A play whose connection another stream's relay owns; in the owner's hands.
pub struct Play {
    stream: Arc<RRStream>,
    record: Arc<RRSession>,
    guest: Arc<Guest>,
    /// Its message stream.
    pub(in crate::stream) stream_id: u32,
    pub(in crate::stream) cursor: Option<Cursor>,
    pub(in crate::stream) due: Option<(HeaderSet, u32)>,
    pub(in crate::stream) media: u32,
    /// What of it is allowed, whatever its peer wants.
    pub(in crate::stream) allowed: u32,
    pub(in crate::stream) paused: bool,
    /// Where it let go when it was paused.
    rests: Option<Waits>,
    /// What it is to get more, and from where on.
    pub(in crate::stream) pending_filters: PendingFilters,
    pub(in crate::stream) start: Start,
    /// It is on the books of its stream and has to be taken off.
    booked: bool,
}

impl std::fmt::Debug for Play {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Play({} on {})", self.stream_id, self.stream.masked_name())
    }
}

/// What a turn of a play brought.
pub(in crate::stream) struct Brought {
    pub(in crate::stream) messages: u64,
    pub(in crate::stream) bytes: u64,
    pub(in crate::stream) any: bool,
    /// The stream has ended for it.
    pub(in crate::stream) over: bool,
}

impl Play {
    /// A play that is on the books of `stream` already.
    pub(in crate::stream) fn new(stream: Arc<RRStream>, record: Arc<RRSession>, stream_id: u32, start: Start) -> Self {
        let guest =
            Arc::new(Guest { start, seat: Mutex::default(), bytes: AtomicU64::new(0), messages: AtomicU64::new(0) });
        Self {
            stream,
            record,
            guest,
            stream_id,
            cursor: None,
            due: None,
            media: media::ALL,
            allowed: media::ALL,
            paused: false,
            rests: None,
            pending_filters: PendingFilters::default(),
            start,
            booked: true,
        }
    }

    /// It goes on where it is.
    pub(in crate::stream) fn at(mut self, cursor: Cursor, due: Option<(HeaderSet, u32)>) -> Self {
        (self.cursor, self.due) = (Some(cursor), due);
        self
    }

    /// It is to begin.
    pub(in crate::stream) fn waiting(self, waits: Waits) -> Self {
        locked(&self.guest.seat).asks = Some(waits);
        self
    }

    /// What it gets and may have, and what it is to get more.
    pub(in crate::stream) fn getting(
        mut self,
        (media, allowed): (u32, u32),
        paused: bool,
        pending_filters: PendingFilters,
    ) -> Self {
        (self.media, self.allowed, self.paused, self.pending_filters) = (media, allowed, paused, pending_filters);
        self.ask_for_key();
        self
    }

    /// What it waits for where it has no cursor.
    pub(in crate::stream) fn waits(&self) -> Waits {
        self.rests.or(locked(&self.guest.seat).asks).unwrap_or_else(Waits::to_join)
    }

    pub(in crate::stream) fn guest(&self) -> Arc<Guest> {
        Arc::clone(&self.guest)
    }

    pub(in crate::stream) fn stream(&self) -> Arc<RRStream> {
        Arc::clone(&self.stream)
    }

    /// Another relay owns the connection.
    pub(in crate::stream) fn set_owner(&self, bell: &Arc<Bell>) {
        locked(&self.guest.seat).owner = Some(Arc::clone(bell));
        bell.ring();
    }

    /// The connection is its own stream's now: it is a guest no more. Gives where its stream ends.
    pub(in crate::stream) fn come_home(&mut self) -> Option<u64> {
        self.booked = false;
        self.look()
    }

    /// Past its bound it lets go of the log and waits for the next key frame.
    pub(in crate::stream) fn fall_back(&mut self) {
        let waits = Waits::behind(self.stream.log_position());
        self.let_go();
        locked(&self.guest.seat).asks = Some(waits);
    }

    /// Its peer paused it, or wants it to go on: then at a key frame that comes after what it has seen.
    pub(in crate::stream) fn pause(&mut self, on: bool) {
        self.paused = on;
        if let Some(waits) = self.rests.take_if(|_| !on) {
            locked(&self.guest.seat).asks = Some(waits);
        }
    }

    /// Kinds of media its peer wants or does not want from here on; those it wants again come at the next key frame.
    pub(in crate::stream) fn receive(&mut self, audio: Option<bool>, video: Option<bool>) {
        for (wanted, bit) in [(audio, media::AUDIO), (video, media::VIDEO)] {
            match wanted {
                Some(true) if self.allowed & bit == 0 => {}
                Some(true) if (self.media | self.pending_filters.media()) & bit != 0 => {}
                Some(true) if self.cursor.is_none() => self.media |= bit,
                Some(true) => self.pending_filters.add(bit, 0, None),
                Some(false) => {
                    self.media &= !bit;
                    self.pending_filters.drop_media(bit);
                }
                None => {}
            }
        }
        self.ask_for_key();
    }

    /// Its relay tells it of key frames as long as it waits for one.
    fn ask_for_key(&self) {
        locked(&self.guest.seat).wants_key = self.pending_filters.want_key();
    }

    /// It holds nothing of the log from here on.
    fn let_go(&mut self) {
        (self.cursor, self.due) = (None, None);
        self.pending_filters.let_go();
    }

    /// What its relay has found for it, and where its stream ends.
    fn look(&mut self) -> Option<u64> {
        let mut seat = locked(&self.guest.seat);
        if std::mem::take(&mut seat.retreats) {
            (self.cursor, self.due) = (None, None);
            self.pending_filters.let_go();
        }
        if let Some(point) = seat.point.take() {
            (self.cursor, self.due) = (Some(point.cursor), Some((point.headers, point.ts_ms)));
            // It begins anew, with all headers.
            self.pending_filters.all().for_each(|turn| self.media |= turn.media);
        }
        if let (Some(key), Some(cursor)) = (seat.key.take(), &self.cursor) {
            self.pending_filters.key(&key, cursor.position());
        }
        self.pending_filters.indexed(seat.indexed);
        seat.wants_key = self.pending_filters.want_key();
        seat.end
    }

    pub(in crate::stream) fn lag(&mut self, now_us: u64) -> Lag {
        self.look();
        let head = self.stream.head();
        self.cursor.as_mut().map_or_else(Lag::default, |cursor| cursor.lag(head, now_us))
    }

    /// Writes its messages to `out`, up to a bound.
    pub(in crate::stream) fn encode(&mut self, out: &mut Vec<u8>) -> Result<Brought> {
        let mut brought = Brought { messages: 0, bytes: 0, any: false, over: false };
        let end = self.look();
        let Some(cursor) = &mut self.cursor else {
            brought.over = end.is_some();
            return Ok(brought);
        };
        if self.paused {
            // It sees nothing until it goes on, and must not hold the log meanwhile.
            self.rests = Some(Waits::behind(cursor.position()));
            self.let_go();
            brought.over = end.is_some();
            return Ok(brought);
        }
        let before = out.len();
        let mut form = Rewrite::of_player(self.stream_id, self.allowed);
        form.media = self.media;
        if let Some((headers, ts_ms)) = self.due.take() {
            headers.encode(&form.headers(ts_ms), out)?;
            brought.any = true;
        }
        let begun = out.len();
        while out.len() - begun < OUT_BYTES {
            brought.over = end.is_some_and(|end| cursor.position() >= end);
            if let Some((turn, point)) = self.pending_filters.reached(cursor.position()) {
                let media = form.widen(turn.media, turn.tracks);
                self.media = form.media;
                point.headers.encode(&HeaderForm { media, ..form.headers(point.ts_ms) }, out)?;
            }
            let stays = brought.over || self.pending_filters.distance(cursor.position()) == 0;
            let Some(message) = cursor.message().filter(|_| !stays) else { break };
            brought.messages += u64::from(form.encode(&message, out)?);
            brought.any = true;
            cursor.skip_message();
        }
        brought.bytes = (out.len() - before) as u64;
        self.guest.bytes.fetch_add(brought.bytes, Ordering::Relaxed);
        self.guest.messages.fetch_add(brought.messages, Ordering::Relaxed);
        Ok(brought)
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        locked(&self.guest.seat).gone = true;
        if self.booked {
            self.stream.leave(&self.record);
        }
    }
}
