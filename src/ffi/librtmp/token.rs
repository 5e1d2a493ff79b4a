//! SecureToken: the answer to a server's challenge, by XXTEA with a key that the program knows.

use super::url::hex_pair;

/// The constant that each round adds: the golden ratio, in 32 bits.
const DELTA: u32 = 0x9E37_79B9;

/// Decrypts a challenge of hex digits. `None` if the challenge is not a whole number of 32-bit words, or has fewer than
/// the two that the cipher needs.
pub(super) fn decode(key: &[u8], challenge: &[u8]) -> Option<Vec<u8>> {
    let bytes: Option<Vec<u8>> = challenge.chunks(2).map(hex_pair).collect();
    let mut words: Vec<u32> = bytes?.chunks(4).map(word).collect();
    let mut padded = [0; 16];
    let used = key.len().min(16);
    padded[..used].copy_from_slice(&key[..used]);
    let key: Vec<u32> = padded.chunks(4).map(word).collect();
    let count = words.len();
    if count < 2 {
        return None;
    }
    let rounds = 6 + 52 / u32::try_from(count).ok()?;
    let mut sum = rounds.wrapping_mul(DELTA);
    let mut next = words[0];
    while sum != 0 {
        let choice = sum >> 2 & 3;
        for at in (0..count).rev() {
            let before = words[if at == 0 { count - 1 } else { at - 1 }];
            let mixed = (before >> 5 ^ next << 2).wrapping_add(next >> 3 ^ before << 4)
                ^ (sum ^ next).wrapping_add(key[(at & 3) ^ choice as usize] ^ before);
            words[at] = words[at].wrapping_sub(mixed);
            next = words[at];
        }
        sum = sum.wrapping_sub(DELTA);
    }
    let mut text: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    text.truncate(challenge.len() / 2);
    Some(text)
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn a_challenge_that_makes_no_sense_gets_no_answer() {
        for challenge in [&b""[..], b"1", b"0011", b"00112233", b"xx", b"001122334455667"] {
            assert_eq!(decode(b"key", challenge), None, "{challenge:?}");
        }
        assert_eq!(decode(b"", b"0011223344556677").map(|text| text.len()), Some(8));
    }
}
