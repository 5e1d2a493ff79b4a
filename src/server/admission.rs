//! Admission: how the listener grants or refuses a pending peer's request to connect, publish or play.

use std::sync::Arc;

use crate::config::{Args, Decision, MAX_NAME_BYTES, MAX_STATEMENT_BYTES, MAX_TC_URL_BYTES, Start};
use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::mask::{escape, mask_key, mask_url};
use crate::net::clock;
use crate::net::socket::half_close;
use crate::proto::command::Part;
use crate::server::core::Core;
use crate::server::hooks::Wanted;
use crate::server::opening::Opening;
use crate::server::place::Patience;
use crate::server::placement::Placing;
use crate::server::source;
use crate::session::{Event as Said, Role};
use crate::stream::peer::Peer;
use crate::stream::record::{Names, Order, RRSession};
use crate::stream::{Claim, DOT_PART, RRStream, StreamName, Subscription, take_apart};
use crate::sync::locked;

/// If a stream ends while a peer is being admitted or the host makes it, the stream is made again, at most this many times; more is a fault.
pub(super) const TRIES: usize = 3;

/// A peer's request.
#[derive(Debug)]
pub(super) enum Wish {
    Connect,
    Publish { stream_id: u32, sent: SentKey, kind: Vec<u8> },
    Play { stream_id: u32, sent: SentKey, part: Part },
}

/// A stream key as the peer sent it, and the treatment of the arguments behind it.
#[derive(Debug)]
pub(super) struct SentKey {
    bytes: Vec<u8>,
    args: Args,
}

impl SentKey {
    /// The part that names the stream.
    fn key(&self) -> &[u8] {
        take_apart(&self.bytes, self.args).0
    }

    /// The arguments that the host is told.
    fn query(&self) -> &[u8] {
        take_apart(&self.bytes, self.args).1
    }
}

impl Wish {
    /// The request in a session's event; `args` is the treatment of arguments behind a name.
    pub(super) fn from_event(event: Said, args: Args) -> Option<Self> {
        match event {
            Said::Connect => Some(Self::Connect),
            Said::Publish { stream_id, key: bytes, kind } => {
                Some(Self::Publish { stream_id, sent: SentKey { bytes, args }, kind })
            }
            Said::Play { stream_id, key: bytes, part } => {
                Some(Self::Play { stream_id, sent: SentKey { bytes, args }, part })
            }
            _ => None,
        }
    }

    /// The session's event with this request.
    pub(super) fn event(&self) -> Said {
        match self {
            Self::Connect => Said::Connect,
            Self::Publish { stream_id, sent, kind } => {
                Said::Publish { stream_id: *stream_id, key: sent.bytes.clone(), kind: kind.clone() }
            }
            Self::Play { stream_id, sent, part } => {
                Said::Play { stream_id: *stream_id, key: sent.bytes.clone(), part: *part }
            }
        }
    }

    /// The request in the form in which hooks are asked about it.
    pub(super) fn wanted(&self) -> Wanted {
        match self {
            Self::Connect => Wanted::Connect,
            Self::Publish { kind, .. } => Wanted::Publish { kind: kind.clone() },
            Self::Play { part, .. } => Wanted::Play { part: *part },
        }
    }

    /// The request for log lines: "publish live/key***".
    fn shown(&self, names: &Names) -> String {
        let app = escape(&names.app);
        let verb = match self {
            Self::Connect => return format!("connect to {app}"),
            Self::Publish { .. } => "publish",
            Self::Play { .. } => "play",
        };
        format!("{verb} {app}/{}", mask_key(&names.key))
    }
}

