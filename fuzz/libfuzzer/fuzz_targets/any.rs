//! Hands libFuzzer's inputs to the target that `VIGIE_FUZZ_TARGET` names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<String> =
    LazyLock::new(|| std::env::var("VIGIE_FUZZ_TARGET").unwrap_or_default());

fuzz_target!(|data: &[u8]| vigie_fuzz::run(&TARGET, data));
