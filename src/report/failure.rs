//! How a repository failed: the step, the error, and what is remembered of it.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Line, Outcome};
use crate::clock::since_1970;
use crate::error::{Error, Kind};
use crate::text::one_line;

/// The steps of a repository's build, in their order. Each is called by its name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Its entry in the list.
    List,
    /// A container for it.
    Container,
    /// `git clone`, or the download of a PKGBUILD.
    Clone,
    /// The keys in `validpgpkeys`.
    Keys,
    /// The PKGBUILD's names and version, `pkgver()` included.
    Version,
    /// Whether that version is published, and its names are official packages'.
    Check,
    /// The packages that the build needs.
    Dependencies,
    /// `makepkg`.
    Build,
    /// The archives, to where they are published.
    Publish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// Why a repository failed.
pub struct Failure {
    /// Where.
    pub step: Step,
    /// How.
    pub error: Error,
}

/// What is printed when something couldn't be downloaded, or a key couldn't: by makepkg, by pacman, by what a PKGBUILD runs.
const NO_DOWNLOAD: [&str; 23] = [
    "Failure while downloading",
    "Could not download sources",
    "failed retrieving file",
    "failed to retrieve",
    "unknown public key",
    "Could not resolve host",
    "Temporary failure in name resolution",
    "no such host",
    "ENOTFOUND",
    "EAI_AGAIN",
    "Connection timed out",
    "Connection refused",
    "Connection reset",
    "Operation timed out",
    "i/o timeout",
    "ETIMEDOUT",
    "ECONNREFUSED",
    "ECONNRESET",
    "curl: (",
    "fatal: unable to access 'http",
    "fatal: unable to connect",
    "early EOF",
    "RPC failed",
];

impl Failure {
    /// Whether it would most likely fail again as long as nothing has changed: neither a network nor a server was in it, nor
    /// another entry of the list.
    pub fn may_wait(&self) -> bool {
        let is_own = match self.error.kind {
            Kind::Exit(_) => !NO_DOWNLOAD.iter().any(|it| self.error.output.contains(it)),
            Kind::OutOfTime => self.step == Step::Build,
            Kind::Unusable => true,
            _ => false,
        };
        is_own && matches!(self.step, Step::Version | Step::Dependencies | Step::Build)
    }
}

/// Gives an error the step that it happened at.
pub fn at(step: Step) -> impl Fn(Error) -> Failure {
    move |error| Failure { step, error }
}

/// How much of an error's beginning and of its end is remembered, in characters.
const ERROR_BEGIN: usize = 150;
const ERROR_END: usize = 300;

/// What is remembered of a failure.
#[derive(Clone, Serialize, Deserialize)]
pub struct Failed {
    /// What the line called it: its pkgbase and version, or its URL.
    pub name: String,
    /// Where.
    pub step: Step,
    /// How, on a line.
    pub error: String,
    /// The file with what was printed.
    pub log: Option<PathBuf>,
    /// When, in seconds since 1970.
    pub time: u64,
}

/// An error on a line: its beginning, which says what has failed, and its end, which says why, as commands do.
fn shortened(error: &str) -> String {
    let line = one_line(error, usize::MAX);
    let count = line.chars().count();
    if count <= ERROR_BEGIN + ERROR_END {
        return line;
    }
    let begin: String = line.chars().take(ERROR_BEGIN).collect();
    let end: String = line.chars().skip(count.saturating_sub(ERROR_END)).collect();
    format!("{begin} … {end}")
}

impl Failed {
    /// What is remembered of a line that says why something isn't built: a failure, or that it is held.
    pub fn of(line: &Line) -> Option<Failed> {
        if let Some(waits) = &line.facts.waits {
            return Some(waits.failed.clone());
        }
        let (step, error) = match &line.outcome {
            Outcome::Held(why) => (Step::Clone, format!("held: {why}")),
            _ => {
                let Failure { step, error } = line.failure()?;
                (*step, error.to_string())
            }
        };
        Some(Failed {
            name: line.name.clone(),
            step,
            error: shortened(&error),
            log: line.facts.log.clone(),
            time: since_1970(),
        })
    }
}