/// Writes the peer's own description of itself into its record.
pub(super) fn note_names(peer: &mut Peer, wish: &Wish, args: Args) {
    let record = Arc::clone(&peer.record);
    let connect = peer.conn.inbound().and_then(|session| session.connect());
    let of_app = connect.as_ref().map(|info| info.query()).filter(|_| args != Args::Drop).unwrap_or_default();
    match wish {
        Wish::Connect => {
            let Some(info) = connect else { return };
            record.rename(|names| {
                names.app = clean(info.app_name());
                let (tc_url, tc_query) = take_apart(info.tc_url, args);
                (names.tc_url, names.tc_query) = (clean(&url_cut(tc_url)), clean(tc_query));
                let statement = |text| clean(cut(text, MAX_STATEMENT_BYTES));
                names.agent = statement(info.flash_ver);
                (names.page_url, names.swf_url) = (statement(info.page_url), statement(info.swf_url));
                // The host checks arguments after the application too, because some peers put theirs only there.
                names.query = clean(of_app);
                names.app_query.clone_from(&names.query);
                names.caps_ex = info.caps_ex;
            });
        }
        Wish::Publish { sent, .. } | Wish::Play { sent, .. } => {
            let (key, query) = (sent.key(), sent.query());
            let publish = matches!(wish, Wish::Publish { .. });
            record.set_wish(if publish { Role::Publisher } else { Role::Player });
            let joint: &[u8] = if of_app.is_empty() || query.is_empty() { b"" } else { b"&" };
            let given = record.names().app_given;
            let asked = connect.as_ref().map_or(&[][..], |info| info.app_name());
            let name = StreamName::of_peer(given.as_deref().unwrap_or(asked), key);
            record.rename(|names| {
                (names.app, names.key) = (clean(&name.app), clean(&name.key));
                names.key_asked.clear();
                names.query = clean(&[of_app, joint, query].concat());
            });
        }
    }
}

/// Writes the name that a decision gives into the peer's record: the next question is about that name.
pub(super) fn note_rename(peer: &Peer, wish: &Wish, decision: &Decision) {
    let Some(given) = &decision.rename else { return };
    peer.record.rename(|names| match wish {
        Wish::Connect => {
            names.app.clone_from(given);
            names.app_given = Some(given.clone());
        }
        Wish::Publish { .. } | Wish::Play { .. } => {
            let before = std::mem::replace(&mut names.key, given.clone());
            if names.key_asked.is_empty() {
                names.key_asked = before;
            }
        }
    });
}

/// Takes a refused request out of the record of a peer that goes on playing this stream.
pub(super) fn note_refusal(record: &RRSession, plays: &StreamName) {
    record.set_wish(Role::None);
    record.rename(|names| {
        (names.app, names.key) = (plays.app.clone(), plays.key.clone());
        names.key_asked.clear();
        names.query.clone_from(&names.app_query);
    });
}

/// Combines two decisions about one request: fields that the second leaves open come from the first, and their targets
/// and sources are joined.
pub(super) fn together(first: Decision, second: Decision) -> Decision {
    Decision {
        user: if second.user == 0 { first.user } else { second.user },
        rename: second.rename.or(first.rename),
        stream: second.stream.or(first.stream),
        start: second.start.or(first.start),
        media: second.media & first.media,
        targets: [first.targets, second.targets].concat(),
        sources: [first.sources, second.sources].concat(),
    }
}

/// The application that the peer is connected to.
fn app_of(peer: &mut Peer) -> Vec<u8> {
    if let Some(given) = peer.record.names().app_given {
        return given;
    }
    peer.conn.inbound().and_then(|session| session.connect()).map_or(&[][..], |info| info.app_name()).to_vec()
}

/// Names go to C as strings, so they have no NUL and a bounded length.
fn clean(name: &[u8]) -> Vec<u8> {
    name.iter().copied().take(MAX_NAME_BYTES).filter(|&byte| byte != 0).collect()
}

/// The beginning of a text, of whole characters where it is UTF-8.
fn cut(text: &[u8], most: usize) -> &[u8] {
    if text.len() <= most {
        return text;
    }
    // A character has up to four bytes; those after its first look so.
    let begins = |&end: &usize| text[end] & 0xc0 != 0x80;
    &text[..(most - 3..=most).rev().find(begins).unwrap_or(most)]
}

