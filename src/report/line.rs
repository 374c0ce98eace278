//! What is told of one repository: what happened to it, and what is known of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Failed, Failure, Step};
use crate::clock::{ago, weekday};
use crate::error::Kind;
use crate::list::Repo;
use crate::look::Head;
use crate::words::{Commit, PackageName, Version, if_any};

/// What happened to a repository.
pub enum Outcome {
    /// At least one archive was published.
    Built,
    /// All that it makes was published already.
    UpToDate,
    /// It lacks what would be built now, but for that nothing is to be built (`--dry-run`).
    WouldBuild,
    /// Nothing more of it was done.
    Failed(Failure),
    /// The run ended before it was done with, and before it was reached if there is no failure.
    NotBuilt(Option<Failure>),
    /// Nothing of it was run, as no commit of it is approved that is there: why.
    Held(String),
    /// A package that no entry of the list makes any more.
    Gone,
    /// One that was removed for that.
    Removed,
}

impl Outcome {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Built => "built",
            Outcome::UpToDate => "up to date",
            Outcome::WouldBuild => "would build",
            Outcome::Failed(_) => "failed",
            Outcome::NotBuilt(_) => "not built",
            Outcome::Held(_) => "held",
            Outcome::Gone => "gone",
            Outcome::Removed => "removed",
        }
    }

    /// What it is called where there may be many of them.
    pub fn counted(&self) -> &'static str {
        match self {
            Outcome::WouldBuild => "would be built",
            other => other.name(),
        }
    }
}

/// What is known of a repository, beside what happened to it.
#[derive(Clone, Default)]
pub struct Facts {
    /// Its entry of the list.
    pub entry: Option<Rc<Repo>>,
    /// The commit that it is of.
    pub commit: Option<Commit>,
    /// Its pkgbase.
    pub pkgbase: Option<PackageName>,
    /// The version that it makes.
    pub version: Option<Version>,
    /// The version that is published, or nothing if none is; `None` if it isn't known.
    pub published: Option<String>,
    /// Its packages.
    pub names: Vec<PackageName>,
    /// The Git sources that its version depends on; `None` if they can't be known.
    pub sources: Option<Vec<Head>>,
    /// That it failed before, and isn't tried again yet.
    pub waits: Option<Waits>,
    /// What came after the approved commit.
    pub to_review: Option<ToReview>,
    /// Whether its commit was approved in this run, as an update.
    pub is_update: bool,
    /// The file with all that was printed.
    pub log: Option<PathBuf>,
    /// When the try that it is of began and ended, in seconds since 1970.
    pub times: [u64; 2],
    /// The archives that were published.
    pub archives: Vec<Archived>,
}

/// A failure that isn't tried again yet.
#[derive(Clone)]
pub struct Waits {
    /// What it was.
    pub failed: Failed,
    /// When it is tried again, in seconds since 1970.
    pub next: u64,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ago = ago(self.failed.time);
        write!(f, "{ago}, next try on {}", weekday(self.next))
    }
}

/// What came after the approved commit of an entry, and nobody has approved yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToReview {
    /// The approved commit.
    pub approved: Commit,
    /// The newest one; `None` if it isn't one that git makes.
    #[serde(default, deserialize_with = "if_any")]
    pub tip: Option<Commit>,
    /// How many there are between them, if that is known: none if the branch was set back.
    pub count: Option<u64>,
    /// Whether it was looked at whether they are an update, and nothing else.
    pub is_judged: bool,
}

impl fmt::Display for ToReview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(1) => f.write_str("1 commit to review"),
            Some(0) => f.write_str("its branch was set back; to review"),
            Some(count) => write!(f, "{count} commits to review"),
            None => f.write_str("commits to review"),
        }
    }
}

/// An archive that was published.
#[derive(Clone, Debug, Serialize)]
pub struct Archived {
    /// What it is called.
    pub file: String,
    /// In bytes.
    pub size: u64,
    /// Of its bytes, in hexadecimal digits; empty if nobody is told.
    pub sha256: String,
}

