//! A folder in which processes of one user find each other: one that waits listens there on a unix socket, and another one
//! connects to it. The folder belongs to the user alone, and each of the two is told only of peers that do too.
//!
//! All names are looked up in the folder that was checked, by its descriptor, whatever its path means meanwhile; so a
//! path of any length will do, although the address of a unix socket has no room for it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::{Failure, RRError, Result};
use crate::net::process::Process;

/// Most names that are looked at. More streams than this on one machine have other worries.
const NAMES: usize = 4_096;

/// Most entries that are read to find them.
const ENTRIES: usize = 64 * 1024;

/// How old a socket must be that nobody listens on before it is removed: one that was just made is not listened on for a
/// moment.
const STALE: Duration = Duration::from_secs(1);

/// The folder.
#[derive(Debug)]
pub(crate) struct Folder(File);

/// The names in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The names, as many as are looked at.
    pub(crate) list: Vec<String>,
    /// There are no more entries.
    pub(crate) is_whole: bool,
}

/// What is found under a name.
#[derive(Debug)]
pub(crate) enum Found {
    /// A process of this user: the connection to it, and its pidfd.
    Process(OwnedFd, OwnedFd),
    /// A socket that nobody listens on any more; it has been removed.
    Stale,
    /// A socket that nobody listens on yet, or that has just gone.
    Nobody,
    /// Anything else: why it is of no use.
    Other(Failure),
}

impl Folder {
    /// Opens a folder, which is made if it is missing.
    ///
    /// # Errors
    /// Those of [`Self::open`], and [`RRError::Io`] if it cannot be made.
    pub(crate) fn make(path: &Path) -> Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(unusable(path, &error.to_string())),
            _ => Self::open(path),
        }
    }

    /// Opens a folder.
    ///
    /// # Errors
    /// [`RRError::Io`] if there is none, or others may use it too.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| unusable(path, &error.to_string());
        let folder = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path).map_err(failed)?;
        let facts = folder.metadata().map_err(failed)?;
        if facts.uid() != user() || facts.mode() & 0o077 != 0 {
            return Err(unusable(path, "it must belong to this user alone (mode 0700)"));
        }
        Ok(Self(folder))
    }

    fn at(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }

    /// Listens under this name.
    ///
    /// # Errors
    /// [`RRError::Io`] if the system refuses.
    pub(crate) fn listen(self, name: &str) -> Result<Door> {
        let path = self.at(name);
        let failed = |error: io::Error| Failure::io("the folder of workers", &error);
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let door = Door { listener, folder: self, name: name.to_owned() };
        door.listener.set_nonblocking(true).map_err(failed)?;
        Ok(door)
    }

    /// The names of sockets that begin like this; only those of letters, digits and dashes.
    ///
    /// # Errors
    /// [`RRError::Io`] if the system refuses.
    pub(crate) fn names(&self, beginning: &str) -> Result<Names> {
        self.names_among(beginning, ENTRIES)
    }

    /// The same among so many entries.
    fn names_among(&self, beginning: &str, most: usize) -> Result<Names> {
        let mut entries = fs::read_dir(self.at("")).map_err(|error| Failure::io("the folder of workers", &error))?;
        let is_socket = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_socket());
        let is_plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let sockets = entries.by_ref().take(most).flatten().filter(is_socket);
        let names = sockets.filter_map(|entry| entry.file_name().into_string().ok());
        let list = names.filter(|name| name.starts_with(beginning) && is_plain(name)).take(NAMES).collect();
        Ok(Names { list, is_whole: entries.next().is_none() })
    }

    /// Connects to whoever listens under this name. It never waits.
    pub(crate) fn connect(&self, name: &str) -> Found {
        let path = self.at(name);
        match fs::symlink_metadata(&path) {
            Ok(facts) if facts.file_type().is_socket() => {}
            Ok(_) => return Found::Other(Failure::ours(RRError::Arg, "it is no socket")),
            Err(_) => return Found::Nobody,
        }
        match connect(&path) {
            Ok(Some((connection, process))) => Found::Process(connection, process),
            Ok(None) => Found::Other(Failure::ours(
                RRError::Arg,
                "another user's process listens there, or one of another container",
            )),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_old(&path) => {
                let _ = fs::remove_file(&path);
                Found::Stale
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                Found::Nobody
            }
            Err(error) => Found::Other(Failure::io("connect", &error)),
        }
    }
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::ours(RRError::Io, format!("the folder {} cannot be used: {why}", path.display()))
}

fn is_old(path: &Path) -> bool {
    let made = fs::symlink_metadata(path).and_then(|facts| facts.modified());
    made.is_ok_and(|made| SystemTime::now().duration_since(made).is_ok_and(|age| age > STALE))
}

