//! The page after a reload, in another tab, after a restart or an upgrade of the relay, and after the network fell silent.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rrelay::rest::{Rest, RestOptions};
use serde_json::json;

use super::chromium::Chromium;
use super::proxy::{Net, Proxy};
use super::support::program::Room;
use super::support::reserved::Reserved;
use super::support::rml::{Client, key_frame, sequence_header};
use super::support::server::Relay;
use super::{TOKEN, card, page_at, page_of, types_token};

const OPEN: &str = "document.getElementById('token-dialog').open";

fn is_in(browser: &mut Chromium) {
    browser.until(&format!("document.getElementById('state').className === 'ok' && !{OPEN}"));
}

#[test]
fn the_token_is_asked_for_once_in_a_tab_and_is_kept_for_others_only_if_that_was_wanted() {
    let (room, relay) = (Room::new("page-remembers"), Relay::new());
    let (_rest, mut browser) = page_of(&room, &relay);
    // Nobody reads it in the address, or in the history.
    assert_eq!(browser.eval("location.href.endsWith('/') && history.length"), 2);
    let url = browser.eval("location.href").as_str().unwrap().to_owned();
    browser.reload();
    is_in(&mut browser);

    browser.open_tab(&url);
    types_token(&mut browser, TOKEN);
    is_in(&mut browser);
    browser.reload();
    is_in(&mut browser);
    browser.open_tab(&url);
    browser.until(OPEN);
    browser.eval("document.getElementById('remember').checked = true");
    types_token(&mut browser, TOKEN);
    is_in(&mut browser);
    browser.open_tab(&url);
    is_in(&mut browser);

    browser.eval("document.getElementById('forget').click()");
    browser.until(OPEN);
    assert_eq!(browser.eval("localStorage.length + sessionStorage.length"), 0);
    browser.reload();
    browser.until(OPEN);
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

/// The control of a server by HTTP, at a port that an earlier one may just have left.
pub(super) fn listens(relay: &Relay, port: u16, token: &str) -> Rest {
    let rest = Rest::new(Arc::clone(&relay.server));
    super::until("the port is free", || rest.listen(&format!(":{port}"), token, RestOptions::default()).ok());
    rest
}

fn creates(relay: &Relay, key: &str) {
    relay.server.stream_create(b"live", key.as_bytes(), None).unwrap();
}

#[test]
fn an_answer_that_is_a_problem_is_shown_in_its_words() {
    let (room, relay) = (Room::new("page-problem"), Relay::new());
    let (_rest, mut browser) = page_of(&room, &relay);
    is_in(&mut browser);
    let problem = r#"{"status": 507, "title": "above a limit", "detail": "the answer is too large"}"#;
    browser.eval(&format!("window.fetch = async () => new Response('{problem}', {{ status: 507 }})"));
    browser.until("document.getElementById('state-text').textContent === 'the answer is too large'");
}

#[test]
fn the_page_goes_on_with_the_relay_that_takes_the_place_of_another_one() {
    let (room, relay, reserved) = (Room::new("page-restart"), Relay::new(), Reserved::new());
    let port = reserved.port;
    let (rest, mut browser) = page_at(port, &room, &relay);
    let lists = |text: &str| format!("document.getElementById('log').textContent.includes('{text}')");
    creates(&relay, "before");
    browser.until(&card("before"));

    // A restart.
    drop((rest, relay));
    browser.until("document.getElementById('state-text').textContent === 'the relay does not answer'");
    let relay = Relay::new();
    let rest = listens(&relay, port, TOKEN);
    creates(&relay, "after");
    browser.until(&card("after"));
    browser.until(&format!("!{}", card("before")));
    browser.until(&lists("The relay was started anew"));
    browser.until(&lists("live/after"));
    is_in(&mut browser);

    // An upgrade: a publisher goes on over its connection.
    let mut publisher = Client::publish(relay.port, "show");
    publisher.send(0, sequence_header(1));
    publisher.send(0, key_frame(1));
    let row = format!("{}.querySelector('.sessions tbody td:nth-child(2)')", card("show"));
    browser.until(&row);
    let address = browser.eval(&format!("{row}.textContent"));
    let next = Relay::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| next.server.take_over(theirs.into(), 30_000).unwrap());
        relay.server.hand_over(ours.into(), 30_000, 30_000).unwrap();
    });
    drop(rest);
    let rest = listens(&next, port, TOKEN);
    publisher.send(40, key_frame(2));
    creates(&next, "newest");
    browser.until(&card("newest"));
    browser.until(&lists("live/newest"));
    browser.until(&format!("{row}.textContent === {address}"));
    browser.until(&format!("{}.querySelector('.badge').textContent === 'live'", card("show")));

    // A restart with another token.
    drop((rest, next));
    let relay = Relay::new();
    let _rest = listens(&relay, port, "another-token");
    browser.until(OPEN);
    types_token(&mut browser, "another-token");
    is_in(&mut browser);
    creates(&relay, "last");
    browser.until(&lists("live/last"));
}

