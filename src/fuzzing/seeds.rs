//! Every fuzz target by name, with its body and its seeds, which come from the golden tables.
//!
//! `fuzz/seeds` has these seeds as files, written by `make seeds`; a test compares them.

use super::tables::{bytes, table};
use super::{XorShift, vectors};
use crate::proto::message::kind;

/// One target of cargo-fuzz: its name, its body, and the function that makes its seeds.
pub(crate) type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    ("amf0", super::amf0, bodies),
    ("auth", super::auth, refusals),
    ("chunk_reader", super::chunk_reader, chunks),
    ("chunk_writer", super::chunk_writer, chunks),
    ("client_session", super::client_session, client_conversations),
    ("exported_session", super::exported_session, super::snapshot::exported_seeds),
    ("exported_stream", super::exported_stream, super::snapshot::exported_streams),
    ("exported_target", super::exported_target, super::snapshot::exported_targets),
    ("flv", super::flv, media),
    ("http", super::http, answers),
    #[cfg(feature = "librtmp")]
    ("librtmp_amf", super::librtmp_amf, bodies),
    #[cfg(feature = "librtmp")]
    ("librtmp_session", super::librtmp_session, librtmp_conversations),
    ("log_operations", super::log_operations, || random(4, 640)),
    ("operations", super::operations, || random(3, 193)),
    ("proxy_header", super::proxy_header, proxy_headers),
    ("rtmpe", super::rtmpe, handshakes),
    ("server_session", super::server_session, server_conversations),
    ("session_snapshot", super::session_snapshot, super::snapshot::seeds),
    ("swf", super::swf, players),
    ("urls", super::urls, urls),
    ("worker_messages", super::worker_messages, super::worker::worker_seeds),
];

/// Longest seed: longer ones teach a fuzzer nothing more.
const MAX_SEED_BYTES: usize = 10_000;

/// The wires of the chunk table.
pub(crate) fn chunks() -> Vec<Vec<u8>> {
    let wires = vectors::chunk().into_iter().map(|vector| vector.bytes);
    wires.filter(|bytes| bytes.len() < MAX_SEED_BYTES).collect()
}

/// The AMF and command bodies of the tables.
pub(crate) fn bodies() -> Vec<Vec<u8>> {
    let amf = table(include_str!("../../tests/vectors/amf0.txt"));
    let commands = table(include_str!("../../tests/vectors/commands.txt"));
    amf.into_iter().chain(commands).map(|vector| vector.bytes).collect()
}

/// Media and data bodies, each after the byte of its message type.
pub(crate) fn media() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = bodies().into_iter().map(|body| [&[kind::DATA][..], &body].concat()).collect();
    seeds.push(b"\x09\x97\x02\x0f\x42\x3f\x06\x20hvc1\x01\0\0\x02aabav01\x04\0\0\x01c".to_vec());
    seeds.push(b"\x08\x95\x11Opus\x01\0\0\x02aa\x02\0\0\x01b".to_vec());
    seeds.extend(SEQUENCE_HEADERS.map(|(type_id, hex)| [&[type_id][..], &bytes(hex)].concat()));
    seeds
}

/// Sequence headers made by encoders: of AVC (with scaling lists, interlaced, and cropped to nothing), HEVC, AV1, AAC and Opus.
const SEQUENCE_HEADERS: [(u8, &str); 8] = [
    (
        kind::VIDEO,
        "170000000001f4000affe1001967f4000a919b28e4f1b1f808800000030080000019078912cb01000868ebe3c44c000440fff8f800",
    ),
    (
        kind::VIDEO,
        "17000000000164001effe100186764001eacd940b424d8088000000300800000190f8a14cb01000668fba3cb22c0fdf8f800",
    ),
    (kind::VIDEO, "17000000000142001effe100086742001eda744f4000"),
    (
        kind::VIDEO,
        "90687663310101600000009000000000001ef000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003001e95\
         9009a10001002842010101600000030090000003000003001ea020810596564924caf0168080000003008000000f04a2000100\
         074401c172b42240",
    ),
    (kind::VIDEO, "906176303181000c000a0a00000002afff805f0008"),
    (kind::AUDIO, "af00121056e500"),
    (kind::AUDIO, "af002b118800"),
    (kind::AUDIO, "904f7075734f707573486561640101380180bb0000000000"),
];

