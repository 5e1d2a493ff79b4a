//! Lays cbindgen's output out as a manual: in sections by source file, comments beside short fields, Rust's own
//! sections of a doc comment left out. The definitions themselves stay as they are.

use std::fmt::Write as _;

/// Longest line.
const WIDTH: usize = 120;
/// The column of a comment beside a field or an enumerator.
const COMMENT_COLUMN: usize = 38;

/// Sections of a function's doc comment that C's readers get, each as a line that begins with its name.
const CLAUSES: [&str; 4] = ["Threads", "Waits", "Valid", "Returns"];

/// A part of the header: everything that one source file defines.
pub(crate) struct Section {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) text: &'static str,
}

/// One definition as cbindgen wrote it.
struct Item {
    name: String,
    doc: Vec<String>,
    code: Vec<String>,
}

/// The whole header. `macros` begin the section of configs, `below` stands behind all sections. `texts` are the sources
/// of `sections`, which give the order.
pub(crate) fn lay_out(
    head: &str,
    (macros, below): (&str, &str),
    raw: &str,
    sections: &[Section],
    texts: &[String],
) -> String {
    let mut items = parse(raw);
    let mut out = format!("{head}\n#ifndef RRELAY_H\n#define RRELAY_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n");
    let part = |digits: &str| digits.parse::<u32>().expect("cargo's versions are numbers");
    let version = part(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | part(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | part(env!("CARGO_PKG_VERSION_PATCH"));
    out += "/* The version of this header, 0xMMmmpp; rr_version() is that of the library. */\n";
    let _ = write!(out, "#define RR_VERSION 0x{version:06x}\n\n");
    out += "#ifndef RR_API\n#define RR_API /* visibility goes here */\n#endif\n\n";
    out += "#ifdef __cplusplus\nextern \"C\" {\n#endif\n";
    for (section, text) in sections.iter().zip(texts) {
        let rule = "-".repeat(WIDTH - 13 - section.title.len());
        let _ = write!(out, "\n/* ---- {} {rule} */\n", section.title);
        if !section.text.is_empty() {
            out += "\n";
            comment(&mut out, "", &wrap(section.text, WIDTH - 6));
        }
        if section.file == "config" {
            let _ = write!(out, "\n{macros}");
        }
        for name in types_of(text).into_iter().chain(exports_of(text)) {
            if let Some(at) = items.iter().position(|item| item.name == name) {
                out += "\n";
                write_item(&mut out, &items.remove(at));
            }
        }
    }
    let left: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
    assert!(left.is_empty(), "no section holds {left:?}");
    out += "\n#ifdef __cplusplus\n} /* extern \"C\" */\n#endif\n";
    let _ = write!(out, "\n{below}\n#endif /* RRELAY_H */\n");
    out
}

/// The names of the public types a source defines, in order.
pub(crate) fn types_of(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let rest = ["pub enum ", "pub struct ", "pub type "].iter().find_map(|word| line.strip_prefix(word))?;
            Some(word_of(rest))
        })
        .collect()
}

/// The names of the functions a source exports, in order.
pub(crate) fn exports_of(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| Some(word_of(line.split_once("extern \"C\" fn rr_")?.1)))
        .map(|n| format!("rr_{n}"))
        .collect()
}

/// The first word after `Default: ` in the doc comment of a field.
pub(crate) fn documented_default(source: &str, type_name: &str, field: &str) -> Option<String> {
    let body = source.split_once(&format!("pub struct {type_name} {{"))?.1.split_once("\n}")?.0;
    let doc: Vec<&str> = body
        .split_once(&format!("pub {field}: "))?
        .0
        .lines()
        .rev()
        .skip(1)
        .map(str::trim)
        .take_while(|line| line.starts_with("///"))
        .collect();
    let doc: String = doc.into_iter().rev().map(|line| line.trim_start_matches("///")).collect();
    let rest = doc.split_once("Default: ")?.1;
    Some(rest.split(|c: char| c.is_whitespace() || c == '.').next()?.to_owned())
}

