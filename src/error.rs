//! What can go wrong, told to the person who gets to read it: what was being done, to what, what came back.

use std::fmt;

/// Every failure of the library. [`Error::exit_code`] maps those that end a run to the program's exit codes;
/// one that concerns a single repository is kept with its step instead.
#[derive(Debug)]
pub enum Error {
    /// The command line or the environment can't be used.
    Usage(String),
    /// Another run holds this engine: its lock container, and what to do.
    Busy(String),
    /// No complete answer came: connection, TLS, protocol or time.
    NoAnswer { doing: String, reason: String },
    /// An HTTP answer other than the ones that count as success.
    Refused {
        doing: String,
        status: u16,
        message: String,
    },
    /// A command in a container did not end with exit code 0. `output` holds its last lines.
    Command {
        doing: String,
        ended: String,
        output: String,
    },
    /// Something that came from outside (the list, a PKGBUILD, an answer) is not what it has to be.
    Unusable { what: String, why: String },
}

impl Error {
    /// The exit code of a run that ends with this error: 2 bad usage, 4 engine taken, 3 all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Busy(_) => 4,
            _ => 3,
        }
    }

    /// Whether this is the HTTP status `wanted`.
    pub fn is_status(&self, wanted: u16) -> bool {
        matches!(self, Error::Refused { status, .. } if *status == wanted)
    }

    /// Adds what to do about it.
    pub(crate) fn advise(mut self, advice: &str) -> Error {
        if let Error::NoAnswer { reason: text, .. } | Error::Refused { message: text, .. } =
            &mut self
        {
            *text = format!("{text} ({advice})");
        }
        self
    }

    pub(crate) fn no_answer(doing: &str, reason: impl Into<String>) -> Error {
        Error::NoAnswer {
            doing: doing.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unusable(what: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Unusable {
            what: what.into(),
            why: why.into(),
        }
    }
}

impl fmt::Display for Error {
    /// The first line says it all; a command's last lines of output follow, indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(message) | Error::Busy(message) => f.write_str(message),
            Error::NoAnswer { doing, reason } => write!(f, "{doing}: {reason}"),
            Error::Refused {
                doing,
                status,
                message,
            } => write!(f, "{doing}: answered {status}: {message}"),
            Error::Command {
                doing,
                ended,
                output,
            } => {
                write!(f, "{doing}: {ended}")?;
                output
                    .lines()
                    .try_for_each(|line| write!(f, "\n    | {line}"))
            }
            Error::Unusable { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for Error {}
