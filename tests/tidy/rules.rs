//! The rules themselves. Each takes a file's name (relative, with `/`) and text, and gives its complaints.

use super::source::{code_of, crate_paths, paths_of, words};

/// Longest file, in lines. Files are split by private state; 500 lines are the moment to look, this is the end.
const MAX_LINES: usize = 900;

/// Each layer with the layers that it may import, lowest first. A layer may always import itself.
/// `mask` is pure and any layer may use it.
const LAYERS: [(&str, &[&str]); 13] = [
    ("error", &[]),
    ("mask", &[]),
    ("config", &["error", "mask"]),
    ("sync", &["error", "mask", "config"]),
    ("log", &["error", "mask", "config", "sync"]),
    ("proto", &["error", "mask", "config"]),
    ("session", &["error", "mask", "config", "proto"]),
    ("net", &["error", "mask", "config", "sync", "log", "proto", "session"]),
    ("stream", &["error", "mask", "config", "sync", "log", "proto", "session", "net"]),
    ("server", &["error", "mask", "config", "sync", "log", "proto", "session", "net", "stream"]),
    ("rest", &["error", "mask", "config", "sync", "log", "proto", "session", "net", "stream", "server"]),
    ("ffi", &["error", "mask", "config", "sync", "log", "proto", "session", "net", "stream", "server", "rest"]),
    // Fuzz bodies and their tools; only test modules may import them, and the library that ships lacks them.
    (
        "fuzzing",
        &["error", "mask", "config", "sync", "log", "proto", "session", "net", "stream", "server", "rest", "ffi"],
    ),
];

/// Layers that files of the relay face may not name, and the files that may.
const FACE_FORBIDS: [&str; 3] = ["proto", "session", "net"];
const FACE_EXCEPTIONS: [&str; 2] = ["src/ffi/rr_conn.rs", "src/ffi/rr_frame.rs"];

/// Pairs of modules that may not import each other.
const STRANGERS: [([&str; 2], [&str; 2]); 2] =
    [(["stream", "ingest"], ["stream", "egress"]), (["ffi", "rr_"], ["ffi", "librtmp"])];

/// Where `unsafe` may stand.
const UNSAFE_HOMES: [&str; 4] = ["src/ffi/", "src/net/", "src/net.rs", "src/stream/log/segment"];

/// The layers without I/O: they do not log, read no clock, and make no system call. Tests beside them may.
const PURE_LAYERS: [&str; 2] = ["proto", "session"];

/// Crates and modules of `std` that those layers may not name; addresses, which are values, are allowed.
const IMPURE_CRATES: [&str; 5] = ["log", "mio", "libc", "crossbeam", "rustls"];
const IMPURE_STD: [&str; 7] = ["time", "net", "thread", "fs", "os", "env", "process"];
const PURE_OF_STD: [&str; 6] = ["SocketAddr", "SocketAddrV4", "SocketAddrV6", "IpAddr", "Ipv4Addr", "Ipv6Addr"];

/// Whether the table has a row for this module.
pub(crate) fn is_layer(module: &str) -> bool {
    LAYERS.iter().any(|(name, _)| *name == module)
}

/// All complaints about one file.
pub(crate) fn check(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES && name != "include/rrelay.h" {
        complaints.push(format!("{lines} lines, {MAX_LINES} are the most: split it by noun"));
    }
    if let Some(what) = head_comment(name, text) {
        complaints.push(what.to_owned());
    }
    if name.ends_with(".rs") {
        let code = code_of(text);
        complaints.extend(marks(name, &code));
        if let Some(module) = module_of(name) {
            complaints.extend(imports(name, &module, &code));
            if PURE_LAYERS.contains(&module[0]) && !is_test(name) {
                complaints.extend(impurities(module[0], &code));
            }
        }
    }
    complaints
}

/// Every file begins with a comment about itself.
fn head_comment(name: &str, text: &str) -> Option<&'static str> {
    let first = text.lines().next().unwrap_or("");
    let good = match name.rsplit('.').next() {
        Some("rs") => first.starts_with("//! ") && first.len() > 10,
        Some("c" | "h") => first.starts_with("/*"),
        Some("py" | "sh") => text.lines().nth(usize::from(first.starts_with("#!"))).is_some_and(is_script_comment),
        _ => true,
    };
    (!good).then_some("no comment at its head that says what it owns")
}

fn is_script_comment(line: &str) -> bool {
    line.starts_with("# ") || line.starts_with("\"\"\"")
}

/// Words that are forbidden everywhere, or in this file.
fn marks(name: &str, code: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let in_crate = name.starts_with("src/");
    for word in ["todo", "unimplemented", "dbg"] {
        complaints.extend(macros(code, word).map(|line| format!("{word}! in line {line}")));
    }
    if in_crate && !is_test(name) && name != "src/log.rs" && !name.starts_with("src/log/") {
        for word in ["print", "println", "eprint", "eprintln"] {
            complaints.extend(macros(code, word).map(|line| format!("{word}! in line {line}: only log prints")));
        }
    }
    if in_crate && !UNSAFE_HOMES.iter().any(|home| name.starts_with(home)) {
        complaints.extend(
            words(code, "unsafe").map(|at| {
                format!("unsafe in line {}: its homes are ffi, net and stream/log/segment", line_of(code, at))
            }),
        );
    }
    complaints
}

