//! The program: command line and wiring. Everything it does is done by the crates it starts.
//!
//! A problem that a person can mend is one clear sentence on stderr and exit code 1.

#![forbid(unsafe_code)]

mod adapt;
mod builtin;
mod cli;
mod client;
mod compaction;
mod demo;
mod flags;
mod lines;
mod listen;
mod own_metrics;
mod plan;
mod postgres;
mod query;
mod reload;
mod ruler;
mod run;
mod tsdb;

use anyhow::Result;
use clap::Parser;
use cli::{Cli, Command, DemoArgs, RunArgs};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

/// Threads that move bytes; what blocks has threads of its own.
const WORKERS: usize = 2;
/// Most threads that may block at once: queries, scrapes being stored, followed files.
const BLOCKING_MAX: usize = 16;

fn main() -> ExitCode {
    let arguments = match cli::arguments(std::env::args_os()).and_then(cli::normalise) {
        Ok(arguments) => arguments,
        Err(error) => return failed(&error),
    };
    // Called by the name of Loki's client, it answers like it.
    let name = arguments.first().map(|path| path.rsplit('/').next().unwrap_or(path));
    if name == Some("logcli") {
        return ended(block_on(lines::logcli::run(lines::logcli::Logcli::parse_from(arguments))));
    }
    let cli = Cli::parse_from(arguments);
    ended(match cli.command {
        Some(Command::Run(arguments)) => run(*arguments),
        Some(Command::Demo(arguments)) => demonstrate(arguments),
        Some(Command::Tsdb(arguments)) => {
            say_through_stderr("error");
            match tsdb::run(&arguments) {
                Ok(true) => Ok(()),
                Ok(false) => return ExitCode::FAILURE,
                Err(error) => Err(error),
            }
        }
        Some(Command::Query(arguments)) => block_on(query::query(arguments)),
        Some(Command::Logs(arguments)) => block_on(lines::logs(arguments)),
        Some(Command::Import { what }) => block_on(lines::import::import(what)),
        None => run(cli.run),
    })
}

fn ended(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("vigie: {error:#}");
    ExitCode::FAILURE
}

fn run(arguments: RunArgs) -> Result<()> {
    say_through_stderr(&arguments.log_level);
    let plan = plan::from_arguments(&arguments)?;
    block_on(run::run(plan, Box::new(move || plan::from_arguments(&arguments))))
}

fn demonstrate(arguments: DemoArgs) -> Result<()> {
    say_through_stderr(&arguments.log_level);
    eprintln!("Starting a private PostgreSQL, the backend and its visitors …");
    let demo = demo::prepare(demo::DemoOptions {
        data_dir: arguments.storage_path.clone(),
        requests_per_second: f64::from(arguments.rate),
        ..demo::DemoOptions::default()
    })?;
    eprintln!(
        "The backend is process {} at {}, PostgreSQL is process {}: end one to see its alert.",
        demo.syndic_pid, demo.syndic_url, demo.postgres_pid
    );
    let demo = Arc::new(demo);
    let plan = plan::for_demo(&arguments, &demo)?;
    let replan = {
        let demo = demo.clone();
        Box::new(move || plan::for_demo(&arguments, &demo))
    };
    let ended = block_on(run::run(plan, replan));
    // The runtime has ended, and what it owned with it.
    if let Some(demo) = Arc::into_inner(demo) {
        demo.stop();
    }
    ended
}

fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_MAX)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(future);
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended
}

/// Messages go to stderr, one line each, with the level that was asked for.
fn say_through_stderr(level: &str) {
    // What a database says to its sessions is its own log's matter.
    let filter = tracing_subscriber::EnvFilter::new(format!("tokio_postgres=warn,{level}"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
}
