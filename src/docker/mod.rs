//! The Docker Engine, as far as we need it: the API over its socket, and a container that can't outlive us.

mod container;
mod engine;
mod frames;
mod socket;

pub use container::{Command, Container, Exec};
pub use engine::{Engine, Host, Image, RUN_LABEL, Status};
pub use frames::{Frames, Stream};
