//! An FLV reader, and the comparison of published and arrived messages. The reader shares no code with the crate, so a
//! fault of the crate's parser cannot hide here.

use std::fmt;
use std::fs;
use std::path::Path;

pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
pub(crate) const DATA: u8 = 18;

/// One message as a file keeps it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) kind: u8,
    pub(crate) ts_ms: u32,
    pub(crate) body: Vec<u8>,
}

impl Tag {
    /// AVC or AAC configuration.
    pub(crate) fn is_sequence_header(&self) -> bool {
        match (self.kind, self.body.as_slice()) {
            (VIDEO, [first, 0, ..]) => first & 0x0f == 7,
            (AUDIO, [first, 0, ..]) => first >> 4 == 10,
            _ => false,
        }
    }

    /// Metadata or configuration, which every joiner gets again.
    pub(crate) fn is_header(&self) -> bool {
        self.is_sequence_header() || self.is_metadata()
    }

    pub(crate) fn is_key_frame(&self) -> bool {
        self.kind == VIDEO && self.is_frame() && self.body.first().is_some_and(|first| first >> 4 == 1)
    }

    /// Sound or picture proper: no configuration, no metadata, no end of sequence.
    pub(crate) fn is_frame(&self) -> bool {
        self.kind != DATA && !self.is_sequence_header() && !self.is_end_of_sequence()
    }

    fn is_end_of_sequence(&self) -> bool {
        self.kind == VIDEO && self.body.get(1) == Some(&2)
    }

    pub(crate) fn is_metadata(&self) -> bool {
        self.kind == DATA && self.body.starts_with(b"\x02\x00\x0aonMetaData")
    }

    /// librtmp and GStreamer throw away audio messages of one byte and video messages of five and less: the end of
    /// sequence among them.
    fn is_too_small_for_players(&self) -> bool {
        self.body.len() <= if self.kind == VIDEO { 5 } else { 1 }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.body[..self.body.len().min(16)];
        let Self { kind, ts_ms, body } = self;
        write!(f, "type {kind} at {ts_ms} ms, {} bytes, hash {:08x}, {head:02x?}", body.len(), adler32(body))
    }
}

/// The hash that ffprobe prints too.
pub(crate) fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in bytes {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}

/// Reads a file as far as it has been written, without an incomplete last tag.
pub(crate) fn read_so_far(path: &Path) -> Vec<Tag> {
    let bytes = fs::read(path).unwrap_or_default();
    if bytes.len() < 9 {
        return Vec::new();
    }
    assert!(bytes.starts_with(b"FLV\x01"), "{} is no FLV file", path.display());
    let mut at = number(&bytes[5..9]) + 4;
    let mut tags = Vec::new();
    while let Some(head) = bytes.get(at..at + 11) {
        let len = number(&head[1..4]);
        let Some(body) = bytes.get(at + 11..at + 11 + len) else { break };
        // Some writers write a tag's size together with the next tag, so the last may be missing.
        if let Some(before) = bytes.get(at + 11 + len..at + 15 + len) {
            assert_eq!(number(before), len + 11, "the tag at {at} of {} ends where it says", path.display());
        }
        let ts_ms = (number(&head[4..7]) | usize::from(head[7]) << 24) as u32;
        tags.push(Tag { kind: head[0], ts_ms, body: body.to_vec() });
        at += 15 + len;
    }
    tags
}

/// Reads a file that is complete.
pub(crate) fn read(path: &Path) -> Vec<Tag> {
    let tags = read_so_far(path);
    assert!(!tags.is_empty(), "there is nothing in {}", path.display());
    tags
}

fn number(big_endian: &[u8]) -> usize {
    big_endian.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}

/// Writes a file that no program writes: with data messages in the midst of media.
pub(crate) fn write(path: &Path, tags: &[Tag]) {
    let mut bytes = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00".to_vec();
    for Tag { kind, ts_ms, body } in tags {
        let [_, l1, l2, l3] = u32::try_from(body.len()).unwrap().to_be_bytes();
        let [high, t1, t2, t3] = ts_ms.to_be_bytes();
        bytes.extend([*kind, l1, l2, l3, t1, t2, t3, high, 0, 0, 0]);
        bytes.extend(body);
        bytes.extend((u32::try_from(body.len()).unwrap() + 11).to_be_bytes());
    }
    fs::write(path, bytes).unwrap();
}

