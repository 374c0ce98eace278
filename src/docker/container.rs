//! A container that can't outlive us, and the commands in it.
//!
//! Its first process becomes `cat` on a standard input that we hold open and never write to. When we let go, whether
//! by dropping the value or by being killed, the kernel closes the connection, the engine closes the input,
//! `cat` ends, and the engine removes the container. So there is no signal handler, and nothing to clean up after `kill -9` but
//! a container that wasn't started yet. All work happens in execs, each with an exit code of its own.

use std::io::{Error as IoError, Read, Result as IoResult};

use ureq::BodyReader;

use super::types::{ContainerConfig, ExecConfig, Healthcheck, HostConfig, ImageRef};
use super::{Engine, RUN_LABEL, Stream, engine};
use crate::build_log::BuildLog;
use crate::error::{Error, Kind, Result};
use crate::http::{Answer, Deadline};
use crate::screen;
use crate::script::script;
use crate::text::{Output, one_line};
use crate::words::RunId;

/// The most that a command may print whose output is read whole, or in one of its fields, in bytes.
const MAX_CAPTURED: u64 = 1024 * 1024;

/// Runs a command and prints [`END`] behind its data.
const WITH_END: &str = script!("../scripts/with-end.sh");

/// What data ends with. The last one counts, as strangers may print it, too.
const END: &[u8] = b"\0that was all\0";

/// More than stands behind the data, in bytes.
const BEHIND: u64 = 300_000;

/// The first process. It is neither root's nor the build user's, so that none of what runs beside it can open its input
/// and keep it from ending, or trace it; nor can root by becoming that user. It becomes that itself: with the
/// API's `User`, old engines (20.10) leave root's execs without capabilities.
const FIRST_PROCESS: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c";
const FIRST_SCRIPT: &str = script!("../scripts/first.sh");

/// For messages.
const TOO_MUCH: &str = "it prints more than 1 MiB";

/// A command for an exec: an argument array, never parsed by a shell of ours.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// What it does, for messages: `git clone`, `makepkg`.
    pub doing: &'a str,
    /// The program, and its arguments.
    pub argv: Vec<&'a str>,
    /// A user name or uid of the container.
    pub user: &'a str,
    /// Where it runs.
    pub workdir: &'a str,
    /// `NAME=value`; the rest comes from the image.
    pub env: &'a [&'a str],
}

/// A running container; dropping it removes it.
pub struct Container<'e> {
    engine: &'e Engine,
    id: String,
    /// `NAME=value`, for all that runs in it. They are no part of the container, as an image that is made of it would have them.
    env: &'e [String],
    /// The connection that keeps it alive.
    stdin: Option<Answer>,
    /// Whether its removal is the engine's.
    is_let_go: bool,
    /// Where all goes that its commands print.
    pub log: Option<BuildLog>,
}

impl<'e> Container<'e> {
    /// Creates, attaches to and starts a container of `image`, labelled with `run`.
    ///
    /// # Errors
    /// Those of the requests; [`Kind::NameTaken`].
    pub fn start(
        engine: &'e Engine,
        name: Option<&str>,
        image: &ImageRef,
        run: &RunId,
        env: &'e [String],
        host_config: HostConfig,
        by: Deadline,
    ) -> Result<Self> {
        let config = ContainerConfig {
            image: image.to_string(),
            labels: [(RUN_LABEL, run.as_str())].into(),
            entrypoint: FIRST_PROCESS.split(' ').chain([FIRST_SCRIPT]).collect(),
            cmd: [],
            user: "0",
            working_dir: "/",
            open_stdin: true,
            stdin_once: true,
            attach_stdin: true,
            stop_signal: "SIGKILL",
            healthcheck: Healthcheck { test: ["NONE"] },
            host_config,
        };
        let mut container = Container {
            engine,
            id: engine.create_container(name, &config, by)?,
            env,
            stdin: None,
            is_let_go: false,
            log: None,
        };
        // Attached before it is started, so that it never runs without us.
        container.stdin = Some(engine.attach_stdin(&container.id, by)?);
        engine.start_container(&container.id, by)?;
        Ok(container)
    }

