//! A stream's name: application and key, and what makes two names the same stream.

use crate::config::MAX_NAME_BYTES;
use crate::error::{Failure, RRError, Result};

/// A stream's name, as the peer gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct StreamName {
    /// Application.
    pub app: Vec<u8>,
    /// Stream key.
    pub key: Vec<u8>,
}

impl StreamName {
    /// A name the host gives.
    ///
    /// # Errors
    /// [`RRError::Arg`] where it is too long or contains NUL.
    pub fn checked(app: &[u8], key: &[u8]) -> Result<Self> {
        if app.len() > MAX_NAME_BYTES || key.len() > MAX_NAME_BYTES || app.contains(&0) || key.contains(&0) {
            return Err(Failure::ours(RRError::Arg, "a name is too long or contains NUL"));
        }
        Ok(Self { app: app.to_vec(), key: key.to_vec() })
    }

    /// What makes two names the same stream: peers split `app/key` at different slashes (`live` + `a/b`, `live/a` +
    /// `b`), so it is the path as a whole that counts.
    pub fn path(&self) -> Vec<u8> {
        let app =
            self.app.iter().rposition(|&b| b != b'/').map_or(&[][..], |last| self.app.get(..=last).unwrap_or(&[]));
        let app = app.iter().position(|&b| b != b'/').map_or(&[][..], |first| app.get(first..).unwrap_or(&[]));
        let mut path = app.to_vec();
        path.push(b'/');
        path.extend(self.key.iter().skip_while(|&&b| b == b'/'));
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_by_its_path_however_peers_split_it() {
        let path = |app: &str, key: &str| StreamName { app: app.into(), key: key.into() }.path();
        assert_eq!(path("live", "a/b"), path("live/a", "b"));
        assert_eq!(path("live/", "show"), path("live", "/show"));
        assert_eq!(path("live", "show?token=a%20b"), b"live/show?token=a%20b");
        assert_ne!(path("live", "show"), path("live", "show/"));
        assert_eq!(path("", ""), b"/");
    }
}
