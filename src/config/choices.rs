//! The choices of settings, with the numbers of the C API and the names of JSON.

use super::value::Choice;

/// Which questions go to the host, as bits (`RR_ASK_*`).
pub mod ask {
    /// Ask at `connect`.
    pub const CONNECT: u32 = 1;
    /// Ask at `publish`.
    pub const PUBLISH: u32 = 2;
    /// Ask at `play`.
    pub const PLAY: u32 = 4;
    /// Ask at `connect`, `publish` and `play`.
    pub const ALL: u32 = 7;
    pub(in crate::config) const NAMES: [(u32, &str); 3] = [(CONNECT, "connect"), (PUBLISH, "publish"), (PLAY, "play")];
}

/// Kinds of media, as bits (`RR_MEDIA_*`).
pub mod media {
    /// Audio messages.
    pub const AUDIO: u32 = 1;
    /// Video messages.
    pub const VIDEO: u32 = 2;
    /// Data messages.
    pub const DATA: u32 = 4;
    /// Messages of all kinds.
    pub const ALL: u32 = 7;
    pub(in crate::config) const NAMES: [(u32, &str); 3] = [(AUDIO, "audio"), (VIDEO, "video"), (DATA, "data")];
}

/// Where a consumer begins (`RR_START_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// At the next key frame.
    Key,
    /// At the cached group's key frame, for a picture at once.
    #[default]
    Gop,
    /// At the head, without waiting for a key frame.
    Now,
}

/// A stream's treatment of a second publisher (`RR_PUBLISHER_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PublisherPolicy {
    /// The second one is refused with `NetStream.Publish.BadName`.
    #[default]
    Reject,
    /// The second one replaces the first.
    Takeover,
    /// The second one waits until the first is gone.
    Standby,
}

/// Where a server's streams run (`RR_ISOLATE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Isolate {
    /// All in the host's process.
    #[default]
    Threads,
    /// Each in a process of its own.
    Process,
}

impl Isolate {
    pub(super) const CHOICES: [Choice<Self>; 2] = [(0, "threads", Self::Threads), (1, "process", Self::Process)];
}

/// The treatment of publishers' timestamps (`RR_CLOCK_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClockMode {
    /// Timestamps pass unchanged.
    #[default]
    Pass,
    /// Timestamps begin at 0.
    Zero,
    /// Jumps that both tracks make are taken out.
    Repair,
}

/// The treatment of a target that cannot keep up (`RR_SLOW_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SlowPolicy {
    /// Jump to a key frame.
    #[default]
    Resync,
    /// Close and connect again.
    Reconnect,
    /// Close and stay closed.
    Stop,
}

/// The treatment of the `?args` that peers append to a stream's name (`RR_ARGS_*`), usually credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Args {
    /// The arguments are not part of the name; the host gets them separately.
    #[default]
    Apart,
    /// The arguments are part of the stream key.
    Key,
    /// The arguments are not part of the name, and the host does not get them.
    Drop,
}

impl Args {
    pub(super) const CHOICES: [Choice<Self>; 3] =
        [(0, "apart", Self::Apart), (1, "key", Self::Key), (2, "drop", Self::Drop)];
}

/// How players get metadata that does not end as AMF0 prescribes (`RR_METADATA_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Metadata {
    /// With the missing end marks added, and the bytes after the value left out.
    #[default]
    Mended,
    /// As the publisher sends it, byte for byte.
    Verbatim,
}

impl Metadata {
    pub(super) const CHOICES: [Choice<Self>; 2] = [(0, "mended", Self::Mended), (1, "verbatim", Self::Verbatim)];
}

impl Start {
    /// Each choice with its number of `RR_START_*`; 0 is left out, because it means the setting's own default.
    pub(super) const CHOICES: [Choice<Self>; 3] = [(1, "key", Self::Key), (2, "gop", Self::Gop), (3, "now", Self::Now)];

    /// The number of the C API.
    pub fn number(self) -> u32 {
        match self {
            Self::Key => 1,
            Self::Gop => 2,
            Self::Now => 3,
        }
    }
}

impl PublisherPolicy {
    pub(super) const CHOICES: [Choice<Self>; 3] =
        [(0, "reject", Self::Reject), (1, "takeover", Self::Takeover), (2, "standby", Self::Standby)];
}

impl ClockMode {
    pub(super) const CHOICES: [Choice<Self>; 3] =
        [(0, "pass", Self::Pass), (1, "zero", Self::Zero), (2, "repair", Self::Repair)];
}

impl SlowPolicy {
    pub(super) const CHOICES: [Choice<Self>; 3] =
        [(0, "resync", Self::Resync), (1, "reconnect", Self::Reconnect), (2, "stop", Self::Stop)];
}
