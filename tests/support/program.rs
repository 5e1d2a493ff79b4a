//! Programs that a test runs: each in the test's own folder with its output in a file, awaited with a bound, and ended
//! by its own pid even where the test fails.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, until};

/// A test's own folder, empty at the beginning.
pub(crate) struct Room(PathBuf);

impl Room {
    pub(crate) fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop").join(test);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the target folder can be written");
        Self(folder)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Starts a program; `name` is its name in this test.
    pub(crate) fn start(&self, name: &str, program: &str, args: &[&str]) -> Program {
        self.start_reading(Stdio::null(), name, program, args)
    }

    /// Starts a program whose input stays open as long as it is not dropped, and can be written to.
    pub(crate) fn start_typed(&self, name: &str, program: &str, args: &[&str]) -> Program {
        self.start_reading(Stdio::piped(), name, program, args)
    }

    fn start_reading(&self, input: Stdio, name: &str, program: &str, args: &[&str]) -> Program {
        let log = self.file(&format!("{name}.log"));
        let words = File::create(&log).unwrap();
        let child = Command::new(program)
            .args(args)
            .current_dir(&self.0)
            .stdin(input)
            .stdout(words.try_clone().unwrap())
            .stderr(words)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be started (tests/setup.sh installs it): {error}"));
        Program { name: name.to_owned(), child, log, started: Instant::now() }
    }
}

/// A running program.
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Program {
    /// Waits until the program ends by itself.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child can be asked") {
                return status;
            }
            if Instant::now() >= deadline {
                panic!("{} still runs after {limit:?}; it said:\n{}", self.name, self.words());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the program ends by itself, with success.
    pub(crate) fn ends_well(&mut self) {
        let status = self.ends_within(PATIENCE);
        assert!(status.success(), "{}: {status}; it said:\n{}", self.name, self.words());
    }

    /// Waits until the program ends by itself, with a failure; gives how long it ran.
    pub(crate) fn fails_within(&mut self, limit: Duration) -> Duration {
        let status = self.ends_within(limit);
        assert!(!status.success(), "{} succeeded; it said:\n{}", self.name, self.words());
        self.started.elapsed()
    }

    /// Types this into the input of a program that was started for it.
    pub(crate) fn type_in(&mut self, what: &str) {
        let input = self.child.stdin.as_mut().expect("it was started with an input");
        input.write_all(what.as_bytes()).expect("it reads its input");
        input.flush().expect("it reads its input");
    }

    /// The program's output so far.
    pub(crate) fn words(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until the output has this text.
    pub(crate) fn says(&mut self, what: &str) {
        let name = self.name.clone();
        until(&format!("{name} says \"{what}\""), || {
            assert!(self.is_running() || self.words().contains(what), "{name} is gone; it said:\n{}", self.words());
            self.words().contains(what).then_some(())
        });
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be asked").is_none()
    }

    /// Asks the program to end, as a user or a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.signal("-INT");
    }

    fn signal(&self, which: &str) {
        let status = Command::new("kill").arg(which).arg(self.child.id().to_string()).status();
        assert!(status.expect("there is a kill").success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
