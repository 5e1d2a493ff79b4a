//! The library exports what `include/exports.txt` lists, under its soname, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The shared library of this build. Cargo leaves it beside the test programs.
fn library() -> PathBuf {
    let me = std::env::current_exe().expect("a test knows its own path");
    me.parent().expect("a file has a folder").join("librrelay.so")
}

fn words_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).arg(library()).output().expect("binutils are installed");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("symbols are ASCII")
}

/// Each line: symbol, and the version that brought it.
fn listed() -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/exports.txt");
    let text = std::fs::read_to_string(file).expect("include/exports.txt is there");
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("a symbol and a version"))
        .map(|(symbol, version)| (symbol.to_owned(), version.trim().to_owned()))
        .collect()
}

#[test]
fn the_exported_symbols_are_the_listed_ones() {
    let exported: BTreeSet<String> = words_of("nm", &["-D", "--defined-only"])
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .map(str::to_owned)
        .collect();
    let mut listed: BTreeSet<String> = listed().into_iter().map(|(symbol, _)| symbol).collect();
    if cfg!(feature = "librtmp") {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/librtmp/exports.txt");
        let text = std::fs::read_to_string(file).expect("include/librtmp/exports.txt is there");
        listed.extend(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    let missing: Vec<_> = listed.difference(&exported).collect();
    let unlisted: Vec<_> = exported.difference(&listed).collect();
    assert!(missing.is_empty() && unlisted.is_empty(), "not exported: {missing:?}\nnot listed: {unlisted:?}");
}

#[test]
fn the_list_is_sorted_and_no_symbol_is_newer_than_the_crate() {
    let listed = listed();
    assert!(listed.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, each once");
    let number =
        |version: &str| -> Vec<u32> { version.split('.').map(|part| part.parse().expect("a number")).collect() };
    for (symbol, version) in listed {
        assert!(number(&version) <= number(env!("CARGO_PKG_VERSION")), "{symbol} {version}");
    }
}

#[test]
fn the_soname_is_there_and_the_library_stays_loaded() {
    let words = words_of("readelf", &["-d"]);
    assert!(words.lines().any(|line| line.contains("SONAME") && line.contains("[librrelay.so.0]")), "{words}");
    assert!(words.lines().any(|line| line.contains("NODELETE")), "{words}");
}
