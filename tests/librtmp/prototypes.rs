//! The prototypes: our headers have the distribution's, and the functions that this library defines have the headers'
//! types. A C compiler sees the headers alone, and the linker no types at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::c::{good, root};
use crate::support::program::Room;

/// Result, and arguments, of each function.
type Prototypes = BTreeMap<String, Vec<String>>;

/// The functions that librtmp's headers in a folder declare, in the compiler's own words.
fn declared(room: &Room, include: &Path) -> Prototypes {
    let source = room.file("headers.c");
    let headers = ["rtmp", "amf", "log", "http"].map(|name| format!("#include <librtmp/{name}.h>\n"));
    fs::write(&source, headers.concat()).unwrap();
    let listing = room.file("prototypes");
    let mut gcc = Command::new("gcc");
    gcc.args(["-fsyntax-only", "-aux-info"]).arg(&listing).arg("-I").arg(include).arg(&source);
    good(&gcc.output().expect("gcc is there"), "gcc");
    fs::read_to_string(&listing)
        .unwrap()
        .lines()
        .filter(|line| line.contains("/librtmp/"))
        .map(|line| {
            let (result, arguments) = line.split_once("extern ").unwrap().1.split_once(" (").unwrap();
            let at = result.rfind([' ', '*']).unwrap() + 1;
            let arguments = arguments.trim_end_matches(';').strip_suffix(')').unwrap();
            let all = [&result[..at]].into_iter().chain(arguments.split(", ")).map(|text| text.trim().to_owned());
            (result[at..].to_owned(), all.collect())
        })
        .collect()
}

/// The distribution's headers, where its C compiler finds them.
const THEIRS: &str = "/usr/include";

#[test]
fn the_headers_declare_what_the_originals_declare() {
    let room = Room::new("librtmp-prototypes");
    let ours = declared(&room, &root().join("include"));
    let theirs = declared(&room, Path::new(THEIRS));
    assert!(theirs.len() > 90, "librtmp-dev is there (tests/setup.sh installs it)");
    for (name, their) in &theirs {
        assert_eq!(ours.get(name), Some(their), "{name}");
    }
}

/// A type of C as the calling convention knows it: the type that it points to, or its width.
fn of_c(text: &str) -> String {
    let text = text.replace("const ", "").replace("struct ", "").replace("(*)", "*");
    if let Some(inner) = text.strip_suffix('*') {
        return format!("*{}", of_c(inner.trim()));
    }
    let name = match text.trim() {
        "int" | "int32_t" | "HTTPResult" | "RTMP_LogLevel" => "i32",
        "unsigned int" | "uint32_t" | "AMFDataType" => "u32",
        "short int" => "i16",
        "short unsigned int" => "u16",
        "long int" => "i64",
        "long unsigned int" => "u64",
        "double" => "f64",
        "unsigned char" | "uint8_t" => "u8",
        // Pointers to functions are all passed alike.
        "HTTP_read_callback" | "RTMP_LogCallback" => "function",
        other => other,
    };
    name.to_owned()
}

/// A type of Rust as the calling convention knows it.
fn of_rust(text: &str) -> String {
    // An optional reference is a pointer that may be NULL.
    if let Some(inner) = text.strip_prefix("Option<&").and_then(|inner| inner.strip_suffix('>')) {
        return format!("*{}", of_rust(inner.strip_prefix("mut ").unwrap_or(inner)));
    }
    for pointer in ["*mut ", "*const "] {
        if let Some(inner) = text.strip_prefix(pointer) {
            return format!("*{}", of_rust(inner));
        }
    }
    let name = match text.rsplit("::").next().unwrap() {
        "c_char" => "char",
        "c_void" => "void",
        "c_int" => "i32",
        "c_uint" => "u32",
        "c_short" => "i16",
        "c_ushort" => "u16",
        "c_long" => "i64",
        "c_ulong" => "u64",
        "Option<Sink>" => "*function",
        other => other,
    };
    name.to_owned()
}

/// What the sources of librtmp's face export, in the same words.
fn defined() -> Prototypes {
    let mut all = Prototypes::new();
    for file in fs::read_dir(root().join("src/ffi/librtmp")).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for function in text.split("extern \"C\" fn ").skip(1) {
            let Some((name, rest)) = function.split_once('(') else { continue };
            let Some((arguments, rest)) = rest.split_once(')') else { continue };
            let result = rest.split('{').next().unwrap().trim();
            let result = of_rust(result.strip_prefix("-> ").unwrap_or("c_void").trim());
            let arguments = arguments.split(',').filter_map(|each| Some(of_rust(each.split_once(": ")?.1.trim())));
            all.insert(name.to_owned(), [result].into_iter().chain(arguments).collect());
        }
    }
    all
}

#[test]
fn exported_functions_have_the_headers_types() {
    let room = Room::new("librtmp-definitions");
    let defined = defined();
    let mut count = 0;
    for (name, prototype) in declared(&room, &root().join("include")) {
        // Their arguments go through as they are.
        if ["RTMP_Log", "RTMP_LogPrintf", "RTMP_LogStatus"].contains(&name.as_str()) {
            continue;
        }
        let mut wanted: Vec<String> = prototype.iter().map(|text| of_c(text)).collect();
        if wanted.len() == 2 && wanted[1] == "void" {
            wanted.pop();
        }
        assert_eq!(defined.get(&name), Some(&wanted), "{name}: {prototype:?}");
        count += 1;
    }
    assert!(count > 90, "{count} were compared");
}
