//! A publisher is read late in a process, too, while all who play collect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rrelay::config::{ServerConfig, StreamConfig, TargetConfig};

use super::isolated::{isolated, worker_of};
use super::live::{Client, Live, until};
use super::stream;

/// Less than a publisher is left alone at once.
const A_WHILE: Duration = Duration::from_millis(80);

/// How many bytes of this peer wait at our end, by the system's table. `None` where a look at the table, which changes
/// meanwhile, has missed the connection.
fn unread(peer: &Client) -> Option<u64> {
    let port = |addr: SocketAddr| format!(":{:04X}", addr.port());
    let (here, there) = (port(peer.socket.peer_addr().unwrap()), port(peer.socket.local_addr().unwrap()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = words[1].ends_with(&here) && words[2].ends_with(&there);
        is_ours.then(|| u64::from_str_radix(words[4].split_once(':').unwrap().1, 16).unwrap())
    })
}

#[test]
fn a_publisher_in_a_process_is_read_late_and_all_get_what_it_sends() {
    let config = Arc::new(StreamConfig { merge_ms: 1_000, relay_threads: Some(1), ..StreamConfig::default() });
    let live = Live::new(ServerConfig { stream: config, ..isolated() });
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    let mut sent = 0_u32;
    let mut send = |publisher: &mut Client| {
        sent += 1;
        publisher.key_frame(sent * 40, &sent.to_be_bytes()).unwrap();
        sent
    };
    worker_of(&publisher);
    until("what it sends waits at its socket", || {
        send(&mut publisher);
        let since = Instant::now();
        loop {
            let is_late = since.elapsed() >= A_WHILE;
            match unread(&publisher) {
                // This look began after that while.
                Some(1..) if is_late => return true,
                Some(0) => return false,
                None if is_late => return false,
                _ => {}
            }
        }
    });

    let there = Live::new(ServerConfig::default());
    let mut at_once = there.play("away");
    let url = format!("rtmp://127.0.0.1:{}/live/away", there.port);
    let target = TargetConfig { url, merge_ms: Some(0), ..TargetConfig::default() };
    live.server.target_add(stream(&live.server, "show").unwrap(), target).unwrap();
    at_once.message();
    for _ in 0..20 {
        let number = send(&mut publisher);
        while !at_once.message().1.ends_with(&number.to_be_bytes()) {}
    }
    let first = player.message().1;
    let first = u32::from_be_bytes(first[first.len() - 4..].try_into().unwrap());
    for number in first + 1..=sent {
        assert!(player.message().1.ends_with(&number.to_be_bytes()), "{number}");
    }
}