/// One line of the summary.
pub struct Line {
    /// The pkgbase and its version, or, as long as they aren't known, the repository's URL.
    pub name: String,
    /// The repository's URL: a name can be anybody's.
    pub url: String,
    /// What happened to it.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
    /// What else is known of it.
    pub facts: Facts,
}

impl Line {
    /// Of a repository that nothing is known of but its URL; or of whatever else is called so.
    pub fn untouched(url: String, outcome: Outcome) -> Line {
        Line {
            name: url.clone(),
            url,
            outcome,
            took: Duration::ZERO,
            facts: Facts::default(),
        }
    }

    /// Of an entry that nothing was done with.
    pub fn of(repo: &Rc<Repo>, outcome: Outcome) -> Line {
        let mut line = Line::untouched(repo.name(), outcome);
        line.facts.entry = Some(repo.clone());
        line
    }

    /// The log of this try: what waits has another night's.
    pub fn own_log(&self) -> Option<&Path> {
        let Facts { log, waits, .. } = &self.facts;
        log.as_deref().filter(|_| waits.is_none())
    }

    /// How it failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Failed(failure) | Outcome::NotBuilt(Some(failure)) => Some(failure),
            _ => None,
        }
    }

    /// Whether it is the dependencies that could not be installed: another repository may bring them.
    pub fn lacks_dependencies(&self) -> bool {
        self.failure().is_some_and(|it| {
            it.step == Step::Dependencies && matches!(it.error.kind, Kind::Exit(_) | Kind::Waits)
        })
    }

    /// Whether the builder image has to be brought up to date before it can be built.
    pub fn needs_newer_image(&self) -> bool {
        self.failure()
            .is_some_and(|it| it.error.kind == Kind::Outdated)
    }

    /// Whether it has to come behind all entries that were not looked at yet.
    pub fn came_early(&self) -> bool {
        self.failure()
            .is_some_and(|it| it.error.kind == Kind::Early)
    }

    /// The URL, if the name isn't that.
    pub fn url_behind(&self, before: &str) -> String {
        match self.url == self.name {
            true => String::new(),
            false => format!("{before}{}", self.url),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, facts) = (&self.name, &self.facts);
        write!(f, "{:<10}  {name}", self.outcome.name())?;
        match &facts.to_review {
            Some(to_review) => write!(f, "  ({to_review})")?,
            None if facts.is_update => f.write_str("  (an update)")?,
            None => (),
        }
        match &self.outcome {
            Outcome::Held(why) => return write!(f, "  ({why})"),
            Outcome::WouldBuild => {
                let published = match facts.published.as_deref() {
                    Some("") => "nothing is published",
                    Some(version) => &format!("{version} is published"),
                    None => "it isn't known what is published",
                };
                write!(f, "  ({published})")?;
            }
            _ => (),
        }
        let took = self.took.as_secs_f64();
        let Some(Failure { step, .. }) = self.failure() else {
            return match self.took.is_zero() {
                true => Ok(()),
                false => write!(f, "  {took:.1} s"),
            };
        };
        write!(f, "  at {step}")?;
        match &facts.waits {
            Some(waits) => write!(f, ", {waits}")?,
            None => write!(f, "  {took:.1} s")?,
        }
        if let Some(log) = &facts.log {
            write!(f, "; log: {}", log.display())?;
        }
        f.write_str(&self.url_behind("  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_failure_ends_with_its_url() {
        let failure = Failure {
            step: Step::Build,
            error: Error::new(Kind::Exit(1), "odd"),
        };
        let mut line = Line::untouched("git://x".to_owned(), Outcome::Failed(failure));
        assert_eq!(line.to_string(), "failed      git://x  at build  0.0 s");
        line.name = "x 1-1".to_owned();
        line.facts.log = Some("x.log".into());
        let told = "failed      x 1-1  at build  0.0 s; log: x.log  git://x";
        assert_eq!(line.to_string(), told);
        line.outcome = Outcome::Built;
        assert_eq!(line.to_string(), "built       x 1-1");
    }
}
