//! The tables of a server: the objects by id and name. It is only data; the lock around it comes first in the server's
//! lock order, after `opening`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::ServerConfig;
use crate::error::{Failure, RRError, Result};
use crate::server::slots::{Slots, kind};
use crate::stream::event::Id;
use crate::stream::record::RRSession;
use crate::stream::remote::target::Target;
use crate::stream::{RRStream, StreamName};

/// Most targets of one server. One machine cannot serve more.
const MAX_TARGETS: u32 = 100_000;

/// The live objects of a server.
pub(super) struct Registry {
    pub(super) streams: Slots<Arc<RRStream>>,
    pub(super) sessions: Slots<Arc<RRSession>>,
    pub(super) targets: Slots<Arc<Target>>,
    /// Connections that are sessions to be: their PROXY header is pending. They take their room.
    expected: u32,
    max_sessions: u32,
    names: HashMap<Vec<u8>, Id>,
    per_ip: HashMap<IpAddr, u32>,
    max_per_ip: Option<u32>,
}

impl Registry {
    /// Empty tables of the server with this number.
    pub(super) fn new(config: &ServerConfig, server: u8) -> Self {
        Self {
            streams: Slots::new(kind::STREAM, server, config.max_streams),
            sessions: Slots::new(kind::SESSION, server, config.max_sessions),
            targets: Slots::new(kind::TARGET, server, MAX_TARGETS),
            expected: 0,
            max_sessions: config.max_sessions,
            names: HashMap::new(),
            per_ip: HashMap::new(),
            max_per_ip: config.max_sessions_ip,
        }
    }

    /// The stream with this name.
    pub(super) fn find(&self, name: &StreamName) -> Option<&Arc<RRStream>> {
        self.streams.get(*self.names.get(&name.path())?)
    }

    /// Adds a stream; `make` gets its id.
    pub(super) fn add_stream(
        &mut self,
        name: &StreamName,
        make: impl FnOnce(Id) -> Arc<RRStream>,
    ) -> Result<Arc<RRStream>> {
        self.names.try_reserve(1).map_err(|_| Failure::from(RRError::NoMem))?;
        let stream = self.add_unnamed(make)?;
        self.names.insert(name.path(), stream.id());
        Ok(stream)
    }

    /// Adds a stream that nobody finds by its name yet; `make` gets its id.
    pub(super) fn add_unnamed(&mut self, make: impl FnOnce(Id) -> Arc<RRStream>) -> Result<Arc<RRStream>> {
        let id = self.streams.insert_with(make)?;
        self.streams.get(id).cloned().ok_or_else(|| RRError::NotFound.into())
    }

    /// Lets a stream be found by its name.
    ///
    /// # Errors
    /// [`RRError::Exists`] if another one has that name, [`RRError::NoMem`].
    pub(super) fn give_name(&mut self, stream: &RRStream) -> Result<()> {
        self.is_free(stream.name())?;
        self.names.try_reserve(1).map_err(|_| Failure::from(RRError::NoMem))?;
        self.names.insert(stream.name().path(), stream.id());
        Ok(())
    }

    /// Refuses a name that a stream has.
    ///
    /// # Errors
    /// [`RRError::Exists`].
    pub(super) fn is_free(&self, name: &StreamName) -> Result<()> {
        match self.find(name) {
            Some(_) => Err(Failure::ours(RRError::Exists, "a stream of that name is there already")),
            None => Ok(()),
        }
    }

    /// Frees a stream's name: from now on the name means another stream.
    pub(super) fn forget_name(&mut self, stream: &RRStream) {
        let path = stream.name().path();
        if self.names.get(&path) == Some(&stream.id()) {
            self.names.remove(&path);
        }
    }

    /// Whether there is room for one more session.
    ///
    /// # Errors
    /// [`RRError::Limit`].
    pub(super) fn room(&self) -> Result<()> {
        let most = self.max_sessions;
        if self.sessions.len() + self.expected as usize >= most as usize {
            return Err(Failure::ours(RRError::Limit, format!("max_sessions ({most}) is reached")));
        }
        Ok(())
    }

    /// Keeps room for a session to be.
    ///
    /// # Errors
    /// Those of [`Self::room`].
    pub(super) fn expect_session(&mut self) -> Result<()> {
        self.room()?;
        self.expected += 1;
        Ok(())
    }

    /// Gives that room back.
    pub(super) fn expect_no_more(&mut self) {
        self.expected = self.expected.saturating_sub(1);
    }

    /// Adds a session, unless a limit is reached.
    pub(super) fn add_session(
        &mut self,
        ip: Option<IpAddr>,
        make: impl FnOnce(Id) -> Arc<RRSession>,
    ) -> Result<Arc<RRSession>> {
        self.room()?;
        if let (Some(ip), Some(most)) = (ip, self.max_per_ip)
            && self.per_ip.get(&ip).is_some_and(|&count| count >= most)
        {
            return Err(Failure::limit(format!("max_sessions_ip ({most}) is reached")));
        }
        self.per_ip.try_reserve(1).map_err(|_| Failure::from(RRError::NoMem))?;
        let id = self.sessions.insert_with(make)?;
        if let (Some(ip), Some(_)) = (ip, self.max_per_ip) {
            *self.per_ip.entry(ip).or_insert(0) += 1;
        }
        self.sessions.get(id).cloned().ok_or_else(|| RRError::NotFound.into())
    }

    /// Removes a session; false if it was removed already.
    pub(super) fn remove_session(&mut self, id: Id) -> bool {
        let Some(session) = self.sessions.remove(id) else { return false };
        if let Some(ip) = session.ip
            && let Some(count) = self.per_ip.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&ip);
            }
        }
        true
    }
}