/// The page's times are a tenth of what they are.
const HASTE: &str = "{
    const wait = window.setTimeout, limit = AbortSignal.timeout;
    window.setTimeout = (act, ms, ...more) => wait(act, ms / 10, ...more);
    AbortSignal.timeout = (ms) => limit.call(AbortSignal, ms / 10);
}";

#[test]
fn a_page_whose_connections_fell_silent_says_so_and_makes_new_ones() {
    let (room, relay) = (Room::new("page-silent"), Relay::new());
    let rest = Rest::new(Arc::clone(&relay.server));
    let line = Proxy::to(rest.listen(":0", TOKEN, RestOptions::default()).unwrap());
    let mut browser = Chromium::new(&room);
    browser.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": HASTE}));
    browser.open(&format!("http://127.0.0.1:{}/#token={TOKEN}", line.port));
    is_in(&mut browser);
    creates(&relay, "before");
    browser.until("document.getElementById('log').textContent.includes('live/before')");
    line.becomes(Net::Silent);
    browser.until("document.getElementById('state-text').textContent === 'the relay does not answer'");
    // What comes meanwhile is told afterwards.
    creates(&relay, "meanwhile");
    line.forgets();
    line.becomes(Net::Good);
    is_in(&mut browser);
    creates(&relay, "after");
    for key in ["meanwhile", "after"] {
        browser.until(&format!("document.getElementById('log').textContent.includes('live/{key}')"));
    }
    assert_eq!(browser.eval("document.querySelectorAll('#log li').length"), 3, "nothing is told twice");
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

/// From now on answers about the server begin with this status, and never end.
fn begins_answers(browser: &mut Chromium, status: u16) {
    browser.eval(&format!(
        "window.plain ||= window.fetch;
        window.fetch = (path, options) => path !== '/v1/server' ? window.plain(path, options)
            : Promise.resolve(new Response(new ReadableStream({{
                start: (body) => options.signal.addEventListener('abort', () => body.error(options.signal.reason)),
            }}), {{ status: {status} }})); 0"
    ));
}

#[test]
fn an_answer_that_begins_and_does_not_end_is_none() {
    let (room, relay) = (Room::new("page-half"), Relay::new());
    let rest = Rest::new(Arc::clone(&relay.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
    let mut browser = Chromium::new(&room);
    browser.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": HASTE}));
    browser.open(&format!("http://127.0.0.1:{port}/"));
    browser.until(OPEN);
    for status in [200, 503] {
        begins_answers(&mut browser, status);
        types_token(&mut browser, TOKEN);
        browser.until("document.getElementById('token-error').textContent === 'The relay does not answer.'");
        browser.eval("document.getElementById('token-error').textContent = ''");
    }
    browser.eval("window.fetch = window.plain; 0");
    types_token(&mut browser, TOKEN);
    is_in(&mut browser);
}
