//! Fuzz bodies of librtmp's face; `ffi/librtmp/fuzz.rs` has the calls they make.

use super::XorShift;
use super::session::chunks;
use crate::ffi::librtmp::fuzz::{self, Role};

/// The longest conversation: the answers to it fit into the socket's buffer.
const MAX_BYTES: usize = 64 * 1024;

/// Fuzz body: sessions of the librtmp face accept any bytes after a handshake, and the result does not depend on how
/// the bytes are cut. The first byte chooses the session's role, the rest is a conversation as for the core's sessions,
/// or a file to publish.
///
/// # Panics
/// If a check fails.
pub fn librtmp_session(data: &[u8]) {
    let Some((&setup, rest)) = data.split_first() else { return };
    let mut wire = if setup % 5 == 4 { rest.to_vec() } else { chunks(rest) };
    wire.truncate(MAX_BYTES);
    let mut random = XorShift::new(wire.len() as u64 ^ u64::from(setup));
    let mut cuts: Vec<usize> = (0..random.below(8)).map(|_| random.below(wire.len())).collect();
    // After a half-written head, a piece that begins with "FLV" counts as the head given again, so that cut would
    // matter.
    cuts.retain(|&at| setup % 5 != 4 || !wire[at..].starts_with(b"FLV"));
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([wire.len()]);
    let pieces: Vec<&[u8]> = [0].into_iter().chain(cuts.iter().copied()).zip(ends).map(|(a, b)| &wire[a..b]).collect();
    match setup % 5 {
        0..=2 => {
            let role = [Role::Server, Role::Client, Role::Publisher][usize::from(setup % 5)];
            assert_eq!(fuzz::packets(role, &[&wire]), fuzz::packets(role, &pieces), "cut at {cuts:?}");
        }
        3 => {
            let file = fuzz::play(&wire);
            assert!(file.is_empty() || file.starts_with(b"FLV\x01"), "a file begins with its head");
        }
        _ => assert_eq!(fuzz::publish(&[&wire]), fuzz::publish(&pieces), "cut at {cuts:?}"),
    }
}

/// Fuzz body: librtmp's AMF decoders stay within any bytes, and decoded values encode to the same bytes.
///
/// # Panics
/// If a check fails.
pub fn librtmp_amf(data: &[u8]) {
    fuzz::amf(&data[..data.len().min(MAX_BYTES)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{mutate_corpus, seeds};

    #[test]
    fn sessions_of_librtmps_face_keep_their_promises_on_mutated_conversations() {
        let tried = mutate_corpus(&seeds::librtmp_conversations(), 14, 1_500, librtmp_session);
        assert!(tried > 50, "only {tried} inputs");
    }

    #[test]
    fn amf_of_librtmps_face_keeps_its_promises_on_mutated_vectors() {
        let tried = mutate_corpus(&seeds::bodies(), 15, 1_000, librtmp_amf);
        assert!(tried > 50, "only {tried} inputs");
    }
}
