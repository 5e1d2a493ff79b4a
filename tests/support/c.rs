//! Compiling C programs against the library this build made.

#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// How a program is compiled.
#[derive(Clone, Copy)]
pub(crate) enum As {
    C99,
    C11,
    Cxx11,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo leaves the library under test: beside the test programs.
pub(crate) fn deps() -> PathBuf {
    let me = std::env::current_exe().expect("a test knows its own path");
    me.parent().expect("a file has a folder").to_owned()
}

/// A folder of the test's own, where the library has the name programs look for.
pub(crate) fn workshop(name: &str) -> PathBuf {
    // Unit tests, which compile nothing, have no such folder.
    let folder = Path::new(option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target")).join(name);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    // Other tests may make the same link, or start a program that needs it: it is there all the time.
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let link = folder.join(format!("librrelay.so.0-{}-{number}", std::process::id()));
    std::os::unix::fs::symlink(deps().join("librrelay.so"), &link).expect("a link can be made");
    fs::rename(&link, folder.join("librrelay.so.0")).expect("a link can be replaced");
    folder
}

pub(crate) fn compiler(language: As) -> Command {
    let mut command = match language {
        As::C99 | As::C11 => Command::new("cc"),
        As::Cxx11 => Command::new("c++"),
    };
    match language {
        As::C99 => command.args(["-std=c99", "-x", "c"]),
        As::C11 => command.args(["-std=c11", "-x", "c"]),
        As::Cxx11 => command.args(["-std=c++11", "-x", "c++"]),
    };
    command.args(STRICT).arg("-g").arg("-I").arg(root().join("include")).arg("-I").arg(root().join("tests/c"));
    command
}

pub(crate) fn good(output: &Output, what: &str) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n{words}", output.status);
}

/// Compiles sources to a program in a workshop, which finds the library beside itself.
pub(crate) fn build(name: &str, sources: &[PathBuf], language: As) -> PathBuf {
    build_with(name, sources, language, &[])
}

/// Compiles sources under AddressSanitizer and UndefinedBehaviorSanitizer: the first wrong access ends the program with
/// a report on stderr and an exit code that is not its own. An emulated machine has no room for the sanitizers' maps;
/// there the build is plain.
pub(crate) fn build_sanitized(name: &str, sources: &[PathBuf]) -> PathBuf {
    let sanitized = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"];
    build_with(name, sources, As::C99, if cfg!(target_arch = "x86_64") { &sanitized } else { &[] })
}

fn build_with(name: &str, sources: &[PathBuf], language: As, options: &[&str]) -> PathBuf {
    let folder = workshop(name);
    let program = folder.join("program");
    let mut command = compiler(language);
    command.args(options).args(sources).args(["-x", "none", "-o"]).arg(&program);
    command.arg(folder.join("librrelay.so.0")).arg("-Wl,-rpath,$ORIGIN");
    // A library that was built for ThreadSanitizer calls the part of it that is linked into its program.
    if let Some(runtime) = std::env::var_os("RR_TSAN_RUNTIME") {
        command.arg("-Wl,--whole-archive").arg(runtime).args([
            "-Wl,--no-whole-archive",
            "-rdynamic",
            "-ldl",
            "-lm",
            "-pthread",
        ]);
    }
    good(&command.output().expect("a C compiler is there"), name);
    program
}

/// The bundled server's sources.
pub(crate) fn server_sources() -> Vec<PathBuf> {
    example_sources("rr_server")
}

/// The library's worker program.
pub(crate) fn worker(name: &str) -> PathBuf {
    build(name, &[worker_source()], As::C99)
}

pub(crate) fn worker_source() -> PathBuf {
    root().join("c-examples/rrelay_worker.c")
}

/// The sources of an example, which all begin with its name.
pub(crate) fn example_sources(name: &str) -> Vec<PathBuf> {
    let mut sources: Vec<PathBuf> = fs::read_dir(root().join("c-examples"))
        .expect("the examples are there")
        .map(|entry| entry.expect("they can be listed").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "c"))
        .filter(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)))
        .collect();
    sources.sort();
    assert!(!sources.is_empty());
    sources
}
