//! The key exchange of RTMPE: Diffie-Hellman in the second Oakley group, 1024 bits.
//!
//! The protocol fixes the group, which is too small for secrecy today. The caller provides random bytes.

use num_bigint::BigUint;

use super::keys::PRIME;
use crate::error::{Failure, RRError, Result};

/// Bytes of a key and of the shared secret.
pub(super) const KEY_BYTES: usize = 128;

/// A key pair.
pub(super) struct KeyPair {
    private: BigUint,
    /// Big-endian.
    pub(super) public: [u8; KEY_BYTES],
}

impl KeyPair {
    /// A pair made from random bytes.
    pub(super) fn new(random: &[u8; KEY_BYTES]) -> Self {
        let prime = BigUint::from_bytes_be(&PRIME);
        let two = BigUint::from(2_u32);
        // From 2 to q - 1: 2 generates the subgroup of order q, so the public key passes every peer's test.
        let private = BigUint::from_bytes_be(random) % (order(&prime) - &two) + &two;
        let public = padded(&two.modpow(&private, &prime));
        Self { private, public }
    }

    /// The secret shared with the owner of `theirs`.
    ///
    /// # Errors
    /// [`RRError::Handshake`] if `theirs` is not a public key of this group, so that the secret could be guessed.
    pub(super) fn agree(&self, theirs: &[u8; KEY_BYTES]) -> Result<[u8; KEY_BYTES]> {
        let prime = BigUint::from_bytes_be(&PRIME);
        let theirs = BigUint::from_bytes_be(theirs);
        if !is_public_key(&theirs, &prime) {
            return Err(Failure::peers(RRError::Handshake, "the peer's Diffie-Hellman key is not in the group"));
        }
        Ok(padded(&theirs.modpow(&self.private, &prime)))
    }
}

fn order(prime: &BigUint) -> BigUint {
    prime >> 1
}

/// Between 2 and p - 2, and in the subgroup of order q.
fn is_public_key(key: &BigUint, prime: &BigUint) -> bool {
    let one = BigUint::from(1_u32);
    *key > one && *key < prime - &one && key.modpow(&order(prime), prime) == one
}

/// Big-endian, with leading zeros.
fn padded(number: &BigUint) -> [u8; KEY_BYTES] {
    let bytes = number.to_bytes_be();
    let mut out = [0; KEY_BYTES];
    // A number below the prime has at most as many bytes as the prime.
    out[KEY_BYTES - bytes.len()..].copy_from_slice(&bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_on_one_secret() {
        let (one, other) = (KeyPair::new(&[0x11; KEY_BYTES]), KeyPair::new(&[0xee; KEY_BYTES]));
        assert_ne!(one.public, other.public);
        assert_eq!(one.agree(&other.public).unwrap(), other.agree(&one.public).unwrap());
    }

    #[test]
    fn the_weakest_random_bytes_give_a_valid_key() {
        let peer = KeyPair::new(&[7; KEY_BYTES]);
        for random in [[0; KEY_BYTES], [0xff; KEY_BYTES]] {
            peer.agree(&KeyPair::new(&random).public).unwrap();
        }
    }

    #[test]
    fn keys_outside_the_group_are_refused() {
        let pair = KeyPair::new(&[9; KEY_BYTES]);
        let prime = BigUint::from_bytes_be(&PRIME);
        let one = BigUint::from(1_u32);
        // 0, 1, p - 1, p, p + 1 (which is 1), all bits set, and a non-residue: -2.
        let wrong = [
            BigUint::from(0_u32),
            one.clone(),
            &prime - &one,
            prime.clone(),
            &prime + &one,
            BigUint::from_bytes_be(&[0xff; KEY_BYTES]),
            &prime - BigUint::from(2_u32),
        ];
        for key in wrong {
            assert_eq!(pair.agree(&padded(&key)).unwrap_err().kind, RRError::Handshake, "{key:x}");
        }
    }
}
