//! Settings of the processes in which streams run, with `isolate` of a server.

use std::path::PathBuf;

use super::value::{Longest, Range, Setting, Value};
use crate::error::Result;

/// What a worker uses before its first message of media, and for its sessions' records: not for media.
const OWN_BYTES: u64 = 24 << 20;

/// Settings of the worker of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// The program; `None`: the library's own.
    pub program: Option<PathBuf>,
    /// Most memory that a worker can write; `None` is unbounded.
    pub memory_bytes: Option<u64>,
    /// Most files that a worker can have open; `None`: as many as the host.
    pub files: Option<u32>,
    /// A worker that answers nothing for this long is killed; `None`: never.
    pub hung_ms: Option<u32>,
    /// The folder in which workers that have lost their server wait for the next one; `None`: they end with their server.
    pub dir: Option<PathBuf>,
    /// How long they wait.
    pub orphan_ms: u32,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            program: None,
            memory_bytes: None,
            files: None,
            hung_ms: Some(10_000), // a machine under heavy load delays a process by seconds
            dir: None,
            orphan_ms: 60_000, // service managers start a program again within seconds, and give up within a minute
        }
    }
}

impl WorkerConfig {
    /// How much of a worker's memory its stream's log and queues may have, so that the stream frees memory before the
    /// system refuses it, which ends the worker: a process grows by some 1.25 times this number.
    pub fn media_bytes(&self) -> Option<u64> {
        self.memory_bytes.map(|bytes| bytes.saturating_sub(OWN_BYTES) / 4 * 3)
    }

    /// Sets the setting of this name; false if there is none.
    pub(super) fn set(&mut self, given: &Setting<'_>) -> Result<bool> {
        let default = Self::default();
        match given.name {
            "worker" => self.program = given.within(Longest::PATH)?.text()?.map(PathBuf::from),
            "worker_memory" => {
                const BYTES: Range =
                    Range::from(32 << 20, "a worker needs that much for itself and some seconds of media");
                self.memory_bytes = match given.value {
                    Value::Default => default.memory_bytes,
                    Value::Off => None,
                    _ => Some(given.number(0, BYTES, None)?),
                };
            }
            "worker_files" => {
                const FILES: Range = Range::new(
                    64,
                    1 << 20,
                    "a worker has some twenty of its own and one for each connection, and the system has no more for a process",
                );
                self.files = given.optional(default.files, FILES)?;
            }
            "worker_hung_ms" => {
                const HUNG_MS: Range =
                    Range::new(2_000, 600_000, "a worker is pinged every second, and players wait no ten minutes");
                self.hung_ms = given.optional(default.hung_ms, HUNG_MS)?;
            }
            "worker_dir" => self.dir = given.within(Longest::PATH)?.text()?.map(PathBuf::from),
            "worker_orphan_ms" => {
                const ORPHAN_MS: Range =
                    Range::new(1_000, 86_400_000, "a server takes a moment to start, and no publisher waits for days");
                self.orphan_ms = given.number(default.orphan_ms, ORPHAN_MS, None)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
