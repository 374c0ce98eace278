//! The transport that makes ureq speak to a unix socket.
//!
//! `ureq::unversioned` may change with any minor version of ureq, which is why Cargo.toml pins the minor one.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::*;
use ureq::{Agent, Error};

use crate::last_word::LastWord;

/// An agent whose every connection goes to the socket at `path`, whatever host a URL names.
pub fn agent(path: &Path, config: Config) -> Agent {
    let connector = UnixConnector(path.to_owned()).chain(LastWord::default());
    Agent::with_parts(config, connector, NoNames)
}

#[derive(Debug)]
struct UnixConnector(PathBuf);

impl Connector for UnixConnector {
    type Out = Socket;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Socket>, Error> {
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        let stream = UnixStream::connect(&self.0)?;
        Ok(Some(Socket { stream, buffers }))
    }
}

#[derive(Debug)]
struct Socket {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        // ureq sends nothing, and awaits nothing, when no time is left.
        self.stream
            .set_write_timeout(timeout.not_zero().map(|left| *left))?;
        let output = self.buffers.output();
        let output = output.get(..amount).unwrap_or(output);
        let written = self.stream.write_all(output);
        written.map_err(|error| timed_out(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream
            .set_read_timeout(timeout.not_zero().map(|left| *left))?;
        let amount = match self.stream.read(self.buffers.input_append_buf()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                return self.await_input(timeout);
            }
            read => read.map_err(|error| timed_out(error, timeout))?,
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// None is used again: a new one costs next to nothing.
    fn is_open(&mut self) -> bool {
        false
    }
}

fn timed_out(error: std::io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

/// There is no host behind a unix socket, so there is no name to resolve.
#[derive(Debug)]
struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}
