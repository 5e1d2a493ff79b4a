//! Digests and signatures of handshake packets: their places, and how they are made and checked.
//!
//! A digest is inside packet 1, at a place that four bytes of the packet give; there are two schemes for the place.
//! Packet 2 ends with a signature whose key comes from the peer's digest; types 8 and 9 encrypt it once more.

use blowfish::BlowfishLE;
use blowfish::cipher::{BlockEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::PACKET_BYTES;
use super::dh::KEY_BYTES;
use super::keys::{BLOWFISH, XTEA};

/// Bytes of a digest and of a signature.
pub(super) const DIGEST_BYTES: usize = 32;

/// Where the signature of packet 2 begins.
pub(super) const SIGNATURE_AT: usize = PACKET_BYTES - DIGEST_BYTES;

pub(super) type Digest = [u8; DIGEST_BYTES];

/// Packet 1 or 2 of a handshake.
pub(super) type Packet = [u8; PACKET_BYTES];

/// HMAC-SHA256 over several parts.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The two layouts of packet 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Digest in the first half, key in the second: without encryption.
    DigestFirst,
    /// Key in the first half, digest in the second: with encryption.
    KeyFirst,
}

impl Scheme {
    pub(super) fn other(self) -> Self {
        match self {
            Self::DigestFirst => Self::KeyFirst,
            Self::KeyFirst => Self::DigestFirst,
        }
    }

    /// Where the digest begins.
    pub(super) fn digest_at(self, packet: &Packet) -> usize {
        match self {
            Self::DigestFirst => place(packet, 8, 728, 12),
            Self::KeyFirst => place(packet, 772, 728, 776),
        }
    }

    /// Where the Diffie-Hellman key begins.
    pub(super) fn key_at(self, packet: &Packet) -> usize {
        match self {
            Self::DigestFirst => place(packet, 1532, 632, 772),
            Self::KeyFirst => place(packet, 768, 632, 8),
        }
    }

    /// The digest in a packet, valid or not.
    pub(super) fn digest(self, packet: &Packet) -> Digest {
        let at = self.digest_at(packet);
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&packet[at..at + DIGEST_BYTES]);
        digest
    }

    /// The key in a packet.
    pub(super) fn key(self, packet: &Packet) -> [u8; KEY_BYTES] {
        let at = self.key_at(packet);
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&packet[at..at + KEY_BYTES]);
        key
    }

    /// Puts the digest into a packet that is otherwise complete.
    pub(super) fn sign(self, packet: &mut Packet, name: &[u8]) {
        let at = self.digest_at(packet);
        let digest = self.expected(packet, name);
        packet[at..at + DIGEST_BYTES].copy_from_slice(&digest);
    }

    /// Whether the digest in a packet is right.
    pub(super) fn is_signed(self, packet: &Packet, name: &[u8]) -> bool {
        self.digest(packet) == self.expected(packet, name)
    }

    fn expected(self, packet: &Packet, name: &[u8]) -> Digest {
        let at = self.digest_at(packet);
        hmac(name, &[&packet[..at], &packet[at + DIGEST_BYTES..]])
    }
}

/// A place in a packet: the sum of the four bytes at `at`, modulo `modulus`, plus `base`. Digest and key fit after
/// every such place.
fn place(packet: &Packet, at: usize, modulus: usize, base: usize) -> usize {
    packet[at..at + 4].iter().map(|byte| usize::from(*byte)).sum::<usize>() % modulus + base
}

/// The signature of a packet 2 whose first bytes are `body`, answering `digest`, for a handshake of type `kind`.
pub(super) fn signature(kind: u8, body: &[u8], digest: &Digest, long_key: &[u8]) -> Digest {
    let key = hmac(long_key, &[digest]);
    let mut signature = hmac(&key, &[body]);
    for (block, which) in signature.chunks_exact_mut(8).zip(key.iter().step_by(8)) {
        let which = usize::from(which % 15);
        match kind {
            8 => xtea(block, &XTEA[which]),
            9 => blowfish(block, &BLOWFISH[which]),
            _ => {}
        }
    }
    signature
}

/// XTEA with 32 rounds on little-endian words.
fn xtea(block: &mut [u8], key: &[u32; 4]) {
    const DELTA: u32 = 0x9e37_79b9;
    let (low, high) = block.split_at_mut(4);
    let (mut one, mut two, mut sum) = (word(low), word(high), 0_u32);
    for _ in 0..32 {
        one = one.wrapping_add(mix(two) ^ sum.wrapping_add(key[(sum & 3) as usize]));
        sum = sum.wrapping_add(DELTA);
        two = two.wrapping_add(mix(one) ^ sum.wrapping_add(key[(sum >> 11 & 3) as usize]));
    }
    low.copy_from_slice(&one.to_le_bytes());
    high.copy_from_slice(&two.to_le_bytes());
}

fn mix(word: u32) -> u32 {
    (word << 4 ^ word >> 5).wrapping_add(word)
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// Blowfish on little-endian words.
fn blowfish(block: &mut [u8], key: &[u8; 24]) {
    let cipher = <BlowfishLE as KeyInit>::new_from_slice(key).expect("24 bytes lie between Blowfish's 4 and 56");
    cipher.encrypt_block(block.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_and_key_lie_inside_and_apart_whatever_the_bytes_say() {
        for byte in 0..=255_u8 {
            let packet = [byte; PACKET_BYTES];
            for scheme in [Scheme::DigestFirst, Scheme::KeyFirst] {
                let (digest, key) = (scheme.digest_at(&packet), scheme.key_at(&packet));
                assert!(digest + DIGEST_BYTES <= PACKET_BYTES && key + KEY_BYTES <= PACKET_BYTES);
                assert!(digest + DIGEST_BYTES <= key || key + KEY_BYTES <= digest);
            }
        }
    }

    #[test]
    fn a_digest_is_valid_until_a_byte_changes() {
        let mut packet: Packet = std::array::from_fn(|at| at as u8);
        for scheme in [Scheme::DigestFirst, Scheme::KeyFirst] {
            scheme.sign(&mut packet, b"name");
            assert!(scheme.is_signed(&packet, b"name") && !scheme.is_signed(&packet, b"other"));
            packet[5] ^= 1;
            assert!(!scheme.is_signed(&packet, b"name"));
        }
    }

    /// A vector of the cipher's authors; their words are big-endian, so each four bytes are reversed here.
    #[test]
    fn xtea_gives_the_published_result() {
        let mut block = [0x44, 0x43, 0x42, 0x41, 0x48, 0x47, 0x46, 0x45];
        xtea(&mut block, &[0x0001_0203, 0x0405_0607, 0x0809_0a0b, 0x0c0d_0e0f]);
        assert_eq!(block, [0xd0, 0xf3, 0x7d, 0x49, 0xb5, 0x2c, 0x61, 0x72]);
    }

    /// Schneier's vector for a key of 24 bytes, with its bytes reversed in the same way.
    #[test]
    fn blowfish_gives_the_published_result() {
        let key = [
            0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87, 0x78, 0x69, 0x5a, 0x4b, 0x3c, 0x2d, 0x1e, 0x0f, 0x00, 0x11,
            0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
        ];
        let mut block = [0x98, 0xba, 0xdc, 0xfe, 0x10, 0x32, 0x54, 0x76];
        blowfish(&mut block, &key);
        assert_eq!(block, [0x62, 0x4b, 0x04, 0x05, 0x80, 0xd0, 0x52, 0xfa]);
    }
}
