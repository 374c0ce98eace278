//! `vieter build` prepares an Arch builder image with Docker or Podman, and builds each Git repository of a list in a container of its
//! own, into a folder or for a Vieter server. The program is `main.rs`; this library is what it is made of, from
//! the top floor ([`run`]) down to the ground. As a rule what is above knows what is below.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::indexing_slicing))]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod check;
pub mod cli;
pub mod review;
pub mod run;

pub mod job;
pub mod known;
pub mod others;
pub mod queue;

pub mod home;

pub mod image;
pub mod lock;
pub mod memory;
pub mod sweep;
pub mod workshop;

pub mod approvals;
pub mod archive;
pub mod bring;
pub mod change;
pub mod inbox;
pub mod list;
pub mod look;
pub mod owners;
pub mod pkgbuild;
pub mod sandbox;
pub mod shard;
pub mod tar;
pub mod update;

pub mod docker;
pub mod server;

pub mod build_log;
pub mod clock;
pub mod error;
pub mod http;
pub mod last_word;
pub mod replace;
pub mod report;
pub mod retry;
pub mod screen;
mod script;
pub mod text;
pub mod words;
