//! The Docker Engine, as far as we need it: the API over its socket, and a container that can't outlive us.

mod container;
mod engine;
mod frames;
mod socket;

pub use container::{Command, Container, Exec};
pub use engine::{Engine, Found, Host, RUN_LABEL};
pub use frames::{Frames, Stream};
