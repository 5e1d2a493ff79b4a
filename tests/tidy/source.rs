//! Just enough of Rust's grammar for the rules: code without comments and literals, and the crate paths it names.

/// The code of `text`: comments, strings and character literals become spaces, line ends stay.
pub(crate) fn code_of(text: &str) -> String {
    let source = text.as_bytes();
    let mut out = Vec::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        let end = literal_or_comment(source, at);
        if end == at {
            out.push(source[at]);
            at += 1;
            // An identifier is taken whole, so that the `r` of `for"` or a `'` after it starts nothing.
            if is_word(source[at - 1]) {
                while at < source.len() && is_word(source[at]) {
                    out.push(source[at]);
                    at += 1;
                }
            }
        } else {
            out.extend(source[at..end].iter().map(|&byte| if byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` itself where none begins.
fn literal_or_comment(source: &[u8], at: usize) -> usize {
    let rest = &source[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return end_of_block_comment(source, at);
    }
    let prefix = rest.iter().take_while(|byte| matches!(byte, b'b' | b'c' | b'r')).count();
    if prefix <= 2 {
        let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
        let raw = prefix > 0 && rest[prefix - 1] == b'r';
        if rest.get(prefix + hashes) == Some(&b'"') && (hashes == 0 || raw) {
            return at + prefix + hashes + end_of_string(&rest[prefix + hashes..], hashes, raw);
        }
        if hashes == 0 && rest.get(prefix) == Some(&b'\'') && prefix <= 1 {
            return at + end_of_char(rest, prefix);
        }
    }
    at
}

fn end_of_block_comment(source: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0_usize, at);
    while end < source.len() {
        if source[end..].starts_with(b"/*") {
            depth += 1;
            end += 2;
        } else if source[end..].starts_with(b"*/") {
            depth -= 1;
            end += 2;
            if depth == 0 {
                return end;
            }
        } else {
            end += 1;
        }
    }
    end
}

/// Length of the string whose opening quote is `rest[0]`, closing hashes included.
fn end_of_string(rest: &[u8], hashes: usize, raw: bool) -> usize {
    let mut end = 1;
    while end < rest.len() {
        if rest[end] == b'\\' && !raw {
            end += 2;
        } else if rest[end] == b'"' && rest[end + 1..].iter().take_while(|&&byte| byte == b'#').count() >= hashes {
            return end + 1 + hashes;
        } else {
            end += 1;
        }
    }
    rest.len()
}

/// Length of the character literal at `rest[quote]`, or 0 where the quote begins a lifetime.
fn end_of_char(rest: &[u8], quote: usize) -> usize {
    if rest.get(quote + 1) == Some(&b'\\') {
        let tail = &rest[(quote + 3).min(rest.len())..];
        return tail.iter().position(|&byte| byte == b'\'').map_or(rest.len(), |n| quote + 3 + n + 1);
    }
    // One character of up to four bytes, then the closing quote; `'a` without it is a lifetime.
    let text = String::from_utf8_lossy(&rest[quote + 1..(quote + 6).min(rest.len())]);
    let Some(first) = text.chars().next() else { return 0 };
    if text.as_bytes().get(first.len_utf8()) == Some(&b'\'') { quote + 1 + first.len_utf8() + 1 } else { 0 }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Where `word` stands in `code` as a word of its own.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = code.as_bytes();
        (at == 0 || !is_word(bytes[at - 1])) && bytes.get(at + word.len()).is_none_or(|&byte| !is_word(byte))
    })
}

/// The paths below the crate root that `code` names, as segments: `crate::a::b` and each branch of
/// `crate::{a::b, c}`. `module` is the file's own path, which `super::` is resolved against.
pub(crate) fn crate_paths(code: &str, module: &[&str]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for at in words(code, "crate") {
        branches(code[at + 5..].trim_start(), &[], &mut paths);
    }
    let mut skip = 0;
    for at in words(code, "super") {
        if at < skip {
            continue;
        }
        let (mut rest, mut up) = (&code[at..], 0);
        while let Some(after) = rest.strip_prefix("super") {
            up += 1;
            skip = code.len() - after.len();
            rest = after.trim_start().strip_prefix("::").map_or("", str::trim_start);
        }
        let rest = format!("::{rest}");
        // At file level and, one deeper, in an inline `mod tests`.
        for depth in [module.len(), module.len() + 1] {
            if let Some(left) = depth.checked_sub(up) {
                let base: Vec<String> = module.iter().take(left).map(|&part| part.to_owned()).collect();
                branches(&rest, &base, &mut paths);
            }
        }
    }
    paths
}

/// The paths below the crate root that a file names at its own level: from `crate`, `self` and `super`, and from the
/// names of its child modules. What a visibility names is no import.
pub(crate) fn file_paths(code: &str, module: &[&str], children: &[&str]) -> Vec<Vec<String>> {
    let code = code.replace("(in crate::", "(in ");
    let owned = |parts: &[&str]| -> Vec<String> { parts.iter().map(|&part| part.to_owned()).collect() };
    let begins = |at: usize| !code[..at].trim_end().ends_with("::");
    let mut paths = Vec::new();
    for at in words(&code, "crate") {
        branches(code[at + 5..].trim_start(), &[], &mut paths);
    }
    for at in words(&code, "self").filter(|&at| begins(at) && code[at + 4..].starts_with("::")) {
        branches(&code[at + 4..], &owned(module), &mut paths);
    }
    for child in children {
        for at in words(&code, child).filter(|&at| begins(at) && code[at + child.len()..].starts_with("::")) {
            let base: Vec<&str> = module.iter().chain([child]).copied().collect();
            branches(&code[at + child.len()..], &owned(&base), &mut paths);
        }
    }
    for at in words(&code, "super").filter(|&at| begins(at)) {
        let (mut rest, mut up) = (&code[at..], 0);
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, up) = (after, up + 1);
        }
        if let Some(left) = module.len().checked_sub(up).filter(|_| up > 0) {
            branches(&format!("::{rest}"), &owned(&module[..left]), &mut paths);
        }
    }
    paths
}

