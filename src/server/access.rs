//! Who may publish and play: rules by the peer's address, and the stream keys that may publish. Peers are checked
//! before hooks and the host are asked, by the names that they sent; running sessions are not checked again.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::{AccessConfig, AccessRule, Args, MAX_NAME_BYTES};
use crate::error::{Failure, RRError, Result};
use crate::stream::StreamName;
use crate::stream::record::RRSession;
use crate::sync::locked;

/// Largest file of keys: ten thousand keys of a hundred bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Most keys: each publish is compared with all of them.
const MAX_KEYS: usize = 10_000;

/// Mode bits with which users outside the file's group may read it, or users other than its owner may write it.
const OPEN_TO_OTHERS: u32 = 0o026;

/// The rules and keys of a server.
#[derive(Debug, Default)]
pub(super) struct Access(Mutex<Arc<Judge>>);

#[derive(Debug, Default)]
struct Judge {
    rules: Vec<AccessRule>,
    keys: Option<Keys>,
}

impl Access {
    /// Sets the rules and keys from now on; `args` is what becomes of the arguments that peers send behind a key.
    ///
    /// # Errors
    /// [`RRError::Io`] if the file of keys cannot be read, [`RRError::Arg`] if it holds none; then the previous ones
    /// stay.
    pub(super) fn set(&self, config: AccessConfig, args: Args) -> Result<()> {
        let keys = config.publish_keys.as_deref().map(|path| Keys::read(path, args)).transpose()?;
        *locked(&self.0) = Arc::new(Judge { rules: config.rules, keys });
        Ok(())
    }

    /// Lets nobody be checked as long as the result is there.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop + '_ {
        locked(&self.0)
    }

    /// Refuses a peer that may not do this, with a text for the peer.
    ///
    /// # Errors
    /// [`RRError::Rejected`] because of the address, [`RRError::Auth`] because of the key.
    pub(super) fn check(&self, record: &RRSession, publishes: bool) -> Result<()> {
        let judge = Arc::clone(&locked(&self.0));
        let decides = judge.rules.iter().find(|rule| rule.fits(publishes, record.ip));
        if decides.is_some_and(|rule| !rule.allow) {
            let what = if publishes { "publish" } else { "play" };
            return Err(Failure::ours(RRError::Rejected, format!("nobody may {what} here from this address")));
        }
        match judge.keys.as_ref().filter(|_| publishes) {
            Some(keys) if !keys.hold(record) => {
                Err(Failure::ours(RRError::Auth, "this stream key may not publish here"))
            }
            _ => Ok(()),
        }
    }
}

/// The keys that may publish, as SHA-256: comparing these takes the same time for all keys and does not reveal a key's
/// length.
#[derive(Debug)]
struct Keys(Vec<[u8; 32]>);

