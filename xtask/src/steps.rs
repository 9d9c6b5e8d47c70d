//! What each task runs, in order.

use crate::needs;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs one command at the root; its failure ends the task.
pub fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    println!("\n$ {program} {}", arguments.join(" "));
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{program} {} failed: {status}", arguments.join(" "));
    }
    Ok(())
}

/// The whole ritual before a commit.
pub fn check() -> Result<()> {
    run("cargo", &["fmt", "--all", "--check"], &[])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    run("cargo", &["test", "--package", "xtask"], &[])?;
    needs::cargo_deny()?;
    run("cargo", &["deny", "check", "bans", "licenses", "sources"], &[])?;
    run(
        "cargo",
        &["doc", "--workspace", "--no-deps", "--document-private-items"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    npm_ci("web")?;
    run("npm", &["--prefix", "web", "run", "check"], &[])
}

/// Everything that can be tested; each profile is built once.
pub fn test() -> Result<()> {
    needs::for_tests()?;
    npm_ci("web")?;
    run("npm", &["--prefix", "web", "test"], &[])?;
    let corpora = std::env::var("VIGIE_CORPORA").unwrap_or_default();
    if corpora.is_empty() {
        println!(
            "VIGIE_CORPORA is not set: the tests that need upstream's corpora say how many cases they skip"
        );
    }
    let peers = needs::peers();
    let node_exporter = peers.as_ref().map(|folder| folder.join(needs::NODE_EXPORTER));
    let node_exporter = node_exporter.map(|path| path.display().to_string()).unwrap_or_default();
    // What the corpora count is printed too.
    let unit = [
        "test",
        "--workspace",
        "--exclude",
        "vigie-scenarios",
        "--exclude",
        "xtask",
        "--",
        "--show-output",
    ];
    run("cargo", &unit, &[("VIGIE_NODE_EXPORTER", &node_exporter)])?;
    run("cargo", &["build", "--release", "--package", "vigie", "--package", "syndic"], &[])?;
    let release = target().join("release");
    let program = release.join("vigie").display().to_string();
    let scenarios =
        ["test", "--package", "vigie-scenarios", "--", "--test-threads", "1", "--nocapture"];
    let peers = peers.map(|folder| folder.display().to_string()).unwrap_or_default();
    run("cargo", &scenarios, &[("VIGIE_BIN", &program), ("VIGIE_PEERS", &peers)])?;
    npm_ci("web/browser")?;
    let pages = "web/browser/every_page_shows_its_data.test.mjs";
    run("node", &["--test", pages], &[("VIGIE_BIN", &program)])
}

/// What [`test()`] runs a slice of, at its full counts: each store is killed 1,000 times and loses
/// its power under 10,000 seeds, 10,000 bits of the metrics' files are flipped, each fuzz target takes
/// 300,000 changes (12,000 those that open a store), and 5,000 questions are asked of Vigie and of the
/// peer. Each prints its count, and a failure its seed. Release builds, because the counts are what
/// matters; that the suites notice planted bugs, [`test()`] shows with debug builds.
pub fn soak() -> Result<()> {
    for package in SOAKED {
        let tests = ["test", "--release", "--package", package, "--", "--nocapture"];
        run("cargo", &tests, &[("VIGIE_SOAK", "1")])?;
    }
    // 5,000 questions to Vigie and to Debian's Prometheus.
    run("cargo", &["build", "--release", "--package", "vigie"], &[])?;
    let program = target().join("release").join("vigie").display().to_string();
    let peers = needs::peers().map(|folder| folder.display().to_string()).unwrap_or_default();
    let compared = [
        "test",
        "--package",
        "vigie-scenarios",
        "--test",
        "answers_are_those_of_prometheus",
        "--",
        "--nocapture",
    ];
    let environment =
        [("VIGIE_SOAK", "1"), ("VIGIE_BIN", program.as_str()), ("VIGIE_PEERS", peers.as_str())];
    run("cargo", &compared, &environment)
}

/// The packages whose tests read `VIGIE_SOAK`.
const SOAKED: [&str; 3] = ["vigie-metrics", "vigie-logs", "vigie-fuzz"];

/// Installs what a folder's lock file names, and runs nothing of it.
fn npm_ci(folder: &str) -> Result<()> {
    run("npm", &["--prefix", folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], &[])
}

/// The figures that have gates.
pub fn bench(names: &[String]) -> Result<()> {
    needs::for_tests()?;
    run("cargo", &["build", "--release", "--package", "vigie"], &[])?;
    let program = target().join("release").join("vigie").display().to_string();
    let peers = needs::peers().map(|folder| folder.display().to_string()).unwrap_or_default();
    let mut arguments = vec!["run", "--release", "--package", "vigie-bench", "--"];
    arguments.extend(names.iter().map(String::as_str));
    run("cargo", &arguments, &[("VIGIE_BIN", &program), ("VIGIE_PEERS", &peers)])
}
