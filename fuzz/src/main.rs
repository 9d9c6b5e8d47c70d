//! Changes inputs until the time is over: `vigie-fuzz [TARGET…] [--seconds N] [--seed N]`.
//! An input that fails is kept in `fuzz/corpus/TARGET/`, named by its seed, and the program exits 1.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use vigie_fuzz::{Dice, Target, corpus_folder, names, targets};

/// Slower than this, for at most 256 kB, is a finding too.
const SLOW: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vigie-fuzz: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<usize, String> {
    let (mut wanted, mut seconds, mut seed) = (Vec::new(), 10_u64, 0_u64);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().unwrap_or_default();
            text.parse().map_err(|_| format!("{argument} wants a number, not {text:?}"))
        };
        match argument.as_str() {
            "--seconds" => seconds = number()?,
            "--seed" => seed = number()?,
            name => wanted.push(name.to_owned()),
        }
    }
    let all = targets();
    if let Some(unknown) = wanted.iter().find(|name| all.iter().all(|t| t.name != **name)) {
        return Err(format!("there is no target {unknown:?}; there are {:?}", names(&all)));
    }
    let mut found = 0;
    for target in all.iter().filter(|t| wanted.is_empty() || wanted.iter().any(|w| w == t.name)) {
        found += usize::from(!fuzz(target, Duration::from_secs(seconds), seed)?);
    }
    Ok(found)
}

/// Whether the target stood.
fn fuzz(target: &Target, time: Duration, first_seed: u64) -> Result<bool, String> {
    let corpus = target.corpus().map_err(|e| format!("the corpus of {}: {e}", target.name))?;
    let started = Instant::now();
    let mut seed = first_seed;
    while started.elapsed() < time {
        let input = Dice(seed).change(&corpus);
        let began = Instant::now();
        let stood = catch_unwind(|| (target.run)(&input)).is_ok();
        if !stood || began.elapsed() > SLOW {
            let folder = corpus_folder(target.name);
            let path = folder.join(format!("{}-{seed}", if stood { "slow" } else { "panic" }));
            std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::write(&path, &input))
                .map_err(|e| format!("{}: {e}", path.display()))?;
            println!("{:<28} seed {seed} fails; kept as {}", target.name, path.display());
            return Ok(false);
        }
        seed += 1;
    }
    println!("{:<28} {:>9} inputs, none fails", target.name, seed - first_seed);
    Ok(true)
}
