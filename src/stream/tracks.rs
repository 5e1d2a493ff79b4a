//! A stream's codecs and tracks, which accumulate writes for the host; and the track of a picture, for the frame rate.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::mask;
use crate::proto::codec_config::{self, AudioConfig, VideoConfig};
use crate::proto::frame::{self, FrameFacts};
use crate::proto::message::kind;
use crate::stream::stats::Count;
use crate::sync::locked;

/// Most tracks that are listed; a stream may carry more, which are relayed as well.
const MAX_LISTED: usize = 32;

/// The time between two events about changed codecs, if they change all the time.
const TELL_EVERY_US: u64 = 250_000;

/// How many such events may come at once before that: at its beginning a stream announces its tracks one by one.
const TELL_AT_ONCE: u64 = 40;

/// One track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    /// 8 audio, 9 video.
    pub type_id: u8,
    /// Track id of multitrack messages, else 0.
    pub track: u8,
    /// FourCC; legacy ids are mapped.
    pub codec: u32,
}

impl Track {
    fn packed(self) -> u64 {
        u64::from(self.type_id) << 40 | u64::from(self.track) << 32 | u64::from(self.codec)
    }
}

/// The track that a message has a picture of, the lowest of several; `None` for a message without a picture.
pub(super) fn of_picture(type_id: u8, facts: &FrameFacts, body: &[u8]) -> Option<u8> {
    let other = facts.seq_start || facts.end_of_sequence || facts.side_config || facts.command;
    if type_id != kind::VIDEO || other || body.is_empty() {
        return None;
    }
    if !facts.many_tracks {
        return Some(facts.track);
    }
    frame::tracks(type_id, body).take(MAX_LISTED).map(|track| track.id).min()
}

/// The facts of a stream's sequence headers, from the lowest track of each kind that has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Configs {
    /// The track and the facts of its pictures.
    video: Option<(u8, VideoConfig)>,
    /// The track and the facts of its sound.
    audio: Option<(u8, AudioConfig)>,
}

impl Configs {
    /// The facts of the pictures; `None` while no readable header has come.
    pub(crate) fn video(&self) -> Option<VideoConfig> {
        self.video.map(|(_, config)| config)
    }

    /// The facts of the sound; `None` while no readable header has come.
    pub(crate) fn audio(&self) -> Option<AudioConfig> {
        self.audio.map(|(_, config)| config)
    }
}

/// The tracks of a stream.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    /// The last audio track and the last video track seen: nearly every message has one of these, and then costs only a
    /// comparison.
    last: [Count; 2],
    list: Mutex<Vec<Track>>,
    configs: Mutex<Configs>,
    /// The moment up to which the events sent so far count, if each lasted [`TELL_EVERY_US`].
    told_until_us: Count,
    untold: AtomicBool,
}

impl Tracks {
    /// Notes a media message's tracks; true if one is new or has another codec, size or rate than before.
    pub(crate) fn note(&self, type_id: u8, facts: &FrameFacts, body: &[u8]) -> bool {
        let configured = facts.seq_start && self.configure(type_id, facts.track, body);
        if !facts.many_tracks {
            return self.note_one(Track { type_id, track: facts.track, codec: facts.codec }) | configured;
        }
        // The cost of a message is bounded by the length of the list.
        let tracks = frame::tracks(type_id, body).take(MAX_LISTED);
        tracks.fold(false, |new, track| self.note_one(Track { type_id, track: track.id, codec: track.codec }) | new)
            | configured
    }

    /// Reads a sequence header; true if the facts of the lowest track have changed.
    fn configure(&self, type_id: u8, track: u8, body: &[u8]) -> bool {
        let mut configs = locked(&self.configs);
        let before = *configs;
        if type_id == kind::VIDEO {
            if configs.video.is_none_or(|(lowest, _)| track <= lowest) {
                configs.video = codec_config::video(body).map(|config| (track, config));
            }
        } else if configs.audio.is_none_or(|(lowest, _)| track <= lowest) {
            configs.audio = codec_config::audio(body).map(|config| (track, config));
        }
        *configs != before
    }

    /// The facts of the sequence headers.
    pub(crate) fn configs(&self) -> Configs {
        *locked(&self.configs)
    }

    #[inline]
    fn note_one(&self, track: Track) -> bool {
        let Some(last) = self.last.get(usize::from(track.type_id & 1)) else { return false };
        if track.codec == 0 || last.get() == track.packed() {
            return false;
        }
        last.set(track.packed());
        self.list_one(track)
    }

