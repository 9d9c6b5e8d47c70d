//! A child process that ends when we do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::POLL;

/// How long a child may take to end by itself before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const SETPRIV: &str = "/usr/bin/setpriv";

/// A user that a child runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The command for `program`, which will end with the calling thread by `death_signal` (as
/// `setpriv` spells it), and as `user` if one is given.
pub(super) fn command(program: &Path, death_signal: &str, user: Option<User>) -> Command {
    if !Path::new(SETPRIV).exists() {
        return Command::new(program);
    }
    let mut command = Command::new(SETPRIV);
    command.args(["--pdeathsig", death_signal]);
    if let Some(User { uid, gid }) = user {
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
    }
    command.arg("--").arg(program);
    command
}

/// True when children can be run as another user.
pub(super) fn can_change_user() -> bool {
    Path::new(SETPRIV).exists()
}

/// Runs a command to its end, and gives its output or an error that holds it.
pub(super) fn run(command: &mut Command) -> anyhow::Result<String> {
    run_with_input(command, "")
}

/// Like [`run`], with a text for its standard input: what other users must not see in a command
/// line.
pub(super) fn run_with_input(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let program = display(command);
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    if let Some(mut pipe) = process.stdin.take() {
        // A program that ends without reading says why by its status, not by this broken pipe.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = process.wait_with_output().with_context(|| format!("cannot run {program}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    anyhow::bail!("{program}: {}: {}", output.status, text(&output.stderr))
}

/// An empty file for a child to write to.
pub(super) fn file(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("cannot make {}", path.display()))
}

/// The last lines of a file, in one, for an error text.
pub(super) fn tail(path: &Path) -> String {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let lines: Vec<&str> = text.lines().rev().take(5).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
        }
        Err(error) => format!("no log at {}: {error}", path.display()),
    }
}

fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// A process that runs until it is stopped.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    process: std::process::Child,
    stop_signal: Signal,
    ended: Option<ExitStatus>,
}

impl Child {
    pub(super) fn spawn(
        name: &'static str,
        command: &mut Command,
        stop_signal: Signal,
    ) -> anyhow::Result<Self> {
        let process = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", display(command)))?;
        Ok(Child { name, process, stop_signal, ended: None })
    }

    /// Its process id. `setpriv` replaces itself by the program, so the id is the program's own.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.process.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Says once that it ended although nobody asked it to.
    pub(super) fn report_if_ended(&mut self) {
        if self.ended.is_none()
            && let Some(status) = self.ended()
        {
            tracing::warn!("demonstration: {} ended: {status}", self.name);
        }
    }

    /// Asks it to end, waits, and kills it when it does not.
    pub(super) fn stop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let pid = Pid::from_child(&self.process);
        if let Err(error) = kill_process(pid, self.stop_signal) {
            tracing::warn!("demonstration: {} cannot be stopped: {error}", self.name);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        if self.ended().is_none() {
            tracing::warn!("demonstration: {} is killed, it did not stop in time", self.name);
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}
