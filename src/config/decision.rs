//! The host's answer to a session that waits for permission.

use std::sync::Arc;

use super::choices::{Start, media};
use super::limits::MAX_NAME_BYTES;
use super::stream::StreamConfig;
use super::target::TargetConfig;
use super::value::{Setting, Shape, Value};
use crate::error::Result;

/// The terms on which the host lets a session in.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Becomes the session's user pointer.
    pub user: usize,
    /// The stream key to use, or at connect the application; `None` keeps what the peer asked for.
    pub rename: Option<Vec<u8>>,
    /// Settings of the stream, if this publish creates it.
    pub stream: Option<Arc<StreamConfig>>,
    /// Where a player begins; `None` takes the stream's setting.
    pub start: Option<Start>,
    /// Kinds that a player may have, bits of [`media`]. The player may ask for fewer.
    pub media: u32,
    /// Targets that the stream is pushed to from now on. A target that the stream already has, with the same url and
    /// key, stays as it is.
    pub targets: Vec<TargetConfig>,
    /// Sources that the stream is pulled from, under the same rule.
    pub sources: Vec<TargetConfig>,
}

/// Most targets and sources of one decision: more than any stream needs for its viewers.
pub const MAX_DECISION_TARGETS: usize = 64;

impl Default for Decision {
    fn default() -> Self {
        Self {
            user: 0,
            rename: None,
            stream: None,
            start: None,
            media: media::ALL,
            targets: Vec::new(),
            sources: Vec::new(),
        }
    }
}

impl Decision {
    /// Sets the setting of this name.
    ///
    /// # Errors
    /// [`RRError::Arg`](crate::error::RRError::Arg) with the name, what the setting may be, and why.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> Result<()> {
        self.take(&Setting::new(name, value))
    }

    /// What the setting of this name may be; `None` if there is none.
    pub fn shape(name: &str) -> Option<Shape> {
        Setting::shape_of(name, |asked| Self::default().take(asked))
    }

    fn take(&mut self, given: &Setting<'_>) -> Result<()> {
        match given.name {
            "rename" => {
                let rename = given.bytes()?;
                if rename.as_ref().is_some_and(|key| key.len() > MAX_NAME_BYTES || key.contains(&0)) {
                    return Err(given.refuse(&format!("is longer than {MAX_NAME_BYTES} bytes, or has NUL in it")));
                }
                if rename.as_ref().is_some_and(|key| key.iter().all(|&byte| byte == b'/')) {
                    return Err(given.refuse("is empty: leave it out to keep the name"));
                }
                self.rename = rename;
            }
            "media" => self.media = given.bits(media::ALL, &media::NAMES)?,
            "start" => {
                let choices = Start::CHOICES.map(|(number, name, start)| (number, name, Some(start)));
                self.start = given.choice(None, "RR_START_*", &choices)?;
            }
            _ => return Err(given.unknown("decision")),
        }
        Ok(())
    }
}
