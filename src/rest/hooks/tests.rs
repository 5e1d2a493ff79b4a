//! How often notifications are sent, and when the requests of all calls are made.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::config::MAX_NAME_BYTES;
use crate::net::reserved::Reserved;
use crate::rest::body;

/// A question about a peer whose application and arguments are as long as they may be, of characters that are escaped.
fn question() -> Call {
    let session = Arc::new(RRSession::new(7, "192.0.2.7:4711".to_owned(), None, "192.0.2.1:1935".to_owned()));
    let (app, app_query) = (vec![1; MAX_NAME_BYTES], vec![1; MAX_NAME_BYTES]);
    let names = Names { app, app_query, ..Names::default() };
    Call::Ask(About { session, names: Arc::new(names) }, Wanted::Connect)
}

#[test]
fn a_tell_that_finds_no_room_to_wait_is_given_up() {
    let nobody = Reserved::new();
    let on_target_state = Some(format!("http://{}/", nobody.address()));
    let setup = Setup::new(HooksConfig { on_target_state, retry_ms: 3_600_000, ..HooksConfig::default() }).unwrap();
    let all = setup.retries.try_acquire_many(MAX_RETRIES as u32).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_stop, mut stopping) = watch::channel(false);
    let call = Call::Target(Box::new(Event::new(EventKind::Target)));
    let mut tell =
        |within| runtime.block_on(async { tokio::time::timeout(within, setup.tell(&call, &mut stopping)).await });
    assert!(tell(Duration::from_secs(30)).is_ok(), "it does not wait for an hour");
    drop(all);
    assert!(tell(Duration::from_millis(200)).is_err(), "with room it waits");
    assert_eq!(setup.retries.available_permits(), MAX_RETRIES, "and leaves its place");
}

#[test]
fn a_tell_that_is_accepted_is_sent_once_whatever_follows_the_status() {
    let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(2 * body::MAX_BYTES));
    let breaks_off = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_owned();
    let no_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n".to_owned();
    for answer in [long, breaks_off, no_chunk] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let on_target_state = Some(format!("http://{}/", listener.local_addr().unwrap()));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(std::result::Result::ok) {
                let _ = socket.read(&mut [0; 4096]);
                count.fetch_add(1, Ordering::SeqCst);
                // The other side may have what it wants before the end.
                let _ = socket.write_all(answer.as_bytes());
            }
        });
        let config = HooksConfig { on_target_state, retry_ms: 200, timeout_ms: 30_000, ..HooksConfig::default() };
        let setup = Setup::new(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_stop, mut stopping) = watch::channel(false);
        let call = Call::Target(Box::new(Event::new(EventKind::Target)));
        runtime.block_on(setup.tell(&call, &mut stopping));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn the_request_of_a_question_is_made_when_it_has_its_place() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let on_connect = Some(format!("http://{}/", listener.local_addr().unwrap()));
    let back_end = std::thread::spawn(move || {
        let times = [0; 2].map(|_| {
            let (mut socket, _) = listener.accept().unwrap();
            let (mut request, mut input) = (Vec::new(), [0; 4096]);
            // The object ends with the names of the session.
            while !request.ends_with(b"}") {
                let n = socket.read(&mut input).unwrap();
                assert!(n > 0, "it ended early");
                request.extend_from_slice(&input[..n]);
            }
            let text = String::from_utf8(request).unwrap();
            let body: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
            let made_ms = body["time_ms"].as_i64().unwrap();
            let now_ms = || clock::wall_us() / 1_000;
            while now_ms() <= made_ms + 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let answered_ms = now_ms();
            socket.write_all(b"HTTP/1.0 204 No Content\r\n\r\n").unwrap();
            (made_ms, answered_ms)
        });
        assert!(
            times[1].0 >= times[0].1,
            "the second was made at {}, the first answered at {}",
            times[1].0,
            times[0].1
        );
    });
    let _turn = locked(&body::TURNS);
    let config = HooksConfig { on_connect, max_requests: 1, timeout_ms: 30_000, ..HooksConfig::default() };
    let setup = Setup::new(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (question(), question());
    let verdicts = runtime.block_on(futures_util::future::join(
        setup.ask(&first, setup.client.deadline()),
        setup.ask(&second, setup.client.deadline()),
    ));
    assert_eq!(verdicts, (Ok(Verdict::allow()), Ok(Verdict::allow())));
    back_end.join().unwrap();
}

#[test]
fn requests_that_are_there_are_bounded_together_and_one_without_room_is_not_sent() {
    let _turn = locked(&body::TURNS);
    for dialect in [Dialect::Json, Dialect::Nginx] {
        let on_connect = Some("http://127.0.0.1:1/".to_owned());
        let setup = Setup::new(HooksConfig { on_connect, dialect, ..HooksConfig::default() }).unwrap();
        let (call, mut requests, mut bytes) = (question(), Vec::new(), 0);
        let mut refused = None;
        while refused.is_none() && bytes <= body::MAX_BACK_END_BYTES {
            match setup.request(&call, "number") {
                Ok(request) => {
                    bytes += request.body().len();
                    requests.push(request);
                }
                Err(failure) => refused = Some(failure.kind),
            }
        }
        assert_eq!(refused, Some(RRError::Limit));
        let most = body::MAX_BACK_END_BYTES;
        assert!(bytes <= most && bytes > most * 3 / 4, "{bytes} bytes");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let failure = runtime.block_on(setup.ask(&call, setup.client.deadline())).unwrap_err();
        assert_eq!((failure.kind, failure.by_peer), (RRError::Limit, false), "{failure}");
        drop(requests);
        let failure = runtime.block_on(setup.ask(&call, setup.client.deadline())).unwrap_err();
        assert_eq!(failure.kind, RRError::Connect, "{failure}");
    }
}
