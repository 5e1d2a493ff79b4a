//! A stream's name: application and key, and the rules by which two names are the same stream.

use crate::config::{Args, MAX_NAME_BYTES};
use crate::error::{Failure, RRError, Result};

/// The default instance of an application, as servers with instances write it.
const DEFAULT_INSTANCE: &[u8] = b"_definst_";

/// The reason for which a name with such a part is refused.
pub(crate) const DOT_PART: &str = "no part of a name may be . or .., which are steps through folders in urls";

/// A stream's name, as the peer gave it; `?args` are part of it only if the settings say so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct StreamName {
    /// Application.
    pub app: Vec<u8>,
    /// Stream key.
    pub key: Vec<u8>,
}

impl StreamName {
    /// A name that the host gives.
    ///
    /// # Errors
    /// [`RRError::Arg`] if it is too long, contains NUL, or has a part of only dots.
    pub(crate) fn checked(app: &[u8], key: &[u8]) -> Result<Self> {
        Self::fits(app).and_then(|()| Self::fits(key))?;
        let name = Self { app: app.to_vec(), key: key.to_vec() };
        if name.has_dot_part() {
            return Err(Failure::ours(RRError::Arg, DOT_PART));
        }
        Ok(name)
    }

    /// Checks the length of an application, a key or arguments, and that there is no NUL.
    ///
    /// # Errors
    /// [`RRError::Arg`].
    pub(crate) fn fits(name: &[u8]) -> Result<()> {
        if name.len() <= MAX_NAME_BYTES && !name.contains(&0) {
            return Ok(());
        }
        Err(Failure::ours(RRError::Arg, "a name is too long or contains NUL"))
    }

    /// The name that a peer means by its application and key. Slashes around an application and `DEFAULT_INSTANCE` are
    /// ignored; if the key is empty, the last part of the application is the key, because some encoders have one field
    /// for the whole path.
    pub(crate) fn of_peer(app: &[u8], key: &[u8]) -> Self {
        let app = without_instance(app);
        let in_key = || trim_start(key).strip_prefix(DEFAULT_INSTANCE)?.strip_prefix(b"/");
        let key = in_key().unwrap_or(key);
        let name_len = key.iter().position(|&byte| byte == b'?').unwrap_or(key.len());
        let (name, query) = key.split_at(name_len);
        match app.iter().rposition(|&byte| byte == b'/') {
            Some(slash) if trim_start(name).is_empty() => {
                Self { app: without_instance(&app[..slash]).to_vec(), key: [&app[slash + 1..], query].concat() }
            }
            _ => Self { app: app.to_vec(), key: key.to_vec() },
        }
    }

    /// Whether the path has at least two parts. A peer's name without both comes from a mistake in an encoder's
    /// settings.
    pub(crate) fn is_whole(&self) -> bool {
        let path = self.path();
        let name = path.split(|&byte| byte == b'?').next().unwrap_or_default();
        name.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).count() >= 2
    }

    /// Whether a part of its path is `.` or `..`. Browsers, HTTP clients and proxies read these as steps through folders,
    /// also percent-encoded, so such a stream could neither be managed nor played over HTTP.
    pub(crate) fn has_dot_part(&self) -> bool {
        let path = self.path();
        let name = path.split(|&byte| byte == b'?').next().unwrap_or_default();
        name.split(|&byte| byte == b'/').any(|part| matches!(part, b"." | b".."))
    }

    /// The path as a whole, by which names are compared: peers split `app/key` at different slashes (`live` + `a/b`,
    /// `live/a` + `b`, `live/a/b` + nothing).
    pub(crate) fn path(&self) -> Vec<u8> {
        let Self { mut app, key } = Self::of_peer(&self.app, &self.key);
        app.push(b'/');
        app.extend_from_slice(trim_start(&key));
        app
    }
}

/// An application without slashes around it and without the default instance at its end.
fn without_instance(app: &[u8]) -> &[u8] {
    let app = trim(app);
    match app.strip_suffix(DEFAULT_INSTANCE) {
        Some(rest) if rest.is_empty() || rest.ends_with(b"/") => trim(rest),
        _ => app,
    }
}

fn trim_start(name: &[u8]) -> &[u8] {
    let first = name.iter().position(|&byte| byte != b'/').unwrap_or(name.len());
    name.get(first..).unwrap_or_default()
}

fn trim(name: &[u8]) -> &[u8] {
    let name = trim_start(name);
    let end = name.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    name.get(..end).unwrap_or_default()
}

/// Splits a key that a peer sent into the part that names the stream, and the arguments that the host is told.
pub(crate) fn take_apart(key: &[u8], args: Args) -> (&[u8], &[u8]) {
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
        assert_eq!(path("live/show", ""), b"live/show");
        assert_eq!(path("live/show/", "?token=a"), b"live/show?token=a");
        assert_eq!(path("live/_definst_", "show"), b"live/show");
        assert_eq!(path("live", "_definst_/show"), b"live/show");
        assert_eq!(path("live/_definst_/show", ""), b"live/show");
        assert_eq!(path("live_definst_", "show"), b"live_definst_/show");
    }

    #[test]
    fn no_part_of_a_name_is_a_step_through_folders() {
        for (app, key) in [("live", ".."), (".", "show"), ("live", "a/../b"), ("live/..", "show?x"), ("live/.", "?x")] {
            let failure = StreamName::checked(app.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(failure.kind == RRError::Arg && failure.text.contains(".."), "{app} + {key}: {failure}");
        }
        for (app, key) in [("live", "..."), (".live", "show."), ("live", "a..b"), ("live", "show?x=/../")] {
            StreamName::checked(app.as_bytes(), key.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_name_is_whole_when_it_has_an_application_and_a_key() {
        let whole = |app: &str, key: &str| StreamName::of_peer(app.as_bytes(), key.as_bytes()).is_whole();
        for (app, key) in
            [("live", "show"), ("live/show", ""), ("/live/", "a/b"), ("live", "show?a=b"), ("a/b/c", "?k")]
        {
            assert!(whole(app, key), "{app} + {key}");
        }
        for (app, key) in [("live", ""), ("", "show"), ("", ""), ("live", "?a=b/c"), ("live", "/"), ("_definst_", "a")]
        {
            assert!(!whole(app, key), "{app} + {key}");
        }
        let name = StreamName::of_peer(b"live/room/show", b"?token=a");
        assert_eq!((name.app.as_slice(), name.key.as_slice()), (&b"live/room"[..], &b"show?token=a"[..]));
    }
}
