//! C programs that use only the public header, with the library of this build: as C99 and as C++11, dynamically and
//! statically linked, and under valgrind.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/c.rs"]
mod c;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use c::{As, build, build_sanitized, compiler, deps, good, root, server_sources, workshop};

fn test_program(name: &str) -> Vec<PathBuf> {
    vec![root().join("tests/c").join(format!("{name}.c"))]
}

fn compile_and_run(name: &str) {
    for (language, word) in [(As::C99, "c99"), (As::C11, "c11"), (As::Cxx11, "cxx11")] {
        let what = format!("{name}-{word}");
        let program = build(&what, &test_program(name), language);
        good(&Command::new(program).output().expect("it was just built"), &what);
    }
}

#[test]
fn the_base_works_from_c() {
    compile_and_run("base");
}

#[test]
fn null_is_an_error_and_never_a_crash() {
    compile_and_run("null_sweep");
}

/// Errors of the header that `errors.c` does not provoke, with the test that shows them or the reason why they cannot
/// occur.
const ELSEWHERE: [(&str, &str, &str); 34] = [
    ("rr_session_allow", "RR_ERR_AGAIN", "server::tests::orders fills the queue of a session without a thread"),
    ("rr_session_deny", "RR_ERR_AGAIN", "as rr_session_allow"),
    ("rr_session_redirect", "RR_ERR_AGAIN", "as rr_session_allow"),
    ("rr_session_reconnect", "RR_ERR_AGAIN", "as rr_session_allow"),
    ("rr_session_close", "RR_ERR_AGAIN", "as rr_session_allow"),
    ("rr_session_export", "RR_ERR_AGAIN", "as rr_session_allow"),
    ("rr_stream_export", "RR_ERR_WORKER", "isolated_moves.rs has streams in processes"),
    ("rr_stream_export", "RR_ERR_AGAIN", "it takes a process that is just ending"),
    ("rr_stream_import", "RR_ERR_WORKER", "as rr_stream_export"),
    ("rr_stream_import", "RR_ERR_AGAIN", "as rr_stream_write"),
    ("rr_target_export", "RR_ERR_AGAIN", "as rr_stream_export"),
    ("rr_stream_write", "RR_ERR_WORKER", "isolate.rs has streams in processes"),
    (
        "rr_stream_write",
        "RR_ERR_AGAIN",
        "it takes a process that crashes twice; stream::process::starts has a test of pauses",
    ),
    ("rr_worker_main", "RR_ERR_IO", "it takes a system that refuses prctl"),
    ("rr_worker_main", "RR_ERR_VERSION", "it takes a server of another version"),
    ("rr_session_import", "RR_ERR_NOT_FOUND", "it takes a player of several streams; see handover_plays.rs"),
    ("rr_session_import", "RR_ERR_UNSUPPORTED", "as RR_ERR_NOT_FOUND, and a server with isolate"),
    ("rr_session_import", "RR_ERR_AUTH", "as RR_ERR_REJECTED; server::access has a test of keys"),
    ("rr_stream_export", "RR_ERR_NOMEM", "it takes all memory of the process"),
    ("rr_stream_import", "RR_ERR_NOMEM", "it takes all memory of the process"),
    ("rr_server_takeover", "RR_ERR_NOMEM", "it takes all memory of the process"),
    ("rr_session_close", "RR_ERR_LIMIT", "it takes 4096 bans; server::bans has a test of a full table"),
    ("rr_target_export", "RR_ERR_STATE", "it takes a server that reads nothing; see handover_targets.rs"),
    ("rr_target_import", "RR_ERR_CERT", "it takes a file of roots that has gone; see handover_targets.rs"),
    ("rr_target_import", "RR_ERR_UNSUPPORTED", "no export gives such a state; see exported::target::tests"),
    ("rr_target_import", "RR_ERR_EXISTS", "it takes a server that is pulled from; see handover_targets.rs"),
    ("rr_target_import", "RR_ERR_REJECTED", "it takes servers in a circle; cycles.rs has them"),
    ("rr_target_import", "RR_ERR_NOMEM", "it takes all memory of the process"),
    ("rr_stream_add_source", "RR_ERR_LIMIT", "it takes 100000 targets; server::slots has a test of a full table"),
    ("rr_server_log_librtmp", "RR_ERR_UNSUPPORTED", "in a build without the feature librtmp alone"),
    ("rr_rest_listen", "RR_ERR_LIMIT", "it takes all threads or descriptors of the process"),
    ("rr_hooks_set", "RR_ERR_LIMIT", "it takes all threads or descriptors of the process"),
    ("rr_controller_set", "RR_ERR_LIMIT", "it takes all threads or descriptors of the process"),
    ("rr_rest_handle", "RR_ERR_NOMEM", "it takes all memory of the process, just after the answer was made"),
];

