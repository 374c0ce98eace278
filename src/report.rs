//! What became of each repository: the summary at the end of a run. Not here: why it came so (`job`).

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Kind};

/// The steps of a repository's build, in their order. Each is called by its name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Whether that version is published.
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
#[derive(Debug)]
pub struct Failure {
    /// Where.
    pub step: Step,
    /// How.
    pub error: Error,
}

/// Gives an error the step that it happened at.
pub fn at(step: Step) -> impl Fn(Error) -> Failure {
    move |error| Failure { step, error }
}

/// What happened to a repository.
#[derive(Debug)]
pub enum Outcome {
    /// At least one archive was published.
    Built,
    /// All that it makes was published already.
    UpToDate,
    /// Nothing more of it was done.
    Failed(Failure),
}

/// One line of the summary.
#[derive(Debug)]
pub struct Line {
    /// The pkgbase and its version, or, as long as they aren't known, the repository's URL.
    pub name: String,
    /// What happened to it.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
}

impl Line {
    /// Whether it is the dependencies that could not be installed: another repository may bring them.
    pub fn lacks_dependencies(&self) -> bool {
        let Outcome::Failed(Failure { step, error }) = &self.outcome else {
            return false;
        };
        *step == Step::Dependencies && matches!(error.kind, Kind::Exit(_))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line {
            name,
            outcome,
            took,
        } = self;
        let took = took.as_secs_f64();
        match outcome {
            Outcome::Built => write!(f, "built       {name}  {took:.1} s"),
            Outcome::UpToDate => write!(f, "up to date  {name}  {took:.1} s"),
            Outcome::Failed(it) => write!(f, "failed      {name}  at {}  {took:.1} s", it.step),
        }
    }
}

/// All of a run, in the order in which it happened.
#[derive(Debug, Default)]
pub struct Summary {
    lines: Vec<Line>,
    built: usize,
    up_to_date: usize,
    failed: usize,
}

impl Summary {
    /// Adds a line, and says it in the log.
    pub fn add(&mut self, line: Line) {
        let count = match &line.outcome {
            Outcome::Built => &mut self.built,
            Outcome::UpToDate => &mut self.up_to_date,
            Outcome::Failed(_) => &mut self.failed,
        };
        *count = count.saturating_add(1);
        match &line.outcome {
            Outcome::Failed(it) => {
                log::error!("{}: failed at {}: {}", line.name, it.step, it.error)
            }
            _ => log::info!("{line}"),
        }
        self.lines.push(line);
    }

    /// 0 if all went well, 1 if a repository failed.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.failed > 0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        let Summary {
            built,
            up_to_date,
            failed,
            ..
        } = self;
        writeln!(f, "{built} built, {up_to_date} up to date, {failed} failed")
    }
}
