//! `vieter build` prepares a fresh Arch builder image with Docker, and builds each Git repository that a Vieter
//! server lists in a container of its own. The program is `main.rs`; this library is what it is made of, from
//! the top floor ([`run`]) down to the ground. What is above knows what is below, never the other way round.

pub mod check;
pub mod run;

pub mod image;
pub mod repo;

pub mod cli;
pub mod docker;
pub mod pkgbuild;
pub mod server;

pub mod error;
pub mod http;
pub mod output;
pub mod report;
