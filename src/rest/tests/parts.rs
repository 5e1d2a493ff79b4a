//! Lists in parts.

use std::net::TcpStream;

use super::{PATIENCE, Rig};
use crate::server::ListenOptions;
use crate::server::slots::kind;

/// The ids of a list that is asked for in parts of two, and how many each part had.
fn in_parts(rig: &Rig, list: &str, mut between: impl FnMut(&str)) -> (Vec<u64>, Vec<usize>) {
    let (mut ids, mut sizes, mut after) = (Vec::new(), Vec::new(), "0".to_owned());
    loop {
        let (status, part) = rig.ask("GET", &format!("{list}?limit=2&after={after}"), "");
        assert_eq!(status, 200, "{part}");
        let part = part.as_array().unwrap();
        assert!(part.len() <= 2, "{} objects", part.len());
        sizes.push(part.len());
        ids.extend(part.iter().map(|one| one["id"].as_str().unwrap().parse::<u64>().unwrap()));
        if part.len() < 2 {
            return (ids, sizes);
        }
        after = ids.last().unwrap().to_string();
        between(&after);
    }
}

#[test]
fn a_list_in_parts_has_everything_once_whatever_ends_meanwhile() {
    let rig = Rig::new();
    let mut streams: Vec<u64> =
        (0..5).map(|n| rig.server.stream_create(b"live", format!("show{n}").as_bytes(), None).unwrap()).collect();
    streams.sort_unstable();
    assert_eq!(in_parts(&rig, "/v1/streams", |_| {}), (streams.clone(), vec![2, 2, 1]));
    // What a part ends with may be gone when the next one is asked for.
    let ends = |last: &str| rig.server.stream_stop(last.parse().unwrap(), 0).unwrap();
    assert_eq!(in_parts(&rig, "/v1/streams", ends).0, streams);

    let port = rig.server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    let peers: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let by = std::time::Instant::now() + PATIENCE;
    let sessions = || rig.server.list(0, kind::SESSION).unwrap();
    while sessions().len() < peers.len() {
        assert!(std::time::Instant::now() < by, "they do not come");
        std::thread::yield_now();
    }
    let mut all = sessions();
    all.sort_unstable();
    assert_eq!(in_parts(&rig, "/v1/sessions", |_| {}), (all, vec![2, 2, 0]));
    drop(peers);
}

#[test]
fn a_part_that_is_none_is_refused() {
    let rig = Rig::new();
    for part in ["limit=0", "limit=-1", "limit=all", "after=show", "after="] {
        for list in ["/v1/streams", "/v1/sessions"] {
            let (status, problem) = rig.ask("GET", &format!("{list}?{part}"), "");
            assert_eq!((status, problem["error"].as_str()), (400, Some("RR_ERR_ARG")), "{part}: {problem}");
        }
    }
}
