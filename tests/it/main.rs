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

#[path = "../soak/random.rs"]
#[allow(dead_code)]
mod random;
#[path = "../standin/server.rs"]
mod standin;
mod util;

mod approved;
mod by_hand;
mod choice;
mod cron;
mod engine;
mod engine_faults;
mod failures;
mod faults;
mod folder;
mod folder_faults;
mod folder_killed;
mod folder_signed;
mod honest;
mod hostile;
mod http_git;
mod install;
mod job;
mod kept;
mod killed;
mod limits;
mod nights;
mod proxy;
mod server_faults;
mod shards;
mod terminal;
mod tls;
mod today;
mod trust;
mod walk;
mod wild;
