//! Symbols, structures and single functions, compared with librtmp's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::linked;
use crate::support::c::{good, root};
use crate::support::program::Room;

/// Name, kind (`T` for functions, `D` for data of any section) and, for data, the size.
fn symbols(library: &Path) -> BTreeSet<String> {
    let output = Command::new("nm").args(["-DS", "--defined-only"]).arg(library).output().unwrap();
    good(&output, "nm");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (name, kind) = (words[words.len() - 1], words[words.len() - 2]);
            let name = name.split('@').next().unwrap();
            if kind == "T" { format!("{name} T") } else { format!("{name} D {}", words[1].trim_start_matches('0')) }
        })
        .collect()
}

#[test]
fn the_library_exports_what_is_listed() {
    let listed: BTreeSet<String> = fs::read_to_string(root().join("include/librtmp/exports.txt"))
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let exported: BTreeSet<String> = symbols(&linked::folder().join("librtmp.so.1"))
        .iter()
        .map(|symbol| symbol.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(listed, exported);
    assert_eq!(listed.len(), 116 + 5);
}

#[test]
fn every_symbol_of_the_original_is_there_with_its_kind_and_size() {
    let ours = symbols(&linked::folder().join("librtmp.so.1"));
    let missing: Vec<String> = symbols(&linked::original().join("librtmp.so.1")).difference(&ours).cloned().collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// Compiles a program against our headers and our library.
fn compile(room: &Room, name: &str, arguments: &[&str]) -> PathBuf {
    let program = room.file(name);
    let mut cc = Command::new("cc");
    cc.arg("-O1").arg(root().join(format!("tests/oracle/{name}.c"))).arg("-o").arg(&program);
    cc.arg("-I").arg(root().join("include")).arg("-L").arg(linked::folder()).args(arguments);
    good(&cc.output().unwrap(), name);
    program
}

fn printed(program: &Path) -> String {
    let output = Command::new(program).env("LD_LIBRARY_PATH", linked::folder()).output().unwrap();
    good(&output, "the program");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn golden(name: &str) -> String {
    let bytes = fs::read(root().join(format!("tests/oracle/{name}.golden"))).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn every_structure_of_the_headers_has_its_layout() {
    let room = Room::new("librtmp-layout");
    assert_eq!(printed(&compile(&room, "layout", &[])), golden("layout"));
}

#[test]
fn answers_differ_only_where_the_documents_say_so() {
    let room = Room::new("librtmp-probe");
    let ours = printed(&compile(&room, "probe", &["-lrtmp"]));
    let theirs = golden("probe");
    assert_eq!(ours.lines().count(), theirs.lines().count(), "no line more and no line less");
    let differing: Vec<String> = theirs
        .lines()
        .zip(ours.lines())
        .filter(|(theirs, ours)| theirs != ours)
        .flat_map(|(theirs, ours)| [format!("< {theirs}"), format!("> {ours}")])
        .collect();
    let listed: Vec<String> = fs::read_to_string(root().join("docs/librtmp.md"))
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("< ") || line.starts_with("> "))
        .map(str::to_owned)
        .collect();
    assert_eq!(differing, listed);
}

#[test]
fn the_headers_are_c_and_cxx() {
    let room = Room::new("librtmp-headers");
    let source = room.file("all.c");
    let text = "#include <string.h>\n#include <librtmp/rtmp.h>\n#include <librtmp/amf.h>\n#include <librtmp/log.h>\n\
        #include <librtmp/http.h>\n\
        int main(void) { AVal a = AVC(\"\"); RTMP_Log(RTMP_LOGDEBUG, \"%d\", 1); return !AVMATCH(&a, &a); }\n";
    fs::write(&source, text).unwrap();
    for (compiler, arguments) in [("cc", ["-std=c99", "-xc"]), ("c++", ["-std=c++11", "-xc++"])] {
        let mut command = Command::new(compiler);
        command.args(arguments).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-write-strings"]);
        command.arg("-I").arg(root().join("include")).arg(&source).args(["-xnone", "-o"]).arg(room.file("all"));
        command.arg("-L").arg(linked::folder()).arg("-lrtmp");
        good(&command.output().unwrap(), compiler);
        let run = Command::new(room.file("all")).env("LD_LIBRARY_PATH", linked::folder()).output().unwrap();
        good(&run, compiler);
    }
}

/// The tables' last columns name tests in three ways: backticked files of this folder, each followed by tests in it;
/// `module::test`; and modules followed by the quoted names of their cases.
#[test]
fn every_test_that_the_documents_name_is_there() {
    let text = fs::read_to_string(root().join("docs/librtmp.md")).unwrap();
    let read = |module: &str| {
        let folder = if module.contains('/') { "" } else { "tests/librtmp" };
        fs::read_to_string(root().join(folder).join(format!("{module}.rs"))).expect(module)
    };
    let is_module = |name: &str| root().join(format!("tests/librtmp/{name}.rs")).exists();
    let (mut source, mut count) = (String::new(), 0);
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | "));
    for (_, tests) in rows {
        for (odd, part) in tests.split('`').enumerate() {
            if odd % 2 == 0 {
                for case in part.split('"').skip(1).step_by(2) {
                    assert!(source.contains(&format!("\"{case}\"")), "{case} is not tried");
                    count += 1;
                }
            } else if let Some(module) = part.strip_suffix(".rs").or_else(|| is_module(part).then_some(part)) {
                source = read(module);
            } else {
                let name = part.split_once("::").map_or(part, |(module, name)| {
                    source = read(module);
                    name
                });
                let so = ["", "    "].map(|indent| source.contains(&format!("{indent}#[test]\n{indent}fn {name}()")));
                assert!(so.contains(&true), "{name} is no test");
                count += 1;
            }
        }
    }
    assert!(count > 60, "the tables were read");
}
