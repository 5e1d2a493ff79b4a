//! A stream's name: application and key, and what makes two names the same stream.

use crate::config::{Args, MAX_NAME_BYTES};
use crate::error::{Failure, RRError, Result};

/// A stream's name, as the peer gave it; `?args` are part of it only where the settings say so.
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

/// A key as a peer sent it: what of it names the stream, and the arguments behind it that the host is told.
pub fn take_apart(key: &[u8], args: Args) -> (&[u8], &[u8]) {
    let (name, arguments) = match key.iter().position(|&byte| byte == b'?') {
        Some(mark) => (&key[..mark], &key[mark + 1..]),
        None => (key, &[][..]),
    };
    match args {
        Args::Apart => (name, arguments),
        Args::Key => (key, &[]),
        Args::Drop => (name, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_no_part_of_a_name_unless_they_are_to_be() {
        assert_eq!(take_apart(b"show?a=1?b", Args::Apart), (&b"show"[..], &b"a=1?b"[..]));
        assert_eq!(take_apart(b"show?a=1", Args::Key), (&b"show?a=1"[..], &b""[..]));
        assert_eq!(take_apart(b"show?a=1", Args::Drop), (&b"show"[..], &b""[..]));
        assert_eq!(take_apart(b"show", Args::Apart), (&b"show"[..], &b""[..]));
        assert_eq!(take_apart(b"?a=1", Args::Apart), (&b""[..], &b"a=1"[..]));
    }

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
