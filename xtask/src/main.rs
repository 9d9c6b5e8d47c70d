//! The project's rituals: `cargo xtask check` before every commit, `cargo xtask test` for everything
//! that can be tested, `cargo xtask soak` for the suites at their full counts, `cargo xtask bench`
//! for the figures.
//!
//! Nothing here is clever: each step is a command that can be typed by hand, printed before it runs.
//! The tidy rules and the crate arrows are ordinary tests of this package (`tests/tidy.rs`).

mod needs;
mod steps;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask check    rustfmt, clippy, tidy rules, cargo deny, docs, UI types
cargo xtask test     get what the tests need, then unit, scenario and browser tests
cargo xtask soak     the kills and power cuts of both stores and the fuzz targets at full counts
cargo xtask bench [all|program|metrics|logs|load …]
                     print the figures beside the gates of bench/budgets.toml";

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    match run(&name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str) -> Result<()> {
    match name {
        "check" => steps::check(),
        "test" => steps::test(),
        "soak" => steps::soak(),
        "bench" => steps::bench(&std::env::args().skip(2).collect::<Vec<_>>()),
        _ => bail!("unknown task {name:?}\n{USAGE}"),
    }
}
