//! Downloads of rtmpdump that go on where an earlier one stopped, or begin in the midst of a film, on our library and
//! on the distribution's own.

use std::fs;
use std::path::Path;

use super::programs::{on_ours, stored};
use crate::support::PATIENCE;
use crate::support::flv::{self, Tag};
use crate::support::media::media;
use crate::support::program::{Program, Room};
use crate::support::stored::{Play, Stored};

/// Both libraries, by the names of their files here.
const BOTH: [&str; 2] = ["ours", "theirs"];

/// rtmpdump on one of the libraries, into `<library>.flv`.
fn dump(room: &Room, library: &str, url: &str, more: &[&str]) -> Program {
    let file = format!("{library}.flv");
    let arguments = [&["-r", url, "-o", &file], more].concat();
    match library {
        "ours" => on_ours(room, library, "rtmpdump", &arguments),
        _ => room.start(library, "rtmpdump", &arguments),
    }
}

/// The film, and the bytes of a whole download of it, which are the same on both libraries.
fn film(room: &Room, server: &Stored) -> (Vec<Tag>, Vec<u8>) {
    for library in BOTH {
        dump(room, library, &server.url(), &["-q"]).ends_well();
    }
    let [ours, theirs] = BOTH.map(|library| fs::read(room.file(&format!("{library}.flv"))).unwrap());
    assert!(ours == theirs, "a whole download");
    let tags = flv::read(&room.file("ours.flv"));
    flv::assert_same(&flv::as_librtmp_keeps(&flv::read(&media().file)), &tags);
    (tags, ours)
}

/// Where in the file a tag begins.
fn position(tags: &[Tag], index: usize) -> usize {
    13 + tags[..index].iter().map(|tag| tag.body.len() + 15).sum::<usize>()
}

/// A download that stopped a second and a half before its end, in the midst of a group of pictures; the position of its
/// last key frame, and of the key frame before that one, among the tags.
fn stopped(tags: &[Tag]) -> (usize, [usize; 2]) {
    let end_ms = tags.last().unwrap().ts_ms - 1500;
    let count = tags.iter().position(|tag| tag.ts_ms > end_ms).unwrap();
    let keys: Vec<usize> = (0..count).filter(|&index| tags[index].is_key_frame()).collect();
    let [.., before, last] = keys.as_slice() else { panic!("it has key frames") };
    assert!(tags[*before].ts_ms > 0 && last + 10 < count);
    (position(tags, count), [*last, *before])
}

fn write(room: &Room, bytes: &[u8]) {
    for library in BOTH {
        fs::write(room.file(&format!("{library}.flv")), bytes).unwrap();
    }
}

fn assert_file(path: &Path, bytes: &[u8]) {
    let name = path.display();
    assert!(fs::read(path).unwrap() == bytes, "{name} is not what a whole download is");
}

#[test]
fn a_resumed_download_ends_as_the_whole_one() {
    let room = Room::new("librtmp-resume");
    let server = Stored::new(&flv::read(&media().file));
    let (tags, whole) = film(&room, &server);
    let (len, [last, _]) = stopped(&tags);
    write(&room, &whole[..len]);
    for library in BOTH {
        dump(&room, library, &server.url(), &["-q", "--resume"]).ends_well();
        assert_file(&room.file(&format!("{library}.flv")), &whole);
        let asked = Play { name: "film".to_owned(), start: tags[last].ts_ms.into(), pauses: 0 };
        assert_eq!(server.plays().last(), Some(&asked), "only what is missing is asked for");
    }
}