/// Errors of errors.c in a build with the feature `rest` alone, and in one without; a build gives one of the two lists.
const REST: [&[&str]; 2] = [
    &[
        "rr_rest_token RR_ERR_ARG",
        "rr_rest_token RR_ERR_IO",
        "rr_rest_listen RR_ERR_ARG",
        "rr_rest_listen RR_ERR_IO",
        "rr_rest_handle RR_ERR_ARG",
        "rr_rest_handle RR_ERR_LIMIT",
        "rr_hooks_set RR_ERR_CERT",
        "rr_controller_set RR_ERR_CERT",
        "rr_controller_ask RR_ERR_ARG",
        "rr_controller_ask RR_ERR_NOT_FOUND",
        "rr_controller_ask RR_ERR_STATE",
        "rr_controller_ask RR_ERR_AGAIN",
    ],
    &[
        "rr_rest_token RR_ERR_UNSUPPORTED",
        "rr_rest_listen RR_ERR_UNSUPPORTED",
        "rr_rest_stop RR_ERR_UNSUPPORTED",
        "rr_controller_set RR_ERR_UNSUPPORTED",
        "rr_controller_ask RR_ERR_UNSUPPORTED",
        "rr_rest_handle RR_ERR_UNSUPPORTED",
    ],
];

/// The errors in the "Returns:" part of each function of the header, as "function error".
fn listed_errors(header: &str) -> BTreeSet<String> {
    let mut listed = BTreeSet::new();
    for part in header.split("/* ").skip(1) {
        let Some((comment, rest)) = part.split_once("*/") else { continue };
        let Some((_, returns)) = comment.split_once("Returns: ") else { continue };
        let function = rest.trim_start().strip_prefix("RR_API int ").and_then(|rest| rest.split('(').next());
        let words = returns.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
        let errors = words.filter(|word| word.starts_with("RR_ERR_"));
        listed.extend(errors.map(|error| format!("{} {error}", function.expect("it returns an int"))));
    }
    listed
}

#[test]
fn functions_give_the_errors_that_the_header_lists_and_no_others() {
    let program = build("errors-c99", &test_program("errors"), As::C99);
    let output = Command::new(program).output().expect("it was just built");
    good(&output, "errors");
    let given: BTreeSet<String> = String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect();
    let elsewhere: BTreeSet<String> = ELSEWHERE.iter().map(|(name, error, _)| format!("{name} {error}")).collect();
    let listed = listed_errors(&fs::read_to_string(root().join("include/rrelay.h")).unwrap());
    assert_eq!(given.intersection(&elsewhere).count(), 0, "what is given here is not elsewhere");
    let mut known: BTreeSet<String> = given.union(&elsewhere).cloned().collect();
    let [here, of_the_other_build] = if cfg!(feature = "rest") { REST } else { [REST[1], REST[0]] };
    assert!(here.iter().all(|pair| given.contains(*pair)), "{given:#?}");
    known.extend(of_the_other_build.iter().map(|pair| (*pair).to_owned()));
    if cfg!(not(target_arch = "x86_64")) {
        known.extend(["rr_stream_add_target RR_ERR_NOMEM", "rr_stream_write RR_ERR_NOMEM"].map(ToOwned::to_owned));
    }
    let (unlisted, unseen): (Vec<_>, Vec<_>) =
        (known.difference(&listed).collect(), listed.difference(&known).collect());
    assert!(unlisted.is_empty(), "given and not listed in the header: {unlisted:#?}");
    assert!(unseen.is_empty(), "listed in the header and never given: {unseen:#?}");
}

