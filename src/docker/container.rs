//! A container that can't outlive us.
//!
//! Its first process is `cat` on a standard input that we hold open and never write to. When we let go, whether
//! by dropping the value or by being killed, the kernel closes the connection, the engine closes the input,
//! `cat` ends, and the engine removes the container. So there is nothing to clean up after `kill -9`, and no
//! signal handler. All work happens in execs, each with an exit code of its own.

use std::io::{Error as IoError, Read, Result as IoResult};

use serde_json::json;
use ureq::Body;

use super::{Engine, RUN_LABEL, Stream, engine};
use crate::error::{Error, Kind};
use crate::http::Deadline;
use crate::output::Output;

/// What pacman needs of root's powers to unpack and own files and to run scriptlets in a chroot (SETFCAP for
/// packages with file capabilities). All others are dropped, for root too.
const CAPABILITIES: &str = "CHOWN DAC_OVERRIDE FOWNER FSETID SETFCAP SETGID SETUID SYS_CHROOT";

/// The most that a command may print whose output is read whole, or in one of its fields, in bytes.
const MAX_CAPTURED: u64 = 1024 * 1024;

/// For messages.
const TOO_MUCH: &str = "it prints more than 1 MiB";

/// A command for an exec: an argument array, never parsed by a shell.
pub struct Command<'a> {
    /// What it does, for messages: `git clone`, `makepkg`.
    pub doing: &'a str,
    pub argv: &'a [&'a str],
    /// A user name or uid of the container.
    pub user: &'a str,
    pub workdir: &'a str,
    /// `NAME=value`; the rest comes from the image.
    pub env: &'a [&'a str],
}

/// A running container; dropping it removes it.
pub struct Container<'e> {
    engine: &'e Engine,
    pub id: String,
    stdin: Option<Body>,
    /// When the commands in it are given up.
    pub deadline: Deadline,
    /// Whether its removal is left to the engine.
    pub is_left: bool,
}

impl<'e> Container<'e> {
    /// Creates, attaches to and starts a container of `image`, labelled with `run`.
    ///
    /// # Errors
    /// Those of the requests; status 409 when `name` is taken.
    pub fn start(
        engine: &'e Engine,
        name: Option<&str>,
        image: &str,
        run: &str,
        network: Option<&str>,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let mut host = json!({
            "AutoRemove": true, "LogConfig": {"Type": "none"}, "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["ALL"], "CapAdd": CAPABILITIES.split(' ').collect::<Vec<_>>(),
        });
        if let Some(network) = network {
            host["NetworkMode"] = network.into();
        }
        let config = json!({
            "Image": image, "Labels": {RUN_LABEL: run}, "HostConfig": host, "Healthcheck": {"Test": ["NONE"]},
            "Entrypoint": ["cat"], "Cmd": [], "User": "0", "WorkingDir": "/",
            "OpenStdin": true, "StdinOnce": true, "AttachStdin": true, "AttachStdout": false, "AttachStderr": false,
        });
        let mut container = Container {
            engine,
            id: engine.create_container(name, config)?,
            stdin: None,
            deadline,
            is_left: false,
        };
        // Attached before it is started, so that it never runs without us.
        container.stdin = Some(engine.attach_stdin(&container.id)?);
        engine.start_container(&container.id)?;
        Ok(container)
    }

    /// Whether it is still there: somebody may have removed it, or cut our connection.
    ///
    /// # Errors
    /// Those of the request.
    pub fn is_running(&self) -> Result<bool, Error> {
        let found = self.engine.inspect_container(&self.id)?;
        Ok(found.is_some_and(|it| it.is_running))
    }

