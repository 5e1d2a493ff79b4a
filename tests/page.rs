//! The page in a browser: a user with the token sees streams appear when they are published, adds and removes targets,
//! kicks peers, and reads events.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "page/acts.rs"]
mod acts;
#[path = "page/chromium.rs"]
mod chromium;
#[path = "page/codecs.rs"]
mod codecs;
#[path = "page/figures.rs"]
mod figures;
#[path = "page/keyboard.rs"]
mod keyboard;
#[path = "page/looks.rs"]
mod looks;
#[path = "page/preview.rs"]
mod preview;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "page/returns.rs"]
mod returns;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use chromium::Chromium;
use rrelay::rest::{Rest, RestOptions};
use rrelay::server::ListenOptions;
use rrelay::session::Role;
use std::sync::Arc;
use support::program::{Program, Room};
use support::server::Relay;
use support::{PATIENCE, flv, until};

const TOKEN: &str = "token-of-tests";

/// The card of the stream `live/KEY`, in the page.
fn card(key: &str) -> String {
    let is_it = format!("card.querySelector('h3').textContent === `live/{key}`");
    format!("[...document.querySelectorAll('.stream')].find((card) => {is_it})")
}

/// The server has a port for players over HTTP from now on.
fn listens_for_players(relay: &Relay) -> u16 {
    relay.server.listen("127.0.0.1:0", ListenOptions { http: true, ..ListenOptions::default() }).unwrap()
}

/// The page of a server in a browser that knows the token.
fn page_of(room: &Room, relay: &Relay) -> (Rest, Chromium) {
    page_at(0, room, relay)
}

/// The same at a port of the test's choice.
fn page_at(port: u16, room: &Room, relay: &Relay) -> (Rest, Chromium) {
    let rest = Rest::new(Arc::clone(&relay.server));
    let port = rest.listen(&format!(":{port}"), TOKEN, RestOptions::default()).unwrap();
    let mut browser = Chromium::new(room);
    browser.open(&format!("http://127.0.0.1:{port}/#token={TOKEN}"));
    browser.until("document.getElementById('state').className === 'ok'");
    (rest, browser)
}

/// A small picture and a sound for as long as the test runs.
fn publishes(room: &Room, name: &str, url: &str) -> Program {
    let input = "-hide_banner -re -f lavfi -i testsrc2=size=160x90:rate=10 -f lavfi -i sine";
    let output = "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p -c:a aac -f flv";
    let args: Vec<&str> = input.split(' ').chain(output.split(' ')).chain([url]).collect();
    room.start(name, "ffmpeg", &args)
}

/// Real pictures and sound, written by the host.
fn written(relay: &Relay, key: &str) {
    let id = relay.server.stream_create(b"live", key.as_bytes(), None).unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/media/many-tracks.flv");
    for tag in flv::read(file.as_ref()) {
        relay.server.stream_write(id, tag.kind, tag.ts_ms.into(), &tag.body, false).unwrap();
    }
}

/// Types the token and sends the form, as a person does.
fn types_token(browser: &mut Chromium, token: &str) {
    browser.until("document.getElementById('token-dialog').open");
    browser.eval(&format!("document.getElementById('token').value = '{token}'"));
    browser.eval("document.getElementById('token-form').requestSubmit()");
}

/// Counts from now on how often the page asks.
const COUNTS: &str = "{ const plain = window.fetch; window.asked = 0; window.since = performance.now();
    window.fetch = (path, ...rest) => { if (path === '/v1/server') window.asked += 1; return plain(path, ...rest); }; 0 }";