/// The published messages that librtmp hands to its program: of data messages the metadata alone.
pub(crate) fn as_librtmp_keeps(published: &[Tag]) -> Vec<Tag> {
    published
        .iter()
        .filter(|tag| tag.kind != DATA || tag.is_metadata())
        .filter(|tag| !tag.is_too_small_for_players())
        .cloned()
        .collect()
}

/// The published messages that rtmp2src keeps, and those that arrived, for comparison. At the stream's end rtmp2src
/// throws away a message that it still holds, so the last may be missing.
pub(crate) fn as_rtmp2src_keeps(published: &[Tag], file: &Path) -> (Vec<Tag>, Vec<Tag>) {
    let mut expected: Vec<Tag> = published.iter().filter(|tag| !tag.is_too_small_for_players()).cloned().collect();
    let arrived = without_sample_access(&read(file));
    if arrived.last() != expected.last() {
        expected.pop();
    }
    (expected, arrived)
}

/// All messages of a player, without the one that comes from the server itself.
fn without_sample_access(arrived: &[Tag]) -> Vec<Tag> {
    let ours = |tag: &&Tag| tag.kind == DATA && tag.body.starts_with(b"\x02\x00\x11|RtmpSampleAccess");
    assert_eq!(arrived.iter().filter(ours).count(), 1, "it comes once");
    arrived.iter().filter(|tag| !ours(tag)).cloned().collect()
}

/// Audio and video frames alone, with times since the first: a program that muxes anew leaves these unchanged.
pub(crate) fn frames_since_first(tags: &[Tag]) -> Vec<Tag> {
    let frames = || tags.iter().filter(|tag| tag.is_frame());
    let first = frames().next().map_or(0, |tag| tag.ts_ms);
    frames().map(|tag| Tag { ts_ms: tag.ts_ms.wrapping_sub(first), ..tag.clone() }).collect()
}

/// Every message, in order, unchanged.
pub(crate) fn assert_same(published: &[Tag], arrived: &[Tag]) {
    for (index, (published, arrived)) in published.iter().zip(arrived).enumerate() {
        assert_eq!(arrived, published, "message {index}");
    }
    let (published, arrived) = (published.len(), arrived.len());
    assert_eq!(arrived, published, "as many messages arrive as were published");
}

/// A late joiner: first the headers in force, metadata at 0, the others at the join point's time; from there on a run
/// of what was published, in order, unchanged. Gives where in `published` it begins and where it ends.
pub(crate) fn assert_run_from_join(published: &[Tag], arrived: &[Tag]) -> std::ops::Range<usize> {
    let lead = arrived.iter().take_while(|tag| tag.is_header()).count();
    let first = arrived.get(lead).expect("something came after the headers");
    let begin = published.iter().position(|tag| tag == first);
    let begin = begin.unwrap_or_else(|| panic!("the first message was never published: {first:?}"));
    for header in &arrived[..lead] {
        assert_eq!(header.ts_ms, if header.is_metadata() { 0 } else { first.ts_ms }, "{header:?}");
    }
    let (led, before) = (&arrived[..lead], &published[..begin]);
    for kind in [AUDIO, VIDEO, DATA] {
        assert!(last_header(led, kind) == last_header(before, kind), "the header of type {kind} that is in force");
    }
    let end = begin + arrived.len() - lead;
    assert!(end <= published.len(), "{} messages more than were published", end - published.len());
    assert_same(&published[begin..end], &arrived[lead..]);
    begin..end
}

fn last_header(tags: &[Tag], kind: u8) -> Option<&[u8]> {
    tags.iter().rev().find(|tag| tag.kind == kind && tag.is_header()).map(|tag| tag.body.as_slice())
}
