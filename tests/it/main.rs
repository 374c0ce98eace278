//! Tests of the real binary against real parts: a Docker engine, a registry, git, pacman, makepkg, and a stand-in
//! Vieter server. Only the faults that real parts can't be made to show come from a scripted socket (`faults`).

// Tests may panic: that is how they fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

#[path = "../standin/server.rs"]
mod standin;
mod util;

mod cron;
mod engine;
mod failures;
mod faults;
mod honest;
mod hostile;
mod job;
mod killed;
mod limits;
mod tls;
mod trust;
mod wild;
