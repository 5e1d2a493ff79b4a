//! The commands that peers send, as the log has them at level DEBUG: what is asked or said, by whom, with keys masked.
//!
//! Called by both roles, for each command. It costs one load where nobody listens, and formats nothing then.

use crate::mask::mask_key;
use crate::proto::command::{Call, Command};

/// Longest name of a command that is shown, in bytes: those that are known are shorter.
const SHOWN_NAME_BYTES: usize = 32;

/// An application without its query, and what stands behind a slash in it masked: some peers put the key there.
fn shown_app(app: &[u8]) -> String {
    let app = app.split(|byte| *byte == b'?').next().unwrap_or_default();
    match app.iter().position(|byte| *byte == b'/') {
        Some(at) => format!("{}/{}", String::from_utf8_lossy(&app[..at]), mask_key(&app[at + 1..])),
        None => String::from_utf8_lossy(app).into_owned(),
    }
}

/// Tells of a command on a message stream; `who` sent it. Words that the peer says beside a code are left out: some
/// repeat a key.
pub(super) fn tell(who: impl FnOnce() -> String, stream_id: u32, call: &Call<'_>) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let name = String::from_utf8_lossy(call.name.get(..SHOWN_NAME_BYTES).unwrap_or(call.name));
    let detail = match &call.command {
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
    log::debug!("{} says {name}{detail} (transaction {}, stream {stream_id})", who(), call.transaction);
}
