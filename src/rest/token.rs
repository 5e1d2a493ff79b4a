//! Tokens: their form, and the two ways to get one, from a file or at random.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Failure, RRError, Result};

/// Shortest token: shorter ones can be guessed.
const MIN_BYTES: usize = 8;

/// Longest token, far below the bound of a request's head.
const MAX_BYTES: usize = 256;

/// Random bytes of a new token.
const RANDOM_BYTES: usize = 16;

/// Refuses a malformed token.
///
/// # Errors
/// [`RRError::Arg`] if the token is too short or too long, or contains anything but visible ASCII.
pub(crate) fn check(token: &str) -> Result<()> {
    let fits = (MIN_BYTES..=MAX_BYTES).contains(&token.len());
    if fits && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let text = format!("token: {MIN_BYTES} to {MAX_BYTES} visible ASCII characters");
    Err(Failure::ours(RRError::Arg, text))
}

/// The token in `file`, without white space around it. If the file does not exist, it is created with a new token,
/// readable only by its owner. Without `file` the token is new and is not stored.
///
/// # Errors
/// [`RRError::Io`] if the file can neither be read nor created, [`RRError::Arg`] if it holds no valid token.
pub fn token(file: Option<&Path>) -> Result<String> {
    let Some(path) = file else { return random().map_err(|error| failure("/dev/urandom", &error)) };
    let name = path.display().to_string();
    let token = match read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => make(path),
        read => read,
    };
    let token = token.map_err(|error| failure(&name, &error))?;
    check(&token).map_err(|wrong| Failure::ours(RRError::Arg, format!("{name}: {}", wrong.text)))?;
    Ok(token)
}

fn failure(name: &str, error: &io::Error) -> Failure {
    Failure::ours(RRError::Io, format!("{name}: {error}"))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    // This reads more than any token with its line end, so that a longer text is refused and not cut.
    File::open(path)?.take(2 * MAX_BYTES as u64).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

fn make(path: &Path) -> io::Result<String> {
    let token = random()?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    Ok(token)
}

/// A random token in hexadecimal digits, which need no quotes in a shell and no encoding in an address.
fn random() -> io::Result<String> {
    let mut bytes = [0; RANDOM_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_that_is_guessed_is_refused() {
        for wrong in ["", "short", "with space in", "ümläute-1", &"x".repeat(257)] {
            assert_eq!(check(wrong).unwrap_err().kind, RRError::Arg, "{wrong}");
        }
        let [one, other] = [(); 2].map(|()| token(None).unwrap());
        assert!(check(&one).is_ok() && one.len() == 32 && one != other, "{one} {other}");
    }

    #[test]
    fn a_token_is_read_from_its_file_or_the_file_is_created_with_a_new_one() {
        let folder = std::env::temp_dir().join(format!("rrelay-token-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("token");
        let made = token(Some(&path)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(token(Some(&path)).unwrap(), made, "it stays");
        fs::write(&path, " of-the-user \r\n").unwrap();
        assert_eq!(token(Some(&path)).unwrap(), "of-the-user");
        for wrong in ["", "short\n", "two words-of-it\n", &"x".repeat(100_000)] {
            fs::write(&path, wrong).unwrap();
            let failure = token(Some(&path)).unwrap_err();
            assert!(failure.kind == RRError::Arg && failure.text.contains("token"), "{failure}");
        }
        assert_eq!(token(Some(&folder)).unwrap_err().kind, RRError::Io, "a folder is no file");
        assert_eq!(token(Some(&folder.join("none/token"))).unwrap_err().kind, RRError::Io);
        fs::remove_dir_all(&folder).unwrap();
    }
}
