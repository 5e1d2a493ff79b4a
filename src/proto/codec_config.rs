//! Reads sizes, profiles, levels and sample rates from sequence headers. They are for people and statistics pages;
//! relaying does not need them.
//!
//! No function here fails: a header that cannot be read gives `None`. Sources: ISO/IEC 14496-15 (5.3.3.1 avcC, 8.3.3.1
//! hvcC), ITU-T H.264 7.3.2.1.1, H.265 7.3.2.2 and 7.3.3, AV1 bitstream 5.5 and av1C of the AV1-ISOBMFF binding,
//! ISO/IEC 14496-3 1.6.2.1.

use crate::proto::frame::{self, four_cc};
use crate::proto::message::kind;

#[cfg(test)]
mod tests;

/// The facts of a video sequence header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VideoConfig {
    /// Width of the picture in pixels, after cropping.
    pub width: u32,
    /// Height of the picture in pixels, after cropping.
    pub height: u32,
    /// The profile's number: `profile_idc`, `general_profile_idc`, `seq_profile`.
    pub profile: u8,
    /// The constraint flags after an AVC profile; 0 for other codecs.
    pub compatibility: u8,
    /// The level as the codec writes it: AVC 31 is 3.1, HEVC 93 is 3.1, AV1 5 is 3.1.
    pub level: u8,
}

/// The facts of an audio sequence header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AudioConfig {
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels; 0 if the header leaves the number to the frames.
    pub channels: u8,
    /// The audio object type (2 LC, 5 HE, 29 HEv2); 0 for other codecs.
    pub object_type: u8,
}

/// The picture of a video message that is a sequence header.
pub(crate) fn video(body: &[u8]) -> Option<VideoConfig> {
    let (codec, record) = record(kind::VIDEO, body)?;
    match codec {
        code if code == four_cc(b"avc1") => avc(record),
        code if code == four_cc(b"hvc1") => hevc(record),
        code if code == four_cc(b"av01") => av1(record),
        _ => None,
    }
}

/// The sound of an audio message that is a sequence header.
pub(crate) fn audio(body: &[u8]) -> Option<AudioConfig> {
    let (codec, record) = record(kind::AUDIO, body)?;
    match codec {
        code if code == four_cc(b"mp4a") => aac(record),
        code if code == four_cc(b"Opus") => opus(record),
        _ => None,
    }
}

/// Codec and configuration record of the first track of a sequence header.
fn record(type_id: u8, body: &[u8]) -> Option<(u32, &[u8])> {
    let facts = frame::facts(type_id, body);
    if !facts.seq_start {
        return None;
    }
    let track = frame::tracks(type_id, body).next()?;
    let payload = body.get(track.start..track.start + track.len)?;
    let is_legacy = match type_id {
        kind::VIDEO => body[0] & 0x80 == 0,
        _ => body[0] >> 4 != 9,
    };
    // Before the record, legacy bodies have a packet type, and legacy pictures also a composition time.
    let head = match (is_legacy, type_id) {
        (false, _) => 0,
        (true, kind::VIDEO) => 4,
        (true, _) => 1,
    };
    Some((track.codec, payload.get(head..)?))
}

/// Reads bits of a raw byte sequence payload; emulation prevention bytes (00 00 03) are left out if `escaped`.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
    /// Zero bytes directly before this one.
    zeros: u8,
    escaped: bool,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], escaped: bool) -> Self {
        Self { bytes, at: 0, zeros: 0, escaped }
    }

    fn bit(&mut self) -> Option<u32> {
        if self.at.is_multiple_of(8) && self.escaped {
            let byte = *self.bytes.get(self.at / 8)?;
            if self.zeros >= 2 && byte == 3 {
                self.at += 8;
                self.zeros = 0;
            }
            let byte = *self.bytes.get(self.at / 8)?;
            self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        }
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    /// An unsigned number of up to 32 bits.
    fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0_u32, |number, _| Some(number << 1 | self.bit()?))
    }

    fn skip(&mut self, bits: u32) -> Option<()> {
        (0..bits).try_for_each(|_| self.bit().map(drop))
    }

    /// `ue(v)`.
    fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.number(zeros)?)
    }

    /// `se(v)`.
    fn signed(&mut self) -> Option<i32> {
        let number = self.unsigned()?;
        let half = (number / 2).cast_signed();
        Some(if number % 2 == 1 { half + 1 } else { -half })
    }
}

