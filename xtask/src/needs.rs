//! What the tests need from the system, and how they get it.
//!
//! As root on Debian it is installed; otherwise the one line to type is named.
//! PostgreSQL's package is kept from creating and starting a server of its own.

use crate::steps::run;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

const DENY_VERSION: &str = "0.20.2";
const PACKAGES: [&str; 2] = ["postgresql-15", "chromium"];

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