    /// A tar stream of a folder in it, or of a file, which the engine makes without any program of the container's.
    ///
    /// # Errors
    /// Those of the request.
    pub fn archive(&self, path: &str, by: Deadline) -> Result<BodyReader<'static>> {
        self.engine.archive(&self.id, path, by)
    }

    /// Unpacks a tar stream into a folder in it, likewise. Links in there are followed.
    ///
    /// # Errors
    /// Those of the request and of the stream.
    pub fn unpack(&self, path: &str, tar: &mut dyn Read, by: Deadline) -> Result<()> {
        self.engine.unpack(&self.id, path, tar, by)
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Lets it go without waiting for its removal, which the engine does when our connection has gone. Only for a
    /// container in which nothing can keep its first process's input open, on an engine that sees us go.
    pub fn let_go(mut self) {
        self.is_let_go = true;
    }

    /// Whether it is still there: somebody may have removed it, or cut our connection.
    ///
    /// # Errors
    /// Those of the request.
    pub fn is_running(&self, by: Deadline) -> Result<bool> {
        let found = self.engine.inspect_container(&self.id, by)?;
        Ok(found.is_some_and(|it| it.state.running))
    }

    /// Starts a command, which is given up at `by`.
    ///
    /// # Errors
    /// Those of the requests; a command that isn't there.
    pub fn exec(&self, command: &Command, by: Deadline) -> Result<Exec<'_>> {
        let shown: Vec<String> = command.argv.iter().map(|arg| one_line(arg, 100)).collect();
        log::debug!("{}: {shown:?}", command.doing);
        // What a command needs for itself wins.
        let name = |pair: &str| pair.split('=').next().map(str::to_owned);
        let is_others = |pair: &&str| !command.env.iter().any(|own| name(own) == name(pair));
        let mut env: Vec<&str> = self.env.iter().map(String::as_str).collect();
        env.retain(is_others);
        env.extend(command.env);
        let config = ExecConfig {
            attach_stdout: true,
            attach_stderr: true,
            cmd: &command.argv,
            user: command.user,
            working_dir: command.workdir,
            env,
        };
        let id = self.engine.create_exec(&self.id, &config, by)?;
        let frames = self.engine.start_exec(&id, by)?;
        screen::doing(command.doing);
        if let Some(log) = &self.log {
            log.line(&format!("\n=== {}", command.doing));
        }
        Ok(Exec {
            container: self,
            by,
            id,
            doing: command.doing.to_owned(),
            frames,
            output: Output::to(self.log.clone()),
        })
    }

    /// Runs a command to its end, its output to the log.
    ///
    /// # Errors
    /// Those of [`Container::exec`]; any end but exit code 0, with the last lines of the output.
    pub fn run(&self, command: &Command, by: Deadline) -> Result<()> {
        let mut exec = self.exec(command, by)?;
        let mut buffer = [0; 8192];
        let read = loop {
            match exec.frames.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(n) => exec.output.push(buffer.get(..n).unwrap_or(&buffer)),
                Err(error) => break Err(error),
            }
        };
        exec.finish(&[], read)
    }

    /// Starts a command whose output is data, for [`Exec::field`] and [`Exec::rest`].
    ///
    /// # Errors
    /// Those of [`Container::exec`].
    pub fn ask(&self, command: &Command, by: Deadline) -> Result<Exec<'_>> {
        let mut command = command.clone();
        let with_end = ["bash", "-c", WITH_END, "bash"];
        command.argv.splice(0..0, with_end);
        self.exec(&command, by)
    }

    /// Runs a command to its end and gives the text that it wrote to its standard output.
    ///
    /// # Errors
    /// Those of [`Container::exec`] and [`Exec::rest`].
    pub fn read(&self, command: &Command, by: Deadline) -> Result<String> {
        self.ask(command, by)?.rest()
    }
}

impl Drop for Container<'_> {
    /// Removes it, unless that is the engine's, or nobody answers. If it can't be, it goes when the connection does.
    fn drop(&mut self) {
        if !self.is_let_go && !self.engine.is_silent() {
            let removed = self.engine.remove_container(&self.id);
            let _ = removed.inspect_err(|error| log::warn!("{error}"));
        }
    }
}