    #[cold]
    fn list_one(&self, track: Track) -> bool {
        let type_id = track.type_id;
        let mut list = locked(&self.list);
        if let Some(known) = list.iter_mut().find(|known| (known.type_id, known.track) == (type_id, track.track)) {
            return std::mem::replace(&mut known.codec, track.codec) != track.codec;
        }
        let listed = list.len() < MAX_LISTED;
        if listed {
            list.push(track);
        }
        listed
    }

    /// Whether to send an event now: there is a change, this one or an earlier one, and not too many events were sent
    /// just before. A publisher may change its codecs with each message; the last change is always reported.
    #[inline]
    pub(crate) fn tells(&self, changed: bool, now_us: u64) -> bool {
        (changed || self.untold.load(Ordering::Relaxed)) && self.may_tell(now_us)
    }

    #[cold]
    fn may_tell(&self, now_us: u64) -> bool {
        let until_us = self.told_until_us.get().max(now_us);
        let may = until_us - now_us < TELL_AT_ONCE * TELL_EVERY_US;
        if may {
            self.told_until_us.set(until_us + TELL_EVERY_US);
        }
        self.untold.store(!may, Ordering::Relaxed);
        may
    }

    /// Takes over the tracks that another process has found.
    pub(in crate::stream) fn note_reported(
        &self,
        list: Vec<Track>,
        video: Option<VideoConfig>,
        audio: Option<AudioConfig>,
    ) {
        let mut list = list;
        list.truncate(MAX_LISTED);
        list.shrink_to_fit();
        *locked(&self.list) = list;
        let lowest = 0;
        *locked(&self.configs) =
            Configs { video: video.map(|video| (lowest, video)), audio: audio.map(|audio| (lowest, audio)) };
    }

    /// Forgets all tracks, because a new publisher begins.
    pub(crate) fn clear(&self) {
        self.last.iter().for_each(|last| last.set(0));
        locked(&self.list).clear();
        *locked(&self.configs) = Configs::default();
    }

    /// The tracks, video first, then by track id.
    pub(crate) fn list(&self) -> Vec<Track> {
        let mut list = locked(&self.list).clone();
        list.sort_by_key(|track| (std::cmp::Reverse(track.type_id), track.track));
        list
    }

    /// Their FourCCs, "avc1,mp4a", in the order of [`Self::list`].
    pub(crate) fn text(&self) -> String {
        let four_cc = |track: &Track| mask::escape(&track.codec.to_be_bytes());
        self.list().iter().map(four_cc).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn endless_changes_are_reported_four_times_a_second_and_the_last_one_always() {
        let tracks = Tracks::default();
        let began_us = 77_000_000;
        let told = |from_us: u64, changes: u64| {
            (0..changes).filter(|number| tracks.tells(true, began_us + from_us + number * 1_000)).count()
        };
        assert_eq!(told(0, 30), 30, "an encoder with many tracks");
        assert_eq!(told(30_000, 970), 14, "ten at once, and four in the rest of the second");
        assert_eq!(told(1_000_000, 2_000), 8);
        assert!(!tracks.tells(false, began_us + 2_999_999));
        assert!(tracks.tells(false, began_us + 3_500_000), "the one that waited");
        assert!(!tracks.tells(false, began_us + 9_000_000), "is told once");
    }

    #[test]
    fn a_picture_is_of_its_lowest_track_and_all_else_is_none() {
        let of = |type_id, body: &[u8]| of_picture(type_id, &frame::facts(type_id, body), body);
        let one = |packet: u8, id: u8| [&[0x96, packet][..], b"hvc1", &[id, 7]].concat();
        let many = [&[0xA6, 0x11][..], b"hvc1", &[3, 0, 0, 1, 9, 2, 0, 0, 1, 9]].concat();
        for (body, track) in [
            (vec![0x27, 1, 0, 0, 0, 9], Some(0)),
            (vec![0x17, 1, 0, 0, 0, 9], Some(0)),
            (one(0x01, 5), Some(5)),
            (many, Some(2)),
            (vec![0x17, 0, 0, 0, 0, 1], None),
            (vec![0x17, 2, 0, 0, 0], None),
            (one(0x00, 5), None),
            (vec![0x57, 0], None),
            (vec![0x94, b'h', b'v', b'c', b'1', 2], None),
            (Vec::new(), None),
        ] {
            assert_eq!(of(kind::VIDEO, &body), track, "{body:?}");
        }
        assert_eq!(of(kind::AUDIO, &[0xAF, 1, 9]), None);
    }
}
