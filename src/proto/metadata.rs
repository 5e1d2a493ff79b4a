//! Repair of metadata that does not end as AMF0 prescribes: objects lack their end marker, or bytes follow the value.
//! Both occur in real files, and common readers then refuse the whole stream.
//!
//! This module does not build the message: a [`Mend`] says how many of its bytes to keep and which to append.

use crate::proto::amf::{Cursor, OBJECT_END, Token};

/// Deepest nesting that is repaired; deeper metadata stays as it is.
const MAX_DEPTH: usize = 16;

/// The end marks of [`MAX_DEPTH`] objects.
const ENDS: [u8; MAX_DEPTH * OBJECT_END.len()] = {
    let mut ends = [0; MAX_DEPTH * OBJECT_END.len()];
    let mut at = 2;
    while at < ends.len() {
        ends[at] = OBJECT_END[2];
        at += OBJECT_END.len();
    }
    ends
};

/// A repair: the first `kept` bytes of the message stay, and the end marks of `open` objects follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mend {
    kept: usize,
    open: usize,
}

impl Mend {
    /// The repaired message, in two parts.
    pub(crate) fn parts<'a>(&self, bare: &'a [u8]) -> [&'a [u8]; 2] {
        let ends = ENDS.get(..self.open * OBJECT_END.len());
        [bare.get(..self.kept).unwrap_or(bare), ends.unwrap_or_default()]
    }
}

/// An object or array whose end has not been read.
enum Open {
    /// Names and values follow, up to the end mark.
    Object,
    /// This many values follow.
    Strict(u32),
}

/// The repair of a bare data message (a name and one value in AMF0). `None` if the message ends with its value already,
/// or cannot be repaired.
pub(crate) fn mend(bare: &[u8]) -> Option<Mend> {
    let mut cursor = Cursor(bare);
    let Ok(Token::String(_)) = cursor.token() else { return None };
    let at = |cursor: &Cursor<'_>| bare.len() - cursor.0.len();
    let mut open: Vec<Open> = Vec::new();
    // The last place where the message can be cut, and how many objects are open there.
    let mut last: Option<Mend> = None;
    loop {
        match open.last_mut() {
            Some(Open::Object) if cursor.object_end() => {
                open.pop();
            }
            Some(Open::Strict(0)) => {
                open.pop();
            }
            inside => {
                let is_named = match inside {
                    Some(Open::Strict(left)) => {
                        *left -= 1;
                        false
                    }
                    Some(Open::Object) => true,
                    None => false,
                };
                let token = if is_named { cursor.short_string().and_then(|_| cursor.token()) } else { cursor.token() };
                match token {
                    Ok(Token::Object | Token::EcmaArray(_) | Token::Typed(_)) => open.push(Open::Object),
                    Ok(Token::StrictArray(count)) => open.push(Open::Strict(count)),
                    // AMF3 follows other rules.
                    Ok(Token::Amf3) => return None,
                    // The message is cut off or continues with something that is not a value: keep it up to its last
                    // whole value.
                    Ok(Token::Unknown(_)) | Err(_) => return last,
                    Ok(_) => {}
                }
            }
        }
        if open.is_empty() {
            let kept = at(&cursor);
            return (kept < bare.len()).then_some(Mend { kept, open: 0 });
        }
        if open.len() > MAX_DEPTH {
            return None;
        }
        if open.iter().all(|open| matches!(open, Open::Object)) {
            last = Some(Mend { kept: at(&cursor), open: open.len() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &[u8] = b"\x02\0\x0aonMetaData";
    const END: &[u8] = &OBJECT_END;
    /// A strict array of two numbers.
    const TIMES: &[u8] = b"\0\x05times\x0a\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\x3f\xf0\0\0\0\0\0\0";

    fn meta(parts: &[&[u8]]) -> Vec<u8> {
        [NAME, b"\x08\0\0\0\x02\0\x01a\x01\x01\0\x01k\x03", &parts.concat()].concat()
    }

    /// The repaired message, in one piece.
    fn mended(bare: &[u8]) -> Option<Vec<u8>> {
        mend(bare).map(|mend| mend.parts(bare).concat())
    }

    #[test]
    fn whole_metadata_stays_as_it_is() {
        for whole in [meta(&[TIMES, END, END]), meta(&[END, END]), [NAME, b"\x05"].concat()] {
            assert_eq!(mended(&whole), None);
        }
    }

    #[test]
    fn ends_are_added_and_what_follows_the_value_is_left_out() {
        let whole = meta(&[TIMES, END, END]);
        assert_eq!(mended(&meta(&[TIMES, END])).as_ref(), Some(&whole), "the inner one's, or the outer one's");
        assert_eq!(mended(&meta(&[TIMES])).as_ref(), Some(&whole), "both");
        assert_eq!(mended(&meta(&[TIMES, END, END, b"\x05"])).as_ref(), Some(&whole), "null behind");
        assert_eq!(mended(&meta(&[TIMES, END, END, b"\0\0\x09"])).as_ref(), Some(&whole), "an end too many");
    }

    #[test]
    fn metadata_cut_or_spoilt_anywhere_comes_out_whole() {
        let whole = meta(&[TIMES, b"\0\x01s\x02\0\x03abc", END, b"\0\x01t\x03", END, END]);
        for cut in NAME.len() + 5..whole.len() {
            let mend = mend(&whole[..cut]).unwrap_or_else(|| panic!("cut at {cut}"));
            let [kept, ends] = mend.parts(&whole[..cut]);
            assert!(whole.starts_with(kept), "cut at {cut}");
            assert_eq!(mended(&[kept, ends].concat()), None, "cut at {cut}");
        }
        for at in NAME.len() + 1..whole.len() {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 0xff;
            if let Some(out) = mended(&spoilt) {
                assert_eq!(mended(&out), None, "spoilt at {at}: {out:?}");
            }
        }
    }

    #[test]
    fn data_that_cannot_be_repaired_stays_as_it_is() {
        let deep = [NAME, &b"\x03\0\x01x".repeat(100)].concat();
        for odd in [&b""[..], b"\x02\0\x0aonMeta", b"\0\0\0", &[NAME, b"\x11\x0a"].concat(), NAME, &deep] {
            assert_eq!(mended(odd), None, "{odd:?}");
        }
    }
}
