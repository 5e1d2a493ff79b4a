//! `librtmp.so.1` of this build, linked once per test run from the static library beside the test programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::c::{deps, good, root};

/// The folder with `librtmp.so.1` and `librtmp.so`, as `make librtmp` leaves it.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("librtmp");
        let mut link = Command::new(root().join("packaging/librtmp.sh"));
        link.arg(deps().join("librrelay.a")).arg(&folder);
        good(&link.output().unwrap(), "packaging/librtmp.sh");
        folder
    })
}

/// The folder of the distribution's own `librtmp.so.1`: where its programs find it.
pub(crate) fn original() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let output = Command::new("ldd").arg("/usr/bin/rtmpdump").env_remove("LD_LIBRARY_PATH").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let library = text.lines().find(|line| line.contains("librtmp.so.1")).and_then(|line| line.split(' ').nth(2));
        let library = library.expect("the original librtmp is there (tests/setup.sh installs it)");
        Path::new(library).parent().unwrap().to_owned()
    })
}
