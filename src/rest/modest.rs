//! A look at JSON that others send, before it is read: what is made of a string or of a list has to be one piece of
//! memory, so these are bounded, more closely than the whole.

/// Longest string, as it is written; urls are the longest that settings have.
const MAX_STRING_BYTES: usize = 8 * 1024;

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
    let mut bytes = json.iter().enumerate();
    while let Some((begin, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let mut is_escaped = false;
                let end = bytes.find(|(_, byte)| {
                    let ends = **byte == b'"' && !is_escaped;
                    is_escaped = **byte == b'\\' && !is_escaped;
                    ends
                });
                if end.map_or(json.len(), |(end, _)| end) - begin > MAX_STRING_BYTES {
                    return Err(format!("a text is longer than {MAX_STRING_BYTES} bytes"));
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_large_piece_of_memory_is_refused() {
        let list = |items: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(items - 1));
        let text = |bytes: usize| format!("{{\"a\":\"{}\"}}", "\\\"".repeat(bytes / 2));
        for (json, passes) in [
            (list(MAX_ITEMS), true),
            (list(MAX_ITEMS + 1), false),
            (text(MAX_STRING_BYTES - 2), true),
            (text(MAX_STRING_BYTES), false),
            (format!("[{}1]", "[1,2],{\"a\":\",,,,,\"},".repeat(50)), true),
            (format!("{}{}", "[".repeat(1_000), "1,".repeat(1_000)), true),
            ("\"".to_owned() + &"x".repeat(MAX_STRING_BYTES), false),
            ("]]]],\"\\".to_owned(), true),
        ] {
            assert_eq!(check(json.as_bytes()).is_ok(), passes, "{json}");
        }
    }
}
