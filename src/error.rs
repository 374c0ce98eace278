//! What can go wrong, told to the person who gets to read it: what was being done, to what, what came back, what to
//! do about it. Not here: which step of a repository it was (`report`), and how it is shown (`main`).

use std::fmt;
use std::time::Duration;

/// What can fail, as most of this program can.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every failure of the library. [`Error::exit_code`] maps those that end a run to the program's exit codes;
/// one that concerns a single repository is kept with its step instead.
#[derive(Debug)]
pub struct Error {
    /// What callers tell apart.
    pub kind: Kind,
    /// One line: what was being done, what came back, what to do.
    text: String,
    /// The last lines that a command printed, or nothing.
    pub output: String,
    /// How long a server wants to be left alone (`Retry-After`), or no time.
    pub retry_after: Duration,
}

/// What callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line or the environment can't be used.
    Usage,
    /// Another run holds this engine.
    Busy,
    /// No complete answer came: connection, protocol or time.
    NoAnswer,
    /// The other side's certificate was refused: nobody knows who has issued it.
    UnknownIssuer,
    /// An HTTP answer other than the ones that count as success.
    Status(u16),
    /// Another container has the name that this one was to have.
    NameTaken,
    /// A command in a container ended with this exit code, which isn't 0.
    Exit(i64),
    /// A command in a container was stopped, or how it ended will never be known.
    Lost,
    /// A command in a container took longer than it may.
    OutOfTime,
    /// It can't be known yet, but will be when all entries of the list were looked at.
    Early,
    /// The builder image has to be brought up to date first.
    Outdated,
    /// A build that failed before isn't tried again yet.
    Waits,
    /// No commit of an entry is approved, or the one that is isn't there.
    Held,
    /// A name is another entry's. It is told as such, and doesn't wait for another night, as [`Kind::Unusable`] may.
    Anothers,
    /// Something that came from outside (the list, a PKGBUILD, an answer) is not what it has to be.
    Unusable,
}

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error {
            kind,
            text: text.into(),
            output: String::new(),
            retry_after: Duration::ZERO,
        }
    }

    pub(crate) fn unusable(what: impl fmt::Display, why: impl fmt::Display) -> Error {
        Error::new(Kind::Unusable, format!("{what}: {why}"))
    }

    pub(crate) fn of_kind(mut self, kind: Kind) -> Error {
        self.kind = kind;
        self
    }

    /// Says what it was good for.
    pub(crate) fn during(mut self, what: impl fmt::Display) -> Error {
        self.text = format!("{what}: {}", self.text);
        self
    }

    /// Adds what to do about it.
    pub(crate) fn advise(mut self, advice: &str) -> Error {
        self.text += &format!(" ({advice})");
        self
    }

    /// The exit code of a run that ends with this error: 2 bad usage, 4 engine taken, 3 all else.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Busy => 4,
            _ => 3,
        }
    }
}

impl fmt::Display for Error {
    /// The first line says it all; a command's last lines of output follow, indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        let mut lines = self.output.lines();
        lines.try_for_each(|line| write!(f, "\n    | {line}"))
    }
}

impl std::error::Error for Error {}
