//! FLV as a stream: the file's header, and the bytes before and after the body of each tag.
//!
//! A tag's body is a message's body; this module neither holds nor reads it. Source: FLV specification E.2 to E.4.1.

use crate::proto::message::kind;

/// Bytes of the file's header, with the size of the tag before the first one, which is 0.
pub(crate) const FILE_HEADER_BYTES: usize = 13;

/// Bytes before a tag's body.
pub(crate) const TAG_HEAD_BYTES: usize = 11;

/// Bytes after a tag's body: the size of the tag.
pub(crate) const TAG_TAIL_BYTES: usize = 4;

/// The file's header, which says whether there is sound, and whether there are pictures.
pub(crate) const fn file_header(audio: bool, video: bool) -> [u8; FILE_HEADER_BYTES] {
    let kinds = (audio as u8) << 2 | video as u8;
    [b'F', b'L', b'V', 1, kinds, 0, 0, 0, 9, 0, 0, 0, 0]
}

/// The type of the tag for a message of this type; `None` if FLV has no tag for it.
pub(crate) fn tag_type(type_id: u8) -> Option<u8> {
    match type_id {
        kind::AUDIO | kind::VIDEO => Some(type_id),
        kind::DATA | kind::DATA_AMF3 => Some(kind::DATA),
        _ => None,
    }
}

/// The bytes before a body of `len` bytes; `len` is below 2^24.
pub(crate) fn tag_head(tag_type: u8, ts_ms: u32, len: u32) -> [u8; TAG_HEAD_BYTES] {
    let ([_, a, b, c], [extended, x, y, z]) = (len.to_be_bytes(), ts_ms.to_be_bytes());
    [tag_type, a, b, c, x, y, z, extended, 0, 0, 0]
}

/// The bytes after a body of `len` bytes.
pub(crate) fn tag_tail(len: u32) -> [u8; TAG_TAIL_BYTES] {
    (TAG_HEAD_BYTES as u32 + len).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_its_length_twice_and_the_high_byte_of_its_time_last() {
        assert_eq!(tag_head(9, 0xa1b2_c3d4, 0x0001_0203), [9, 1, 2, 3, 0xb2, 0xc3, 0xd4, 0xa1, 0, 0, 0]);
        assert_eq!(tag_tail(0x0001_0203), [0, 1, 2, 0x0e]);
        assert_eq!(file_header(true, true)[..9], *b"FLV\x01\x05\0\0\0\x09");
        assert_eq!([file_header(true, false)[4], file_header(false, true)[4]], [4, 1]);
        assert_eq!([8, 9, 18, 15, 20].map(tag_type), [Some(8), Some(9), Some(18), Some(18), None]);
    }
}
