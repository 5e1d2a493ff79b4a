//! Events as C sees them: the types, and the core's event with its strings turned into C strings that live as long as
//! the loan. It does not wait for events; `rr_event.rs` does.

use std::ffi::{CString, c_char, c_void};

use super::types::{rr_session, rr_stream, rr_target};
use crate::stream::event::Event;

/// What happened.
#[repr(C)]
pub enum rr_event_type {
    /// Nothing.
    RR_EV_NONE = 0,
    /// The server's state moved: prev -> state, error says why.
    RR_EV_SERVER = 1,
    /// A stream's state moved.
    RR_EV_STREAM = 2,
    /// A session's state moved.
    RR_EV_SESSION = 3,
    /// A target's or a source's state moved, for the first time from RR_STATE_NONE: it was added.
    RR_EV_TARGET = 4,
    /// A peer connects; answer with rr_session_allow, _deny or _redirect.
    RR_EV_CONNECT_ASK = 5,
    /// A peer wants to publish app/key; answer.
    RR_EV_PUBLISH_ASK = 6,
    /// A peer wants to play app/key; answer.
    RR_EV_PLAY_ASK = 7,
    /// Somebody plays a stream that has no publisher and no source: once, until it has one or nobody plays.
    RR_EV_WANTED = 8,
    /// The last player of a stream has left.
    RR_EV_UNWATCHED = 9,
    /// A stream has a track that it had not, or one with another codec; text lists them all ("avc1,mp4a"), as rr_info
    /// does. A new publisher's are told anew. Where codecs change all the time, this comes four times a second.
    RR_EV_TRACKS = 10,
    /// A consumer begins (state IN_PROGRESS) or stops (state NONE) losing messages; value = messages lost.
    RR_EV_SLOW = 11,
    /// The publisher's timestamps jumped; value = ms.
    RR_EV_CLOCK = 12,
    /// The peer asks us to connect again; url = where, "" = the same place.
    RR_EV_RECONNECT = 13,
    /// A log line, in text.
    RR_EV_LOG = 15,
    /// Events were lost because they were not taken; value = how many.
    RR_EV_OVERFLOW = 16,
}

/// Bits of rr_event's flags.
#[repr(C)]
pub enum rr_event_flag {
    /// The error is worth another try.
    RR_EVF_RETRIABLE = 1,
    /// The peer caused it.
    RR_EVF_BY_PEER = 2,
    /// The id ends with this event.
    RR_EVF_LAST = 4,
    /// Over TLS.
    RR_EVF_TLS = 8,
    /// RR_EV_LOG: an event of another type says the same.
    RR_EVF_TOLD = 16,
}

/// One event. The library makes it, and it may grow at its end. It and its strings are valid until the next
/// rr_event_next on the same server, or during the callback.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_event {
    /// RR_EV_*.
    pub r#type: u32,
    /// RR_OK, or the cause.
    pub error: i32,
    /// RR_STATE_*, the new one.
    pub state: u32,
    /// RR_STATE_*, the one before.
    pub prev: u32,
    /// RR_EVF_* bits.
    pub flags: u32,
    /// RR_LOG_* of RR_EV_LOG.
    pub level: u32,
    /// The stream concerned, 0 for none. Of a session that has ended its publish or play: the stream it was of at last.
    pub stream: rr_stream,
    /// The session concerned, 0 for none.
    pub session: rr_session,
    /// The target concerned, 0 for none.
    pub target: rr_target,
    /// The host's pointer: of the target, session, stream or server, the first that has one.
    pub user: *mut c_void,
    /// Wall clock, us since 1970.
    pub time_us: i64,
    /// Depends on the type: ms to the next try, messages lost ...
    pub value: i64,
    /// RTMP application: bytes as the peer sent them. Never NULL, as all strings here.
    pub app: *const c_char,
    /// Stream key: bytes as the peer sent them. It may be a secret.
    pub key: *const c_char,
    /// The peer's address.
    pub addr: *const c_char,
    /// A url, without the key.
    pub url: *const c_char,
    /// The detail, for people.
    pub text: *const c_char,
    /// RR_ROLE_* of the session or target; after the end of its publish or play, and in its last event, what it was.
    pub role: u32,
    /// Zero.
    pub reserved0: u32,
    /// What the peer sent behind a `?`, of its application and its stream key, with `&` between; "" where it sent none, and as
    /// RR_ARGS_* says. Credentials, as a rule: nothing of the library's shows them, and the host had better not.
    pub query: *const c_char,
}

/// Takes events. `ev` is valid during the call. It is called on the server's event thread, one call at a time, in
/// order, with no lock held, until rr_server_free has returned. It may call any rr_* function but rr_server_free, which
/// does nothing there.
pub type rr_event_fn = Option<unsafe extern "C" fn(user: *mut c_void, ev: *const rr_event)>;

/// An event with the strings its pointers point to.
pub(super) struct Lent {
    event: Box<rr_event>,
    _strings: [CString; 6],
}

// SAFETY: the pointers point into `_strings`, which go with them, or are the host's `user`, which is never followed.
unsafe impl Send for Lent {}

impl Lent {
    /// Takes the core's event apart.
    pub(super) fn new(event: Event) -> Self {
        let strings = [event.app, event.key, event.addr, event.url, event.text, event.query].map(super::c_string);
        let [app, key, addr, url, text, query] = &strings;
        let event = Box::new(rr_event {
            r#type: event.kind as u32,
            error: event.error.map_or(0, |kind| kind.code()),
            state: event.state as u32,
            prev: event.prev as u32,
            flags: event.flags,
            level: event.level,
            stream: event.stream,
            session: event.session,
            target: event.target,
            user: event.user as *mut c_void,
            time_us: event.time_us,
            value: event.value,
            app: app.as_ptr(),
            key: key.as_ptr(),
            addr: addr.as_ptr(),
            url: url.as_ptr(),
            text: text.as_ptr(),
            role: event.role as u32,
            reserved0: 0,
            query: query.as_ptr(),
        });
        Self { event, _strings: strings }
    }

    /// Where the event is, for as long as this lives.
    pub(super) fn event(&self) -> *const rr_event {
        &raw const *self.event
    }
}
