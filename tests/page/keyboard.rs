//! The page by keyboard alone, with real key presses: every control is reached and shows that it has the focus, keys do
//! what clicks do, and a dialog keeps the focus and gives it back.

use rrelay::session::Role;
use serde_json::{Value, json};

use super::chromium::Chromium;
use super::looks::{Full, LOOKS};
use super::support::program::Room;
use super::support::server::Relay;
use super::support::until;
use super::{TOKEN, card, page_of};

fn focused(browser: &mut Chromium) -> Value {
    browser.eval("window.focused()")
}

/// Presses a key until the focus has gone over every control; each shows that it has it. In a page as in a dialog,
/// nothing else takes the focus; the browser itself may, between the last and the first.
fn goes_round(browser: &mut Chromium, key: &str) {
    let count = browser.eval("window.controlCount()").as_u64().unwrap();
    let mut seen = vec![false; count as usize];
    for _ in 0..2 * count + 4 {
        browser.press(key);
        // The page is scrolled there with its next picture. Where it has grown since, above the control, one goes back and
        // forth.
        let back = if key == "Tab" { "Shift+Tab" } else { "Tab" };
        until("the focus is seen", || {
            let is_seen =
                |browser: &mut Chromium| browser.eval("!window.focused() || window.focused().visible") == true;
            if (0..20).any(|_| is_seen(browser)) {
                return Some(());
            }
            browser.press(back);
            browser.press(key);
            None
        });
        let now = focused(browser);
        if now.is_null() {
            continue;
        }
        let at = now["at"].as_i64().unwrap();
        *seen.get_mut(at as usize).unwrap_or_else(|| panic!("{now} is none of the controls")) = true;
    }
    assert_eq!(seen, vec![true; count as usize], "by {key}");
}

/// Moves the focus to the control of this name.
fn goes_to(browser: &mut Chromium, name: &str) {
    let count = browser.eval("window.controlCount()").as_u64().unwrap();
    for _ in 0..2 * count + 4 {
        if focused(browser)["name"].as_str().is_some_and(|now| now.starts_with(name)) {
            return;
        }
        browser.press("Tab");
    }
    panic!("{name} is not reached; the focus is at {}", focused(browser));
}

const TARGET: &str = "document.getElementById('target-dialog').open";
const SURE: &str = "document.getElementById('sure-dialog').open";

#[test]
fn everything_can_be_done_by_keyboard() {
    let (full, _rest, mut browser) = Full::page(&Room::new("page-keyboard"));
    full.is_shown(&mut browser);
    for theme in ["light", "dark"] {
        browser.prefer(theme);
        goes_round(&mut browser, "Tab");
    }
    goes_round(&mut browser, "Shift+Tab");

    // A dialog opens by either key, keeps the focus, and gives it back.
    for key in ["Enter", "Space"] {
        goes_to(&mut browser, "BUTTON Add target");
        browser.press(key);
        browser.until(TARGET);
        assert_eq!(focused(&mut browser)["name"], "INPUT target-url");
        goes_round(&mut browser, "Tab");
        goes_round(&mut browser, "Shift+Tab");
        browser.press("Escape");
        browser.until(&format!("!{TARGET}"));
        assert_eq!(focused(&mut browser)["name"], "BUTTON Add target");
    }
    let targets = || full.relay.server.list(0, rrelay::server::kind::TARGET).unwrap().len();
    assert_eq!(targets(), 3);
    browser.press("Enter");
    browser.until(TARGET);
    browser.write("rtmp://127.0.0.1:1/typed");
    browser.press("Enter");
    browser.until(&format!("!{TARGET}"));
    until("it is added", || (targets() == 4).then_some(()));

    // Where something would end, Enter alone does not confirm it.
    let player = format!("{}.querySelector('.sessions tr[data-id$=player] button').ariaLabel", card(&full.key));
    let kick = format!("BUTTON {}", browser.eval(&player).as_str().unwrap());
    let players = || full.relay.count(&full.key, Role::Player);
    for key in ["Escape", "Enter"] {
        goes_to(&mut browser, &kick);
        browser.press("Space");
        browser.until(SURE);
        goes_round(&mut browser, "Tab");
        goes_to(&mut browser, "BUTTON Cancel");
        browser.press(key);
        browser.until(&format!("!{SURE}"));
        assert_eq!((focused(&mut browser)["name"].as_str().unwrap(), players()), (kick.as_str(), 1));
    }
    browser.press("Enter");
    browser.until(SURE);
    goes_to(&mut browser, "SELECT ban");
    browser.press("ArrowDown");
    browser.until("document.getElementById('ban').value === '60000'");
    goes_to(&mut browser, "BUTTON sure-yes");
    browser.press("Enter");
    full.relay.has_players(&full.key, 0);
    browser.until(&format!("!{SURE}"));

    goes_to(&mut browser, "INPUT only-problems");
    browser.press("Space");
    browser.until("document.getElementById('log').classList.contains('problems')");
    goes_to(&mut browser, "INPUT filter");
    browser.write("no such stream");
    browser.until(&format!("{}.hidden", card(&full.key)));
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

#[test]
fn the_question_for_the_token_stays_until_it_is_answered() {
    let (room, relay) = (Room::new("page-keyboard-token"), Relay::new());
    let (_rest, mut browser) = page_of(&room, &relay);
    browser.eval(LOOKS);
    goes_to(&mut browser, "BUTTON forget");
    browser.press("Enter");
    let open = "document.getElementById('token-dialog').open";
    browser.until(open);
    browser.eval(LOOKS);
    for _ in 0..3 {
        browser.press("Escape");
        browser.until(open);
        browser.until("window.focused().name === 'INPUT token'");
    }
    goes_round(&mut browser, "Tab");
    goes_to(&mut browser, "INPUT token");
    browser.write(TOKEN);
    browser.press("Enter");
    browser.until(&format!("!{open} && document.getElementById('state').className === 'ok'"));
    assert_eq!(browser.eval("sessionStorage.length"), json!(1));
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}
