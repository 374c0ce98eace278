//! The Docker Engine, as far as we need it: the API over its socket, and a container that can't outlive us. Not here:
//! what runs in a container, and as whom (`sandbox`).

mod container;
mod engine;
mod frames;
mod host;
mod socket;
pub mod types;

pub use container::{Command, Container, Exec};
pub use engine::Engine;
pub use frames::{Frames, Stream};
pub use host::Host;
pub use types::{HostConfig, ImageRef, Labels, RUN_LABEL};
