//! What the tests need from the system, and how they get it.
//!
//! As root on Debian it is installed; otherwise the one line to type is named.
//! PostgreSQL's package is kept from creating and starting a server of its own.

use crate::steps::{run, target};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DENY_VERSION: &str = "0.20.2";
const PACKAGES: [&str; 2] = ["postgresql-15", "chromium"];

/// Packages that are unpacked and not installed, and a program of each.
const PEERS: [(&str, &str); 5] = [
    ("prometheus", "usr/bin/promtool"),
    ("prometheus-alertmanager", "usr/bin/amtool"),
    ("prometheus-node-exporter", NODE_EXPORTER),
    ("victoria-metrics", "usr/bin/victoria-metrics"),
    ("prometheus-postgres-exporter", "usr/bin/prometheus-postgres-exporter"),
];
/// Where node_exporter stands below the folder of the peers.
pub const NODE_EXPORTER: &str = "usr/bin/prometheus-node-exporter";

/// PostgreSQL 15 and Chromium.
pub fn for_tests() -> Result<()> {
    let missing = PACKAGES.into_iter().filter(|package| !installed(package)).collect::<Vec<_>>();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        bail!("the tests need {}: type `sudo {line}`", missing.join(" and "));
    }
    keep_postgresql_from_starting()?;
    run("apt-get", &["update", "-qq"], &[])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&missing);
    run("apt-get", &arguments, &[("DEBIAN_FRONTEND", "noninteractive")])
}

/// Debian's Prometheus, Alertmanager and exporters with their tools, unpacked below the target folder so that
/// no daemon starts and no port is taken. `None`, said loudly, when they cannot be had: the tests
/// that want them then say what they skip.
pub fn peers() -> Option<PathBuf> {
    let folder = target().join("peers");
    if PEERS.iter().all(|(_, program)| folder.join(program).exists()) {
        return Some(folder);
    }
    match is_root().then(|| unpack_peers(&folder)) {
        Some(Ok(())) => Some(folder),
        Some(Err(error)) => {
            println!("\nNOTICE: the originals are not compared with: {error:#}\n");
            None
        }
        None => {
            println!("\nNOTICE: the originals are not compared with: only root fetches them\n");
            None
        }
    }
}

fn unpack_peers(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    run("apt-get", &["update", "-qq"], &[])?;
    for (package, program) in PEERS {
        if folder.join(program).exists() {
            continue;
        }
        // `apt-get download` writes into the current folder.
        let line = format!(
            "cd '{}' && apt-get download -q {package} && dpkg -x {package}_*.deb . && rm {package}_*.deb",
            folder.display()
        );
        run("sh", &["-c", &line], &[])?;
    }
    Ok(())
}

/// cargo-deny, from the registry when it is not there.
pub fn cargo_deny() -> Result<()> {
    if succeeds("cargo", &["deny", "--version"]) {
        return Ok(());
    }
    run("cargo", &["install", "--locked", "--version", DENY_VERSION, "cargo-deny"], &[])
}

fn installed(package: &str) -> bool {
    match package {
        "postgresql-15" => Path::new("/usr/lib/postgresql/15/bin/postgres").exists(),
        other => Path::new("/usr/bin").join(other).exists(),
    }
}

fn keep_postgresql_from_starting() -> Result<()> {
    let file = Path::new("/etc/postgresql-common/createcluster.conf");
    if !file.exists() {
        std::fs::create_dir_all("/etc/postgresql-common")?;
        std::fs::write(file, "create_main_cluster = false\n")?;
    }
    Ok(())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
