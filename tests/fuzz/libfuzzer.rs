//! Feeds libFuzzer's bytes to the target that the program is called after.

#![no_main]

#[allow(dead_code)]
#[path = "targets/mod.rs"]
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = env!("CARGO_BIN_NAME");
    let found = targets::ALL.iter().find(|(it, _)| *it == name);
    found.expect("no target of this name").1
});

fuzz_target!(|data: &[u8]| TARGET(data));
