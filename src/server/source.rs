//! The dialler's special steps for a source, and the listener's checks before a play: whether a stream is known to be
//! absent, and whether a player has something to wait for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::net::clock;
use crate::proto::url::RtmpUrl;
use crate::server::absent::ABSENT_MS;
use crate::server::core::Core;
use crate::session::{ClientSession, SessionConfig, State};
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::{Backoff, Loss, Next};
use crate::stream::{Pulled, RRStream, StreamName};

/// Checks that this stream may be played now. [`RRError::NotFound`]: it is known to be absent; [`RRError::Limit`]:
/// players wait for too many other streams.
pub(super) fn may_play(core: &Core, name: &StreamName) -> Result<()> {
    let found = core.registry().find(name).cloned();
    match found {
        None => known(core, name).and_then(|()| room_to_wait(core)),
        Some(stream) if stream.has_publisher() => Ok(()),
        Some(_) => known(core, name),
    }
}

/// Checks that there is a stream with this name that has a publisher or source, or that the host keeps; players over
/// HTTP are refused any other stream.
pub(super) fn is_there(core: &Core, name: &StreamName) -> Result<()> {
    let found = core.registry().find(name).cloned();
    match found.filter(|stream| !stream.book().is_only_waited_for()) {
        Some(_) => Ok(()),
        None => Err(Failure::ours(RRError::NotFound, "There is no such stream.")),
    }
}

/// Whether a new publisher begins the stream with this name: it has no publisher, and none is expected back.
pub(super) fn begins(core: &Core, name: &StreamName) -> bool {
    let found = core.registry().find(name).cloned();
    found.is_none_or(|stream| !stream.has_publisher() && stream.state() != State::Recovering)
}

/// Whether a player of this name has nothing to wait for: [`begins`] is true, and no source will feed the stream.
pub(super) fn is_missing(core: &Core, name: &StreamName) -> bool {
    let found = core.registry().find(name).cloned();
    let is_fed = |stream: &RRStream| stream.sources().list().iter().any(|source| source.state() != State::Failed);
    begins(core, name) && may_play(core, name).is_ok() && !found.is_some_and(|stream| is_fed(&stream))
}

/// Streams that exist only because players wait for them may take at most half of `max_streams`: players that ask for
/// arbitrary names must not keep publishers out.
fn room_to_wait(core: &Core) -> Result<()> {
    let most = core.config.max_streams.div_ceil(2);
    let registry = core.registry();
    let waited_for = registry.streams.iter().filter(|(_, stream)| stream.book().is_only_waited_for()).count();
    if waited_for >= most as usize {
        return Err(Failure::ours(RRError::Limit, format!("players wait for {waited_for} streams already")));
    }
    Ok(())
}

fn known(core: &Core, name: &StreamName) -> Result<()> {
    if core.absent.holds(name, clock::now_ms()) {
        return Err(Failure::ours(RRError::NotFound, "no such stream; its source was asked a moment ago"));
    }
    Ok(())
}

/// The code for a player that is refused because of [`may_play`] or a source's failure.
pub(super) fn code_of(failure: &Failure) -> &'static str {
    match failure.kind {
        RRError::NotFound => "NetStream.Play.StreamNotFound",
        _ => "NetStream.Play.Failed",
    }
}

/// The session of a pull: it follows reconnect requests, and asks through which streams its media comes.
pub(super) fn session(config: &SessionConfig, url: &RtmpUrl) -> Result<ClientSession> {
    let mut session = ClientSession::play(config, url, clock::now_ms())?;
    session.ask_via();
    Ok(session)
}

/// Gives a source that has had `Play.Start` to its stream.
///
/// # Errors
/// Those of [`hand_source`](crate::stream::RRStream::hand_source).
pub(super) fn started(
    core: &Core,
    source: &Arc<Target>,
    endpoint: &Arc<Endpoint>,
    pulled: Pulled,
    url: &RtmpUrl,
) -> Result<()> {
    let stream = core.stream_of(source).ok_or(RRError::State)?;
    source.set_served(Arc::clone(endpoint));
    source.connects.fetch_add(1, Ordering::Relaxed);
    log::info!(target: told::TARGET, "pulling {} from {}", source.stream().masked_name(), url.masked());
    stream.hand_source(source, pulled)
}

/// The step after a source's failure. Waiting players that will get nothing are told.
pub(super) fn after(core: &Core, source: &Target, endpoint: &Endpoint, backoff: &mut Backoff, loss: Loss<'_>) -> Next {
    let failure = loss.failure;
    let refuse_players = |code, failure: Failure, until_ms| {
        if let Some(stream) = core.stream_of(source) {
            stream.refuse_players(code, failure, until_ms);
        }
    };
    // Players stay during the grace window, because the publisher may come back to the source's server as a publisher
    // may come back here.
    let is_kept = core.stream_of(source).is_some_and(|stream| stream.state() == State::Recovering);
    if failure.absent && endpoint.config.on_demand && !is_kept {
        let now_ms = clock::now_ms();
        core.absent.note(source.stream().name(), now_ms);
        let told = Failure { kind: RRError::NotFound, ..failure.clone() };
        refuse_players(code_of(&told), told, now_ms + ABSENT_MS);
        return Next::Retry(ABSENT_MS);
    }
    let judged = if failure.absent { Failure { kind: RRError::Closed, ..failure.clone() } } else { failure.clone() };
    let next = backoff.after(&endpoint.config, endpoint.urls(), Loss { failure: &judged, ..loss });
    if !matches!(next, Next::Retry(_)) {
        refuse_players("NetStream.Play.Failed", failure.clone(), 0);
    }
    next
}
