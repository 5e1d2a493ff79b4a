//! The page in a browser: who has the token sees streams appear as they are published, adds and removes targets, kicks
//! peers, and reads what happens.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "page/chromium.rs"]
mod chromium;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use chromium::Chromium;
use rrelay::rest::{Rest, RestOptions};
use rrelay::session::Role;
use std::sync::Arc;
use support::program::{Program, Room};
use support::server::Relay;
use support::until;

const TOKEN: &str = "token-of-tests";

/// The card of the stream, in the page.
const CARD: &str =
    "[...document.querySelectorAll('.stream')].find((card) => card.querySelector('h3').textContent === 'live/show')";

/// A small picture and a sound for as long as the test runs.
fn publishes(room: &Room, url: &str) -> Program {
    let input = "-hide_banner -re -f lavfi -i testsrc2=size=160x90:rate=10 -f lavfi -i sine";
    let output = "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p -c:a aac -f flv";
    let args: Vec<&str> = input.split(' ').chain(output.split(' ')).chain([url]).collect();
    room.start("publisher", "ffmpeg", &args)
}

/// Types the token and sends the form, as a person does.
fn types_token(browser: &mut Chromium, token: &str) {
    browser.until("document.getElementById('token-dialog').open");
    browser.eval(&format!("document.getElementById('token').value = '{token}'"));
    browser.eval("document.getElementById('token-form').requestSubmit()");
}

#[test]
fn the_page_shows_streams_and_does_what_its_buttons_say() {
    let room = Room::new("page");
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

    let _publisher = publishes(&room, &relay.url("show"));
    browser.until(&format!("{CARD}.querySelector('.badge').textContent === 'live'"));
    browser.until(&format!("{CARD}.querySelector('.media').textContent.includes('H.264 · 160×90 · AAC')"));
    browser.until(&format!("{CARD}.querySelector('.sessions tbody').textContent.includes('publisher127.0.0.1')"));
    browser.until("[...document.querySelectorAll('#log li')].some((line) => line.textContent.includes('live/show'))");

    browser.eval(&format!("{CARD}.querySelector('.add').click()"));
    browser.until("document.getElementById('target-dialog').open");
    browser.eval(&format!("document.getElementById('target-url').value = '{}'", other.url("").trim_end_matches('/')));
    browser.eval("document.getElementById('target-key').value = 'copy'");
    browser.eval("document.getElementById('target-form').requestSubmit()");
    browser.until("!document.getElementById('target-dialog').open");
    browser.until(&format!("{CARD}.querySelector('.targets tbody td').textContent === 'live'"));
    other.has_messages("copy", 5);
    browser.until("document.getElementById('log').textContent.includes('target rtmp://127.0.0.1')");

    browser.eval(&format!("{CARD}.querySelector('.targets button[aria-label^=Remove]').click()"));
    browser.until("document.getElementById('sure-dialog').open");
    browser.eval("document.getElementById('sure-yes').click()");
    browser.until(&format!("{CARD}.querySelector('.targets tbody').textContent === 'none'"));
    until("the target is gone", || (other.count("copy", Role::Publisher) == 0).then_some(()));

    // The tab knows the token from here on.
    browser.call("Page.reload", serde_json::json!({}));
    browser.until(&format!("{CARD}.querySelector('.badge').textContent === 'live'"));
    browser.eval(&format!("{CARD}.querySelector('.sessions button[aria-label^=Kick]').click()"));
    browser.until("document.getElementById('sure-dialog').open");
    browser.eval("document.getElementById('ban').value = '60000'");
    browser.eval("document.getElementById('sure-yes').click()");
    browser.until("document.getElementById('log').textContent.includes('kicked by an operator')");
    browser.until(&format!("!{CARD}"));
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}
