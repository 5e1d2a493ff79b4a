//! The commands that peers send, as they may be shown: what is asked or said, with keys masked. Whoever drives the
//! session logs them; the session only keeps them until then, and none where nobody wants them.

use std::fmt::{self, Display};

use crate::mask::mask_key;
use crate::proto::command::{Call, Command};

/// Longest name of a command that is shown, in bytes: those that are known are shorter.
const SHOWN_NAME_BYTES: usize = 32;

/// A command that a peer has sent. Its words begin with `says`; the driver puts the peer's name before them.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Its name, cut where it is longer than any that is known.
    pub name: String,
    /// What it is about, with a blank before it: an application, a masked key, a code. Words that the peer says beside
    /// a code are left out: some repeat a key.
    pub about: String,
    /// Its transaction id.
    pub transaction: f64,
    /// The message stream it came on.
    pub stream_id: u32,
}

impl Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, about, transaction, stream_id } = self;
        write!(f, "says {name}{about} (transaction {transaction}, stream {stream_id})")
    }
}

impl Said {
    fn new(stream_id: u32, call: &Call<'_>) -> Self {
        let about = match &call.command {
            Command::Connect(connect) => format!(" to {}", shown_app(connect.app)),
            Command::Publish { key, .. }
            | Command::Play { key, .. }
            | Command::ReleaseStream(key)
            | Command::FcPublish(key)
            | Command::FcUnpublish(key)
            | Command::FcSubscribe(key)
            | Command::GetStreamLength(key) => format!(" of {}", mask_key(key)),
            Command::Status(status) | Command::Error(status) => format!(" {}", status.code),
            _ => String::new(),
        };
        let name = String::from_utf8_lossy(call.name.get(..SHOWN_NAME_BYTES).unwrap_or(call.name)).into_owned();
        Self { name, about, transaction: call.transaction, stream_id }
    }
}

/// The lines that were made and not taken yet.
#[derive(Debug, Default)]
pub(super) struct SaidList {
    wanted: bool,
    list: Vec<Said>,
}

impl SaidList {
    /// From now on commands are kept, or no longer.
    pub(super) fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    pub(super) fn note(&mut self, stream_id: u32, call: &Call<'_>) {
        if self.wanted {
            self.list.push(Said::new(stream_id, call));
        }
    }

    pub(super) fn take(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.list)
    }
}

/// An application without its query, and what stands behind a slash in it masked: some peers put the key there.
fn shown_app(app: &[u8]) -> String {
    let app = app.split(|byte| *byte == b'?').next().unwrap_or_default();
    match app.iter().position(|byte| *byte == b'/') {
        Some(at) => format!("{}/{}", String::from_utf8_lossy(&app[..at]), mask_key(&app[at + 1..])),
        None => String::from_utf8_lossy(app).into_owned(),
    }
}
