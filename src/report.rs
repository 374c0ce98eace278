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

/// One line of the summary: what happened, to what (the pkgbase and its version, or, as long as they aren't known, the
/// repository's URL), and how long it took.
#[derive(Debug)]
pub struct Line(pub Outcome, pub String, pub Duration);

impl Line {
    /// Whether it is the dependencies that could not be installed: another repository may bring them.
    pub fn lacks_dependencies(&self) -> bool {
        let ended = |error: &Error| matches!(error.kind, Kind::Command(Some(_)));
        matches!(&self.0, Outcome::Failed("dependencies", error) if ended(error))
    }

    fn word(&self) -> &'static str {
        match self.0 {
            Outcome::Built => "built",
            Outcome::UpToDate => "up to date",
            Outcome::Failed(..) => "failed",
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10}  {}", self.word(), self.1)?;
        if let Outcome::Failed(step, _) = self.0 {
            write!(f, "  at {step}")?;
        }
        write!(f, "  {:.1} s", self.2.as_secs_f64())
    }
}

/// All of a run, in the order in which it happened.
#[derive(Debug, Default)]
pub struct Summary(Vec<Line>);

impl Summary {
    /// Adds a line, and says it in the log.
    pub fn add(&mut self, line: Line) {
        match &line.0 {
            Outcome::Failed(step, error) => log::error!("{}: failed at {step}: {error}", line.1),
            _ => log::info!("{line}"),
        }
        self.0.push(line);
    }

    /// How many repositories were `built`, `up to date` or `failed`.
    pub fn count(&self, word: &str) -> usize {
        self.0.iter().filter(|line| line.word() == word).count()
    }

    /// 0 if all went well, 1 if a repository failed.
    pub fn exit_code(&self) -> u8 {
        self.count("failed").min(1) as u8
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        let counts = ["built", "up to date", "failed"].map(|it| format!("{} {it}", self.count(it)));
        writeln!(f, "{}", counts.join(", "))
    }
}