/// Conversations for a server session, with different openings.
pub(crate) fn server_conversations() -> Vec<Vec<u8>> {
    let openings: [&[&str]; 3] =
        [&["our_connect_publisher"], &["our_connect_player", "our_play"], &["our_connect_publisher", "our_publish"]];
    openings.into_iter().flat_map(conversations).collect()
}

/// Conversations for a client session.
pub(crate) fn client_conversations() -> Vec<Vec<u8>> {
    let openings: [&[&str]; 2] =
        [&["our_connect_result", "our_result_number"], &["our_connect_result", "our_result_number", "our_play_start"]];
    openings.into_iter().flat_map(conversations).collect()
}

/// Conversations: the commands named in `opening`, then one of the table, or some media.
fn conversations(opening: &[&str]) -> Vec<Vec<u8>> {
    let commands = table(include_str!("../../tests/vectors/commands.txt"));
    let named =
        |name: &&str| commands.iter().find(|vector| vector.name == *name).map_or(&[][..], |vector| &vector.bytes);
    let opening: Vec<u8> = opening.iter().flat_map(|name| message(named(name), 1)).collect();
    let media = b"\x09\x01\0\x02\x17\x01".to_vec();
    let mut all: Vec<Vec<u8>> =
        commands.iter().map(|vector| message(&vector.bytes, 1)).chain([media.clone()]).collect();
    all.iter_mut().for_each(|last| *last = [&[0][..], &opening, last, &media].concat());
    all.push([&[1][..], b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\x10\0"].concat());
    all
}

/// A command in the form of the session bodies' list of messages.
fn message(body: &[u8], stream_id: u8) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("the table's bodies are small").to_be_bytes();
    [&[kind::COMMAND, stream_id, len[0], len[1]], body].concat()
}

/// PROXY headers of both versions, whole and wrong.
pub(crate) fn proxy_headers() -> Vec<Vec<u8>> {
    let binary = |command: u8, family: u8, body: &[u8]| {
        let len = u16::try_from(body.len()).expect("small").to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family, len[0], len[1]][..], body].concat()
    };
    let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0xD4, 0x31, 0x07, 0x8F];
    vec![
        b"PROXY TCP4 203.0.113.7 10.0.0.1 54321 1935\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 54321 1935\r\n\x03".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(),
        binary(1, 0x11, &v4),
        binary(1, 0x11, &[&v4[..], &[4, 0, 3, 1, 2, 3]].concat()),
        binary(1, 0x21, &[0x20; 36]),
        binary(0, 0, &[]),
        binary(1, 0x31, &[0; 216]),
    ]
}

/// Conversations for sessions of librtmp's face: some of those for the core's, and a file to publish.
pub(crate) fn librtmp_conversations() -> Vec<Vec<u8>> {
    let as_role = |role: u8| move |wire: Vec<u8>| [&[role][..], &wire].concat();
    let mut all: Vec<Vec<u8>> = server_conversations().into_iter().step_by(6).map(as_role(0)).collect();
    for role in 1..=3 {
        all.extend(client_conversations().into_iter().skip(role.into()).step_by(6).map(as_role(role)));
    }
    let tag = |kind: u8, time: u8, body: &[u8]| {
        let len = u8::try_from(body.len()).expect("small");
        [&[kind, 0, 0, len, 0, 0, time, 0, 0, 0, 0][..], body, &[0, 0, 0, len + 11]].concat()
    };
    let head = b"\x04FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    all.push([head, tag(18, 0, b"\x02\0\x0aonMetaData"), tag(9, 0, &[0x17; 200]), tag(8, 40, &[])].concat());
    all
}

