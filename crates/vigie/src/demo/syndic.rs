//! The example application and its traffic, as processes of their own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::child::{self, Child};
use super::{DemoOptions, POLL, Places, postgres};

const START_TIMEOUT: Duration = Duration::from_secs(30);
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
    let port = match TcpListener::bind(("127.0.0.1", USUAL_PORT)) {
        Ok(_) => USUAL_PORT,
        Err(_) => postgres::free_port()?,
    };
    Ok(format!("127.0.0.1:{port}"))
}

/// Starts the application.
pub(super) fn serve(
    binary: &Path,
    listen: &str,
    dsn: &str,
    places: &Places,
) -> anyhow::Result<Child> {
    let mut command = child::command(binary, "TERM", None);
    command.env("DATABASE_URL", dsn).env("LISTEN", listen).env("LOG_FILE", &places.syndic_log);
    command.stdout(Stdio::null()).stderr(child::file(&places.syndic_start)?);
    Child::spawn("syndic", &mut command, Signal::TERM)
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

/// Waits until `/health` says that the application and its database are well.
pub(super) fn wait_until_healthy(
    server: &mut Child,
    listen: &str,
    places: &Places,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(status) = server.ended() {
            let words = child::tail(&places.syndic_start);
            bail!("the example application ended at its start ({status}): {words}");
        }
        let answer = get(listen, "/health");
        match &answer {
            Ok(text) if text.starts_with("HTTP/1.1 200") => return Ok(()),
            _ if Instant::now() < deadline => std::thread::sleep(POLL),
            Ok(text) => bail!("the example application is not healthy: {text}"),
            Err(error) => bail!("the example application does not answer at {listen}: {error}"),
        }
    }
}

/// The raw answer to a request.
pub(super) fn get(listen: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(listen)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1024 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}