#[test]
fn a_token_that_is_refused_is_not_tried_again_and_the_next_one_is_used_once_a_second() {
    let (room, relay) = (Room::new("page-token"), Relay::new());
    let rest = Rest::new(Arc::clone(&relay.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
    let mut browser = Chromium::new(&room);
    browser.open(&format!("http://127.0.0.1:{port}/#token=one-of-yesterday"));
    browser.until("document.getElementById('token-dialog').open");
    browser.eval(COUNTS);
    browser.until("performance.now() - window.since > 3000");
    assert_eq!(browser.eval("window.asked"), 0);
    types_token(&mut browser, TOKEN);
    browser.until("document.getElementById('state').className === 'ok'");
    // Events may be a reason to ask, too, but none comes.
    browser.eval("{ window.asked = 0; window.since = performance.now(); 0 }");
    browser.until("performance.now() - window.since > 6000");
    let asked = browser.eval("window.asked - (performance.now() - window.since) / 1000");
    assert!(asked.as_f64().unwrap() < 3.0, "{asked} times more than once a second");
    assert_eq!(browser.eval("document.getElementById('token-dialog').open"), false);
}

#[test]
fn the_page_shows_streams_and_does_what_its_buttons_say() {
    let (room, card) = (Room::new("page"), card("show"));
    let (relay, other) = (Relay::new(), Relay::new());
    let rest = Rest::new(Arc::clone(&relay.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
    let mut browser = Chromium::new(&room);
    browser.open(&format!("http://127.0.0.1:{port}/"));

    types_token(&mut browser, "wrong-token");
    browser.until("document.getElementById('token-error').textContent.includes('wrong')");
    types_token(&mut browser, TOKEN);
    browser.until("!document.getElementById('token-dialog').open");
    browser.until("document.getElementById('state-text').textContent === 'listens'");
    browser.until("!document.getElementById('empty').hidden");

    let _publisher = publishes(&room, "publisher", &relay.url("show"));
    browser.until(&format!("{card}.querySelector('.badge').textContent === 'live'"));
    browser.until(&format!("{card}.querySelector('.media').textContent.includes('H.264 · 160×90 · AAC')"));
    browser.until(&format!("{card}.querySelector('.sessions tbody').textContent.includes('publisher127.0.0.1')"));
    browser.until("[...document.querySelectorAll('#log li')].some((line) => line.textContent.includes('live/show'))");

    // The target's server already has another publisher for this name.
    let other_publisher = publishes(&room, "other-publisher", &other.url("copy"));
    until("the other publishes", || (other.count("copy", Role::Publisher) == 1).then_some(()));
    browser.eval(&format!("{card}.querySelector('.add').click()"));
    browser.until("document.getElementById('target-dialog').open");
    browser.eval(&format!("document.getElementById('target-url').value = '{}'", other.url("").trim_end_matches('/')));
    browser.eval("document.getElementById('target-key').value = 'copy'");
    browser.eval("document.getElementById('target-form').requestSubmit()");
    browser.until("!document.getElementById('target-dialog').open");
    browser.until(&format!("{card}.querySelector('.targets tbody td').textContent.startsWith('failed')"));
    drop(other_publisher);
    until("the name is free", || (other.count("copy", Role::Publisher) == 0).then_some(()));
    browser.eval(&format!("{card}.querySelector('.targets button[aria-label^=Retry]').click()"));
    browser.until(&format!("{card}.querySelector('.targets tbody td').textContent === 'live'"));
    other.has_messages("copy", 5);
    browser.until("document.getElementById('log').textContent.includes('target rtmp://127.0.0.1')");

    // The focused element keeps the focus while figures change.
    browser.eval(&format!("(window.focused = {card}.querySelector('.targets button[aria-label^=Remove]')).focus()"));
    let since = format!("{card}.querySelector('.figures div:last-child dd').textContent");
    for _ in 0..2 {
        let before = browser.eval(&since);
        browser.until(&format!("{since} !== {before}"));
    }
    assert_eq!(browser.eval("document.activeElement === window.focused"), true);

    browser.eval(&format!("{card}.querySelector('.targets button[aria-label^=Remove]').click()"));
    browser.until("document.getElementById('sure-dialog').open");
    browser.eval("document.getElementById('sure-yes').click()");
    browser.until(&format!("{card}.querySelector('.targets tbody').textContent === 'none'"));
    until("the target is gone", || (other.count("copy", Role::Publisher) == 0).then_some(()));

    // From now on the tab knows the token.
    browser.reload();
    browser.until(&format!("{card}.querySelector('.badge').textContent === 'live'"));
    browser.eval(&format!("{card}.querySelector('.sessions button[aria-label^=Kick]').click()"));
    browser.until("document.getElementById('sure-dialog').open");
    browser.eval("document.getElementById('ban').value = '60000'");
    browser.eval("document.getElementById('sure-yes').click()");
    browser.until("document.getElementById('log').textContent.includes('kicked by an operator')");
    browser.until(&format!("!{card}"));
    publishes(&room, "banned", &relay.url("show")).fails_within(PATIENCE);
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}
