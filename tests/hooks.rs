//! Hooks: back ends that are asked by HTTP before a peer may connect, publish or play, and notified of the result.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/backend.rs"]
mod backend;
#[path = "support/c.rs"]
mod c;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/http.rs"]
mod http;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "support/live.rs"]
mod live;
#[path = "support/moving.rs"]
mod moving;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;
#[path = "support/reserved.rs"]
mod reserved;
#[path = "support/secure.rs"]
mod secure;
#[path = "support/successor.rs"]
mod successor;

#[path = "hooks/ends.rs"]
mod ends;
#[path = "hooks/json.rs"]
mod json;
#[path = "hooks/names.rs"]
mod names;
#[path = "hooks/nginx.rs"]
mod nginx;
#[path = "hooks/tls.rs"]
mod tls;

use std::sync::Arc;

use backend::Backend;
use live::Live;
use rrelay::config::{Dialect, HooksConfig, ServerConfig};
use rrelay::rest::Rest;

/// A server with hooks.
struct Hooked {
    live: Live,
    rest: Rest,
}

impl Hooked {
    fn new(config: HooksConfig) -> Self {
        Self::with(ServerConfig::default(), config)
    }

    fn with(server: ServerConfig, config: HooksConfig) -> Self {
        let live = Live::new(server);
        let rest = Rest::new(Arc::clone(&live.server));
        rest.set_hooks(Some(config)).unwrap();
        Self { live, rest }
    }
}

/// All hooks at one back end, each at the path of its name. Updates are far apart, and notifications are repeated only
/// for a short time.
fn all(backend: &Backend, dialect: Dialect) -> HooksConfig {
    let url = |path| Some(backend.url(path));
    HooksConfig {
        on_connect: url("on_connect"),
        on_publish: url("on_publish"),
        on_play: url("on_play"),
        on_publish_done: url("on_publish_done"),
        on_play_done: url("on_play_done"),
        dialect,
        ..HooksConfig::default()
    }
}
