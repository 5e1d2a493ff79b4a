//! The picture of a stream in the page: it plays while it is visible, and if it does not play, a text gives the reason.

use rrelay::config::{ServerConfig, ask};
use rrelay::server::EventKind;
use rrelay::session::Role;

use super::chromium::Chromium;
use super::support::program::{Program, Room};
use super::support::server::Relay;
use super::{card, listens_for_players, page_of, written};

/// Publishes video, audio or both, for as long as the test runs.
fn publishes(room: &Room, relay: &Relay, key: &str) -> Program {
    let inputs = ["-f lavfi -i testsrc2=size=160x90:rate=10", "-f lavfi -i sine"];
    let outputs = ["-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p", "-c:a aac"];
    let wanted = |of: [&'static str; 2]| match key {
        "sound" => of[1].to_owned(),
        "picture" => of[0].to_owned(),
        _ => of.join(" "),
    };
    let line = format!("-hide_banner -re {} {} -f flv {}", wanted(inputs), wanted(outputs), relay.url(key));
    room.start(key, "ffmpeg", &line.split(' ').collect::<Vec<_>>())
}

fn opens(browser: &mut Chromium, key: &str) {
    browser.until(&format!("{}.querySelector('.badge').textContent === 'live'", card(key)));
    browser.eval(&format!("{}.querySelector('.preview').click()", card(key)));
}

/// Waits until it plays: its time goes on.
fn plays(browser: &mut Chromium, key: &str) {
    let video = format!("{}.querySelector('video')", card(key));
    browser.until(&format!("{}.querySelector('.picture.shows')", card(key)));
    let begun = browser.eval(&format!("{video}.currentTime"));
    browser.until(&format!("{video}.currentTime > {begun} + 0.5"));
}

/// Waits until the text in place of the picture is this.
fn says(browser: &mut Chromium, key: &str, words: &str) {
    browser.until(&format!("{}.querySelector('.picture-words').textContent.includes('{words}')", card(key)));
}

#[test]
fn pictures_and_sound_play_while_the_preview_is_visible() {
    let (room, relay) = (Room::new("page-preview"), Relay::new());
    listens_for_players(&relay);
    let _publishers = ["both", "sound", "picture"].map(|key| publishes(&room, &relay, key));
    let (_rest, mut browser) = page_of(&room, &relay);
    for key in ["both", "sound", "picture"] {
        opens(&mut browser, key);
        plays(&mut browser, key);
        assert_eq!(relay.count(key, Role::Player), 1, "{key}");
    }
    says(&mut browser, "sound", "Sound alone");
    browser.until(&format!("{}.querySelector('.picture-words').textContent === ''", card("both")));
    let brightest = "(() => {
        const canvas = document.createElement('canvas').getContext('2d');
        canvas.drawImage(CARD.querySelector('video'), 0, 0, 160, 90);
        return canvas.getImageData(0, 0, 160, 90).data.reduce((most, one, at) => at % 4 === 3 ? most : Math.max(most, one), 0);
    })() > 128";
    for key in ["both", "picture"] {
        browser.until(&brightest.replace("CARD", &card(key)));
    }
    // A preview that is not visible does not play.
    let filter = "document.getElementById('filter')";
    browser.eval(&format!("{filter}.value = 'sound'; {filter}.dispatchEvent(new Event('input'))"));
    relay.has_players("both", 0);
    relay.has_players("sound", 1);
    browser.eval(&format!("{filter}.value = ''; {filter}.dispatchEvent(new Event('input'))"));
    plays(&mut browser, "both");
    browser.eval(&format!("{}.querySelector('.preview').click()", card("both")));
    relay.has_players("both", 0);
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

#[test]
fn a_picture_that_cannot_be_shown_has_words_instead() {
    let room = Room::new("page-no-preview");
    let relay = Relay::with(ServerConfig { ask: ask::PLAY, ..ServerConfig::default() }, "127.0.0.1:0");
    written(&relay, "show");
    let (_rest, mut browser) = page_of(&room, &relay);
    opens(&mut browser, "show");
    says(&mut browser, "show", "rr_server --http");

    // The page's policy lets it connect to the ports that there were when it was loaded.
    listens_for_players(&relay);
    says(&mut browser, "show", "since this page was loaded");
    assert_eq!(browser.complaints.len(), 1, "the policy kept it: {:#?}", browser.complaints);
    browser.eval(&format!("{}.querySelector('.again:not([hidden])').click()", card("show")));
    browser.until(&format!("{}.querySelector('.picture').hidden", card("show")));

    opens(&mut browser, "show");
    let player = relay.asks(EventKind::PlayAsk).session;
    relay.server.session_deny(player, "", "not today").unwrap();
    says(&mut browser, "show", "refuses this player");
    assert_eq!(browser.complaints.len(), 1, "{:#?}", browser.complaints);
}
