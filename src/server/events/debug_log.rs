//! Events as log lines at level DEBUG: which object changed from which state to which, and why. Keys are masked.
//!
//! It subscribes while the server's log takes such lines. It is called without any lock, because a log line takes the
//! lock of the host's queue.

use super::subscribers::Subscriber;
use crate::mask::{hide_key, mask_key, mask_url};
use crate::stream::event::{Event, EventKind};

/// The log as a subscriber. The log itself drops and counts lines for which it has no room.
pub(super) struct DebugLog;

impl Subscriber for DebugLog {
    fn tell(&self, event: &Event) {
        write(event);
    }
}

fn write(event: &Event) {
    if !log::log_enabled!(log::Level::Debug) || matches!(event.kind, EventKind::Log | EventKind::Overflow) {
        return;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = || format!("{}/{}", text(&event.app), mask_key(&event.key));
    let whose = match event.kind {
        _ if event.target != 0 && event.url.is_empty() => format!("target of {}", name()),
        _ if event.target != 0 => format!("target {} of {}", mask_url(&text(&event.url)), name()),
        _ if event.session != 0 => format!("session {}", text(&event.addr)),
        _ if event.stream != 0 => format!("stream {}", name()),
        _ => "server".to_owned(),
    };
    let what = match event.kind {
        EventKind::Server | EventKind::Stream | EventKind::Session | EventKind::Target => String::new(),
        kind => format!(" {kind:?}"),
    };
    let moved = if event.prev == event.state {
        String::new()
    } else {
        format!(" {} -> {}", event.prev.name(), event.state.name())
    };
    let why = match event.error {
        Some(kind) if event.text.is_empty() => format!(": {}", kind.sentence()),
        Some(kind) => format!(": {}: {}", kind.sentence(), hide_key(&text(&event.text), &event.key)),
        None => String::new(),
    };
    log::debug!("{whose}:{what}{moved}{why}");
}
