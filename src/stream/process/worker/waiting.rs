//! What a worker needs that is to go on without its server, and how far it is: its socket in a folder, and its time.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::adoption::{IsolatedStream, Run};
use super::super::orphan::{NAME, TALK_MS};
use super::super::starts::Row;
use super::super::wire::{Begin, Handle};
use super::deadman::Deadman;
use crate::error::{Result, copied};
use crate::net::clock;
use crate::net::fd_channel::FdChannel;
use crate::net::folder::{Door, Folder};
use crate::net::process;

/// How long after its time a worker that should have ended is ended: at that time it may just talk to a server.
const LATE_MS: u64 = 2 * TALK_MS;

/// Descriptors that are kept: for the folder and the socket there, and for a connection. Those of sessions may be all others
/// that the process may have.
const SPARE: usize = 3;

/// A worker's time without a server.
pub(super) struct Alone {
    dir: PathBuf,
    /// Its socket there.
    name: String,
    within_ms: u64,
    /// The state of the stream.
    pub(super) state: Vec<u8>,
    mem_limit: Option<u64>,
    max_message: u32,
    begun_ms: u64,
    /// The crashes of the stream's workers before this one, as they were when it began.
    crashes: Option<Row>,
    /// Until when it waits, once it has lost its server.
    pub(super) by_ms: Option<u64>,
    pub(super) door: Option<Door>,
    spare: Vec<File>,
    /// Ends the process, if it does not end by itself.
    deadman: Deadman,
    /// Its peers were asked to connect anew.
    pub(super) has_asked: bool,
}

impl Alone {
    /// What a worker needs that begins like this, if it is to go on alone.
    ///
    /// # Errors
    /// [`RRError::Limit`](crate::error::RRError::Limit) if the system has no thread left.
    pub(super) fn of(begin: &Begin<'_>, server: &Arc<FdChannel>) -> Result<Option<Self>> {
        let Some(waits) = begin.orphan else { return Ok(None) };
        let mut this = Self {
            dir: PathBuf::from(OsStr::from_bytes(waits.dir)),
            // The number of a process may be that of another one, in a container that has the folder too.
            name: format!("{NAME}{}-{:x}", std::process::id(), clock::wall_us()),
            within_ms: waits.within_ms,
            state: copied(begin.state)?,
            mem_limit: begin.mem_limit,
            max_message: begin.max_message,
            begun_ms: clock::now_ms(),
            crashes: begin.crashes.map(|crashes| crashes.row()),
            by_ms: None,
            door: None,
            spare: Vec::new(),
            deadman: Deadman::start(Arc::clone(server), waits.within_ms + LATE_MS, process::end_now)?,
            has_asked: false,
        };
        this.keep_spare(SPARE);
        Ok(Some(this))
    }

    /// Keeps so many descriptors, if the system gives them.
    fn keep_spare(&mut self, count: usize) {
        self.spare.truncate(count);
        while self.spare.len() < count {
            let Ok(file) = File::open("/dev/null") else { return };
            self.spare.push(file);
        }
    }

    /// The record of the stream, for another server; this was the last handle that was given.
    pub(super) fn record(&self, last_handle: Handle) -> Result<Vec<u8>> {
        let ran_ms = clock::now_ms().saturating_sub(self.begun_ms);
        let run = Run { last_handle, mem_limit: self.mem_limit, max_message: self.max_message, ran_ms };
        let crashes = self.crashes.clone().map(|row| Row { ago_ms: row.ago_ms.saturating_add(ran_ms), ..row });
        IsolatedStream::record(&self.state, &run, crashes.as_ref())
    }

    /// Notes that the server has ended.
    pub(super) fn loses_server(&mut self, now_ms: u64) {
        let by_ms = *self.by_ms.get_or_insert(now_ms + self.within_ms);
        self.is_to_end_by(by_ms + LATE_MS);
    }

    /// It has a server again.
    pub(super) fn has_server(&mut self, server: &Arc<FdChannel>) {
        (self.by_ms, self.has_asked) = (None, false);
        self.deadman.serves(server);
        self.keep_spare(SPARE);
    }

    /// Lets the process end at this time, monotonic ms, whatever it does.
    pub(super) fn is_to_end_by(&self, by_ms: u64) {
        self.deadman.ends_by(by_ms);
    }

    /// Lets servers find it.
    pub(super) fn listen(&mut self) {
        if self.door.as_ref().is_none_or(|door| !door.is_there()) {
            self.door = None;
            self.keep_spare(1);
            // Where that fails it may be possible later: the folder may just be made.
            self.door = Folder::open(&self.dir).and_then(|folder| folder.listen(&self.name)).ok();
            self.keep_spare(if self.door.is_some() { 1 } else { SPARE });
        }
    }

    /// The next connection, if one waits.
    pub(super) fn accept(&mut self) -> Option<OwnedFd> {
        self.spare.clear();
        let connection = self.door.as_ref().and_then(Door::accept);
        if connection.is_none() {
            self.keep_spare(1);
        }
        connection
    }

    /// Notes that such a connection has ended.
    pub(super) fn has_answered(&mut self) {
        self.keep_spare(1);
    }
}
