//! The text of the file that keeps hashes of SWF files from one run to the next, in the format that librtmp's programs
//! share.
//!
//! Entries have five lines: `url`, `ctim` (when a server was last asked), `date` (the server's Last-Modified), `size`
//! in hexadecimal, `hash`. Reading never fails: malformed entries are left out, and lengths and numbers are bounded.

use crate::proto::http_client::{date_text, parse_date};
use crate::proto::rtmpe::SwfId;

/// Most bytes of a cache file that are read.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Most entries; the newest are kept.
const MAX_ENTRIES: usize = 1_000;

/// Longest url and date.
const MAX_VALUE: usize = 4_096;

/// One SWF file's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The file's url without its query.
    pub url: Vec<u8>,
    /// When a server was last asked, in Unix seconds; 0 if not known.
    pub checked_s: i64,
    /// The server's `Last-Modified`, sent with the next request.
    pub modified: Vec<u8>,
    /// The file's size and hash.
    pub swf: SwfId,
}

/// All entries, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    entries: Vec<Entry>,
}

impl Cache {
    /// Reads the text of a cache; entries without size or hash are left out.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut cache = Self::default();
        let mut draft: Option<Draft> = None;
        for line in text[..text.len().min(MAX_BYTES)].split(|byte| *byte == b'\n') {
            let line = line.trim_ascii_end();
            let Some((key, value)) = line.split_at_checked(5).map(|(key, value)| (key, value.trim_ascii())) else {
                continue;
            };
            if key == b"url: " {
                cache.keep(draft.take());
                draft = (value.len() <= MAX_VALUE).then(|| Draft { url: value.to_vec(), ..Draft::default() });
            } else if let Some(draft) = &mut draft {
                draft.line(key, value);
            }
        }
        cache.keep(draft);
        cache
    }

    fn keep(&mut self, draft: Option<Draft>) {
        if let Some(entry) = draft.and_then(Draft::complete) {
            self.put(entry);
        }
    }

    /// The entry for a url, ignoring its query.
    pub(crate) fn find(&self, url: &[u8]) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.url == without_query(url))
    }

    /// Adds an entry and drops an older one for the same url; if the cache is full, drops the oldest of all.
    pub(crate) fn put(&mut self, entry: Entry) {
        let url = without_query(&entry.url).to_vec();
        self.entries.retain(|other| other.url != url);
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push(Entry { url, ..entry });
    }

    /// The text of the cache.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for entry in &self.entries {
            let hash: String = entry.swf.hash.iter().map(|byte| format!("{byte:02x}")).collect();
            line(&mut text, b"url: ", &entry.url);
            line(&mut text, b"ctim: ", date_text(entry.checked_s).as_bytes());
            line(&mut text, b"date: ", &entry.modified);
            line(&mut text, b"size: ", format!("{:08x}", entry.swf.size).as_bytes());
            line(&mut text, b"hash: ", hash.as_bytes());
        }
        text
    }
}

fn line(text: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    text.extend_from_slice(key);
    // A value from a server must not begin a line of its own.
    text.extend(value.iter().take(MAX_VALUE).map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
    text.push(b'\n');
}

fn without_query(url: &[u8]) -> &[u8] {
    url.split(|byte| *byte == b'?').next().unwrap_or_default()
}

/// An entry while its lines are read.
#[derive(Default)]
struct Draft {
    url: Vec<u8>,
    checked_s: i64,
    modified: Vec<u8>,
    size: Option<u32>,
    hash: Option<[u8; 32]>,
}

impl Draft {
    fn line(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"ctim:" => self.checked_s = parse_date(value).unwrap_or(0),
            b"date:" if value.len() <= MAX_VALUE => self.modified = value.to_vec(),
            b"size:" => self.size = hex_number(value),
            b"hash:" => self.hash = hex_bytes(value),
            _ => {}
        }
    }

    fn complete(self) -> Option<Entry> {
        let swf = SwfId { hash: self.hash?, size: self.size.filter(|size| *size > 0)? };
        let url = (!self.url.is_empty()).then_some(self.url)?;
        Some(Entry { url, checked_s: self.checked_s, modified: self.modified, swf })
    }
}

fn hex_number(text: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

fn hex_bytes(text: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 64 && text.is_ascii())?;
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(url: &str) -> Entry {
        Entry {
            url: url.into(),
            checked_s: 784_111_777,
            modified: b"Sat, 05 Nov 1994 08:49:37 GMT".to_vec(),
            swf: SwfId { hash: std::array::from_fn(|at| at as u8), size: 0xabc },
        }
    }

    const TEXT: &str = "url: http://h/p.swf\nctim: Sun, 06 Nov 1994 08:49:37 GMT\ndate: Sat, 05 Nov 1994 08:49:37 GMT\nsize: 00000abc\nhash: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

    #[test]
    fn a_written_cache_reads_back_the_same() {
        let mut cache = Cache::default();
        cache.put(entry("http://h/p.swf?query"));
        assert_eq!(String::from_utf8(cache.to_bytes()).unwrap(), TEXT);
        let cache = Cache::parse(TEXT.as_bytes());
        assert_eq!(cache.find(b"http://h/p.swf?other"), Some(&entry("http://h/p.swf")));
        assert_eq!(cache.find(b"http://h/q.swf"), None);
    }

    #[test]
    fn a_newer_entry_takes_the_place_of_an_older_one_and_the_number_is_bounded() {
        let mut cache = Cache::default();
        for number in 0..MAX_ENTRIES + 10 {
            cache.put(entry(&format!("http://h/{number}")));
        }
        cache.put(entry("http://h/500"));
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
        assert!(cache.find(b"http://h/9").is_none() && cache.find(b"http://h/500").is_some());
    }

    #[test]
    fn malformed_entries_are_left_out() {
        for end in 0..TEXT.len() - 1 {
            assert!(Cache::parse(&TEXT.as_bytes()[..end]).find(b"http://h/p.swf").is_none(), "{end}");
        }
        let half = format!("junk\nhash: ff\nurl: http://x/\nsize: zz\n{TEXT}url: \nsize: 1\n");
        let cache = Cache::parse(half.as_bytes());
        assert_eq!(cache.entries.len(), 1);
        assert!(Cache::parse(&[0xff; 10_000]).entries.is_empty());
        let bad_hash = TEXT.replace("0001", "00é");
        assert!(Cache::parse(bad_hash.as_bytes()).entries.is_empty());
    }

    #[test]
    fn a_value_cannot_begin_a_line_of_its_own() {
        let mut cache = Cache::default();
        cache.put(Entry { modified: b"x\nurl: http://evil/".to_vec(), ..entry("http://h/p.swf") });
        assert_eq!(cache.to_bytes().iter().filter(|byte| **byte == b'\n').count(), 5);
    }
}
