//! How the page looks: texts can be read in both themes, and on a phone nothing is cut off and a finger reaches every control.

use std::sync::Arc;

use rrelay::config::{PublisherPolicy, ServerConfig, StreamConfig, TargetConfig};
use rrelay::session::Role;
use serde_json::{Value, json};

use super::chromium::Chromium;
use super::support::program::Room;
use super::support::rml::{Client, key_frame, sequence_header};
use super::support::server::Relay;
use super::support::until;
use super::{Rest, card, page_of};

/// In a block, so that a page can have it twice.
pub(crate) const LOOKS: &str = concat!("{", include_str!("looks.js"), "}");

/// What makes a page full: a stream with a long key, peers of each role, and targets of which one is live, one waits and
/// one has failed, with long urls and errors.
pub(crate) struct Full {
    pub(crate) relay: Relay,
    pub(crate) key: String,
    _other: Relay,
    _peers: Vec<Client>,
}

impl Full {
    /// Makes it, and opens its page.
    pub(crate) fn page(room: &Room) -> (Self, Rest, Chromium) {
        // The peers are silent, and stay.
        let stream = StreamConfig { silent_ms: None, ..StreamConfig::default() };
        let long =
            ServerConfig { idle_ms: 600_000, ping_ms: 600_000, stream: Arc::new(stream), ..ServerConfig::default() };
        let [relay, other] = [(); 2].map(|()| Relay::with(long.clone(), "127.0.0.1:0"));
        let key = format!("key-{}", "a9Zx_Q7".repeat(14));
        let config =
            StreamConfig { publisher_policy: PublisherPolicy::Standby, silent_ms: None, ..StreamConfig::default() };
        relay.server.stream_create(b"live", key.as_bytes(), Some(config)).unwrap();
        let mut peers = Vec::new();
        for (server, key) in [(&relay, key.as_str()), (&relay, key.as_str()), (&other, "taken")] {
            let mut publisher = Client::publish(server.port, key);
            publisher.send(0, sequence_header(1));
            // Enough to be seen in the plot, and to a new target it is sent anew.
            let mut frame = key_frame(1);
            frame.resize(40_000, 0);
            publisher.send(0, frame);
            peers.push(publisher);
        }
        peers.push(Client::play(relay.port, &key));
        until("one stands by", || (relay.count(&key, Role::Standby) == 1).then_some(()));
        let (rest, mut browser) = page_of(room, &relay);
        relay.push(&key, other.url("copy"));
        relay.push(&key, other.url("taken"));
        let url = format!("rtmp://127.0.0.1:1/{}", "an-application-with-a-long-name-".repeat(6));
        let waits = TargetConfig { url, retry_min_ms: 600_000, retry_max_ms: 600_000, ..TargetConfig::default() };
        relay.server.target_add(relay.stream(&key).unwrap(), waits).unwrap();
        browser.until(&format!("!{}.querySelector('.plot').hidden", card(&key)));
        (Self { relay, key, _other: other, _peers: peers }, rest, browser)
    }

    /// Waits until the page shows all that.
    pub(crate) fn is_shown(&self, browser: &mut Chromium) {
        let card = card(&self.key);
        browser.until(&format!("{card}.querySelectorAll('.sessions tbody tr').length === 3"));
        for state in ["live", "failed", "recovering"] {
            let is_it = format!("row.cells[0].textContent.startsWith('{state}')");
            browser.until(&format!("[...{card}.querySelectorAll('.targets tbody tr')].some((row) => {is_it})"));
        }
        // Nothing moves any more: the plot is there, and so are the reasons.
        let reasons = format!("[...{card}.querySelectorAll('.targets small')].map((line) => line.textContent).join()");
        for reason in ["Publish.BadName", "Connection refused"] {
            browser.until(&format!("{reasons}.includes('{reason}')"));
        }
        browser.until("document.querySelector('#log .bad')");
        browser.eval(LOOKS);
    }
}

fn nothing(found: &Value) {
    assert_eq!(found, &json!([]));
}

/// Looks at the page, and at each dialog in front of it.
fn each(browser: &mut Chromium, key: &str, look: impl Fn(&mut Chromium)) {
    look(browser);
    for (button, dialog) in [(".add", "target"), (".sessions tbody button:last-child", "sure")] {
        browser.eval(&format!("{}.querySelector('{button}').click()", card(key)));
        browser.until(&format!("document.getElementById('{dialog}-dialog').open"));
        browser.eval("document.getElementById('target-error').textContent = 'The relay says a rather long sentence of what is wrong.'");
        look(browser);
        browser.eval(&format!("document.getElementById('{dialog}-dialog').close()"));
    }
}

#[test]
fn every_text_can_be_read_in_both_themes() {
    let (full, _rest, mut browser) = Full::page(&Room::new("page-themes"));
    let looks = |browser: &mut Chromium| {
        let found = browser.eval("window.faint()");
        nothing(&found["texts"]);
        assert!(found["count"].as_u64().unwrap() > 4, "{found}");
    };
    let mut backs = Vec::new();
    for theme in ["light", "dark"] {
        browser.prefer(theme);
        for width in [1280, 360] {
            browser.resize(width, 740);
            full.is_shown(&mut browser);
            each(&mut browser, &full.key, looks);
            nothing(&browser.eval("window.faintTones()")["texts"]);
        }
        let words = format!("{}.querySelector('.picture-words')", card(&full.key));
        browser.eval(&format!("{}.querySelector('.preview').click()", card(&full.key)));
        browser.until(&format!("{words}.textContent.includes('--http')"));
        looks(&mut browser);
        browser.eval(&format!("{}.querySelector('.preview').click()", card(&full.key)));
        backs.push(browser.eval("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(backs[0], backs[1], "two themes");
    // Without a token, and without streams.
    browser.eval("document.getElementById('forget').click()");
    browser.until("document.getElementById('token-dialog').open");
    browser.eval(LOOKS);
    looks(&mut browser);
    browser.eval("document.getElementById('token-dialog').close('accepted')");
    browser.eval("document.getElementById('empty').hidden = false");
    for theme in ["light", "dark"] {
        browser.prefer(theme);
        looks(&mut browser);
    }
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

#[test]
fn a_phone_shows_everything_without_scrolling_sideways_and_a_finger_reaches_every_control() {
    let (full, _rest, mut browser) = Full::page(&Room::new("page-phone"));
    // 320 is the narrowest that WCAG asks for.
    for (width, height) in [(360, 740), (320, 568)] {
        browser.resize(width, height);
        full.is_shown(&mut browser);
        let fits = |browser: &mut Chromium| {
            nothing(&browser.eval(&format!("window.wide({width})")));
            nothing(&browser.eval(&format!("window.unreachable({width})")));
            assert!(browser.eval("document.scrollingElement.scrollWidth").as_u64().unwrap() <= u64::from(width));
        };
        each(&mut browser, &full.key, fits);
        browser.eval(&format!("{}.querySelector('.preview').click()", card(&full.key)));
        fits(&mut browser);
        browser.eval(&format!("{}.querySelector('.preview').click()", card(&full.key)));
    }
    browser.eval("document.getElementById('forget').click()");
    browser.until("document.getElementById('token-dialog').open");
    browser.eval(LOOKS);
    nothing(&browser.eval("window.wide(320)"));
    nothing(&browser.eval("window.unreachable(320)"));
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}