/// A module of tests beside the code it tests.
fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

/// The lines in which `word!` stands.
fn macros<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    words(code, word).filter(move |at| code[at + word.len()..].starts_with('!')).map(|at| line_of(code, at))
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The module path of a file of the crate, without the root: `src/proto/amf0.rs` is `proto`, `amf0`.
fn module_of(name: &str) -> Option<Vec<&str>> {
    let inner = name.strip_prefix("src/")?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    (inner != "lib").then(|| inner.split('/').collect())
}

/// The layer table, the face rule, and the strangers.
fn imports(name: &str, module: &[&str], code: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let Some((layer, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == module[0]) else {
        return vec![format!("`{}` is in no row of the layer table", module[0])];
    };
    let face = name.starts_with("src/ffi/rr_") && !FACE_EXCEPTIONS.contains(&name);
    for path in crate_paths(code, module) {
        let Some(target) = path.first().map(String::as_str) else { continue };
        if !is_layer(target) {
            continue;
        }
        let by_test = target == "fuzzing" && is_test(name);
        if target != *layer && !allowed.contains(&target) && !by_test {
            complaints.push(format!("{layer} may not import {target} ({})", path.join("::")));
        } else if face && FACE_FORBIDS.contains(&target) {
            complaints.push(format!("the relay face may not import {target} ({})", path.join("::")));
        }
        for (one, other) in STRANGERS {
            for (from, to) in [(one, other), (other, one)] {
                if is_below(module, from) && is_below(&path, to) {
                    complaints.push(format!("{} never imports {} ({})", from[1], to[1], path.join("::")));
                }
            }
        }
    }
    complaints.sort();
    complaints.dedup();
    complaints
}

/// The forbidden names in a layer without I/O.
fn impurities(layer: &str, code: &str) -> Vec<String> {
    // An inline module of tests stands at the end of its file.
    let code = code.split("mod tests {").next().unwrap_or(code);
    let mut complaints = Vec::new();
    for name in IMPURE_CRATES {
        complaints.extend(paths_of(code, name).first().map(|_| format!("{layer} has no I/O and may not use {name}")));
    }
    for path in paths_of(code, "std") {
        let [module, rest @ ..] = path.as_slice() else { continue };
        let is_value = module == "net" && rest.first().is_some_and(|item| PURE_OF_STD.contains(&item.as_str()));
        if IMPURE_STD.contains(&module.as_str()) && !is_value {
            complaints.push(format!("{layer} has no I/O and may not use std::{}", path.join("::")));
        }
    }
    complaints
}

/// Whether `path` begins with the two parts; one that ends in `_` is a prefix.
fn is_below<S: AsRef<str>>(path: &[S], parts: [&str; 2]) -> bool {
    let second = |name: &str| if parts[1].ends_with('_') { name.starts_with(parts[1]) } else { name == parts[1] };
    path.len() >= 2 && path[0].as_ref() == parts[0] && second(path[1].as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one complaint about `code` in a file that is otherwise in order; "" for none.
    fn complaint(name: &str, code: &str) -> String {
        check(name, &format!("//! What this file owns.\n{code}\n")).join("; ")
    }

    #[test]
    fn a_lower_layer_may_not_import_a_higher_one() {
        assert_eq!(complaint("src/proto/amf0.rs", "use crate::error::Result; use crate::config::X;"), "");
        for (file, code) in [
            ("src/proto/amf0.rs", "use crate::log::warn;"),
            ("src/proto/amf0.rs", "use crate::{error::Result, sync::locked};"),
            ("src/proto/chunk/tests.rs", "use super::super::super::session::State;"),
            ("src/session/mod.rs", "fn f() { crate::net::poll() }"),
            ("src/session/wire.rs", "use crate::sync;"),
            ("src/stream/mod.rs", "use crate::server::RRServer;"),
            ("src/server/mod.rs", "use crate::rest::Rest;"),
            ("src/server/mod.rs", "use crate::ffi::guard;"),
            ("src/error.rs", "use crate::config::CHUNK_SIZE;"),
            ("src/proto/amf0.rs", "use crate::fuzzing::decode;"),
        ] {
            assert!(complaint(file, code).contains("may not import"), "{file}: {code}");
        }
        assert_eq!(complaint("src/proto/amf0.rs", "// crate::log is not for us\nlet a = \"crate::log\";"), "");
        assert_eq!(complaint("src/proto/amf0/tests.rs", "use crate::fuzzing::decode;"), "");
        assert!(complaint("src/other.rs", "").contains("no row"));
    }

    #[test]
    fn layers_without_io_neither_log_nor_look_at_a_clock_nor_reach_outside() {
        for code in [
            "use log::debug;",
            "use log;",
            "use ::log::{debug, warn};",
            "use log as l;",
            "fn f() { log::warn!(1) }",
            "fn f() -> bool { log :: log_enabled!(A) }",
            "use std::time::Instant;",
            "use std::{fmt, time::{Duration, SystemTime}};",
            "fn f() { std::thread::sleep(a) }",
            "use std::fs;",
            "use ::std::net::TcpStream;",
            "use std::net::{SocketAddr, UdpSocket};",
            "use std::net;",
            "use std::os::fd::OwnedFd;",
            "use mio::net::TcpStream;",
            "fn f() { unsafe { libc::time(a) } }",
        ] {
            for file in ["src/proto/amf0.rs", "src/session/mod.rs"] {
                assert!(complaint(file, code).contains("has no I/O"), "{file}: {code}");
            }
            assert!(!complaint("src/net/conn.rs", code).contains("has no I/O"), "{code}");
            assert!(!complaint("src/session/tests.rs", code).contains("has no I/O"), "{code}");
        }
        for code in [
            "use std::net::SocketAddrV4;",
            "use std::net::{IpAddr, SocketAddr};",
            "use std::io::Write;",
            "use std::fmt;",
            "// log::debug!\nfn catalog() { self.log.push(1); change_log::f() }",
            "fn f(log: &mut Vec<u8>) { log.push(1) }",
            "fn f() { crate::a::log::g() }",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::time::Instant;\n}",
        ] {
            assert!(!complaint("src/proto/amf0.rs", code).contains("has no I/O"), "{code}");
        }
    }

    #[test]
    fn the_relay_face_stays_off_the_wire() {
        assert!(complaint("src/ffi/rr_server.rs", "use crate::net::Conn;").contains("relay face"));
        assert!(complaint("src/ffi/rr_info.rs", "use crate::proto::frame;").contains("relay face"));
        assert_eq!(complaint("src/ffi/rr_frame.rs", "use crate::proto::frame;"), "");
        assert_eq!(complaint("src/ffi/rr_conn.rs", "use crate::session::State;"), "");
        assert_eq!(complaint("src/ffi/event.rs", "use crate::session::State;"), "");
    }

    #[test]
    fn strangers_stay_strangers() {
        for (file, code) in [
            ("src/stream/ingest.rs", "use super::egress::relay::Relay;"),
            ("src/stream/ingest/clock.rs", "use crate::stream::egress::relay;"),
            ("src/stream/egress/relay.rs", "use crate::stream::{ingest::Feed, log};"),
            ("src/ffi/rr_server.rs", "use super::librtmp::log;"),
            ("src/ffi/librtmp/log.rs", "use crate::ffi::rr_server::X;"),
        ] {
            assert!(complaint(file, code).contains("never imports"), "{file}: {code}");
        }
        assert_eq!(complaint("src/stream/egress/relay.rs", "use crate::stream::log::buffer::RRBuffer;"), "");
        assert_eq!(complaint("src/stream/mod.rs", "use self::relay::A; use crate::stream::ingest::accumulate::B;"), "");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        assert_eq!(complaint("src/error.rs", &"\n".repeat(898)), "");
        assert!(complaint("src/error.rs", &"\n".repeat(899)).contains("split it"));
        assert!(check("c-examples/a.c", &format!("/* x */{}", "\n".repeat(901))).concat().contains("split it"));
    }

    #[test]
    fn a_file_without_a_head_comment_is_refused() {
        for (name, text) in [
            ("src/error.rs", "use a;"),
            ("tests/a.rs", "// no"),
            ("c-examples/a.c", "int a;"),
            ("a.sh", "#!/bin/sh\nls"),
        ] {
            assert!(check(name, text).concat().contains("head"), "{name}");
        }
        assert!(check("a.sh", "#!/bin/sh\n# Lists.\nls").is_empty());
        assert!(check("c-examples/a.c", "/* A. */\nint a;\n").is_empty());
    }

    #[test]
    fn printing_is_for_log_and_tests() {
        for word in ["println!(\"\")", "eprintln!()", "print!(\"\")", "eprint!(\"\")"] {
            assert!(complaint("src/sync.rs", word).contains("only log prints"), "{word}");
            assert_eq!(complaint("src/log.rs", word), "");
            assert_eq!(complaint("tests/a.rs", word), "");
            assert_eq!(complaint("benches/a.rs", word), "");
        }
        assert_eq!(complaint("src/sync.rs", "// println!(\n"), "");
    }

    #[test]
    fn nothing_is_left_undone() {
        for word in ["todo!()", "unimplemented!()", "dbg!(1)"] {
            assert_ne!(complaint("src/sync.rs", word), "");
            assert_ne!(complaint("tests/a.rs", word), "");
        }
    }

    #[test]
    fn unsafe_has_three_homes() {
        for code in ["unsafe { f() }", "unsafe fn f() {}", "#[unsafe(no_mangle)]", "unsafe impl Send for A {}"] {
            assert!(complaint("src/stream/mod.rs", code).contains("unsafe in line 2"), "{code}");
            assert_eq!(complaint("src/stream/log/segment.rs", code), "");
            assert_eq!(complaint("src/ffi/mod.rs", code), "");
            assert_eq!(complaint("src/net/poll.rs", code), "");
        }
        assert_eq!(complaint("src/stream/mod.rs", "#![forbid(unsafe_code)]"), "");
    }
}
