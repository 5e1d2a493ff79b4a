//! The house rules, executable: the order of imports, file length, a comment at the head, no printing, the places of
//! `unsafe`, no circles of imports. The rules are in `tidy/rules.rs`, with a test for each that it can fail.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

/// The folders that hold code of ours.
const FOLDERS: [&str; 7] = ["src", "tests", "benches", "fuzz", "c-examples", "examples", "packaging"];

#[test]
fn every_file_keeps_the_house_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("build.rs")];
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    assert!(files.len() > 5, "the walk found next to nothing: {files:?}");
    let mut complaints = Vec::new();
    for file in &files {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(file).unwrap();
        complaints.extend(rules::check(&name, &text).into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn files_of_streams_and_servers_import_each_other_in_no_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut complaints = Vec::new();
    for folder in ["src/stream", "src/server"] {
        let mut files = Vec::new();
        collect(&root.join(folder), &mut files);
        files.sort();
        let files: Vec<(String, String)> = files
            .iter()
            .map(|file| {
                let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(file).unwrap())
            })
            .collect();
        assert!(files.len() > 5, "the walk found next to nothing");
        complaints.extend(circles::check(&files));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_module_of_the_crate_has_its_layer() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert!(!modules.is_empty());
    for module in modules {
        assert!(rules::is_layer(module), "`{module}` is in no row of the layer table in tests/tidy/rules.rs");
    }
}

/// Sources below `folder`, without generated ones.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            if !matches!(path.file_name().and_then(|name| name.to_str()), Some("target" | "corpus" | "artifacts")) {
                collect(&path, files);
            }
        } else if matches!(path.extension().and_then(|ext| ext.to_str()), Some("rs" | "c" | "h" | "py" | "sh")) {
            files.push(path);
        }
    }
}
