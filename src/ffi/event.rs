//! Events in C: the types, and the core's event with its strings turned into C strings, which live as long as the host
//! may read them. `rr_event.rs` waits for events.

use std::ffi::{CString, c_char, c_void};

use super::types::{rr_session, rr_stream, rr_target};
use crate::stream::event::Event;

/// Types of events.
#[repr(C)]
pub enum rr_event_type {
    /// No event.
    RR_EV_NONE = 0,
    /// The server's state moved from prev to state; error is the cause.
    RR_EV_SERVER = 1,
    /// A stream's state moved.
    RR_EV_STREAM = 2,
    /// A session's state moved. Its last event has the cause in error, which is RR_OK only if it went to another
    /// process (rr_session_export).
    RR_EV_SESSION = 3,
    /// A target's or a source's state moved; prev is RR_STATE_NONE when it was added.
    RR_EV_TARGET = 4,
    /// A peer connects; answer with rr_session_allow, _deny or _redirect.
    RR_EV_CONNECT_ASK = 5,
    /// A peer wants to publish app/key; answer as at RR_EV_CONNECT_ASK.
    RR_EV_PUBLISH_ASK = 6,
    /// A peer wants to play app/key; answer as at RR_EV_CONNECT_ASK.
    RR_EV_PLAY_ASK = 7,
    /// Somebody plays a stream that has no publisher and no source. It comes once, and again only after the stream has
    /// had one, or no player.
    RR_EV_WANTED = 8,
    /// The last player of a stream has left.
    RR_EV_UNWATCHED = 9,
    /// A stream has a new track, or a track has another codec; text lists the codecs of all tracks ("avc1,mp4a"), as
    /// rr_info does. A new publisher's tracks count as new. It comes at most four times a second.
    RR_EV_TRACKS = 10,
    /// A consumer begins (state IN_PROGRESS) or stops (state NONE) losing messages; value = messages lost.
    RR_EV_SLOW = 11,
    /// The publisher's timestamps jumped; value = ms.
    RR_EV_CLOCK = 12,
    /// The peer asks us to connect again; url = the new url, "" = the same url.
    RR_EV_RECONNECT = 13,
    /// The controller's answer about app/key, in action. If no controller answered, error says why, and action is
    /// RR_NEXT_NONE, or that of an earlier answer that is still valid. url = the first of its urls, value = how long
    /// the answer is valid or, with RR_NEXT_WAIT, the time to the next question, ms; text = the question (publish,
    /// play, target_lost or rr_controller_ask's word) and the controller's text. session is the session that waited for
    /// the answer, target the target that was lost; stream is 0 if the stream has not begun yet.
    RR_EV_NEXT = 14,
    /// A log line, in text.
    RR_EV_LOG = 15,
    /// Events were lost because they were not taken; value = how many.
    RR_EV_OVERFLOW = 16,
    /// Somebody asks by HTTP (`POST /v1/upgrade`) that the server be replaced by a new one: start the program that is to
    /// take over, and call rr_server_handover. A host that does not do that ignores the event.
    RR_EV_UPGRADE = 17,
}

/// The action that a controller asks for on a stream.
#[repr(C)]
pub enum rr_next {
    /// The controller has not answered.
    RR_NEXT_NONE = 0,
    /// Push the stream on.
    RR_NEXT_RELAY = 1,
    /// Pull the stream.
    RR_NEXT_PULL = 2,
    /// Refuse the peers that want the stream; text has the reason.
    RR_NEXT_REJECT = 3,
    /// Ask again later.
    RR_NEXT_WAIT = 4,
}

/// Bits of rr_event's flags.
#[repr(C)]
pub enum rr_event_flag {
    /// Another try may succeed.
    RR_EVF_RETRIABLE = 1,
    /// The peer caused it.
    RR_EVF_BY_PEER = 2,
    /// The id ends with this event.
    RR_EVF_LAST = 4,
    /// The connection is over TLS.
    RR_EVF_TLS = 8,
    /// RR_EV_LOG: the line repeats an event of another type.
    RR_EVF_TOLD = 16,
}

/// One event, made by the library; later versions may add fields at its end. The event and its strings are valid until
/// the next rr_event_next on the same server, or during the callback.
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
    /// The stream concerned, 0 for none. For a session whose publish or play has ended: its last stream.
    pub stream: rr_stream,
    /// The session concerned, 0 for none.
    pub session: rr_session,
    /// The target concerned, 0 for none.
    pub target: rr_target,
    /// The host's pointer of the target, session, stream or server: the first of these that has one.
    pub user: *mut c_void,
    /// Wall clock, us since 1970.
    pub time_us: i64,
    /// Depends on the type: ms to the next try, messages lost and so on
    pub value: i64,
    /// RTMP application: bytes as the peer sent them. No string here is ever NULL.
    pub app: *const c_char,
    /// Stream key: bytes as the peer sent them, possibly a secret.
    pub key: *const c_char,
    /// The peer's address.
    pub addr: *const c_char,
    /// A url, without the key.
    pub url: *const c_char,
    /// The detail, as text for people.
    pub text: *const c_char,
    /// RR_ROLE_* of the session or target; after the end of its publish or play, and in its last event, its last role.
    pub role: u32,
    /// RR_NEXT_* of RR_EV_NEXT.
    pub action: u32,
    /// The text after a `?` in the peer's application and stream key, joined by `&`; "" if there is none, or RR_ARGS_*
    /// leaves none. These are usually credentials: the library never shows them, and the host should not either.
    pub query: *const c_char,
}

/// Takes events. `ev` is valid during the call. The server's event thread makes the calls, one at a time, in order,
/// with no lock held, until rr_server_free has returned. The callback may call any rr_* function except rr_server_free,
/// which does nothing there.
pub type rr_event_fn = Option<unsafe extern "C" fn(user: *mut c_void, ev: *const rr_event)>;

/// An event with the strings its pointers point to.
pub(super) struct Lent {
    event: Box<rr_event>,
    _strings: [CString; 6],
}

// SAFETY: the pointers point into `_strings`, which move with them, or are the host's `user`, which is never followed.
unsafe impl Send for Lent {}

impl Lent {
    /// Turns the core's event into C's.
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
            action: event.action as u32,
            query: query.as_ptr(),
        });
        Self { event, _strings: strings }
    }

    /// The event's address, valid while `self` lives.
    pub(super) fn event(&self) -> *const rr_event {
        &raw const *self.event
    }
}