#[test]
fn a_download_whose_last_key_frame_is_broken_is_resumed_from_the_one_before() {
    let room = Room::new("librtmp-resume-skip");
    let server = Stored::new(&flv::read(&media().file));
    let (tags, whole) = film(&room, &server);
    let (len, [last, before]) = stopped(&tags);
    let mut broken = whole[..len].to_vec();
    broken[position(&tags, last) + 100] ^= 0xff;
    write(&room, &broken);
    for library in BOTH {
        let file = room.file(&format!("{library}.flv"));
        let mut first = dump(&room, library, &server.url(), &["--resume"]);
        first.fails_within(PATIENCE);
        assert!(first.words().contains("Couldn't resume FLV file, try --skip 1"), "{}", first.words());
        assert!(fs::read(&file).unwrap().starts_with(&broken[..position(&tags, last)]));
        dump(&room, library, &server.url(), &["-q", "--resume", "--skip", "1"]).ends_well();
        assert_file(&file, &whole);
        assert_eq!(server.plays().last().unwrap().start, f64::from(tags[before].ts_ms));
    }
}

#[test]
fn a_download_of_another_film_is_not_resumed() {
    let room = Room::new("librtmp-resume-other");
    let mut other = flv::read(&media().file);
    let (tags, whole) = film(&room, &Stored::new(&other));
    let metadata = other.iter_mut().find(|tag| tag.is_header()).unwrap();
    let at = metadata.body.windows(7).position(|name| name == b"encoder").unwrap();
    metadata.body[at + 12] ^= 1;
    let server = Stored::new(&other);
    let part = &whole[..stopped(&tags).0];
    write(&room, part);
    for library in BOTH {
        let mut download = dump(&room, library, &server.url(), &["--resume"]);
        download.fails_within(PATIENCE);
        assert!(download.words().contains("Couldn't resume FLV file"), "{}", download.words());
        assert_file(&room.file(&format!("{library}.flv")), part);
    }
}

#[test]
fn a_download_begins_at_the_given_time() {
    let room = Room::new("librtmp-start");
    let server = Stored::new(&flv::read(&media().file));
    let (tags, _) = film(&room, &server);
    let begin = tags.iter().position(|tag| tag.is_key_frame() && tag.ts_ms > 2500).unwrap();
    let start = format!("{}", tags[begin].ts_ms / 1000 + 1);
    let begin = tags.iter().rposition(|tag| tag.is_key_frame() && tag.ts_ms <= start.parse::<u32>().unwrap() * 1000);
    let expected = flv::frames_since_first(&tags[begin.unwrap()..]);
    for library in BOTH {
        dump(&room, library, &server.url(), &["-q", "--start", &start]).ends_well();
        let got = flv::frames_since_first(&flv::read(&room.file(&format!("{library}.flv"))));
        flv::assert_same(&expected, &got);
    }
    let [ours, theirs] = BOTH.map(|library| fs::read(room.file(&format!("{library}.flv"))).unwrap());
    assert!(ours == theirs);
}

#[test]
fn a_server_whose_buffer_runs_dry_is_paused_and_nothing_is_lost_or_doubled() {
    let room = Room::new("librtmp-pause");
    let server = Stored::that_runs_dry(&flv::read(&media().file));
    film(&room, &server);
    assert!(server.plays().iter().all(|play| play.pauses == 1), "{:?}", server.plays());
}

/// nginx goes on with the times of the file, where librtmp expects them to begin at 0: no library resumes from it.
#[test]
fn a_server_that_seeks_in_another_way_is_refused_as_by_the_original() {
    let room = Room::new("librtmp-resume-nginx");
    let (_nginx, url) = stored(&room);
    dump(&room, "ours", &url, &["-q"]).ends_within(PATIENCE);
    let tags = flv::read(&room.file("ours.flv"));
    let whole = fs::read(room.file("ours.flv")).unwrap();
    let (len, _) = stopped(&tags);
    write(&room, &whole[..len]);
    let said = BOTH.map(|library| {
        let mut download = dump(&room, library, &url, &["--resume"]);
        download.fails_within(PATIENCE);
        assert_file(&room.file(&format!("{library}.flv")), &whole[..len]);
        download.words().contains("try --skip 1")
    });
    assert_eq!(said, [true; 2]);
}
