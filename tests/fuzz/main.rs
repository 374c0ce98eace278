//! Properties that have to hold for whatever comes from outside. Each target makes what it looks at of bytes: here of
//! random ones, 10,000 times each; `Cargo.toml` beside this file has libFuzzer find better ones.
//!
//! `VIETER_FUZZ_CASES` says how many cases, `VIETER_FUZZ_SEED` which: a failure prints both for its own case.

// Tests may panic: that is how they fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

mod targets;

use std::panic::{catch_unwind, resume_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs a target, each case with a seed of its own.
fn holds(name: &str, cases: u64) {
    let set = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|it| it.parse::<u64>().unwrap())
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = set("VIETER_FUZZ_SEED").unwrap_or(now.as_nanos() as u64);
    let cases = set("VIETER_FUZZ_CASES").unwrap_or(cases);
    println!("{name}: seed {first}, {cases} cases");
    let (_, target) = targets::ALL.iter().find(|(it, _)| *it == name).unwrap();
    for case in 0..cases {
        let seed = first.wrapping_add(case);
        if let Err(panic) = catch_unwind(|| target(&noise(seed))) {
            eprintln!(
                "again: VIETER_FUZZ_SEED={seed} VIETER_FUZZ_CASES=1 cargo test --test fuzz {name}"
            );
            resume_unwind(panic);
        }
    }
}

/// The bytes of a seed (SplitMix64): up to 4 KiB, short ones as often as long ones.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let longest = 16 << (next() % 9);
    let words = next() % (longest / 8);
    (0..=words).flat_map(|_| next().to_le_bytes()).collect()
}

/// Makes a test of each target.
macro_rules! tests {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            holds(stringify!($name), 10_000);
        }
    )*};
}

tests! { archive frames image list list_file pkgbuild tar text transport words }

/// A process for each case, so fewer of them.
#[test]
fn bsdtar() {
    holds("bsdtar", 200);
}
