//! Fuzz targets: the decoders that strangers reach, the parsers of the two languages, the pipeline that
//! lines go through, templates, and the decoders of what both stores have on the disk.
//!
//! A target is a function of bytes that must return: whatever the bytes are, it neither panics nor
//! takes longer or more memory than the limits of its door allow. Where something can be written
//! back, it also checks that what was written is read again as the same.
//!
//! Three ways lead in. The test of this package replays each target's corpus and a fixed number of
//! changes of it (the slice of every CI run; `VIGIE_SOAK=1` makes it a long one). The program
//! (`cargo run -p vigie-fuzz --release -- TARGET --seconds 60`) goes on with fresh changes and keeps
//! an input that fails. `fuzz/libfuzzer` hands the same functions to libFuzzer, whose coverage
//! finds what blind changes do not.
//!
//! A corpus is the seeds that stand in the code beside the target, and the files of
//! `fuzz/corpus/TARGET/`: each bug that was found leaves its input there.

#![forbid(unsafe_code)]

mod mutate;
mod targets;

pub use mutate::Dice;
pub use targets::targets;

use std::path::{Path, PathBuf};

/// One function under test.
pub struct Target {
    /// What it is called on the command line and in `fuzz/corpus`.
    pub name: &'static str,
    /// Takes any bytes and returns; a panic is a finding.
    pub run: fn(&[u8]),
    /// Valid and nearly valid inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Of the targets that open a whole store, one in so many changes is tried: each takes as long as
/// that many of a decoder.
const STORE_CHANGES_ONE_IN: u64 = 25;

impl Target {
    /// How many of so many changes are tried with it.
    pub fn share_of(&self, changes: u64) -> u64 {
        match self.name.starts_with("metrics_file_") {
            true => changes / STORE_CHANGES_ONE_IN,
            false => changes,
        }
    }

    /// The seeds of the code and the files of the corpus, the files in the order of their names.
    ///
    /// # Errors
    /// When a file of the corpus cannot be read.
    pub fn corpus(&self) -> std::io::Result<Vec<Vec<u8>>> {
        let mut inputs = (self.seeds)();
        let folder = corpus_folder(self.name);
        if folder.is_dir() {
            let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
                .map(|e| e.map(|e| e.path()))
                .collect::<Result<_, _>>()?;
            paths.sort();
            for path in paths {
                inputs.push(std::fs::read(path)?);
            }
        }
        Ok(inputs)
    }
}

/// Where a target's found inputs are kept.
pub fn corpus_folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// Runs one target by name; used by libFuzzer.
///
/// # Panics
/// If there is no such target, or if the target finds something.
pub fn run(name: &str, data: &[u8]) {
    let all = targets();
    let Some(target) = all.iter().find(|target| target.name == name) else {
        panic!("there is no target {name:?}; there are {:?}", names(&all));
    };
    (target.run)(data);
}

/// The names of targets.
pub fn names(targets: &[Target]) -> Vec<&'static str> {
    targets.iter().map(|target| target.name).collect()
}
