//! `vieter build` prepares a fresh Arch builder image with Docker, and builds each Git repository that a Vieter
//! server lists in a container of its own. The program is `main.rs`; this library is what it is made of, from
//! the top floor ([`run`]) down to the ground. What is above knows what is below, never the other way round.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::indexing_slicing))]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod check;
pub mod cli;
pub mod run;

pub mod job;
pub mod owners;
pub mod queue;

pub mod image;
pub mod lock;
pub mod sweep;

pub mod archive;
pub mod inbox;
pub mod list;
pub mod pkgbuild;
pub mod sandbox;
pub mod sink;
pub mod tar;

pub mod docker;
pub mod server;

pub mod error;
pub mod http;
pub mod report;
pub mod text;
pub mod words;