fn word_of(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Splits cbindgen's output into definitions.
fn parse(raw: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut lines = raw.lines();
    let (mut doc, mut code, mut depth) = (Vec::new(), Vec::new(), 0_i32);
    while let Some(line) = lines.next() {
        if depth == 0 && code.is_empty() && line.trim() == "/*" {
            doc = lines.by_ref().take_while(|line| line.trim() != "*/").map(|line| line.trim().to_owned()).collect();
        } else if !line.trim().is_empty() {
            depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
            code.push(line.to_owned());
            if depth == 0 && line.ends_with(';') {
                let code = std::mem::take(&mut code);
                items.push(Item { name: name_of(&code), doc: std::mem::take(&mut doc), code });
            }
        }
    }
    assert!(code.is_empty(), "cbindgen wrote something that does not end: {code:?}");
    items
}

/// The name a definition defines: before a function's arguments, or at the end of a typedef.
fn name_of(code: &[String]) -> String {
    let all = code.join(" ");
    let before = match (all.strip_prefix("RR_API"), all.find("(*")) {
        (Some(_), _) => &all[..all.find('(').expect("a function has arguments")],
        (None, Some(at)) => &all[..all[at..].find(')').map_or(all.len(), |end| at + end)],
        (None, None) => all.trim_end_matches(';'),
    };
    before.chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>().chars().rev().collect()
}

fn write_item(out: &mut String, item: &Item) {
    comment(out, "", &manual(&item.doc));
    if item.code[0].starts_with("RR_API") {
        function(out, &item.code);
        return;
    }
    let mut lines = item.code.iter();
    while let Some(line) = lines.next() {
        if line.trim() != "/*" {
            let _ = writeln!(out, "{}", bare(line));
            continue;
        }
        let doc: Vec<String> =
            lines.by_ref().take_while(|line| line.trim() != "*/").map(|line| line.trim().to_owned()).collect();
        let field = bare(lines.next().expect("a comment stands before a field"));
        let words = manual(&doc).join(" ");
        let beside = format!("{field:COMMENT_COLUMN$} /* {words} */");
        if beside.len() <= WIDTH {
            let _ = writeln!(out, "{beside}");
        } else {
            comment(out, "    ", &wrap(&words, WIDTH - 10));
            let _ = writeln!(out, "{field}");
        }
    }
}

/// Without `struct` before our types, which are typedefs all.
fn bare(line: &str) -> String {
    if line.starts_with("typedef struct") { line.to_owned() } else { line.replace("struct rr_", "rr_") }
}

/// A prototype on one line, or with its arguments indented.
fn function(out: &mut String, code: &[String]) {
    let all = code.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace("struct rr_", "rr_");
    if all.len() <= WIDTH {
        let _ = writeln!(out, "{all}");
        return;
    }
    let (head, arguments) = all.split_once('(').expect("a function has arguments");
    let _ = writeln!(out, "{head}(");
    for line in wrap(arguments, WIDTH - 4) {
        let _ = writeln!(out, "    {line}");
    }
}

/// A doc comment in C's words: no Rust sections, no marks.
fn manual(doc: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut section, mut begins) = ("", false);
    for line in doc {
        if let Some(title) = line.strip_prefix("# ") {
            (section, begins) = (title, true);
            if CLAUSES.contains(&section) && lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            continue;
        }
        match section {
            "Safety" => {}
            _ if begins && line.is_empty() => {}
            _ if begins && CLAUSES.contains(&section) => {
                lines.push(format!("{section}: {line}"));
                begins = false;
            }
            _ => lines.push(line.clone()),
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.iter().map(|line| line.replace("[`", "").replace("`]", "").replace('`', "")).collect()
}

fn comment(out: &mut String, indent: &str, lines: &[String]) {
    match lines {
        [] => {}
        [line] if line.len() + indent.len() + 6 <= WIDTH => {
            let _ = writeln!(out, "{indent}/* {line} */");
        }
        _ => {
            let mut all = lines.join("\n");
            for clause in CLAUSES {
                all = all.replace(&format!("\n{clause}: "), &format!("\n\n\n{clause}: "));
            }
            let mut text: Vec<String> = Vec::new();
            for paragraph in all.split("\n\n") {
                // A clause begins a new line; other paragraphs are separated by an empty line.
                if !text.is_empty() && !paragraph.starts_with('\n') {
                    text.push(String::new());
                }
                text.extend(wrap(&paragraph.replace('\n', " "), WIDTH - indent.len() - 6));
            }
            for (at, line) in text.iter().enumerate() {
                let mark = if at == 0 { "/*" } else { "  " };
                let end = if at + 1 == text.len() { " */" } else { "" };
                let _ = writeln!(out, "{}", format!("{indent}{mark} {line}{end}").trim_end());
            }
        }
    }
}

/// Breaks at spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if !last.is_empty() && last.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}
