//! The commands of peers in a form for the log, with keys masked. The session keeps them only if its driver wants them,
//! and until the driver takes them.

use std::fmt::{self, Display};

use crate::mask::mask_key;
use crate::proto::command::{Call, Command};

/// Longest name of a command that is shown, in bytes: known names are shorter.
const SHOWN_NAME_BYTES: usize = 32;

/// A command of a peer. Its text begins with `says`; the driver puts the peer's name before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Its name, cut off if it is longer than any known one.
    pub name: String,
    /// Its subject after a blank: an application, a masked key, a code. The peer's text beside a code is left out,
    /// because some peers repeat a key there.
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

/// The commands that were kept and not taken yet.
#[derive(Debug, Default)]
pub(super) struct SaidList {
    wanted: bool,
    list: Vec<Said>,
}

impl SaidList {
    /// Sets whether commands are kept.
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

/// An application without its query. The part after a slash is masked, because some peers put the key there.
fn shown_app(app: &[u8]) -> String {
    let app = app.split(|byte| *byte == b'?').next().unwrap_or_default();
    match app.iter().position(|byte| *byte == b'/') {
        Some(at) => format!("{}/{}", String::from_utf8_lossy(&app[..at]), mask_key(&app[at + 1..])),
        None => String::from_utf8_lossy(app).into_owned(),
    }
}
