//! Records of AES-256-GCM that a server encrypts and writes nowhere.

use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{CipherSuite, ServerConnection, version};

use crate::handshakes::{configs, connect};
use crate::{Provider, ROUNDS, line, median, now_us, providers};

/// Plaintext of a record. A message of 2 Mbit/s has 3,200 bytes on the average, one of 1 Mbit/s half; a record has at most
/// 16,384.
const SIZES: [usize; 4] = [300, 1_600, 3_200, 16_000];

/// Connections of a relay with many players.
const MANY: usize = 200;

/// Passes of one round over all connections.
const PASSES: usize = 10;

/// Other memory that is read before each record, as a send's work in the kernel does, and where it is.
const READ_BYTES: usize = 32 << 10;
const OTHER_BYTES: usize = 32 << 20;

/// Something that is done with the bytes of a record.
type Act = Box<dyn FnMut(&[u8])>;

pub(crate) fn run() {
    let sizes: Vec<String> = SIZES.iter().map(|size| format!("{size} bytes")).collect();
    println!("| record | {} |\n|---|{}", sizes.join(" | "), "---|".repeat(SIZES.len()));
    let other: Vec<u64> = (0..OTHER_BYTES as u64 / 8).collect();
    for (words, connections) in [("one connection", 1), ("200 in turn, other memory read between", MANY)] {
        let mut acts: Vec<(String, Vec<Act>)> = vec![("nothing".to_owned(), vec![Box::new(|_: &[u8]| ())])];
        for provider in providers() {
            let made = (0..connections).map(|_| encrypts(&provider)).collect();
            acts.push((format!("rustls, {}", provider.name), made));
        }
        acts.push(("ring's cipher alone, in place".to_owned(), (0..connections).map(|_| ciphers()).collect()));
        acts.push((
            "a copy into new memory alone".to_owned(),
            vec![Box::new(|bytes: &[u8]| drop(black_box(bytes.to_vec())))],
        ));
        let columns: Vec<Vec<f64>> = SIZES.iter().map(|&size| column(&mut acts, size, connections, &other)).collect();
        for (row, (name, _)) in acts.iter().enumerate().skip(1) {
            line(&format!("{words}: {name}"), columns.iter().map(|column| column[row] - column[0]));
        }
    }
}

/// What each act costs with this size. The first one does nothing; its cost is that of the loop and of the reading.
fn column(acts: &mut [(String, Vec<Act>)], size: usize, connections: usize, other: &[u64]) -> Vec<f64> {
    let plaintext = vec![7; size];
    let records = MANY * PASSES;
    let mut rounds = vec![Vec::new(); acts.len()];
    let mut at = 0;
    for _ in 0..ROUNDS {
        for ((_, acts), rounds) in acts.iter_mut().zip(&mut rounds) {
            let many = acts.len();
            let begun = now_us();
            for record in 0..records {
                if connections > 1 {
                    at = (at + READ_BYTES / 8) % (other.len() - READ_BYTES / 8);
                    black_box(other[at..at + READ_BYTES / 8].iter().step_by(8).sum::<u64>());
                }
                acts[record % many](black_box(&plaintext));
            }
            rounds.push((now_us() - begun) / records as f64);
        }
    }
    rounds.into_iter().map(median).collect()
}

/// A connection that writes its records nowhere.
fn encrypts(provider: &Provider) -> Act {
    let mut tls = connected(provider);
    Box::new(move |bytes| {
        let taken = tls.writer().write(bytes).expect("it goes into memory");
        assert_eq!(taken, bytes.len());
        let written = tls.write_tls(&mut Nowhere).expect("it is taken");
        assert!(written > bytes.len() && !tls.wants_write(), "it is one record");
    })
}

fn connected(provider: &Provider) -> ServerConnection {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key can be made");
    let (server, client) = configs(provider, &key, &version::TLS13);
    let (server, _) = connect(&server, &Arc::new(client));
    let suite = server.negotiated_cipher_suite().expect("it is connected").suite();
    assert_eq!(suite, CipherSuite::TLS13_AES_256_GCM_SHA384);
    server
}

/// Takes all bytes, as a socket with room does.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        Ok(black_box(parts).iter().map(|part| part.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The cipher of one connection, over memory that it has already.
fn ciphers() -> Act {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[3; 32]).expect("a key has 32 bytes"));
    let (mut memory, mut number) = (vec![7; SIZES[SIZES.len() - 1]], 0_u64);
    Box::new(move |bytes| {
        number += 1;
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from([23, 3, 3, 0, 0]));
        let tag = key.seal_in_place_separate_tag(nonce, aad, &mut memory[..bytes.len()]).expect("it is short enough");
        black_box(tag.as_ref());
    })
}
