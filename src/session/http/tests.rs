//! Conversations of HTTP players, cut anywhere: what is asked, answered, refused and bounded.

use super::*;

const NOW_MS: u64 = 1_000;

fn session() -> HttpSession {
    HttpSession::new(Timing { handshake_ms: 10_000, ping_ms: 15_000, ..Timing::default() }, false, NOW_MS)
}

/// All events of an input that comes in pieces of `step` bytes; every question is answered with yes.
fn events(session: &mut HttpSession, input: &[u8], step: usize) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    for part in input.chunks(step) {
        let mut at = 0;
        while let Some(event) = session.next(part, &mut at, NOW_MS)? {
            match event {
                Event::Connect => session.accept_connect(NOW_MS),
                Event::Play { stream_id, .. } => session.accept_play(stream_id, NOW_MS),
                _ => {}
            }
            events.push(event);
        }
        assert_eq!(at, part.len());
    }
    Ok(events)
}

fn said(session: &mut HttpSession) -> String {
    String::from_utf8(session.take_output()).unwrap()
}

const GET: &str = "GET /live/show.flv HTTP/1.1\r\nHost: h:80\r\nUser-Agent: curl\r\n\r\n";

const WEBSOCKET: &str = "GET /live/show.flv HTTP/1.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn a_request_asks_as_a_connect_and_a_play_wherever_it_is_cut() {
    let target = "/live/a%20room/show.flv?token=a%3D1&for=browser&x";
    let get = GET.replace("/live/show.flv", target);
    for step in 1..get.len() {
        let mut session = session();
        let events = events(&mut session, get.as_bytes(), step).unwrap();
        let [Event::Connect, Event::Play { key, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(key, b"show?token=a%3D1&x");
        let info = session.connect().unwrap();
        assert_eq!(info.app, b"live/a room");
        assert_eq!((info.tc_url, info.flash_ver), (&b"http://h:80/live/a room"[..], &b"curl"[..]));
        assert_eq!(session.flv_form(), Some(FlvForm { framing: Framing::Chunked, browser: true }));
        assert!(session.output().is_empty(), "the head waits for media");
    }
}

#[test]
fn the_form_follows_the_version_the_upgrade_and_what_is_accepted() {
    let form = |head: &str| {
        let mut session = session();
        events(&mut session, head.as_bytes(), 4096).unwrap();
        session.flv_form().unwrap()
    };
    assert_eq!(form(GET), FlvForm { framing: Framing::Chunked, browser: false });
    assert_eq!(form(&GET.replace("HTTP/1.1", "HTTP/1.0")).framing, Framing::None);
    assert_eq!(form(WEBSOCKET), FlvForm { framing: Framing::WebSocket, browser: false });
    assert!(form(&GET.replace("User-Agent: curl", "Accept: video/x-flv; For=Browser, */*")).browser);
    assert!(!form(&GET.replace(".flv", ".flv?for=browsers")).browser);
    let absolute = GET.replace("/live", "http://somewhere/live");
    assert_eq!(form(&absolute), form(GET));
}

#[test]
fn an_address_in_the_query_is_no_other_target() {
    for query in ["x=http://h/live/other.flv", "x=://h/live/other.flv"] {
        let mut session = session();
        let get = GET.replace(".flv", &format!(".flv?{query}"));
        let events = events(&mut session, get.as_bytes(), 4096).unwrap();
        let [Event::Connect, Event::Play { key, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(*key, format!("show?{query}").into_bytes());
        assert_eq!(session.connect().unwrap().app, b"live");
    }
}

#[test]
fn the_head_goes_with_the_first_media_and_the_end_in_its_framing() {
    let answers = |head: &str| {
        let mut session = session();
        events(&mut session, head.as_bytes(), 4096).unwrap();
        session.begin_media(NOW_MS);
        let begin = said(&mut session);
        session.end_play(1);
        assert!(session.is_over());
        (begin, session.take_output())
    };
    let (begin, end) = answers(GET);
    assert!(begin.starts_with("HTTP/1.1 200 OK\r\n") && begin.ends_with("\r\n\r\n"), "{begin}");
    for field in
        ["Content-Type: video/x-flv", "Transfer-Encoding: chunked", "Access-Control-Allow-Origin: *", "no-store"]
    {
        assert!(begin.contains(field), "{begin}");
    }
    assert_eq!(end, b"0\r\n\r\n");
    let (begin, end) = answers(&GET.replace("HTTP/1.1", "HTTP/1.0"));
    assert!(!begin.contains("chunked") && end.is_empty(), "{begin}");
    let (begin, end) = answers(WEBSOCKET);
    assert!(begin.starts_with("HTTP/1.1 101 "), "{begin}");
    assert!(begin.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{begin}");
    assert_eq!(end, [0x88, 2, 3, 0xe8]);
    let (begin, end) = answers(&GET.replace("GET", "HEAD"));
    assert!(begin.starts_with("HTTP/1.1 200 OK\r\n") && end.is_empty(), "{begin}");
}

#[test]
fn a_head_request_gets_only_a_head_even_if_it_is_refused() {
    let mut session = session();
    events(&mut session, b"HEAD / HTTP/1.1\r\n\r\n", 4096).unwrap();
    let answer = said(&mut session);
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn the_address_says_whether_it_came_over_tls() {
    let mut session = HttpSession::new(Timing::default(), true, NOW_MS);
    events(&mut session, GET.as_bytes(), 4096).unwrap();
    assert_eq!(session.connect().unwrap().tc_url, b"https://h:80/live");
}

#[test]
fn what_cannot_be_served_is_answered_and_over() {
    let long = format!("GET /live/{}.flv HTTP/1.1\r\n\r\n", "a".repeat(HEAD_MAX_BYTES));
    let many = GET.replace("\r\n\r\n", &format!("\r\n{}\r\n", "A: b\r\n".repeat(80)));
    let unmasked = WEBSOCKET.replace("Version: 13", "Version: 8");
    let keyless = WEBSOCKET.replace("dGhlIHNhbXBsZSBub25jZQ==", "short");
    for (head, status) in [
        ("\x03\0\0\0\0rtmp's first bytes", "400"),
        ("\x16\x03\x01\x02\0 TLS's first bytes", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("GET /show.flv HTTP/1.1\r\n\r\n", "404"),
        ("GET /live/.flv HTTP/1.1\r\n\r\n", "404"),
        ("GET //show.flv HTTP/1.1\r\n\r\n", "404"),
        ("GET /live/show HTTP/1.1\r\n\r\n", "404"),
        ("GET /live/sh%00ow.flv HTTP/1.1\r\n\r\n", "400"),
        ("GET /live/sh%3Fow.flv HTTP/1.1\r\n\r\n", "400"),
        ("POST /live/show.flv HTTP/1.1\r\n\r\n", "405"),
        ("GET /live/show.flv HTTP/2.0\r\n\r\n", "505"),
        ("OPTIONS /live/show.flv HTTP/1.1\r\n\r\n", "200"),
        (&long, "431"),
        (&many, "431"),
        (&unmasked, "426"),
        (&keyless, "400"),
    ] {
        for step in [1, 1000, head.len()] {
            let mut session = session();
            let events = events(&mut session, head.as_bytes(), step).unwrap();
            let [Event::Answered { .. }] = events[..] else { panic!("{head:.40}: {events:?}") };
            let said = said(&mut session);
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{head:.40}: {said}");
            assert!(said.contains("Access-Control-Allow-Origin: *\r\n"), "{said}");
            assert!(session.is_over() && session.next_timeout().is_none());
        }
    }
}

#[test]
fn a_refusal_is_a_status_and_a_redirect_a_location() {
    let refused = |refuse: fn(&mut HttpSession)| {
        let mut session = session();
        let mut at = 0;
        assert_eq!(session.next(GET.as_bytes(), &mut at, NOW_MS).unwrap(), Some(Event::Connect));
        session.accept_connect(NOW_MS);
        assert!(matches!(session.next(GET.as_bytes(), &mut at, NOW_MS).unwrap(), Some(Event::Play { .. })));
        assert_eq!(session.next(GET.as_bytes(), &mut at, NOW_MS).unwrap_err().kind, RRError::State);
        refuse(&mut session);
        assert!(session.is_over());
        said(&mut session)
    };
    let denied = refused(|session| session.reject_stream(1, "NetStream.Play.Failed", "not you"));
    assert!(denied.starts_with("HTTP/1.1 403 ") && denied.ends_with("\r\n\r\nnot you\n"), "{denied}");
    let absent = refused(|session| session.reject_stream(1, "NetStream.Play.StreamNotFound", "none"));
    assert!(absent.starts_with("HTTP/1.1 404 "), "{absent}");
    let moved = refused(|session| {
        session.reconnect_request(Some("https://other/live/show.flv"), "");
        session.reject_stream(1, "", "over there");
    });
    assert!(moved.starts_with("HTTP/1.1 302 ") && moved.contains("\r\nLocation: https://other/live/show.flv\r\n"));
    let split = refused(|session| {
        session.reconnect_request(Some("http://other/\r\nSet-Cookie: a"), "");
        session.reject_stream(1, "", "over there");
    });
    assert!(split.starts_with("HTTP/1.1 403 ") && !split.contains("Cookie"), "{split}");
}

#[test]
fn a_silent_peer_and_a_player_without_media_get_an_answer_in_time() {
    let mut silent = session();
    events(&mut silent, b"GET /live", 4096).unwrap();
    assert_eq!(silent.next_timeout(), Some(NOW_MS + 10_000));
    assert_eq!(silent.handle_timeout(NOW_MS + 10_000).unwrap_err().kind, RRError::Timeout);
    assert!(said(&mut silent).starts_with("HTTP/1.1 408 "));
    let mut waiting = session();
    events(&mut waiting, GET.as_bytes(), 4096).unwrap();
    assert_eq!(waiting.handle_timeout(NOW_MS + 10_000).unwrap_err().kind, RRError::NotFound);
    assert!(said(&mut waiting).starts_with("HTTP/1.1 404 "));
    let mut playing = session();
    events(&mut playing, GET.as_bytes(), 4096).unwrap();
    playing.begin_media(NOW_MS);
    assert_eq!(playing.next_timeout(), None);
}

#[test]
fn a_websocket_is_pinged_answers_pings_and_closes() {
    let mut session = session();
    events(&mut session, WEBSOCKET.as_bytes(), 4096).unwrap();
    session.begin_media(NOW_MS);
    session.take_output();
    let ping = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i'];
    events(&mut session, &ping, 1).unwrap();
    assert_eq!(session.take_output(), [0x8a, 2, b'h', b'i']);
    let at_ms = session.next_timeout().unwrap();
    assert_eq!(session.handle_timeout(at_ms).unwrap(), None);
    let asked = session.take_output();
    assert_eq!(asked[..2], [0x89, 4]);
    let pong = [&[0x8a, 0x84, 0, 0, 0, 0][..], &asked[2..]].concat();
    events(&mut session, &pong, 4096).unwrap();
    assert!(session.rtt_ms().is_some());
    let close = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8];
    assert_eq!(events(&mut session, &close, 4096).unwrap_err().kind, RRError::Closed);
    assert_eq!(session.take_output(), [0x88, 2, 3, 0xe8]);
    assert!(session.is_over());
}

#[test]
fn what_a_player_sends_behind_its_request_is_bounded() {
    let mut plain = session();
    events(&mut plain, GET.as_bytes(), 4096).unwrap();
    events(&mut plain, &[0; REST_MAX_BYTES], 4096).unwrap();
    assert_eq!(events(&mut plain, &[0], 1).unwrap_err().kind, RRError::Protocol);
    let mut pings = session();
    events(&mut pings, WEBSOCKET.as_bytes(), 4096).unwrap();
    pings.begin_media(NOW_MS);
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[7; 125]].concat();
    assert_eq!(events(&mut pings, &ping.repeat(200), 4096).unwrap_err().kind, RRError::Limit);
}
