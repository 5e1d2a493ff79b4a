//! The tracks of a multitrack stream that a consumer gets, as a mask: bit n for id n.

use crate::proto::frame;

/// All tracks, also those that have no bit in a mask.
pub(in crate::stream) const ALL: u64 = u64::MAX;

/// A setting of tracks as a mask: 0 means all.
pub(in crate::stream) fn of_setting(tracks: u64) -> u64 {
    if tracks == 0 { ALL } else { tracks }
}

/// Whether a message has one of these tracks, or no track at all. Media without multitrack is track 0; ids beyond the
/// mask match only [`ALL`].
pub(in crate::stream) fn wants(mask: u64, type_id: u8, body: &[u8]) -> bool {
    if mask == ALL {
        return true;
    }
    let mut tracks = frame::tracks(type_id, body).peekable();
    tracks.peek().is_none() || tracks.any(|track| 1_u64.checked_shl(track.id.into()).unwrap_or(0) & mask != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::message::kind;

    #[test]
    fn tracks_are_chosen_by_bit() {
        let one = |id: u8| [&[0x96, 0x00][..], b"hvc1", &[id, 7]].concat(); // a key frame, one track
        let many = [&[0x96, 0x11][..], b"hvc1", &[3, 0, 0, 1, 9, 5, 0, 0, 1, 9]].concat();
        for (mask, body, wanted) in [
            (0b10, one(1), true),
            (0b10, one(0), false),
            (0b10, one(64), false),
            (0b10_0000, many.clone(), true),
            (0b10, many, false),
            (0b10, vec![0x17, 1, 0, 0, 0], false),
            (0b01, vec![0x17, 1, 0, 0, 0], true),
            (0b10, Vec::new(), true),
        ] {
            assert_eq!(wants(mask, kind::VIDEO, &body), wanted, "{mask:b} {body:?}");
        }
    }
}
