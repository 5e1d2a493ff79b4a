//! Streams in the form for browsers, played by the page's player: its demultiplexer accepts the media of real encoders
//! in every form of E-RTMP, whether the browser can decode it or not.

use serde_json::Value;

use super::chromium::Chromium;
use super::support::flv::{self, Tag};
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

/// AMF0: the colours of HDR10 pictures, as an object with the names of E-RTMP's `colorInfo`.
fn colours_of_hdr() -> Vec<u8> {
    let name = |name: &str| [&(name.len() as u16).to_be_bytes(), name.as_bytes()].concat();
    let object = |of: &str, numbers: &[(&str, f64)]| {
        let numbers = numbers.iter().map(|(field, number)| [&name(field)[..], &[0], &number.to_be_bytes()].concat());
        [&name(of)[..], &[3], &numbers.collect::<Vec<_>>().concat(), &[0, 0, 9]].concat()
    };
    let config = [("bitDepth", 10.0), ("colorPrimaries", 9.0), ("transferCharacteristics", 16.0)];
    let light = [("maxFall", 400.0), ("maxCLL", 1_000.0)];
    let mastering = [("redX", 0.708), ("redY", 0.292), ("maxLuminance", 1_000.0), ("minLuminance", 0.005)];
    let parts = [object("colorConfig", &config), object("hdrCll", &light), object("hdrMdcv", &mastering)];
    [&[2][..], &name("colorInfo"), &[3], &parts.concat(), &[0, 0, 9]].concat()
}

/// The media of a name: a vector; or AV1 of one with Opus of another. For HDR, its colours come first and once more
/// between the pictures, and at the end they are undefined again.
fn film(name: &str) -> Vec<Tag> {
    let vector =
        |name: &str| flv::read(format!("{}/tests/vectors/media/{name}.flv", env!("CARGO_MANIFEST_DIR")).as_ref());
    let of_kind = |name: &str, kind: u8| vector(name).into_iter().filter(move |tag| tag.kind == kind);
    let mut tags: Vec<Tag> = match name {
        "av1-opus" | "av1-opus-hdr" => {
            of_kind("av1-aac-modex", flv::VIDEO).chain(of_kind("hevc-opus", flv::AUDIO)).collect()
        }
        name => return vector(name),
    };
    tags.sort_by_key(|tag| tag.ts_ms);
    if name == "av1-opus-hdr" {
        // The packet type of metadata; it comes with the frame type of a key frame or of another one.
        let metadata = |first: u8, ts_ms: u32, colours: &[u8]| Tag {
            kind: flv::VIDEO,
            ts_ms,
            body: [&[first][..], b"av01", colours].concat(),
        };
        let (half, end) = (tags[tags.len() / 2].ts_ms, tags[tags.len() - 1].ts_ms);
        tags.insert(0, metadata(0x94, 0, &colours_of_hdr()));
        tags.insert(tags.len() / 2, metadata(0xa4, half, &colours_of_hdr()));
        tags.push(metadata(0xa4, end, b"\x02\0\x09colorInfo\x06"));
    }
    tags
}

/// What the player found in media that the relay sent while it played.
fn seen(browser: &mut Chromium, relay: &Relay, port: u16, name: &str) -> Value {
    let id = relay.server.stream_create(b"live", name.as_bytes(), None).unwrap();
    let url = format!("http://127.0.0.1:{port}/live/{name}.flv?for=browser");
    browser.eval(&PLAY.replace("URL", &url));
    relay.has_players(name, 1);
    for tag in film(name) {
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
        // The player reports no codecs of a stream with AV1.
        ("av1-aac-modex", None, true),
        ("av1-opus", None, true),
        ("av1-opus-hdr", None, true),
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
            browser.until("window.video.captureStream().getAudioTracks().length === 1");
        }
    }
}