/// A url that is cut before its arguments, which may be credentials.
fn url_cut(url: &[u8]) -> Vec<u8> {
    let mark = url.iter().position(|&byte| byte == b'?').unwrap_or(url.len());
    [cut(&url[..mark], MAX_TC_URL_BYTES), &url[mark..]].concat()
}

/// Logs the host's decision about a request, at debug level.
pub(super) fn tell_decision(peer: &Peer, wish: &Wish, order: &Order) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let answer = match order {
        Order::Allow(decision) => match &decision.rename {
            Some(key) => format!("allowed, as {}", mask_key(key)),
            None => "allowed".to_owned(),
        },
        Order::Deny(code, text) => format!("denied: {text} {code}"),
        Order::Redirect(url) => format!("sent to {}", mask_url(url)),
        Order::Reconnect(..) | Order::Close(_) | Order::Answer(..) | Order::Export { .. } => return,
    };
    log::debug!("{} wants to {}: {answer}", peer.record.addr, wish.shown(&peer.record.names()));
}

/// The name of the stream to which a peer is admitted.
///
/// # Errors
/// [`RRError::Arg`] if the name is invalid.
fn name_of(peer: &mut Peer, key: &[u8], decision: &Decision) -> Result<StreamName> {
    // The names are used uncut: two names that differ only after the cut would become one stream.
    let app = app_of(peer);
    if StreamName::fits(&app).is_err() || StreamName::fits(key).is_err() {
        let text = "the name of the application or stream is too long or contains NUL";
        return Err(Failure::peers(RRError::Arg, text));
    }
    let mut name = StreamName::of_peer(&app, key);
    if let Some(key) = &decision.rename {
        name.key.clone_from(key);
    }
    if !name.is_whole() {
        return Err(Failure::peers(RRError::Arg, "an application and a stream key are needed, as in live/show"));
    }
    if name.has_dot_part() {
        return Err(Failure::peers(RRError::Arg, DOT_PART));
    }
    Ok(name)
}

/// Asks where a stream that begins with this peer goes, or where a stream that the peer wants to play and that nothing
/// feeds comes from. Returns the question's number, and how long the answer may take.
pub(super) fn ask_controller(
    core: &Core,
    peer: &mut Peer,
    wish: &Wish,
    decision: &Decision,
) -> Option<(u64, Patience)> {
    let placement = core.placement.get()?;
    let (key, publishes) = match wish {
        Wish::Publish { sent, .. } => (sent.key(), true),
        Wish::Play { sent, .. } => (sent.key(), false),
        Wish::Connect => return None,
    };
    let wants_media = peer.conn.inbound().is_some_and(|session| session.wants_media());
    let name = name_of(peer, key, decision).ok().filter(|_| publishes || wants_media)?;
    let record = &peer.record;
    // For a peer that will be refused below, nobody is asked.
    core.bans.check(record, &name, publishes, clock::now_ms()).ok()?;
    let open = if publishes { source::begins(core, &name) } else { source::is_missing(core, &name) };
    if !open {
        return None;
    }
    let number = core.question();
    let patience = placement.ask(Placing { number, session: record.id, name, publishes })?;
    Some((number, patience))
}

/// Finds or makes the stream and adds the peer to its book; if that fails, the peer is told.
pub(super) fn find_stream(
    core: &Core,
    peer: &mut Peer,
    wish: &Wish,
    decision: &Decision,
) -> Result<(Arc<RRStream>, Claim)> {
    let (key, publish) = match wish {
        Wish::Publish { sent, .. } => (sent.key(), true),
        Wish::Play { sent, .. } => (sent.key(), false),
        Wish::Connect => return Err(RRError::State.into()),
    };
    let found = name_of(peer, key, decision).and_then(|name| enter(core, peer, name, publish, Entry::New, decision));
    found.inspect_err(|failure| refuse(peer, wish, code_of(failure, publish), &failure.text, None))
}

