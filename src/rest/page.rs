//! The web page: its files are compiled into the library, so the page needs only the relay. Files of others are in
//! `page/vendor`; `make vendor` fetches them from npm again.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::model::scheme;
use crate::server::{Listening, RRServer};

/// A browser checks these files whenever it shows the page.
const ASK_ALWAYS: &str = "no-cache";

/// The player is large, and a copy that is an hour old works as well.
const ASK_HOURLY: &str = "max-age=3600";

/// The routes of the page. They need no token, because they show nothing about streams.
pub(crate) fn routes() -> Router<Arc<RRServer>> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    Router::new()
        .route("/", get(index))
        .route("/page/page.css", get(file("text/css; charset=utf-8", ASK_ALWAYS, include_str!("page/page.css"))))
        .route("/page/page.js", get(file(SCRIPT, ASK_ALWAYS, include_str!("page/page.js"))))
        .route("/page/preview.js", get(file(SCRIPT, ASK_ALWAYS, include_str!("page/preview.js"))))
        .route("/page/mpegts.js", get(file(SCRIPT, ASK_HOURLY, include_str!("page/vendor/mpegts.js"))))
        .route(
            "/page/mpegts.js.LICENSE.txt",
            get(file("text/plain; charset=utf-8", ASK_HOURLY, include_str!("page/vendor/mpegts.js.LICENSE.txt"))),
        )
}

async fn index(State(server): State<Arc<RRServer>>) -> impl IntoResponse {
    let policy = [(header::CONTENT_SECURITY_POLICY, policy(&server.listeners()))];
    (policy, file("text/html; charset=utf-8", ASK_ALWAYS, include_str!("page/index.html")))
}

/// An answer with a file.
fn file(kind: &'static str, cache: &'static str, text: &'static str) -> impl IntoResponse + Clone {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], text)
}

/// The page's content security policy: its own scripts and styles, requests only to the relay, no frame around it. The
/// players in it also connect to the ports for media, under any name that the browser uses for this machine.
fn policy(listeners: &[Listening]) -> String {
    let media = listeners.iter().filter(|listening| listening.options.http);
    let media: String =
        media.map(|listening| format!(" {}://*:{}", scheme(listening.options), listening.address.port())).collect();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob:; \
         connect-src 'self'{media}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}
