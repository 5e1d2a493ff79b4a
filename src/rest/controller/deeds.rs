//! Carries out an answer, for the waiting sessions and for the stream, and makes the event for the host.

use super::matters::{Matter, Waiting};
use super::question::{Answer, Deed, Question};
use crate::config::Decision;
use crate::error::{Failure, RRError, Result};
use crate::proto::url::RtmpUrl;
use crate::rest::begun;
use crate::server::slots::kind;
use crate::server::{RRRestOut, RRServer};
use crate::session::{Role, State};
use crate::stream::StreamName;
use crate::stream::event::{Action, Event, EventKind, Id};

/// Whether this stream has players, but neither a publisher nor a source, nor one that will come.
pub(super) fn is_waited_for(server: &RRServer, name: &StreamName) -> bool {
    let Some(stream) = server.stream_named(name) else { return false };
    let sources = stream.sources();
    let fed = sources.list().iter().any(|source| source.state() != State::Failed);
    !stream.has_publisher() && !fed && sources.are_watched()
}

/// The role of what is lost; `None` if it is connected again or has ended.
pub(super) fn lost(server: &RRServer, target: Id) -> Option<Role> {
    let info = server.info(target).ok()?;
    let tries = matches!(info.state, State::Recovering | State::Failed | State::Connecting | State::Handshake);
    tries.then_some(info.role)
}

/// Carries out a deed, for the waiting sessions or for an existing stream. Without an answer the waiting sessions are
/// let in. What changes a stream waits until it is known which process has it; answers of sessions do not, because they
/// wait with their session.
///
/// # Errors
/// The reason why it cannot be carried out; then nothing was done, and the waiting sessions are let in nevertheless.
pub(super) async fn carry_out(
    server: &RRServer,
    matter: &Matter,
    question: &Question,
    deed: Option<&Deed>,
    waiting: &[Waiting],
) -> Result<()> {
    if waiting.is_empty() {
        let Some(deed) = deed else { return Ok(()) };
        let _begun = begun(server).await;
        return carry_out_at_stream(server, matter, question, deed);
    }
    let mut done = Ok(());
    for Waiting { number, session } in waiting.iter().copied() {
        let allow = |decision| RRRestOut::Allow { session, decision: Box::new(decision) };
        let order = match deed {
            Some(Deed::Relay(targets)) => allow(Decision { targets: targets.clone(), ..Decision::default() }),
            Some(Deed::Pull(source)) => allow(Decision { sources: vec![(**source).clone()], ..Decision::default() }),
            Some(Deed::Reject(text)) => RRRestOut::Deny { session, code: String::new(), text: text.clone() },
            Some(Deed::Wait) | None => allow(Decision::default()),
        };
        match server.answer_question(number, order) {
            Err(failure) if failure.kind != RRError::NotFound => {
                done = Err(failure);
                // A session that cannot be answered has gone.
                let _ = server.answer_question(number, allow(Decision::default()));
            }
            _ => {}
        }
    }
    let _begun = begun(server).await;
    let on_stream = match (matter, deed) {
        // Players that an earlier answer has let in wait on the stream.
        (Matter::Play(_), Some(deed)) if is_waited_for(server, &question.name) => {
            carry_out_at_stream(server, matter, question, deed)
        }
        // The answer comes after the time of a publisher, who has been let in without it.
        (Matter::Publish(_), Some(deed @ Deed::Relay(_))) if has_one_begun(server, waiting) => {
            carry_out_at_stream(server, matter, question, deed)
        }
        (Matter::Publish(_), Some(Deed::Reject(_))) if has_one_begun(server, waiting) => {
            Err(Failure::ours(RRError::State, "the publisher was let in before the answer came"))
        }
        _ => Ok(()),
    };
    done.and(on_stream)
}

/// Whether one of these sessions has a stream, so that it waits no more.
fn has_one_begun(server: &RRServer, waiting: &[Waiting]) -> bool {
    waiting.iter().any(|waiting| server.info(waiting.session).is_ok_and(|info| info.stream != 0))
}

fn carry_out_at_stream(server: &RRServer, matter: &Matter, question: &Question, deed: &Deed) -> Result<()> {
    let named = || server.stream_named(&question.name).map(|stream| stream.id());
    let (stream, instead_of) = match matter {
        Matter::Publish(_) | Matter::Play(_) => (named(), None),
        Matter::Host(stream) => (Some(*stream), None),
        // The target may be connected again.
        Matter::Lost(target) => match lost(server, *target).and_then(|_| server.info(*target).ok()) {
            Some(info) => (Some(info.stream), Some(*target)),
            None => return Ok(()),
        },
    };
    // The stream has ended, so nothing is to be done.
    let Some(stream) = stream else { return Ok(()) };
    let (targets, sources) = match (deed, matter) {
        (Deed::Relay(targets), _) => (targets.clone(), Vec::new()),
        (Deed::Pull(source), _) => (Vec::new(), vec![(**source).clone()]),
        (Deed::Reject(text), Matter::Publish(_)) => return close_publisher(server, stream, text),
        (Deed::Reject(text), Matter::Play(_)) => {
            return RRRestOut::RefusePlayers { stream, text: text.clone() }.carry_out(server).map(drop);
        }
        (Deed::Reject(_) | Deed::Wait, _) => return Ok(()),
    };
    RRRestOut::Open { stream, targets, sources, instead_of }.carry_out(server).map(drop)
}

/// Refuses a publisher that was let in to wait.
fn close_publisher(server: &RRServer, stream: Id, text: &str) -> Result<()> {
    for session in server.list(stream, kind::SESSION)? {
        if server.info(session).is_ok_and(|info| info.role == Role::Publisher) {
            RRRestOut::CloseSession { session, text: text.to_owned(), ban_ms: 0 }.carry_out(server)?;
        }
    }
    Ok(())
}

/// The event for the host.
pub(super) fn event(
    server: &RRServer,
    matter: &Matter,
    question: &Question,
    answer: Option<&Answer>,
    failure: Option<&Failure>,
    waiting: &[Waiting],
) -> Event {
    let mut event = Event::new(EventKind::Next);
    if let Some(failure) = failure {
        event = event.because(failure);
    }
    let words = match (failure, answer.map(|answer| &answer.deed)) {
        (Some(failure), _) => failure.text.to_string(),
        (None, Some(Deed::Reject(text))) => text.clone(),
        (None, deed) => deed.map_or(Action::None, Deed::action).name().to_owned(),
    };
    let url = answer.and_then(|answer| RtmpUrl::parse(answer.deed.url()?, None).ok());
    let lost = if let Matter::Lost(target) = matter { *target } else { 0 };
    let session = waiting.first().map_or(0, |waiting| waiting.session);
    let about = server.info(if lost == 0 { session } else { lost }).ok().filter(|info| info.id != 0);
    Event {
        action: answer.map_or(Action::None, |answer| answer.deed.action()),
        stream: server.stream_named(&question.name).map_or(0, |stream| stream.id()),
        session,
        target: lost,
        role: about.as_ref().map_or(Role::None, |info| info.role),
        addr: about.map_or_else(Vec::new, |info| info.addr.into_bytes()),
        app: question.name.app.clone(),
        key: question.name.key.clone(),
        url: url.map(|url| url.tc_url().into_bytes()).unwrap_or_default(),
        value: answer.map_or(0, |answer| i64::try_from(answer.ttl.as_millis()).unwrap_or(i64::MAX)),
        text: format!("{}: {words}", question.why.word()).into_bytes(),
        ..event
    }
}