/// The code of a refusal.
fn code_of(failure: &Failure, publish: bool) -> &'static str {
    match (failure.kind, publish) {
        (RRError::Exists | RRError::Arg, true) => "NetStream.Publish.BadName",
        // The code is not Failed, because OBS stops only at BadName, Denied and Rejected.
        (_, true) => "NetStream.Publish.Denied",
        (_, false) => source::code_of(failure),
    }
}

/// Checks that the peer may do this by its address and key; a peer that may not is told.
pub(super) fn has_access(core: &Core, peer: &mut Peer, wish: &Wish) -> Result<()> {
    let publish = match wish {
        Wish::Publish { .. } => true,
        Wish::Play { .. } => false,
        Wish::Connect => return Ok(()),
    };
    let judged = core.access.check(&peer.record, publish);
    judged.inspect_err(|failure| refuse(peer, wish, code_of(failure, publish), &failure.text, None))
}

/// How a session enters a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    /// By a request that has just been granted.
    New,
    /// From another process, where it has published (with this place) or played the stream.
    Moved(Option<Claim>),
}

/// Finds or makes the stream of this name, and puts the peer on its books.
///
/// # Errors
/// Those with which a peer is refused.
pub(super) fn enter(
    core: &Core,
    peer: &mut Peer,
    name: StreamName,
    publish: bool,
    entry: Entry,
    decision: &Decision,
) -> Result<(Arc<RRStream>, Claim)> {
    let over_http = peer.conn.inbound().is_some_and(|session| session.flv_form().is_some());
    let record = &peer.record;
    core.bans.check(record, &name, publish, clock::now_ms())?;
    let config = decision.stream.as_deref().filter(|_| publish).unwrap_or(&core.config.stream);
    if !publish {
        source::may_play(core, &name)?;
        if over_http && decision.sources.is_empty() {
            source::is_there(core, &name)?;
        }
    }
    let was = match entry {
        Entry::New => None,
        Entry::Moved(was) => was,
    };
    let _opening = locked(&core.opening);
    for _ in 0..TRIES {
        let (stream, _) = core.find_or_make(name.clone(), config, false)?;
        let opening = Opening::of(core, &stream, &decision.targets, &decision.sources, None)?;
        let entered = if publish { stream.claim(record, was) } else { stream.admit(record).map(|()| Claim::Live) };
        let claim = match entered {
            Ok(claim) => claim,
            Err(failure) => {
                opening.give_up(core);
                // The stream of this name is ending: its end frees the name, or this does.
                if failure.kind != RRError::State {
                    return Err(failure);
                }
                core.registry().forget_name(&stream);
                continue;
            }
        };
        if let Some(hooks) = core.hooks.get() {
            hooks.began(record, &stream, publish, matches!(entry, Entry::Moved(_)));
        }
        // Only a stream that is ending refuses them, and it ends its sessions too.
        let _ = opening.carry_out(core, &stream);
        record.rename(|names| (names.app, names.key) = (name.app, name.key));
        record.set_wish(Role::None);
        return Ok((stream, claim));
    }
    Err(Failure::ours(RRError::State, "the stream is ending"))
}

/// Answers a peer that only asks whether there is such a stream.
pub(super) fn is_answered_without_media(peer: &mut Peer, stream: &Arc<RRStream>, wish: &Wish) -> bool {
    let Wish::Play { stream_id, .. } = wish else { return false };
    let Some(session) = peer.conn.inbound().filter(|session| !session.wants_media()) else { return false };
    session.accept_play(*stream_id, clock::now_ms());
    session.begin_media(clock::now_ms());
    // A player leaves the stream's book with its subscription.
    let (stream, record) = (Arc::<RRStream>::clone(stream), Arc::clone(&peer.record));
    drop(Subscription::of_player(stream, record, *stream_id, Start::default(), 0, None));
    peer.record.set_stream(0);
    true
}