/// A connection to a process of this user, with its pidfd.
fn connect(path: &Path) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    let (peer, is_ours) = peer(&socket)?;
    if !is_ours {
        return Ok(None);
    }
    // If that process has gone and its number is another one's, it has closed the connection.
    Ok(Some((socket.into(), Process::open(peer)?)))
}

/// The process at the other end of a connection, and whether it belongs to this user.
#[allow(unsafe_code)] // std gives no credentials yet
fn peer(socket: &impl AsRawFd) -> io::Result<(u32, bool)> {
    let mut facts = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = libc::socklen_t::try_from(size_of_val(&facts)).unwrap_or_default();
    let place = (&raw mut facts).cast();
    // SAFETY: the place has as many bytes as `len` says, and both live through the call.
    if unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, place, &mut len) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // A process that this one cannot see has no number here.
    let pid = u32::try_from(facts.pid).unwrap_or_default();
    Ok((pid, pid != 0 && facts.uid == user()))
}

/// The user of this process.
#[allow(unsafe_code)] // std has no geteuid
fn user() -> u32 {
    // SAFETY: takes nothing and never fails.
    unsafe { libc::geteuid() }
}

/// A socket on which a process listens in a folder. Its name goes with it.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    folder: Folder,
    name: String,
}

impl Door {
    /// Whether others still find it.
    pub(crate) fn is_there(&self) -> bool {
        self.folder.at(&self.name).symlink_metadata().is_ok()
    }

    /// The next connection of a process of this user, if one waits; others are closed.
    pub(crate) fn accept(&self) -> Option<OwnedFd> {
        let (connection, _) = self.listener.accept().ok()?;
        peer(&connection).is_ok_and(|(_, is_ours)| is_ours).then(|| connection.into())
    }
}

impl AsRawFd for Door {
    /// Readable while somebody waits.
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // It may be gone, with the folder.
        let _ = fs::remove_file(self.folder.at(&self.name));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    /// A folder of its own, removed afterwards.
    struct Place(PathBuf);

    impl Place {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rrelay-{test}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_folder_that_others_may_use_is_refused() {
        let place = Place::new("folder-mode");
        assert_eq!(Folder::open(&place.0).unwrap_err().kind, RRError::Io);
        Folder::make(&place.0).unwrap();
        Folder::make(&place.0).unwrap();
        for mode in [0o750, 0o701, 0o777] {
            fs::set_permissions(&place.0, fs::Permissions::from_mode(mode)).unwrap();
            let failure = Folder::make(&place.0).unwrap_err();
            assert!(failure.text.contains("must belong to this user alone"), "{failure}");
        }
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o700)).unwrap();
        let file = place.0.join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(Folder::make(&file).unwrap_err().kind, RRError::Io);
    }

    #[test]
    fn two_processes_find_each_other_and_what_is_left_of_one_that_has_gone_is_removed() {
        // Longer than the address of a unix socket.
        let place = Place::new(&format!("folder-{}", "x".repeat(150)));
        let folder = || Folder::make(&place.0).unwrap();
        let door = folder().listen("worker-1").unwrap();
        assert!(door.accept().is_none() && door.is_there());
        let Found::Process(connection, process) = folder().connect("worker-1") else { panic!("it listens") };
        let process = Process::adopt(process).unwrap();
        assert_eq!(process.pid(), std::process::id());
        process.leave();
        let (mut one, mut other) = (UnixStream::from(door.accept().unwrap()), UnixStream::from(connection));
        one.write_all(b"hello").unwrap();
        let mut got = [0; 5];
        other.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        drop(door);
        assert!(matches!(folder().connect("worker-1"), Found::Nobody));

        let here = folder();
        let path = here.at("worker-2");
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(folder().connect("worker-2"), Found::Nobody) && path.exists(), "it may be just beginning");
        let touched =
            std::process::Command::new("touch").args(["-d", "10 seconds ago"]).arg(place.0.join("worker-2")).status();
        assert!(touched.unwrap().success());
        assert!(matches!(folder().connect("worker-2"), Found::Stale) && !path.exists());

        // What is no socket of this kind stays.
        fs::write(place.0.join("worker-3"), "").unwrap();
        symlink("worker-3", place.0.join("worker-4")).unwrap();
        let _datagrams = UnixDatagram::bind(here.at("worker-5")).unwrap();
        fs::create_dir(place.0.join("worker-6")).unwrap();
        fs::write(place.0.join("other"), "").unwrap();
        fs::write(place.0.join("worker-\n7"), "").unwrap();
        let _silent = UnixListener::bind(here.at("worker-\n8")).unwrap();
        let found = folder().names("worker-").unwrap();
        assert_eq!(found, Names { list: vec!["worker-5".to_owned()], is_whole: true });
        assert!(!folder().names_among("worker-", 3).unwrap().is_whole);
        let names = ["worker-3", "worker-4", "worker-5", "worker-6"];
        assert!(names.iter().all(|name| matches!(folder().connect(name), Found::Other(_))));
    }
}
