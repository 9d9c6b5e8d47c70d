//! The house rules, as tests: which crate may use which, who may do IO, how long things may be.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates in their order: a crate may use those before it and no other.
const ORDER: [&str; 22] = [
    "model",
    "codec",
    "template",
    "config",
    "disk",
    "metrics",
    "logs",
    "promql",
    "logql",
    "net",
    "engine",
    "ledger",
    "rules",
    "alerts",
    "incidents",
    "notify",
    "watch",
    "collect",
    "dashboards",
    "check",
    "http",
    "vigie",
];
/// Crates that touch neither files nor sockets nor clocks.
const WITHOUT_IO: [&str; 9] =
    ["model", "codec", "template", "promql", "logql", "rules", "alerts", "incidents", "dashboards"];
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// Files that hold one table or one grammar and are allowed to be longer.
const LONG_FILES: [&str; 0] = [];
/// What IO looks like in Rust. An address (`std::net::IpAddr`) is only a number.
const IO_WORDS: [&str; 8] = [
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "ToSocketAddrs",
    "tokio::",
    "SystemTime::now",
    "std::process",
    "std::env",
];
/// Crates whose `unsafe` is allowed, each block with a SAFETY comment.
const WITH_UNSAFE: [&str; 2] = ["codec", "disk"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn rust_files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for top in ["crates", "xtask", "bench", "examples", "scenarios", "fuzz"] {
        walk(&root().join(top), &mut files);
    }
    files.sort();
    files
}

fn walk(directory: &Path, files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Whether a file holds nothing but tests and their tools.
fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs") || name.ends_with("/testing.rs")
}

/// The text before the tests of a file.
fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]").map_or(text, |(before, _)| before)
}

fn report(mut findings: Vec<String>) {
    findings.sort();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn arrows_between_crates_point_one_way() {
    let place: BTreeMap<&str, usize> =
        ORDER.iter().enumerate().map(|(at, name)| (*name, at)).collect();
    let mut findings = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(own) = place.get(name.as_str()) else {
            findings.push(format!("crates/{name} is not in the order of ARCHITECTURE.md"));
            continue;
        };
        let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        for line in dependencies.lines() {
            let Some(used) =
                line.strip_prefix("vigie-").and_then(|rest| rest.split(['.', ' ', '=']).next())
            else {
                continue;
            };
            match place.get(used) {
                Some(at) if at < own => {}
                _ => findings
                    .push(format!("crates/{name} uses {used}, which does not stand before it")),
            }
        }
    }
    report(findings);
}

#[test]
fn only_http_serves_and_only_net_connects() {
    let mut findings = Vec::new();
    let rules: [(&str, &[&str]); 4] = [
        ("axum::", &["http"]),
        ("TcpListener::bind", &["http"]),
        ("hyper_rustls", &["net"]),
        ("TcpStream::connect", &["net"]),
    ];
    for (name, text) in rust_files() {
        let Some(owner) = name.strip_prefix("crates/").and_then(|rest| rest.split('/').next())
        else {
            continue;
        };
        if is_test(&name) {
            continue;
        }
        for (word, owners) in rules {
            if without_tests(&text).contains(word) && !owners.contains(&owner) {
                findings.push(format!("{name} says {word}, which belongs to {owners:?}"));
            }
        }
    }
    report(findings);
}

#[test]
fn pure_crates_do_no_io() {
    let mut findings = Vec::new();
    for (name, text) in rust_files() {
        let Some(owner) = name.strip_prefix("crates/").and_then(|rest| rest.split('/').next())
        else {
            continue;
        };
        if !WITHOUT_IO.contains(&owner) || name.contains("/tests/") {
            continue;
        }
        for word in IO_WORDS {
            if without_tests(&text).contains(word) {
                findings.push(format!("{name} says {word}, but {owner} does no IO"));
            }
        }
    }
    report(findings);
}

#[test]
fn every_file_opens_with_prose_and_holds_one_idea() {
    let mut findings = Vec::new();
    for (name, text) in rust_files() {
        if !text.starts_with("//!") && !text.starts_with("/*!") {
            findings.push(format!("{name} does not open with a module comment"));
        }
        let lines = without_tests(&text).lines().count();
        if lines > FILE_LINES_MAX
            && !LONG_FILES.contains(&name.as_str())
            && !name.contains("/tests/")
        {
            findings.push(format!(
                "{name} has {lines} lines before its tests, more than {FILE_LINES_MAX}"
            ));
        }
    }
    report(findings);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut findings = Vec::new();
    // A test's table may be longer than a screen: it is read line by line.
    for (name, text) in rust_files().into_iter().filter(|(name, _)| !is_test(name)) {
        let mut open: Option<(usize, usize, String)> = None;
        for (at, line) in without_tests(&text).lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let trimmed = line.trim_start();
            let declares = [
                "fn ",
                "pub fn ",
                "async fn ",
                "pub async fn ",
                "const fn ",
                "pub const fn ",
                "unsafe fn ",
                "pub(crate) fn ",
                "pub(super) fn ",
                "pub(crate) async fn ",
                "pub(super) async fn ",
            ];
            if declares.iter().any(|start| trimmed.starts_with(start)) {
                open = Some((at, indent, trimmed.to_owned()));
            } else if let Some((start, own, declaration)) = &open
                && trimmed == "}"
                && indent == *own
            {
                let lines = at - start;
                if lines > FUNCTION_LINES_MAX {
                    findings.push(format!("{name}:{}: {lines} lines: {declaration}", start + 1));
                }
                open = None;
            }
        }
    }
    report(findings);
}

#[test]
fn nothing_unfinished_is_left_in_the_code() {
    let mut findings = Vec::new();
    let words = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "todo".to_owned() + "!(",
        "dbg".to_owned() + "!(",
    ];
    for (name, text) in rust_files() {
        if name.starts_with("xtask/tests/") {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                findings.push(format!("{name}:{}: {word}", at + 1));
            }
        }
        let unsafe_allowed =
            WITH_UNSAFE.iter().any(|owner| name.starts_with(&format!("crates/{owner}/")));
        if name.ends_with("/src/lib.rs")
            && name.starts_with("crates/")
            && !unsafe_allowed
            && !text.contains("#![forbid(unsafe_code)]")
        {
            findings.push(format!("{name} does not forbid unsafe code"));
        }
    }
    report(findings);
}

#[test]
fn every_dependency_has_its_line() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let table = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let section =
        manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut findings = Vec::new();
    for line in section.lines() {
        let Some((name, _)) = line.split_once(" = ") else { continue };
        if !name.starts_with("vigie-") && !table.contains(&format!("| {name} |")) {
            findings.push(format!("docs/dependencies.md has no line for {name}"));
        }
    }
    report(findings);
}