/// Accepts the peer's request and gives its connection to the stream's thread.
pub(super) fn hand_over(
    core: &Core,
    (stream, claim): &(Arc<RRStream>, Claim),
    mut peer: Peer,
    wish: Wish,
    decision: &Decision,
) {
    let failed = match wish {
        Wish::Publish { stream_id, .. } => {
            if let Some(session) = peer.conn.inbound() {
                session.accept_publish(stream_id, clock::now_ms());
            }
            log::info!(target: told::SESSION, "{} publishes {}", peer.record.addr, stream.masked_name());
            stream.hand_publisher(peer, stream_id, *claim).err().map(|(peer, failure)| (peer, failure, true))
        }
        Wish::Play { stream_id, .. } => {
            if let Some(session) = peer.conn.inbound() {
                if session.asks_via() {
                    session.tell_via(stream_id, &stream.via());
                }
                session.accept_play(stream_id, clock::now_ms());
            }
            log::info!(target: told::SESSION, "{} plays {}", peer.record.addr, stream.masked_name());
            let start = decision.start.unwrap_or_else(|| stream.config().start);
            let record = Arc::clone(&peer.record);
            let flv = peer.conn.inbound().and_then(|session| session.flv_form());
            let of = Arc::<RRStream>::clone(stream);
            let newest = Subscription::of_player(of, record, stream_id, start, decision.media, flv);
            peer.subscriptions.reserve_exact(1);
            peer.subscriptions.push(newest);
            stream.hand_player(peer).err().map(|(mut peer, failure)| {
                if let Some(session) = peer.conn.inbound() {
                    session.fail_play(stream_id, "NetStream.Play.StreamNotFound", &failure.text);
                }
                let _ = peer.conn.flush();
                (*peer, failure, false)
            })
        }
        Wish::Connect => None,
    };
    if let Some((mut peer, failure, publisher)) = failed {
        half_close(&mut peer.conn.socket);
        core.end_session(&peer.record, &failure);
        if publisher {
            stream.release(&peer.record);
        }
        // A player leaves the stream's book with its subscriptions, which are dropped here.
    }
}

/// Refuses the peer. Then its connection must end, because some programs (publishers on librtmp) do not react to the
/// refusal but only to that end.
pub(super) fn refuse(peer: &mut Peer, wish: &Wish, code: &str, text: &str, redirect: Option<&str>) {
    let Some(session) = peer.conn.inbound() else { return };
    match wish {
        Wish::Connect => session.reject_connect(code, text, redirect),
        Wish::Publish { stream_id, .. } | Wish::Play { stream_id, .. } => {
            let publish = matches!(wish, Wish::Publish { .. });
            let usual = if publish { "NetStream.Publish.Denied" } else { "NetStream.Play.Failed" };
            // The redirect goes first, because a peer that stops at the error reads nothing after it.
            if let Some(url) = redirect {
                session.reconnect_request(Some(url), text);
            }
            session.reject_stream(*stream_id, if code.is_empty() { usual } else { code }, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_cut_between_characters() {
        for (text, most, left) in [
            ("agent", 5, "agent"),
            ("agents", 5, "agent"),
            ("a\u{e9}\u{e9}", 3, "a\u{e9}"),
            ("a\u{e9}\u{e9}", 4, "a\u{e9}"),
            ("\u{1f600}\u{1f600}", 7, "\u{1f600}"),
        ] {
            assert_eq!(cut(text.as_bytes(), most), left.as_bytes(), "{text} {most}");
        }
        assert_eq!(cut(&[0x80; 9], 5), [0x80; 5], "what is no UTF-8");
    }

    #[test]
    fn the_arguments_of_a_url_are_not_cut() {
        let (long, args) = (vec![b'x'; 3_000], vec![b'a'; 2_000]);
        let url = url_cut(&[&long[..], b"?", &args].concat());
        assert_eq!(url, [&long[..MAX_TC_URL_BYTES], b"?", &args].concat());
    }
}
