//! The example application and its traffic, as processes of their own.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::child::{self, Child};
use super::{DemoOptions, POLL, Places, ports};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of the application's log is read while waiting for it, in bytes.
const LOG_START_SIZE_BYTES_MAX: u64 = 64 * 1024;
/// The port of the runbook, used when it is free.
const USUAL_PORT: u16 = 8080;

/// The binary beside ours; built when it is missing and its source is near.
pub(super) fn find_or_build() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let mut folder = program.parent().context("this program lies in no folder")?;
    if folder.ends_with("deps") {
        // A test binary lies one folder below the programs.
        folder = folder.parent().context("this program lies in no folder")?;
    }
    let binary = folder.join("syndic");
    if binary.exists() {
        return Ok(binary);
    }
    let debug = folder.ends_with("debug");
    let line = if debug { "cargo build -p syndic" } else { "cargo build --release -p syndic" };
    let Some(workspace) = workspace(folder) else {
        bail!(
            "the example application is missing: there is no {}; build it in Vigie's source with \
             `{line}` and put it there",
            binary.display()
        );
    };
    tracing::info!("building the example application: {line}");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "-p", "syndic"]).current_dir(workspace);
    if !debug {
        cargo.arg("--release");
    }
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    child::run(&mut cargo).with_context(|| format!("`{line}` failed"))?;
    if !binary.exists() {
        bail!("`{line}` left no {}", binary.display());
    }
    Ok(binary)
}

/// Vigie's source: above the program, or above where we are.
fn workspace(program_folder: &Path) -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let starts = [Some(program_folder.to_owned()), here];
    let mut folders = starts.iter().flatten().flat_map(|start| start.ancestors());
    folders.find(|folder| folder.join("examples/syndic/Cargo.toml").exists()).map(Path::to_owned)
}

/// `127.0.0.1` with the usual port, or with a free one when that is taken.
pub(super) fn free_address() -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", ports::free_or(USUAL_PORT)?))
}

/// Starts the application and waits until it listens and has its tables.
pub(super) fn serve(
    binary: &Path,
    listen: &str,
    dsn: &str,
    places: &Places,
) -> anyhow::Result<Child> {
    let mut command = child::command(binary, "TERM", None);
    command.env("DATABASE_URL", dsn).env("LISTEN", listen).env("LOG_FILE", &places.syndic_log);
    command.stdout(Stdio::null()).stderr(child::file(&places.syndic_start)?);
    // The log of an earlier demonstration in the same folder says nothing about this one.
    let earlier = std::fs::metadata(&places.syndic_log).map_or(0, |log| log.len());
    let mut server = Child::spawn("syndic", &mut command, Signal::TERM)?;
    let deadline = Instant::now() + START_TIMEOUT;
    while !is_ready(&places.syndic_log, earlier) {
        if let Some(status) = server.ended() {
            let words = child::tail(&places.syndic_start);
            bail!("the example application ended at its start ({status}): {words}");
        }
        if Instant::now() > deadline {
            let words = child::tail(&places.syndic_log);
            bail!("the example application is not ready at {listen}: {words}");
        }
        std::thread::sleep(POLL);
    }
    Ok(server)
}

/// Whether the log, from `offset` on, says that the application listens and has its tables.
fn is_ready(log: &Path, offset: u64) -> bool {
    let mut text = String::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        file.take(LOG_START_SIZE_BYTES_MAX).read_to_string(&mut text)
    });
    read.is_ok() && text.contains(" listens on ") && text.contains("\"database is ready\"")
}

/// Starts its traffic.
pub(super) fn load(binary: &Path, listen: &str, options: &DemoOptions) -> anyhow::Result<Child> {
    let mut command = child::command(binary, "TERM", None);
    command.arg("load").arg("--url").arg(format!("http://{listen}"));
    command.arg("--rate").arg(options.requests_per_second.to_string());
    command.arg("--seed").arg(options.seed.to_string());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Child::spawn("syndic load", &mut command, Signal::TERM)
}
