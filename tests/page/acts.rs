//! What the page's buttons do to targets, publishers and streams: each act is seen in the relay and at the other end of the
//! connection.

use std::time::{Duration, Instant};

use rrelay::config::{PublisherPolicy, ServerConfig, StreamConfig, TargetConfig};
use rrelay::server::Id;
use rrelay::session::Role;

use super::chromium::Chromium;
use super::returns::listens;
use super::support::program::Room;
use super::support::reserved::Reserved;
use super::support::rml::{Client, key_frame, sequence_header};
use super::support::server::Relay;
use super::support::until;
use super::{TOKEN, card, page_at, page_of, written};

/// Clicks a button of the stream's card, and waits for the dialog that it opens.
fn opens(browser: &mut Chromium, key: &str, button: &str, dialog: &str) {
    browser.until(&format!("{}.querySelector('{button}')", card(key)));
    browser.eval(&format!("{}.querySelector('{button}').click()", card(key)));
    browser.until(&format!("document.getElementById('{dialog}-dialog').open"));
}

/// Fills the fields of the dialog for a target, which may have had a value before, and sends it.
fn saves(browser: &mut Chromium, fields: &[(&str, &str)]) {
    for (field, value) in fields {
        browser.eval(&format!("document.getElementById('target-{field}').value = '{value}'"));
    }
    browser.eval("document.getElementById('target-form').requestSubmit()");
}

fn base(relay: &Relay) -> String {
    format!("rtmp://127.0.0.1:{}/live", relay.port)
}

