//! The plot of a stream's rates, read back from its canvas, and the page's list of events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rrelay::server::{Id, RRServer, kind};

use super::chromium::Chromium;
use super::support::flv;
use super::support::program::Room;
use super::support::rml::key_frame;
use super::support::server::Relay;
use super::support::until;
use super::{card, page_of};

/// Writes media into a stream, so many bytes every 50 ms, until it is dropped.
struct Feed(Arc<AtomicUsize>);

const OVER: usize = usize::MAX;

impl Feed {
    fn into(server: &Arc<RRServer>, stream: Id) -> Self {
        let bytes = Arc::new(AtomicUsize::new(0));
        let (server, rate, begun) = (Arc::clone(server), Arc::clone(&bytes), Instant::now());
        std::thread::spawn(move || {
            loop {
                match rate.load(Ordering::Relaxed) {
                    OVER => return,
                    0 => {}
                    bytes => {
                        let mut frame = key_frame(1);
                        frame.resize(frame.len().max(bytes), 0);
                        let now_ms = begun.elapsed().as_millis() as i64;
                        server.stream_write(stream, flv::VIDEO, now_ms, &frame, false).unwrap();
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self(bytes)
    }

    fn becomes(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.becomes(OVER);
    }
}

/// `area()`: the height of the plot's area in each column of pixels, below the words. `has(NAME)`: some pixel has this colour of the page.
const READ: &str = "{
    const pixels = () => {
        const canvas = CARD.querySelector('.plot');
        return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    };
    window.area = () => {
        const { data, width, height } = pixels();
        const seen = (x, y) => { if (y < 18) return false; const alpha = data[(y * width + x) * 4 + 3]; return alpha > 30 && alpha < 90; };
        return Array.from({ length: width }, (_, x) => Array.from({ length: height }, (_, y) => seen(x, y)).filter(Boolean).length);
    };
    window.has = (name) => {
        const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
        const { data } = pixels();
        for (let at = 0; at < data.length; at += 4) {
            if (data[at + 3] > 200 && wanted.every((value, of) => Math.abs(value - data[at + of]) < 24)) return true;
        }
        return false;
    };
    window.begun = performance.now();
}";

#[test]
fn the_plot_follows_the_rates_and_its_width_is_two_minutes_however_often_the_page_asks() {
    let (room, relay, other) = (Room::new("page-plot"), Relay::new(), Relay::new());
    // Twice as much goes out as comes in.
    relay.push("show", other.url("copy"));
    relay.push("show", other.url("second-copy"));
    let feed = Feed::into(&relay.server, relay.stream("show").unwrap());
    let (_rest, mut browser) = page_of(&room, &relay);
    let plot = format!("{}.querySelector('.plot')", card("show"));
    browser.until(&format!("{plot}.hidden"));
    browser.eval(&READ.replace("CARD", &card("show")));
    let now = |which: usize| format!("parseInt({plot}.ariaLabel.split('now ')[1].split(', ')[{which}])");

    feed.becomes(4_000);
    browser.until(&format!("!{plot}.hidden && {} > 400 && {} > 400", now(0), now(1)));
    browser.until("window.has('--in') && window.has('--out')");
    // Each of these makes the page ask.
    browser.eval("setInterval(() => document.getElementById('filter').dispatchEvent(new Event('input')), 20)");
    browser.until("window.area().filter((height) => height > 5).length > 12");
    browser.until("performance.now() - window.begun > 4000");
    let columns = browser.eval("((all) => [all.length, all.findIndex((height) => height > 2)])(window.area())");
    let (all, first) = (columns[0].as_f64().unwrap(), columns[1].as_f64().unwrap());
    let seconds = browser.eval("(performance.now() - window.begun) / 1000").as_f64().unwrap();
    assert!((all - first) / all <= (seconds + 2.0) / 120.0, "{columns} after {seconds} s");

    assert!(browser.eval("Math.max(...window.area())").as_f64().unwrap() > 30.0, "half of the scale");

    // Five times as much: what was half of the scale is near its bottom now.
    feed.becomes(20_000);
    browser.until(&format!("{} > 2000 && {} > 2000", now(0), now(1)));
    browser.until(
        "((drawn) => drawn[1] < 15 && drawn.at(-2) > 3 * drawn[1])(window.area().filter((height) => height > 4))",
    );
    feed.becomes(0);
    browser.until(&format!("{} === 0 && {} === 0", now(0), now(1)));
    browser.until("((all) => all.at(-2) <= 1 && Math.max(...all) > 30)(window.area())");
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

/// Lines of the list, newest first: time, name, text.
fn lines(browser: &mut Chromium) -> Vec<String> {
    let lines = browser.eval("[...document.querySelectorAll('#log li')].map((line) => [...line.children].map((part) => part.textContent).join('|'))");
    lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[test]
fn events_are_listed_newest_first_and_those_before_the_page_was_opened_too() {
    let (room, relay) = (Room::new("page-log"), Relay::new());
    let (_rest, mut browser) = page_of(&room, &relay);
    let create = |key: &str| relay.server.stream_create(b"live", key.as_bytes(), None).unwrap();
    let id = create("<b>one");
    create("two");
    browser.until("document.querySelectorAll('#log li').length === 2");
    let seen = lines(&mut browser);
    assert!(seen[0].ends_with("|live/two|idle") && seen[1].ends_with("|live/<b>one|idle"), "{seen:?}");

    // Nobody listens there.
    let target = relay.push("two", "rtmp://127.0.0.1:1/live/two".to_owned());
    relay.server.stream_write(relay.stream("two").unwrap(), flv::VIDEO, 0, &key_frame(1), false).unwrap();
    let refused = "[...document.querySelectorAll('#log li.warn')].find((line) => line.textContent.includes('Connection refused'))";
    browser.until(refused);
    relay.server.target_stop(target, 0).unwrap();
    let shown = "(line) => line.getClientRects().length > 0";
    let is_problem = "(line) => line.matches('.warn, .bad')";
    let only = |browser: &mut Chromium, pressed: bool| {
        browser.eval("document.getElementById('only-problems').click()");
        let lines = "[...document.querySelectorAll('#log li')]";
        browser.until(&format!("{lines}.some({is_problem}) && {lines}.every((line) => ({shown})(line) === (!{pressed} || ({is_problem})(line)))"));
    };
    only(&mut browser, true);
    only(&mut browser, false);

    relay.server.stream_stop(id, 0).unwrap();
    for number in 0..400 {
        relay.server.stream_stop(create(&format!("short-{number}")), 0).unwrap();
    }
    until("they are gone", || (relay.server.list(0, kind::STREAM).unwrap().len() == 1).then_some(()));
    let end = create("end");
    let newest = "document.querySelector('#log li b').textContent === 'live/end'";
    browser.until(newest);
    assert_eq!(browser.eval("document.querySelectorAll('#log li').length"), 500, "the oldest are given up");
    browser.until("document.querySelectorAll('.stream').length === 2");
    let before = lines(&mut browser);
    browser.reload();
    browser.until(newest);
    assert_eq!(lines(&mut browser), before);
    // What comes next comes on top.
    relay.server.stream_stop(end, 0).unwrap();
    browser.until("document.querySelector('#log li span').textContent === 'stopped'");
    assert_eq!(lines(&mut browser)[2..], before[..498]);
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}
