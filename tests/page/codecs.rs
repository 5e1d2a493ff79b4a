//! Streams in the form for browsers, played by the page's player: its demultiplexer accepts the media of real encoders
//! in every form of E-RTMP, whether the browser can decode it or not.

use serde_json::Value;

use super::chromium::Chromium;
use super::support::flv;
use super::support::program::Room;
use super::support::server::Relay;
use super::{listens_for_players, page_of};

/// A player of the page, whose messages are kept.
const PLAY: &str = "(async () => {
    if (!window.mpegts) await new Promise((done) => {
        const script = document.createElement('script');
        script.src = '/page/mpegts.js';
        script.onload = done;
        document.head.append(script);
    });
    const seen = window.seen = { errors: [], info: null, ended: false };
    const player = mpegts.createPlayer({ type: 'flv', isLive: true, url: 'URL' });
    player.on(mpegts.Events.ERROR, (type, detail, info) => seen.errors.push(`${detail}: ${info.msg || info}`));
    player.on(mpegts.Events.MEDIA_INFO, (info) => { seen.info = info; });
    player.on(mpegts.Events.LOADING_COMPLETE, () => { seen.ended = true; });
    const video = window.video = document.createElement('video');
    video.muted = true;
    player.attachMediaElement(video);
    player.load();
})()";

/// What the player found in a vector that the relay sent while it played.
fn seen(browser: &mut Chromium, relay: &Relay, port: u16, name: &str) -> Value {
    let id = relay.server.stream_create(b"live", name.as_bytes(), None).unwrap();
    let url = format!("http://127.0.0.1:{port}/live/{name}.flv?for=browser");
    browser.eval(&PLAY.replace("URL", &url));
    relay.has_players(name, 1);
    let file = format!("{}/tests/vectors/media/{name}.flv", env!("CARGO_MANIFEST_DIR"));
    for tag in flv::read(file.as_ref()) {
        relay.server.stream_write(id, tag.kind, tag.ts_ms.into(), &tag.body, false).unwrap();
    }
    relay.server.stream_write(id, flv::VIDEO, 0, &[], true).unwrap();
    browser.until("window.seen.ended || window.seen.errors.some((error) => !error.startsWith('MediaMSEError'))");
    browser.eval("window.seen")
}

#[test]
fn the_player_takes_what_encoders_make_in_every_form_of_enhanced_rtmp() {
    let (room, relay) = (Room::new("page-codecs"), Relay::new());
    let port = listens_for_players(&relay);
    let (_rest, mut browser) = page_of(&room, &relay);
    for (name, codecs, decodes) in [
        ("hevc-opus", Some(["hvc1.", "opus"]), false),
        // The player does not report AV1's codec.
        ("av1-aac-modex", None, true),
        ("legacy-hevc", Some(["hvc1.", "mp4a.40."]), false),
        // The lowest of several tracks.
        ("one-track", Some(["hvc1.", "opus"]), false),
        ("many-tracks", Some(["avc1.", "mp4a.40."]), true),
        ("many-codecs", Some(["hvc1.", "opus"]), false),
    ] {
        let seen = seen(&mut browser, &relay, port, name);
        // The decoders are the browser's.
        let errors = seen["errors"].as_array().unwrap();
        assert!(errors.iter().all(|error| error.as_str().unwrap().starts_with("MediaMSEError")), "{name}: {seen}");
        for (field, codec) in ["videoCodec", "audioCodec"].iter().zip(codecs.into_iter().flatten()) {
            assert!(seen["info"][field].as_str().is_some_and(|found| found.starts_with(codec)), "{name}: {seen}");
        }
        if decodes {
            browser.until("window.video.videoWidth === 64 && window.video.buffered.end(0) > 1 && !window.video.error");
        }
    }
}