#[test]
fn a_change_of_a_target_changes_what_was_filled_in_and_a_refusal_is_shown() {
    // As hard a name as a stream may have.
    let key = "a 7%<i>&\"?x=#1/";
    let (room, relay) = (Room::new("page-change"), Relay::new());
    let (first, second) = (Relay::new(), Relay::new());
    written(&relay, key);
    let config = TargetConfig { url: base(&first), key: Some(b"copy".to_vec()), ..TargetConfig::default() };
    let target = relay.server.target_add(relay.stream(key).unwrap(), config).unwrap();
    first.has_messages("copy", 5);
    let (_rest, mut browser) = page_of(&room, &relay);
    let change = ".targets button[aria-label^=Change]";
    opens(&mut browser, key, change, "target");
    assert_eq!(
        browser.eval("document.getElementById('target-url').placeholder"),
        format!("{} (as it is)", base(&first))
    );

    saves(&mut browser, &[("url", "gopher://127.0.0.1")]);
    browser.until("document.getElementById('target-error').textContent.includes('rtmps:')");
    assert_eq!(relay.server.target_config(target).unwrap().url, base(&first));
    assert_eq!(browser.eval("document.getElementById('target-dialog').open"), true);

    let closed = "!document.getElementById('target-dialog').open";
    saves(&mut browser, &[("url", &base(&second)), ("kbps", "5000")]);
    browser.until(closed);
    second.has_messages("copy", 5);
    until("the old one is left", || (first.count("copy", Role::Publisher) == 0).then_some(()));
    let now = relay.server.target_config(target).unwrap();
    assert_eq!((now.url, now.key.as_deref(), now.max_kbps), (base(&second), Some(&b"copy"[..]), Some(5_000)));
    browser.until(&format!(
        "{}.querySelector('.targets td:nth-child(2)').textContent === '{}/***'",
        card(key),
        base(&second)
    ));

    // Nothing of an earlier change is left in the dialog.
    opens(&mut browser, key, change, "target");
    let left = "[...document.querySelectorAll('#target-form input')].map((input) => input.value).join('') + document.getElementById('target-error').textContent";
    assert_eq!(browser.eval(left), "");
    saves(&mut browser, &[("key", "other")]);
    browser.until(closed);
    second.has_messages("other", 5);
    let now = relay.server.target_config(target).unwrap();
    assert_eq!((now.url, now.key.as_deref(), now.max_kbps), (base(&second), Some(&b"other"[..]), Some(5_000)));
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

#[test]
fn a_target_that_waits_says_why_and_a_retry_connects_at_once() {
    let (room, relay) = (Room::new("page-retry"), Relay::new());
    written(&relay, "show");
    let nobody = Reserved::new();
    let config = TargetConfig {
        url: format!("rtmp://{}/live", nobody.address()),
        retry_min_ms: 600_000,
        retry_max_ms: 600_000,
        ..TargetConfig::default()
    };
    let (_rest, mut browser) = page_of(&room, &relay);
    relay.server.target_add(relay.stream("show").unwrap(), config).unwrap();
    let state = format!("{}.querySelector('.targets tbody td')", card("show"));
    let waits = format!("{state}.textContent.startsWith('recovering, next try in ')");
    // A page that comes later says the same.
    for _ in 0..2 {
        browser.until(&format!("{waits} && {state}.querySelector('small').textContent.includes('Connection refused')"));
        browser.reload();
    }
    browser.until(&waits);
    let other = Relay::with(ServerConfig::default(), &nobody.address().to_string());
    browser.eval(&format!("{}.querySelector('.targets button[aria-label^=Retry]').click()", card("show")));
    browser.until(&format!("{state}.textContent === 'live'"));
    other.has_messages("show", 5);
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

/// The session of a role; there is one.
fn one(relay: &Relay, role: Role) -> Option<Id> {
    let list = relay.server.list(relay.stream("show")?, rrelay::server::kind::SESSION).ok()?;
    list.into_iter().find(|&id| relay.server.info(id).is_ok_and(|info| info.role == role))
}

/// Sends key frames of these publishers while `so` is not true.
fn send_until(publishers: &mut [Client], mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < super::PATIENCE);
        for publisher in &mut *publishers {
            publisher.send(begun.elapsed().as_millis() as u32, key_frame(1));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Keeps the methods of the page's requests from now on; two of them a second.
const METHODS: &str = "{ const plain = window.fetch; window.methods = [];
    window.fetch = (path, init) => { window.methods.push(init.method); return plain(path, init); }; 0 }";

#[test]
fn a_standby_is_made_live_and_a_stream_ends_only_when_that_is_confirmed() {
    let standby = StreamConfig { publisher_policy: PublisherPolicy::Standby, ..StreamConfig::default() };
    let (room, relay) = (Room::new("page-switch"), Relay::new());
    relay.server.stream_create(b"live", b"show", Some(standby)).unwrap();
    let mut publishers = [(); 2].map(|()| {
        let mut publisher = Client::publish(relay.port, "show");
        publisher.send(0, sequence_header(1));
        publisher
    });
    send_until(&mut publishers, || one(&relay, Role::Standby).is_some());
    let waits = one(&relay, Role::Standby).unwrap();
    let (_rest, mut browser) = page_of(&room, &relay);
    let row = |role: &str| format!("{}.querySelector('.sessions tr[data-id$={role}]')", card("show"));
    browser.until(&format!("{}.querySelector('button').textContent === 'Make live'", row("standby")));
    browser.eval(&format!("{}.querySelector('button').click()", row("standby")));
    send_until(&mut publishers, || one(&relay, Role::Publisher) == Some(waits));
    browser.until(&format!("{}.dataset.id === '{waits}publisher'", row("publisher")));
    // The one that was live waits now, and can be made live again.
    browser.until(&format!("{}.querySelector('button').textContent === 'Make live'", row("standby")));
    browser.until(&format!("!{}.textContent.includes('Make live')", row("publisher")));

    opens(&mut browser, "show", ".end", "sure");
    assert_eq!(browser.eval("document.getElementById('sure-title').textContent"), "End live/show?");
    browser.eval(METHODS);
    browser.eval("document.querySelector('#sure-dialog button[value=no]').click()");
    browser.until("!document.getElementById('sure-dialog').open");
    browser.until("window.methods.length >= 4");
    assert_eq!(browser.eval("window.methods.every((method) => method === 'GET')"), true);
    // The question is asked anew before the page has heard that it was closed.
    let end = format!("{}.querySelector('.end').click()", card("show"));
    browser.eval(&format!("{end}; document.getElementById('sure-dialog').close(); {end}"));
    browser.until("document.getElementById('sure-dialog').open");
    assert_eq!(relay.count("show", Role::Publisher), 1);
    browser.eval("document.getElementById('sure-yes').click()");
    publishers.iter_mut().for_each(Client::wait_over);
    browser.until(&format!("!{}", card("show")));
    browser.until("!document.getElementById('empty').hidden");
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

#[test]
fn targets_at_one_address_are_told_apart_and_their_keys_are_not_shown() {
    let (room, relay, reserved) = (Room::new("page-alike"), Relay::new(), Reserved::new());
    written(&relay, "show");
    let add = |key: &str| {
        let url = "rtmp://127.0.0.1:1/live".to_owned();
        let config = TargetConfig { url, key: Some(key.into()), ..TargetConfig::default() };
        relay.server.target_add(relay.stream("show").unwrap(), config).unwrap()
    };
    let targets = ["live_4711_secretsecretAAAA", "live_4711_secretsecretBBBB", "short1", "short2"].map(add);
    let (rest, mut browser) = page_at(reserved.port, &room, &relay);
    let names = format!(
        "[...{}.querySelectorAll('.targets td:nth-child(2)')].map((cell) => cell.textContent.slice(-8))",
        card("show")
    );
    browser.until(&format!("{names}.join('|') === '/***AAAA|/***BBBB|/*** (1)|/*** (2)'"));
    assert_eq!(browser.eval("/4711|secret|short/.test(document.documentElement.outerHTML)"), false);

    let remove = |end: &str| {
        format!("{}.querySelector('.targets button[aria-label^=Remove][aria-label$=\"{end}\"]').click()", card("show"))
    };
    for (end, left) in [("BBBB", "/***AAAA|/*** (1)|/*** (2)"), ("(1)", "/***AAAA|live/***")] {
        browser.eval(&remove(end));
        browser.until("document.getElementById('sure-dialog').open");
        let asked = browser.eval("document.getElementById('sure-text').textContent");
        assert!(asked.as_str().unwrap().contains(end), "{asked}");
        browser.eval("document.getElementById('sure-yes').click()");
        browser.until(&format!("{names}.join('|') === '{left}'"));
    }
    let left = relay.server.list(relay.stream("show").unwrap(), rrelay::server::kind::TARGET).unwrap();
    assert_eq!(left, [targets[0], targets[3]]);

    // Events of an instance that the page does not know, before it has listed the streams anew.
    let unknown = "const real = window.fetch;
        window.fetch = (path, how) => {
            if (path.includes('/v1/streams')) return new Promise(() => {});
            if (path.includes('/v1/events')) how.headers['Last-Event-ID'] = '0-begin';
            return real(path, how);
        }";
    browser.eval(unknown);
    drop(rest);
    let _rest = listens(&relay, reserved.port, TOKEN);
    browser.until("document.getElementById('log').textContent.includes('was started anew')");
    browser.eval(&remove("AAAA"));
    browser.until("document.getElementById('sure-text').textContent.includes('/***AAAA: ')");
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}