/// Refusals of servers that want a login, one a line, after a byte that chooses the application.
pub(crate) fn refusals() -> Vec<Vec<u8>> {
    [
        "0[ code=403 need auth; authmod=adobe ]\n?reason=needauth&user=joe&salt=s4lt&challenge=chal==&opaque=op4q authmod=adobe",
        "1[ code=403 need auth; authmod=llnw ]\n[ authmod=llnw ] : ?reason=needauth&user=joe&nonce=dGhlbm9uY2U \nneed auth",
        "2[ authmod=adobe ] : ?reason=authfailed",
        "0[ authmod=adobe ] : ?reason=nosuchuser",
        "0[ authmod=other need auth ]",
        "1authmod=adobe ?reason=needauth&salt=&challenge=",
        "0need auth authmod=adobe\nneed auth authmod=llnw\nneed auth authmod=adobe",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Handshakes of one side, and of two sides with changes in transit.
pub(crate) fn handshakes() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [0, 1, 2, 4]
        .into_iter()
        .flat_map(|setup| [true, false].map(|client| super::peers::wire_of(client, setup)))
        .collect();
    all.extend((8..16).map(|setup| vec![setup]));
    all.extend([vec![10, 0, 0, 5], vec![11, 0, 9, 1, 6, 20, 0xFF], vec![15, 12, 8, 1]]);
    all
}

/// Answers of HTTP servers, urls and dates.
pub(crate) fn answers() -> Vec<Vec<u8>> {
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\x01abHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\x09",
        "HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\nabc123\nHTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n\x01x",
        "HTTP/1.1 304 Not Modified\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
        "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        "HTTP/1.0 200 OK\r\n\r\nto the end",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "http://user:pw@example.net:8080/a/b.swf?c=d#e",
        "https://[::1]/",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Players' files, and the cache of their hashes.
pub(crate) fn players() -> Vec<Vec<u8>> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&[7; 300]).expect("memory");
    let packed = encoder.finish().expect("memory");
    let hash = "00112233445566778899aabbccddeeff".repeat(2);
    vec![
        b"FWS\x08\x10\0\0\0a player".to_vec(),
        [b"CWS\x08\x34\x01\0\0", &packed[..]].concat(),
        [b"CWS\x08\x34\x01\0\0", &packed[..packed.len() - 4]].concat(),
        format!("url: http://h/p.swf\nctim: 1\ndate: Sun, 06 Nov 1994 08:49:37 GMT\nsize: 0000012c\nhash: {hash}\n")
            .into_bytes(),
    ]
}

/// Urls, some followed by librtmp's options, some with a server's redirect on a second line.
pub(crate) fn urls() -> Vec<Vec<u8>> {
    [
        "rtmp://example.net/live/a/b%20?x=1/2&y\nrtmp://other/live2/key?t=1",
        "rtmps://me:pw@[::1]:4433/a/b/\n//192.0.2.0/app",
        "rtmp://h:1936/ondemand/mp4:film.mp4?a=b\nsub",
        "rtmpte://h/a/b/c/d?slist=x.mp3",
        "rtmp://h/app/show live=1 token=k\\20ey conn=S:x conn=O:1 conn=NN:n:1.5 conn=O:0 swfAge=0x10 timeout=5",
        "rtmp://h playpath=a.flv tcUrl=rtmp://h/x app=y socks=p:1080 flashver=V pubUser=u pubPasswd=p buffer=010",
        "rtmp://[::1]:0/app/k%zz.f4v",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Lists of operations.
fn random(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    let mut random = XorShift::new(11);
    (0..count).map(|_| (0..bytes).map(|_| random.number() as u8).collect()).collect()
}

#[cfg(test)]
#[cfg(all(not(loom), feature = "librtmp"))]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    /// Files of a folder, by name.
    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())).collect()
    }

    /// Whether this is the published package: `Cargo.toml.orig` exists only there. That package lacks `fuzz`, which is
    /// a package of its own.
    fn is_published() -> bool {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml.orig").exists()
    }

    #[test]
    fn the_committed_seeds_are_what_the_tables_give() {
        if is_published() {
            return;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        for (name, _, seeds) in TARGETS {
            let seeds = seeds().into_iter().enumerate().map(|(number, seed)| (format!("{number:03}"), seed));
            let (folder, wanted) = (root.join(name), seeds.collect::<BTreeMap<String, Vec<u8>>>());
            if std::env::var_os("RR_BLESS").is_some() {
                let _ = fs::remove_dir_all(&folder);
                fs::create_dir_all(&folder).unwrap();
                wanted.iter().for_each(|(file, seed)| fs::write(folder.join(file), seed).unwrap());
            }
            assert!(files(&folder) == wanted, "fuzz/seeds/{name} is out of date; make seeds writes it");
        }
    }

    #[test]
    fn every_body_has_a_target_of_cargo_fuzz() {
        if is_published() {
            return;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let targets = files(&root.join("fuzz_targets"));
        assert_eq!(targets.len(), TARGETS.len());
        for (name, ..) in TARGETS {
            let text = String::from_utf8_lossy(&targets[&format!("{name}.rs")]).into_owned();
            assert!(text.contains(&format!("rrelay::fuzzing::{name}(data)")), "{name}");
            assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
        }
    }
}