impl Keys {
    fn read(path: &str, args: Args) -> Result<Self> {
        let failure = |error: std::io::Error| Failure::ours(RRError::Io, format!("{path}: {error}"));
        let refused = |why: String| Err(Failure::ours(RRError::Arg, format!("{path}: {why}")));
        let file = File::open(path).map_err(failure)?;
        let mode = file.metadata().map_err(failure)?.permissions().mode() & 0o777;
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(failure)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return refused(format!("it is longer than {MAX_FILE_BYTES} bytes, which no file of keys is"));
        }
        let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let keys: Vec<&[u8]> = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).collect();
        if keys.is_empty() {
            return refused("it holds no key, so nobody could publish; it must have one key a line".to_owned());
        }
        if keys.len() > MAX_KEYS {
            return refused(format!("it holds {} keys, at most {MAX_KEYS} are allowed", keys.len()));
        }
        if let Some(long) = keys.iter().position(|key| key.len() > 2 * MAX_NAME_BYTES) {
            return refused(format!("its key {} is longer than any key that a peer may send", long + 1));
        }
        let has_arguments =
            |key: &&[u8]| key.splitn(2, |&byte| byte == b'?').nth(1).is_some_and(|args| !args.is_empty());
        let (lost, all) = (keys.iter().filter(|key| args == Args::Drop && has_arguments(key)).count(), keys.len());
        if lost == all {
            return refused("each of its keys has ?arguments, which args drops, so nobody could publish".to_owned());
        }
        if lost > 0 {
            log::warn!(
                "{path}: {lost} of its {all} keys have ?arguments, which args drops: nobody can publish with them"
            );
        }
        if mode & OPEN_TO_OTHERS != 0 {
            log::warn!("{path}: others may read or change the keys that may publish (mode {mode:03o}): chmod 600");
        }
        Ok(Self(keys.into_iter().map(digest).collect()))
    }

    /// Whether the key that a peer sent is in the file, with or without its arguments. The key is the part of the
    /// stream's path after the first slash, however the peer splits it.
    fn hold(&self, record: &RRSession) -> bool {
        let names = record.names();
        let path = StreamName { app: names.app, key: names.key }.path();
        let of_path = path.splitn(2, |&byte| byte == b'/').nth(1).unwrap_or_default();
        let mut parts = of_path.splitn(2, |&byte| byte == b'?');
        let key = parts.next().unwrap_or_default();
        let arguments = parts.next().unwrap_or(&names.query);
        // The peer may have sent others behind the application, which come first.
        let of_app = [&names.app_query[..], b"&"].concat();
        let own = arguments.strip_prefix(&of_app[..]).filter(|_| !names.app_query.is_empty()).unwrap_or(arguments);
        let with = |arguments| digest(&[key, b"?", arguments].concat());
        let (alone, whole, apart) = (digest(key), with(arguments), with(own));
        let same = |known: &[u8; 32]| known.ct_eq(&alone) | known.ct_eq(&whole) | known.ct_eq(&apart);
        self.0.iter().fold(Choice::from(0), |found, known| found | same(known)).into()
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::IpAddr;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::PathBuf;

    use super::*;

    fn peer(app: &str, key: &str, query: &str) -> RRSession {
        let record = RRSession::new(1, "peer".to_owned(), Some(IpAddr::from([192, 0, 2, 7])), "here".to_owned());
        record.rename(|names| (names.app, names.key, names.query) = (app.into(), key.into(), query.into()));
        record
    }

    /// A file of keys that is deleted with the test.
    struct Held(PathBuf);

    impl Held {
        fn new(test: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rrelay-keys-{test}-{}", std::process::id()));
            let _ = fs::remove_file(&path);
            let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
            std::io::Write::write_all(&mut file.unwrap(), text.as_bytes()).unwrap();
            Self(path)
        }

        fn config(&self) -> AccessConfig {
            AccessConfig { publish_keys: Some(self.0.to_str().unwrap().to_owned()), rules: Vec::new() }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let access = Access::default();
        let record = peer("live", "show", "");
        access.check(&record, true).unwrap();
        let set = |rules: &[&str]| {
            let rules = rules.iter().map(|text| text.parse().unwrap()).collect();
            access.set(AccessConfig { rules, publish_keys: None }, Args::Apart).unwrap();
        };
        set(&["allow publish 192.0.2.0/24", "deny publish all"]);
        access.check(&record, true).unwrap();
        access.check(&record, false).unwrap();
        set(&["deny publish all", "allow publish 192.0.2.0/24"]);
        let failure = access.check(&record, true).unwrap_err();
        assert!(failure.kind == RRError::Rejected && failure.text.contains("publish"), "{failure}");
        access.check(&record, false).unwrap();
        set(&["allow 198.51.100.0/24", "deny all"]);
        assert!(access.check(&record, false).unwrap_err().text.contains("play"));
        set(&["deny 198.51.100.0/24"]);
        access.check(&record, true).unwrap();
    }

    #[test]
    fn keys_match_what_follows_the_application_with_and_without_arguments() {
        let file = Held::new("forms", "# the studio\r\n show \r\n\nroom/cam1\nlobby?pass=abc\n");
        let access = Access::default();
        access.set(file.config(), Args::Apart).unwrap();
        for (app, key, query) in [
            ("live", "show", ""),
            ("other", "/show", "token=of-a-hook"),
            ("live/show", "", ""),
            ("live", "room/cam1", ""),
            ("live/room", "cam1", ""),
            ("live", "lobby", "pass=abc"),
            ("live", "lobby?pass=abc", ""),
        ] {
            access.check(&peer(app, key, query), true).unwrap();
        }
        for (app, key, query) in [
            ("live", "sho", ""),
            ("live", "show1", ""),
            ("live/show", "show", ""),
            ("live", "cam1", ""),
            ("live", "lobby", ""),
            ("live", "lobby", "pass=abcd"),
            ("live", "", ""),
            ("live", "# the studio", ""),
        ] {
            let failure = access.check(&peer(app, key, query), true).unwrap_err();
            assert_eq!(failure.kind, RRError::Auth, "{app} {key} {query}");
            assert!(!failure.text.contains("sho") && !failure.text.contains("lobby"), "{failure}");
        }
        access.check(&peer("live", "any", ""), false).unwrap();
    }

    #[test]
    fn a_key_with_arguments_matches_also_where_others_stand_behind_the_application() {
        let file = Held::new("both", "show?pass=abc\n");
        let access = Access::default();
        access.set(file.config(), Args::Apart).unwrap();
        let sent = |of_app: &str, query: &str| {
            let peer = peer("live", "show", query);
            peer.rename(|names| names.app_query = of_app.into());
            access.check(&peer, true).is_ok()
        };
        assert!(sent("vhost=x", "vhost=x&pass=abc"));
        assert!(sent("pass=abc", "pass=abc"), "some encoders put them there");
        for (of_app, query) in
            [("vhost=x", "vhost=x&pass=abcd"), ("vhost=x", "vhost=x"), ("", "&pass=abc"), ("", "vhost=x&pass=abc")]
        {
            assert!(!sent(of_app, query), "{of_app} {query}");
        }
    }

    #[test]
    fn a_file_that_is_no_file_of_keys_changes_nothing() {
        let access = Access::default();
        access.set(Held::new("good", "show\n").config(), Args::Apart).unwrap();
        let long = "x".repeat(2 * MAX_NAME_BYTES + 1);
        for (test, text, words) in [
            ("empty", String::new(), "holds no key"),
            ("words", "# later\n\n".to_owned(), "holds no key"),
            ("many", "key\n".repeat(MAX_KEYS + 1), "10001 keys"),
            ("long", format!("key\n{long}\n"), "key 2 is longer"),
            ("large", "key\n".repeat(1 << 19), "1048576 bytes"),
        ] {
            let failure = access.set(Held::new(test, &text).config(), Args::Apart).unwrap_err();
            assert!(failure.kind == RRError::Arg && failure.text.contains(words), "{test}: {failure}");
        }
        let absent = AccessConfig { publish_keys: Some("/no/such/file".to_owned()), rules: Vec::new() };
        let failure = access.set(absent, Args::Apart).unwrap_err();
        assert!(failure.kind == RRError::Io && failure.text.starts_with("/no/such/file: "), "{failure}");
        let dropped = Held::new("dropped", "show?pass=abc\nlobby?pass=abc\n");
        let failure = access.set(dropped.config(), Args::Drop).unwrap_err();
        assert!(failure.kind == RRError::Arg && failure.text.contains("each of its keys has ?arguments"), "{failure}");
        access.check(&peer("live", "show", ""), true).unwrap();
        access.check(&peer("live", "other", ""), true).unwrap_err();
    }
}
