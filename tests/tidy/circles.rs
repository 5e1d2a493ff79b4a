//! Circles of imports among the files of a folder: without circles a reader can understand one file after the other.
//! Methods called on a value are not seen, only named paths.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{code_of, file_paths};

/// The imports of each file, by file name.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// All complaints about `files`, given as name and text: each circle once.
pub(crate) fn check(files: &[(String, String)]) -> Vec<String> {
    let mut graph = graph_of(files);
    let mut complaints = Vec::new();
    while let Some(circle) = find_circle(&graph) {
        complaints.push(format!("a circle of imports: {}", circle.join(" -> ")));
        // Without this edge the next search finds another circle.
        let (last, first) = (circle[circle.len() - 2].clone(), &circle[0]);
        graph.get_mut(&last).expect("it is in the graph").remove(first);
    }
    complaints
}

fn graph_of(files: &[(String, String)]) -> Graph {
    let modules: BTreeMap<Vec<&str>, &str> =
        files.iter().filter_map(|(name, _)| Some((module_of(name)?, name.as_str()))).collect();
    let mut graph = Graph::new();
    for (module, name) in &modules {
        let text = &files.iter().find(|(other, _)| other == name).expect("it was taken from there").1;
        let code = without_tests(&code_of(text));
        let children: Vec<&str> = modules
            .keys()
            .filter(|other| other.len() == module.len() + 1 && other.starts_with(module))
            .filter_map(|other| other.last().copied())
            .collect();
        let edges = graph.entry((*name).to_owned()).or_default();
        for path in file_paths(&code, module, &children) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            // The longest beginning that is a file: what follows is a name in it.
            let target = (1..=path.len()).rev().find_map(|end| modules.get(&path[..end]));
            if let Some(target) = target.filter(|target| *target != name) {
                edges.insert((*target).to_owned());
            }
        }
    }
    graph
}

/// The module path of a file of the crate that is no test.
fn module_of(name: &str) -> Option<Vec<&str>> {
    let inner = name.strip_prefix("src/")?.strip_suffix(".rs")?;
    let module: Vec<&str> = inner.strip_suffix("/mod").unwrap_or(inner).split('/').collect();
    let test = module.iter().any(|part| ["tests", "models"].contains(part));
    (!test).then_some(module)
}

/// The code without its modules of tests.
fn without_tests(code: &str) -> String {
    let Some(at) = code.find("mod tests {") else { return code.to_owned() };
    let mut depth = 0_usize;
    for (end, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return format!("{}{}", &code[..at], without_tests(&code[end + 1..])),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code[..at].to_owned()
}

/// One circle, its first file at the end again.
fn find_circle(graph: &Graph) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    graph.keys().find_map(|start| {
        let mut path = Vec::new();
        walk(graph, start, &mut path, &mut done)
    })
}

fn walk<'a>(
    graph: &'a Graph,
    at: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<String>> {
    if let Some(begin) = path.iter().position(|&other| other == at) {
        return Some(path[begin..].iter().chain([&at]).map(|&name| name.to_owned()).collect());
    }
    if done.contains(at) {
        return None;
    }
    path.push(at);
    let found = graph.get(at)?.iter().find_map(|next| walk(graph, next, path, done));
    path.pop();
    done.insert(at);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|&(name, code)| (format!("src/{name}.rs"), code.to_owned())).collect();
        check(&files)
    }

    #[test]
    fn an_order_is_no_circle() {
        let files = [
            ("a/mod", "pub mod low; mod high; pub use self::high::High;"),
            (
                "a/low",
                "pub(in crate::a) struct Low; // crate::a::high::High\n#[cfg(test)]\nmod tests { use super::*; }",
            ),
            ("a/low/tests", "use crate::a::high::High;"),
            ("a/high", "mod part; use part::Part; use crate::a::low::{self, Low};"),
            ("a/high/part", "use crate::{a::low::Low, b::C};"),
        ];
        assert_eq!(complaints(&files), [""; 0]);
    }

    #[test]
    fn circles_are_found_in_every_spelling() {
        for (low, high) in [
            ("use crate::a::high::High;", "use crate::a::low::Low;"),
            ("use super::high::High;", "use crate::{a::{low::Low}};"),
            ("fn f() { crate::a::high::f() }", "use crate::a::low;"),
            // Through the file that makes the module, which gives out what it imports.
            ("use crate::a::High;", "use super::low::{self, Low};"),
        ] {
            let files = [("a/mod", "mod low; mod high; pub use self::high::High;"), ("a/low", low), ("a/high", high)];
            let found = complaints(&files).join("\n");
            assert!(found.contains("a/low.rs") && found.contains("a circle"), "{low} {high}: {found}");
        }
        let child = [("a/high", "mod part;\nuse part::{Part, X};"), ("a/high/part", "use super::High;")];
        assert_eq!(complaints(&child), ["a circle of imports: src/a/high.rs -> src/a/high/part.rs -> src/a/high.rs"]);
    }
}