/// avcC, with the picture of its first sequence parameter set.
fn avc(record: &[u8]) -> Option<VideoConfig> {
    let &[1, profile, compatibility, level, _, sets, ref rest @ ..] = record else { return None };
    let known = VideoConfig { profile, compatibility, level, ..VideoConfig::default() };
    let size = (sets & 0x1f > 0)
        .then(|| {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            avc_size(rest.get(..usize::from(u16::from_be_bytes(*len)))?)
        })
        .flatten();
    let (width, height) = size.unwrap_or_default();
    Some(VideoConfig { width, height, ..known })
}

/// Profiles whose parameter sets have the chroma format.
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

fn avc_size(nal: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(nal.get(1..)?, true);
    let profile = bits.number(8)?;
    bits.skip(16)?;
    bits.unsigned()?;
    let mut chroma = 1;
    if HIGH_PROFILES.contains(&profile) {
        chroma = bits.unsigned()?;
        if chroma == 3 {
            bits.skip(1)?;
        }
        bits.unsigned()?;
        bits.unsigned()?;
        bits.skip(1)?;
        if bits.bit()? == 1 {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.bit()? == 1 {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.unsigned()?;
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.skip(1)?;
            bits.signed()?;
            bits.signed()?;
            for _ in 0..bits.unsigned()?.min(255) {
                bits.signed()?;
            }
        }
        _ => {}
    }
    bits.unsigned()?;
    bits.skip(1)?;
    let (width, height) = (bits.unsigned()?, bits.unsigned()?);
    let frames_only = bits.bit()?;
    if frames_only == 0 {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let crop = cropping(&mut bits)?;
    let (unit_x, unit_y) = chroma_units(chroma);
    let fields = 2 - frames_only;
    size(
        (u64::from(width) + 1) * 16,
        (u64::from(height) + 1) * 16 * u64::from(fields),
        crop,
        (unit_x, unit_y * u64::from(fields)),
    )
}

fn skip_scaling_list(bits: &mut Bits<'_>, entries: u32) -> Option<()> {
    let (mut last, mut next) = (8_i32, 8_i32);
    for _ in 0..entries {
        if next != 0 {
            next = (last + bits.signed()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Left, right, top, bottom, in units of the chroma.
fn cropping(bits: &mut Bits<'_>) -> Option<[u64; 4]> {
    if bits.bit()? == 0 {
        return Some([0; 4]);
    }
    let mut crop = [0; 4];
    for side in &mut crop {
        *side = bits.unsigned()?.into();
    }
    Some(crop)
}

fn chroma_units(chroma: u32) -> (u64, u64) {
    match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    }
}

/// The size after cropping; `None` if nothing is left of a side.
fn size(width: u64, height: u64, crop: [u64; 4], unit: (u64, u64)) -> Option<(u32, u32)> {
    let width = width.checked_sub((crop[0] + crop[1]) * unit.0)?;
    let height = height.checked_sub((crop[2] + crop[3]) * unit.1)?;
    (width > 0 && height > 0).then_some((u32::try_from(width).ok()?, u32::try_from(height).ok()?))
}

/// hvcC, with the picture of its first sequence parameter set.
fn hevc(record: &[u8]) -> Option<VideoConfig> {
    let head = record.first_chunk::<23>()?;
    let known = VideoConfig { profile: head[1] & 0x1f, level: head[12], ..VideoConfig::default() };
    let mut rest = record.get(23..)?;
    for _ in 0..head[22] {
        let Some((array, after)) = rest.split_first_chunk::<3>() else { break };
        rest = after;
        for _ in 0..u16::from_be_bytes([array[1], array[2]]) {
            let Some((len, after)) = rest.split_first_chunk::<2>() else { return Some(known) };
            let len = usize::from(u16::from_be_bytes(*len));
            let Some(nal) = after.get(..len) else { return Some(known) };
            if array[0] & 0x3f == 33 {
                let (width, height) = hevc_size(nal).unwrap_or_default();
                return Some(VideoConfig { width, height, ..known });
            }
            rest = &after[len..];
        }
    }
    Some(known)
}

fn hevc_size(nal: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(nal.get(2..)?, true);
    bits.skip(4)?;
    let sub_layers = bits.number(3)?;
    bits.skip(1)?;
    bits.skip(88)?; // general profile
    bits.skip(8)?; // general level
    let mut present = [(0, 0); 8];
    for layer in present.iter_mut().take(sub_layers as usize) {
        *layer = (bits.bit()?, bits.bit()?);
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers))?;
    }
    for (profile, level) in present.into_iter().take(sub_layers as usize) {
        bits.skip(88 * profile + 8 * level)?;
    }
    bits.unsigned()?;
    let chroma = bits.unsigned()?;
    if chroma == 3 {
        bits.skip(1)?;
    }
    let (width, height) = (bits.unsigned()?, bits.unsigned()?);
    size(width.into(), height.into(), cropping(&mut bits)?, chroma_units(chroma))
}

/// av1C, with the picture of its sequence header OBU.
fn av1(record: &[u8]) -> Option<VideoConfig> {
    let &[0x81, kinds, _, _, ref units @ ..] = record else { return None };
    let known = VideoConfig { profile: kinds >> 5, level: kinds & 0x1f, ..VideoConfig::default() };
    let (width, height) = av1_size(units).unwrap_or_default();
    Some(VideoConfig { width, height, ..known })
}

fn av1_size(units: &[u8]) -> Option<(u32, u32)> {
    const SEQUENCE_HEADER: u8 = 1;
    let (&head, rest) = units.split_first()?;
    if head >> 3 & 0x0f != SEQUENCE_HEADER {
        return None;
    }
    let mut at = usize::from(head >> 2 & 1);
    if head >> 1 & 1 == 1 {
        // A leb128 number has at most five bytes for a size of 32 bits.
        at += rest.get(at..)?.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    }
    let mut bits = Bits::new(rest.get(at..)?, false);
    bits.skip(3)?;
    bits.skip(1)?;
    if bits.bit()? == 1 {
        bits.skip(5)?; // reduced still picture: a level alone
    } else {
        let mut delay_bits = None;
        if bits.bit()? == 1 {
            bits.skip(64)?;
            if bits.bit()? == 1 {
                bits.uvlc()?;
            }
            if bits.bit()? == 1 {
                let len = bits.number(5)? + 1;
                bits.skip(32 + 5 + 5)?;
                delay_bits = Some(len);
            }
        }
        let delays = bits.bit()?;
        for _ in 0..=bits.number(5)? {
            bits.skip(12)?;
            if bits.number(5)? > 7 {
                bits.skip(1)?;
            }
            if let Some(len) = delay_bits
                && bits.bit()? == 1
            {
                bits.skip(2 * len + 1)?;
            }
            if delays == 1 && bits.bit()? == 1 {
                bits.skip(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.number(4)? + 1, bits.number(4)? + 1);
    Some((bits.number(width_bits)? + 1, bits.number(height_bits)? + 1))
}

impl Bits<'_> {
    /// AV1's `uvlc()`.
    fn uvlc(&mut self) -> Option<()> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros >= 32 {
                return Some(());
            }
        }
        self.skip(zeros)
    }
}

/// Sample rates by their index (14496-3, table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// AudioSpecificConfig. If it signals SBR or PS, the rate is that of the decoder's output.
fn aac(record: &[u8]) -> Option<AudioConfig> {
    let mut bits = Bits::new(record, false);
    let object_type = aac_object_type(&mut bits)?;
    let mut sample_rate = aac_rate(&mut bits)?;
    let channels = match bits.number(4)? {
        7 => 8,
        channels @ 0..=6 => channels,
        _ => 0,
    };
    if matches!(object_type, 5 | 29) {
        sample_rate = aac_rate(&mut bits)?;
    }
    Some(AudioConfig {
        sample_rate,
        channels: u8::try_from(channels).unwrap_or(0),
        object_type: u8::try_from(object_type).unwrap_or(0),
    })
}

fn aac_object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.number(5)? {
        31 => Some(32 + bits.number(6)?),
        object_type => Some(object_type),
    }
}

fn aac_rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.number(4)? {
        15 => bits.number(24),
        index => SAMPLE_RATES.get(index as usize).copied(),
    }
}

/// An Opus identification header (RFC 7845, 5.1).
fn opus(record: &[u8]) -> Option<AudioConfig> {
    let rest = record.strip_prefix(b"OpusHead")?;
    let &[_, channels, _, _, a, b, c, d, ..] = rest else { return None };
    let said = u32::from_le_bytes([a, b, c, d]);
    // The header's rate is only informative; the decoder works at 48 kHz.
    Some(AudioConfig { sample_rate: if said == 0 { 48_000 } else { said }, channels, object_type: 0 })
}
