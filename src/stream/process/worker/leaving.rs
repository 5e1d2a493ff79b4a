//! What the worker is to give away, until the thread that has it has answered.

use super::super::wire::{Cause, Handle, Parted, ToServer};
use super::server::Server;
use crate::error::{Failure, RRError};
use crate::stream::exported::stream::{StreamExport, ToExport};
use crate::stream::record::{Export, TargetExport, Wait};

/// What is to be given away, and whose thread has not answered yet.
pub(super) enum Leaving {
    Session(Handle, Wait<Export>),
    Target(Handle, Wait<TargetExport>),
    /// The stream, with the room for its state.
    Stream(usize, Wait<ToExport>),
}

impl Leaving {
    /// Tells the server the outcome; false if there is none yet.
    pub(super) fn tell(&self, server: &Server) -> bool {
        match self {
            Self::Session(id, wait) => tell_session(server, *id, wait),
            Self::Target(id, wait) => tell_target(server, *id, wait),
            Self::Stream(room, wait) => tell_stream(server, *room, wait),
        }
    }

    /// The same where the server has ended, and with it what it was to get.
    pub(super) fn end(&self, server: &Server) -> bool {
        let cause = Failure::ours(RRError::Closed, "the server has ended");
        match self {
            Self::Session(id, wait) => {
                let outcome = wait.try_outcome();
                if let Some(Some(Ok(Export::Gone { .. }))) = outcome {
                    server.tell_last(*id, &ToServer::Over { id: *id, cause: Cause::of(&cause) }, None);
                }
                outcome.is_some()
            }
            Self::Target(id, wait) => {
                let outcome = wait.try_outcome();
                if let Some(Some(Ok(TargetExport::Gone { .. }))) = outcome {
                    server.parted(*id, Parted::Lost { cause: Cause::of(&cause), ran_ms: 0 });
                }
                outcome.is_some()
            }
            Self::Stream(_, wait) => wait.try_outcome().is_some(),
        }
    }
}

/// Tells the server the outcomes that there are. Those of the stream have no names, so they are told in the order in which they were
/// asked for.
pub(super) fn tell_all(exports: &mut Vec<Leaving>, server: &Server) {
    let mut is_awaited = false;
    exports.retain(|leaving| {
        let is_of_stream = matches!(leaving, Leaving::Stream(..));
        let stays = (is_of_stream && is_awaited) || !leaving.tell(server);
        is_awaited |= is_of_stream && stays;
        stays
    });
}

/// Tells that a session, target or source stays.
pub(super) fn stays(server: &Server, id: Handle, needs: Option<usize>, cause: Option<&Failure>) {
    let (needs, cause) = (needs.map(|needs| needs as u64), cause.map(Cause::of));
    server.tell(&ToServer::Stays { id, needs, cause }, None);
}

fn tell_session(server: &Server, id: Handle, wait: &Wait<Export>) -> bool {
    let Some(outcome) = wait.try_outcome() else { return false };
    // One that has ended meanwhile has been told as such.
    if server.session(id).is_none() {
        return true;
    }
    match outcome {
        Some(Ok(Export::Gone { fd, state })) => {
            server.tell_places();
            server.tell_last(id, &ToServer::Exported { id, state: &state }, Some(fd));
        }
        Some(Ok(Export::Needs(needs))) => stays(server, id, Some(needs), None),
        Some(Err(failure)) => stays(server, id, None, Some(&failure)),
        None => stays(server, id, None, None),
    }
    true
}

/// As of a session. A target whose connection has ended meanwhile goes back to the dialler of the server, with its export.
fn tell_target(server: &Server, id: Handle, wait: &Wait<TargetExport>) -> bool {
    let Some(outcome) = wait.try_outcome() else { return false };
    match outcome {
        Some(Ok(TargetExport::Gone { fd, state })) => {
            server.tell_places();
            server.give_target(id, &ToServer::Exported { id, state: &state }, fd);
        }
        Some(Ok(TargetExport::Needs(needs))) => stays(server, id, Some(needs), None),
        Some(Err(failure)) => stays(server, id, None, Some(&failure)),
        None => stays(server, id, None, None),
    }
    true
}

fn tell_stream(server: &Server, room: usize, wait: &Wait<ToExport>) -> bool {
    let Some(outcome) = wait.try_outcome() else { return false };
    let stays = |needs, cause: Option<&Failure>| {
        let cause = cause.map(Cause::of);
        server.tell(&ToServer::StreamStays { needs, cause }, None);
    };
    match outcome.map(|parts| parts?.outcome(room)) {
        Some(Ok(StreamExport::State(state))) => server.tell(&ToServer::Stream { state: &state }, None),
        Some(Ok(StreamExport::Needs(needs))) => stays(Some(needs as u64), None),
        Some(Err(failure)) => stays(None, Some(&failure)),
        None => stays(None, None),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::super::wire::Begin;
    use super::super::outbox::Outbox;
    use super::*;
    use crate::config::ServerConfig;
    use crate::net::clock;
    use crate::stream::record::Caller;

    #[test]
    fn states_of_the_stream_are_told_in_the_order_in_which_they_were_wanted() {
        let (outbox, there) = Outbox::started();
        let server = Server::new(&Begin::example(), &ServerConfig::default(), outbox);
        let ([first, second], session) = ([Caller::new(), Caller::new()], Caller::new());
        let needs = |needs: usize| Ok(ToExport::Made(StreamExport::Needs(needs)));
        let mut exports =
            vec![Leaving::Stream(0, first.1), Leaving::Session(7, session.1), Leaving::Stream(0, second.1)];
        second.0.tell(needs(2));
        drop(session.0);
        tell_all(&mut exports, &server);
        // The session has ended.
        assert!(matches!(exports[..], [Leaving::Stream(..), Leaving::Stream(..)]));
        first.0.tell(needs(1));
        tell_all(&mut exports, &server);
        assert!(exports.is_empty());
        let told = || {
            let message = there.receive(|_| 1 << 20, clock::now_ms() + 30_000).unwrap().unwrap();
            match ToServer::decode(&message.body) {
                Ok(ToServer::StreamStays { needs, .. }) => needs,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([told(), told()], [Some(1), Some(2)]);
    }
}
