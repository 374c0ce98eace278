//! What became of each repository: the summary at the end of a run.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Kind};

/// The step of a repository's build that failed: `list` (its entry), `container`, `clone`, `keys`, `version`, `check`,
/// `dependencies`, `build` or `publish`.
pub type Step = &'static str;

/// What happened to a repository.
#[derive(Debug)]
pub enum Outcome {
    /// At least one archive was published.
    Built,
    UpToDate,
    Failed(Step, Error),
}

/// One line of the summary.
#[derive(Debug)]
pub struct Line {
    pub outcome: Outcome,
    /// The pkgbase and its version, or, as long as they aren't known, the repository's URL.
    pub name: String,
    pub time: Duration,
}

impl Line {
    /// What became of a repository, in so much time.
    pub fn new(outcome: Outcome, name: String, time: Duration) -> Line {
        Line {
            outcome,
            name,
            time,
        }
    }

    /// Whether it is the dependencies that could not be installed: another repository may bring them.
    pub fn lacks_dependencies(&self) -> bool {
        let ended = |error: &Error| matches!(error.kind, Kind::Command(Some(_)));
        matches!(&self.outcome, Outcome::Failed("dependencies", error) if ended(error))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.outcome {
            Outcome::Built => "built",
            Outcome::UpToDate => "up to date",
            Outcome::Failed(..) => "failed",
        };
        write!(f, "{what:<10}  {}", self.name)?;
        if let Outcome::Failed(step, _) = self.outcome {
            write!(f, "  at {step}")?;
        }
        write!(f, "  {:.1} s", self.time.as_secs_f64())
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
        match &line.outcome {
            Outcome::Built => self.built += 1,
            Outcome::UpToDate => self.up_to_date += 1,
            Outcome::Failed(..) => self.failed += 1,
        }
        match &line.outcome {
            Outcome::Failed(step, error) => log::error!("{}: failed at {step}: {error}", line.name),
            _ => log::info!("{line}"),
        }
        self.lines.push(line);
    }

    /// How many repositories were built.
    pub fn built(&self) -> usize {
        self.built
    }

    /// 0 if all went well, 1 if a repository failed.
    pub fn exit_code(&self) -> u8 {
        self.failed.min(1) as u8
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            lines,
            built,
            up_to_date,
            failed,
        } = self;
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "{built} built, {up_to_date} up to date, {failed} failed")
    }
}
