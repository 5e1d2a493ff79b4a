//! What fuzzing begins with: every target by name, with its body and its seeds, which come from the golden tables.
//!
//! `fuzz/seeds` is these seeds as files, written by `make seeds`; a test compares.

use super::tables::table;
use super::{XorShift, vectors};
use crate::proto::message::kind;

/// One target of cargo-fuzz: its name, its body, and what makes its seeds.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All of them.
pub const TARGETS: [Target; 9] = [
    ("amf0", super::amf0, bodies),
    ("chunk_reader", super::chunk_reader, chunks),
    ("chunk_writer", super::chunk_writer, chunks),
    ("client_session", super::client_session, client_conversations),
    ("flv", super::flv, media),
    ("log_operations", super::log_operations, || random(4, 640)),
    ("operations", super::operations, || random(3, 193)),
    ("proxy_header", super::proxy_header, proxy_headers),
    ("server_session", super::server_session, server_conversations),
];

/// Longest seed: what is longer teaches a fuzzer nothing more.
const MAX_SEED_BYTES: usize = 10_000;

/// The wires of the chunk table.
pub fn chunks() -> Vec<Vec<u8>> {
    let wires = vectors::chunk().into_iter().map(|vector| vector.bytes);
    wires.filter(|bytes| bytes.len() < MAX_SEED_BYTES).collect()
}

/// The AMF and command bodies of the tables.
pub fn bodies() -> Vec<Vec<u8>> {
    let amf = table(include_str!("../../tests/vectors/amf0.txt"));
    let commands = table(include_str!("../../tests/vectors/commands.txt"));
    amf.into_iter().chain(commands).map(|vector| vector.bytes).collect()
}

/// Message types with bodies.
pub fn media() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = bodies().into_iter().map(|body| [&[kind::DATA][..], &body].concat()).collect();
    seeds.push(b"\x09\x97\x02\x0f\x42\x3f\x06\x20hvc1\x01\0\0\x02aabav01\x04\0\0\x01c".to_vec());
    seeds.push(b"\x08\x95\x11Opus\x01\0\0\x02aa\x02\0\0\x01b".to_vec());
    seeds
}

/// Conversations a server session hears, whose beginning differs.
pub fn server_conversations() -> Vec<Vec<u8>> {
    let openings: [&[&str]; 3] =
        [&["our_connect_publisher"], &["our_connect_player", "our_play"], &["our_connect_publisher", "our_publish"]];
    openings.into_iter().flat_map(conversations).collect()
}

/// Conversations a client session hears.
pub fn client_conversations() -> Vec<Vec<u8>> {
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

/// A command as the session bodies' list of messages has it.
fn message(body: &[u8], stream_id: u8) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("the table's bodies are small").to_be_bytes();
    [&[kind::COMMAND, stream_id, len[0], len[1]], body].concat()
}

/// Headers of both versions, whole and wrong.
pub fn proxy_headers() -> Vec<Vec<u8>> {
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

/// Lists of operations.
fn random(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    let mut random = XorShift::new(11);
    (0..count).map(|_| (0..bytes).map(|_| random.number() as u8).collect()).collect()
}

#[cfg(test)]
#[cfg(not(loom))]
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

    /// `fuzz` is a package of its own, which cargo leaves out of the one it publishes; only there is this file.
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
            assert!(files(&folder) == wanted, "fuzz/seeds/{name} is another; make seeds writes it");
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