/// A started command. Reading it gives its standard output; what it writes to its standard error is kept for
/// the message of a failure.
pub struct Exec<'c> {
    container: &'c Container<'c>,
    /// When it is given up.
    by: Deadline,
    id: String,
    doing: String,
    frames: engine::Output,
    output: Output,
}

impl Exec<'_> {
    /// Says what it does from here on, for messages: one command may do two things.
    pub fn goes_on_to(&mut self, doing: &str) {
        doing.clone_into(&mut self.doing);
    }

    /// The next of the fields that the command prints, each ended by a NUL.
    ///
    /// # Errors
    /// The command's end, of whatever kind; a field of more than a mebibyte.
    pub fn field(&mut self) -> Result<String> {
        let (mut field, mut byte) = (vec![], [0]);
        let read = loop {
            match self.read(&mut byte) {
                Ok(1) if byte == [0] => return Ok(String::from_utf8_lossy(&field).into_owned()),
                Ok(1) if (field.len() as u64) < MAX_CAPTURED => field.extend(byte),
                Ok(1) => break Err(IoError::other(TOO_MUCH)),
                ended => break ended.map(drop),
            }
        };
        self.finish(&field, read)?;
        Err(ended_early(&self.doing))
    }

    /// The rest of what the command writes to its standard output, once it has ended; what is no text in it is U+FFFD.
    ///
    /// # Errors
    /// Any end but exit code 0, with the last lines of the output; more than a mebibyte of it; an end that is missing.
    pub fn rest(&mut self) -> Result<String> {
        let mut rest = Vec::with_capacity(8192);
        let most = MAX_CAPTURED.saturating_add(BEHIND);
        let mut read = self.take(most).read_to_end(&mut rest).map(drop);
        // Where more comes, the last mark wasn't read, and one that a stranger has printed would be taken for it.
        let is_all = (rest.len() as u64) < most;
        let end = rest.windows(END.len()).rposition(|it| it == END);
        if let Some(end) = end {
            // What comes behind it may be cut anywhere.
            rest.truncate(end);
            read = Ok(());
        }
        if !is_all || rest.len() as u64 > MAX_CAPTURED {
            read = Err(IoError::other(TOO_MUCH));
        }
        self.finish(&rest, read)?;
        end.ok_or_else(|| ended_early(&self.doing))?;
        Ok(String::from_utf8_lossy(&rest).into_owned())
    }

    /// Tells how the command ended, once its output has: `read` is how that went, `printed` what it wrote to its standard
    /// output last, which is where the engine says that a command can't be started.
    ///
    /// # Errors
    /// Any end but exit code 0, with the last lines of the output.
    fn finish(&mut self, printed: &[u8], read: IoResult<()>) -> Result<()> {
        self.output.finish();
        let Container { engine, id, .. } = self.container;
        let ended = read.map_err(|error| Error::new(Kind::NoAnswer, error.to_string()));
        let code = ended.and_then(|()| engine.exec_exit_code(id, &self.id, self.by));
        let (kind, how) = match code {
            Ok(0) => return Ok(()),
            _ if self.by.has_passed() => (Kind::OutOfTime, "stopped at the time limit".to_owned()),
            Ok(code) => (Kind::Exit(code), format!("ended with exit code {code}")),
            Err(error) => (Kind::Lost, format!("was lost: {error}")),
        };
        if matches!(kind, Kind::Exit(_)) && self.output.last_lines().is_empty() {
            self.output.push(printed);
        }
        let mut error = Error::new(kind, format!("{}: {how}", self.doing));
        error.output = self.output.last_lines();
        Err(error)
    }
}

fn ended_early(doing: &str) -> Error {
    Error::new(Kind::Lost, format!("{doing}: its output ended early"))
}

impl Read for Exec<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        while self.frames.next_stream()? == Some(Stream::Stderr) {
            let mut printed = [0; 8192];
            let n = self.frames.read(&mut printed)?;
            self.output.push(printed.get(..n).unwrap_or(&printed));
        }
        self.frames.read(buffer)
    }
}