/// The paths below the crate `name` that `code` names: `name::a::b`, each branch of `use name::{a::b, c}`, and the empty
/// path for `use name;`. A segment of another path, a field or a variable of that name is none.
pub(crate) fn paths_of(code: &str, name: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for at in words(code, name) {
        let before = code[..at].trim_end();
        let rest = code[at + name.len()..].trim_start();
        // `::name` at a path's beginning is the crate too.
        let before = match before.strip_suffix("::") {
            Some(before) if before.ends_with(|c: char| is_word(c as u8) || c == '>') && !ends_in_use(before) => {
                continue;
            }
            Some(before) => before,
            None => before,
        };
        if rest.starts_with("::") {
            branches(rest, &[], &mut paths);
        } else if ends_in_use(before) {
            paths.push(Vec::new());
        }
    }
    paths
}

fn ends_in_use(code: &str) -> bool {
    code.strip_suffix("use").is_some_and(|before| before.bytes().last().is_none_or(|byte| !is_word(byte)))
}

/// Follows `::a::b`, `::{a, b::{c}}` from `base`.
fn branches(rest: &str, base: &[String], paths: &mut Vec<Vec<String>>) {
    let Some(mut rest) = rest.strip_prefix("::").map(str::trim_start) else {
        if !base.is_empty() {
            paths.push(base.to_vec());
        }
        return;
    };
    if let Some(group) = rest.strip_prefix('{') {
        let (mut depth, mut from) = (0_usize, 0);
        for (at, byte) in group.bytes().enumerate() {
            let end = depth == 0 && byte == b'}';
            if end || (depth == 0 && byte == b',') {
                let branch = group[from..at].trim();
                if !branch.is_empty() {
                    branches(&format!("::{branch}"), base, paths);
                }
                from = at + 1;
            }
            match byte {
                _ if end => return,
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let length = rest.bytes().take_while(|&byte| is_word(byte)).count();
    if length == 0 {
        paths.push(base.to_vec());
        return;
    }
    let mut path = base.to_vec();
    path.push(rest[..length].to_owned());
    rest = rest[length..].trim_start();
    branches(rest, &path, paths);
}

#[test]
fn comments_and_literals_are_no_code() {
    let code = code_of("a /* x /* y */ z */ b // c\n\"d \\\" e\" r#\"f \" g\"# 'h' '\\'' b'i' &'j k b\"l\" for\"m\"");
    let kept: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(kept, ["a", "b", "&'j", "k", "for"]);
}

#[test]
fn paths_are_found_in_every_spelling() {
    let find = |code: &str, module: &[&str]| -> Vec<String> {
        crate_paths(code, module).iter().map(|path| path.join("::")).collect()
    };
    assert_eq!(find("use crate::net::poll;", &["a"]), ["net::poll"]);
    assert_eq!(find("use crate::{error::{Failure, Result}, log};", &["a"]), ["error::Failure", "error::Result", "log"]);
    assert_eq!(find("let x = crate::log::warn(1);", &["a"]), ["log::warn"]);
    assert!(find("use super::super::net::Poll;", &["proto", "amf0"]).contains(&"net::Poll".to_owned()));
    assert_eq!(find("pub(crate) fn f()", &["a"]), Vec::<String>::new());
}
