//! What a worker needs that is to go on without its server, and how far it is: its socket in a folder, and its time.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::super::orphan::NAME;
use super::super::wire::Begin;
use crate::error::{Result, copied};
use crate::net::clock;
use crate::net::folder::{Door, Folder};

/// A worker's time without a server.
pub(super) struct Alone {
    dir: PathBuf,
    /// Its socket there.
    name: String,
    within_ms: u64,
    /// The state of the stream, and the most memory of the worker.
    pub(super) state: Vec<u8>,
    pub(super) mem_limit: Option<u64>,
    /// Until when it waits, once it has lost its server.
    pub(super) by_ms: Option<u64>,
    pub(super) door: Option<Door>,
    /// Its peers were asked to connect anew.
    pub(super) has_asked: bool,
}

impl Alone {
    /// What a worker needs that begins like this, if it is to go on alone.
    pub(super) fn of(begin: &Begin<'_>) -> Result<Option<Self>> {
        let Some(waits) = begin.orphan else { return Ok(None) };
        Ok(Some(Self {
            dir: PathBuf::from(OsStr::from_bytes(waits.dir)),
            // The number of a process may be that of another one, in a container that has the folder too.
            name: format!("{NAME}{}-{:x}", std::process::id(), clock::wall_us()),
            within_ms: waits.within_ms,
            state: copied(begin.state)?,
            mem_limit: begin.mem_limit,
            by_ms: None,
            door: None,
            has_asked: false,
        }))
    }

    /// Notes that the server has ended.
    pub(super) fn loses_server(&mut self, now_ms: u64) {
        self.by_ms.get_or_insert(now_ms + self.within_ms);
    }

    /// It has a server again.
    pub(super) fn has_server(&mut self) {
        (self.by_ms, self.has_asked) = (None, false);
    }

    /// Lets servers find it.
    pub(super) fn listen(&mut self) {
        if self.door.as_ref().is_none_or(|door| !door.is_there()) {
            self.door = None;
            // Where that fails it may be possible later: the folder may just be made.
            self.door = Folder::open(&self.dir).and_then(|folder| folder.listen(&self.name)).ok();
        }
    }
}