    /// Starts a command.
    ///
    /// # Errors
    /// Those of the requests; a command that isn't there.
    pub fn exec(&self, command: &Command) -> Result<Exec<'_>, Error> {
        log::debug!("{}: {:?}", command.doing, command.argv);
        let config = json!({
            "AttachStdout": true, "AttachStderr": true,
            "Cmd": command.argv, "User": command.user, "WorkingDir": command.workdir, "Env": command.env,
        });
        let (id, frames) = self.engine.exec(&self.id, config, self.deadline)?;
        Ok(Exec {
            container: self,
            id,
            doing: command.doing.to_owned(),
            frames,
            output: Output::default(),
        })
    }

    /// Runs a command to its end, its output to the log.
    ///
    /// # Errors
    /// Those of [`Container::exec`]; any end but exit code 0, with the last lines of the output.
    pub fn run(&self, command: &Command) -> Result<(), Error> {
        let mut exec = self.exec(command)?;
        let mut buffer = [0; 8192];
        let read = loop {
            match exec.frames.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(n) => exec.output.push(&buffer[..n]),
                Err(error) => break Err(error),
            }
        };
        exec.finish(&[], read)
    }

    /// Runs a command to its end and gives what it wrote to its standard output.
    ///
    /// # Errors
    /// Those of [`Container::exec`] and [`Exec::rest`].
    pub fn capture(&self, command: &Command) -> Result<Vec<u8>, Error> {
        self.exec(command)?.rest()
    }
}

impl Drop for Container<'_> {
    /// Removes it at once; what can't be, or is left, goes when the connection does.
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        if let Err(error) = self.engine.remove_container(&self.id) {
            log::warn!("{error}");
        }
    }
}

/// A started command. Reading it gives its standard output; what it writes to its standard error is kept for
/// the message of a failure.
pub struct Exec<'c> {
    container: &'c Container<'c>,
    id: String,
    /// What it does now, for messages.
    pub doing: String,
    frames: engine::Output,
    output: Output,
}

impl Exec<'_> {
    /// The next of the fields that the command prints, each ended by a NUL.
    ///
    /// # Errors
    /// The command's end, of whatever kind; a field of more than a mebibyte.
    pub fn field(&mut self) -> Result<String, Error> {
        let (mut field, mut byte) = (vec![], [0]);
        let read = loop {
            match self.read(&mut byte) {
                Ok(1) if byte == [0] => return Ok(String::from_utf8_lossy(&field).into_owned()),
                Ok(1) if (field.len() as u64) < MAX_CAPTURED => field.push(byte[0]),
                Ok(1) => break Err(IoError::other(TOO_MUCH)),
                ended => break ended.map(drop),
            }
        };
        self.finish(&field, read)?;
        Err(Error::unusable(&self.doing, "its output ended early"))
    }

    /// The rest of what the command writes to its standard output, once it has ended.
    ///
    /// # Errors
    /// Any end but exit code 0, with the last lines of the output; more than a mebibyte of it.
    pub fn rest(&mut self) -> Result<Vec<u8>, Error> {
        let mut rest = Vec::with_capacity(8192);
        let mut read = self.take(MAX_CAPTURED + 1).read_to_end(&mut rest).map(drop);
        if rest.len() as u64 > MAX_CAPTURED {
            read = Err(IoError::other(TOO_MUCH));
        }
        self.finish(&rest, read).map(|()| rest)
    }

    /// Tells how the command ended, once its output has: `read` is how that went, `printed` what it wrote to its standard
    /// output last, which is where the engine says that a command can't be started.
    ///
    /// # Errors
    /// Any end but exit code 0, with the last lines of the output.
    fn finish(&mut self, printed: &[u8], read: IoResult<()>) -> Result<(), Error> {
        let it = self.container;
        let code = read.map_err(|error| error.to_string()).and_then(|()| {
            let code = it.engine.exec_exit_code(&it.id, &self.id, it.deadline);
            code.map_err(|error| error.to_string())
        });
        let (code, ended) = match code {
            Ok(0) => return Ok(()),
            _ if it.deadline.left().is_zero() => (None, "stopped at the time limit".to_owned()),
            Ok(code) => (Some(code), format!("ended with exit code {code}")),
            Err(reason) => (None, format!("was lost: {reason}")),
        };
        let mut error = Error::new(Kind::Command(code), format!("{}: {ended}", self.doing));
        if code.is_some() && self.output.last_lines().is_empty() {
            self.output.push(printed);
        }
        error.output = self.output.last_lines();
        Err(error)
    }
}

impl Read for Exec<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        while self.frames.next_stream()? == Some(Stream::Stderr) {
            let mut printed = [0; 8192];
            let n = self.frames.read(&mut printed)?;
            self.output.push(&printed[..n]);
        }
        self.frames.read(buffer)
    }
}
