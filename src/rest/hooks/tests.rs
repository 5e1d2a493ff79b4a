//! How often notifications are sent.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn a_tell_that_finds_no_room_to_wait_is_given_up() {
    // A port that is only bound does not listen.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let on_target_state = Some(format!("http://127.0.0.1:{port}/"));
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
    let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(2 * crate::rest::body::MAX_BYTES));
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
