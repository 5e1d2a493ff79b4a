//! A look at JSON that others send, before it is read: what is made of a string or of a list has to be one piece of
//! memory, so these are bounded, more closely than the whole.

use crate::config::MAX_URL_BYTES;

/// Longest string without its escapes; urls are the longest that settings have. The reader collects a string with
/// escapes in memory that doubles, which stays below 16 KiB.
const MAX_STRING_BYTES: usize = MAX_URL_BYTES;

/// Most items of a list, and members of an object; there are fewer settings.
const MAX_ITEMS: usize = 256;

/// The deepest nesting that is counted. The reader refuses what is deeper.
const DEPTH: usize = 128;

/// Checks that all strings, lists and objects in `json` are short. Bytes that are no JSON pass, or not: the reader
/// refuses them.
///
/// # Errors
/// What is too long.
pub(crate) fn check(json: &[u8]) -> Result<(), String> {
    let mut commas = [0_usize; DEPTH];
    let mut depth = 0_usize;
    let mut rest = json;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'"' => {
                let text = text(rest);
                if text.bytes > MAX_STRING_BYTES {
                    return Err(format!("a text is longer than {MAX_STRING_BYTES} bytes"));
                }
                rest = text.behind;
            }
            b'[' | b'{' => {
                depth += 1;
                if let Some(commas) = commas.get_mut(depth) {
                    *commas = 0;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => {
                let Some(commas) = commas.get_mut(depth) else { continue };
                *commas += 1;
                if *commas >= MAX_ITEMS {
                    return Err(format!("a list or object has more than {MAX_ITEMS} members"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A string, from behind its first quote.
struct Text<'a> {
    /// The bytes that it has without its escapes.
    bytes: usize,
    /// What comes behind its last quote.
    behind: &'a [u8],
}

fn text(json: &[u8]) -> Text<'_> {
    let mut bytes = 0;
    let mut rest = json;
    loop {
        let (written, meant) = match rest {
            [] => return Text { bytes, behind: rest },
            [b'"', behind @ ..] => return Text { bytes, behind },
            [b'\\', b'u', digits @ ..] => (6, meant_by(digits)),
            [b'\\', ..] => (2, 1),
            _ => (1, 1),
        };
        bytes += meant;
        rest = rest.get(written..).unwrap_or_default();
    }
}

/// The bytes in UTF-8 of the character of which these are the hexadecimal digits, or, for one of two that together stand
/// for a character of four bytes, half of them. The reader refuses other digits.
fn meant_by(digits: &[u8]) -> usize {
    let digits = digits.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
    match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
        Some(0..0x80) => 1,
        Some(0x80..0x800 | 0xd800..0xe000) => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_large_piece_of_memory_is_refused() {
        let list = |items: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(items - 1));
        let text = |written: &str, times: usize| format!("{{\"a\":\"{}\"}}", written.repeat(times));
        for (json, passes) in [
            (list(MAX_ITEMS), true),
            (list(MAX_ITEMS + 1), false),
            (text("x", MAX_STRING_BYTES), true),
            (text("x", MAX_STRING_BYTES + 1), false),
            (text("\\\"", MAX_STRING_BYTES), true),
            (text("\\\"", MAX_STRING_BYTES + 1), false),
            (text("\\u0001", MAX_STRING_BYTES), true),
            (text("\\u007f", MAX_STRING_BYTES + 1), false),
            (text("\\u07FF", MAX_STRING_BYTES / 2), true),
            (text("\\u07ff", MAX_STRING_BYTES / 2 + 1), false),
            (text("\\ud83d\\ude00", MAX_STRING_BYTES / 4), true),
            (text("\\ud83d\\ude00", MAX_STRING_BYTES / 4 + 1), false),
            (text("\\u20ac", MAX_STRING_BYTES / 3), true),
            (text("\\u20ac", MAX_STRING_BYTES / 3 + 1), false),
            (format!("[{}1]", "[1,2],{\"a\":\",,,,,\"},".repeat(50)), true),
            (format!("{}{}", "[".repeat(1_000), "1,".repeat(1_000)), true),
            ("\"".to_owned() + &"x".repeat(MAX_STRING_BYTES + 1), false),
            ("]]]],\"\\".to_owned(), true),
        ] {
            assert_eq!(check(json.as_bytes()).is_ok(), passes, "{json}");
        }
    }
}