#[test]
fn the_null_sweep_leaves_no_function_out() {
    let sweep = fs::read_to_string(root().join("tests/c/null_sweep.c")).unwrap();
    let check = fs::read_to_string(root().join("tests/c/check.h")).unwrap();
    let exports = fs::read_to_string(root().join("include/exports.txt")).unwrap();
    for line in exports.lines().filter(|line| line.starts_with("rr_")) {
        let name = line.split(' ').next().unwrap();
        assert!([&sweep, &check].iter().any(|text| text.contains(&format!("{name}("))), "{name} is not swept");
    }
}

#[test]
fn structs_grow_without_breaking_programs() {
    compile_and_run("growth");
}

#[test]
fn a_struct_set_up_as_another_is_an_error_and_never_a_crash() {
    compile_and_run("kinds");
}

#[test]
fn events_come_by_descriptor_and_by_callback() {
    compile_and_run("events");
}

#[test]
fn a_host_in_c_serves_players_over_http() {
    compile_and_run("http");
    let program = build_sanitized("http-sanitized", &test_program("http"));
    good(&Command::new(program).output().expect("it was just built"), "http-sanitized");
}

#[test]
fn publishers_and_players_go_on_in_another_process() {
    let program = build("handover-c99", &test_program("handover"), As::C99);
    good(&Command::new(program).output().expect("it was just built"), "handover");
}

#[cfg(feature = "librtmp")]
#[test]
fn one_log_function_serves_both_faces_where_the_host_says_so() {
    // The output before the logs are joined, byte for byte as librtmp prints it.
    const PRINTED: &str = "a status\nINFO: plain record\nprinted\n";
    for (language, what) in [(As::C99, "log-c99"), (As::Cxx11, "log-cxx11")] {
        let program = build(what, &test_program("log"), language);
        let output = Command::new(program).output().expect("it was just built");
        good(&output, what);
        assert_eq!(String::from_utf8_lossy(&output.stderr), PRINTED);
    }
}

#[test]
fn the_c_programs_are_clean_under_valgrind() {
    let mut names = vec!["null_sweep", "growth", "events", "http"];
    names.extend(cfg!(feature = "librtmp").then_some("log"));
    for name in names {
        let program = build(&format!("{name}-valgrind"), &test_program(name), As::C99);
        let output = Command::new("valgrind")
            .args([
                "-q",
                "--error-exitcode=9",
                "--leak-check=full",
                "--show-leak-kinds=definite",
                "--errors-for-leak-kinds=definite",
            ])
            .arg(program)
            .output()
            .expect("valgrind is installed (tests/setup.sh)");
        good(&output, name);
    }
}

#[test]
fn the_static_library_needs_what_the_pkg_config_file_says() {
    let template = fs::read_to_string(root().join("packaging/rrelay.pc.in")).unwrap();
    let private = template.lines().find_map(|line| line.strip_prefix("Libs.private: ")).unwrap();
    let program = workshop("static").join("program");
    let mut command = compiler(As::C99);
    command.arg(root().join("tests/c/base.c")).args(["-x", "none", "-o"]).arg(&program);
    command.arg(deps().join("librrelay.a")).args(private.split(' '));
    good(&command.output().unwrap(), "static link");
    good(&Command::new(program).output().unwrap(), "static run");
}

#[test]
fn the_bundled_server_compiles_as_c99_and_as_cxx11() {
    for (language, name) in [(As::C99, "server-c99"), (As::Cxx11, "server-cxx11")] {
        let program = build(name, &server_sources(), language);
        let output = Command::new(&program).arg("--help").output().unwrap();
        good(&output, name);
        assert!(String::from_utf8_lossy(&output.stdout).contains("--push"), "its help lists the options");
        let output = Command::new(&program).arg("--no-such-option").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "a wrong option is told apart from a failure");
    }
}
