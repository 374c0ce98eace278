//! What became of each repository: a line as soon as it is known, and the counts at the end of a run. Not here: why it came so (`job`).

mod failure;
mod json;
mod line;

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

pub use self::failure::{Failed, Failure, Step, at};
use self::json::Report;
pub use self::line::{Archived, Facts, Line, Outcome, ToReview, Waits};
use crate::error::Result;
use crate::list::Repo;
use crate::screen;

/// The exit code when nothing has failed, but a person has to look at something.
pub const TO_REVIEW: u8 = 5;

/// How a run is told, beside the log.
#[derive(Clone, Default)]
pub struct Settings {
    /// Whether the lines are JSON, for programs.
    pub json: bool,
    /// Where to write what there is to tell, as JSON.
    pub report: Option<PathBuf>,
}

/// What is told of a run.
#[derive(Default)]
pub struct Summary {
    counts: Counts,
    json: bool,
    report: Option<Report>,
    /// The entries that were tried, and what failed of them.
    pub tried: Vec<Tried>,
}

/// An entry, and how it failed, if it did.
pub type Tried = (Rc<Repo>, Option<Box<Failed>>);

/// How many repositories of a run there are of each outcome.
#[derive(Default, PartialEq)]
struct Counts {
    built: usize,
    up_to_date: usize,
    failed: usize,
    not_built: usize,
    would_build: usize,
    held: usize,
    to_review: usize,
    gone: usize,
    removed: usize,
}

impl Summary {
    /// Of a run that begins.
    ///
    /// # Errors
    /// A report that can't be written.
    pub fn new(settings: Settings) -> Result<Summary> {
        let report = settings.report.map(Report::begin).transpose()?;
        Ok(Summary {
            report,
            json: settings.json,
            counts: Counts::default(),
            tried: vec![],
        })
    }

    /// Tells a line that is final, in the log and, at once, on the standard output: whatever ends the run, what was done
    /// stands there. A reader that has gone away is no reason to fail.
    pub fn add(&mut self, line: Line) {
        match line.failure() {
            Some(Failure { step, error }) => {
                let (name, url) = (&line.name, line.url_behind(" of "));
                let waits = line.facts.waits.as_ref();
                let waits = waits.map_or(String::new(), |it| format!(", {it}"));
                log::error!("{name}{url}: failed at {step}{waits}: {error}");
            }
            None => log::info!("{line}"),
        }
        match self.json {
            true => screen::tell(format_args!("{}\n", json::line(&line))),
            false => screen::tell(format_args!("{line}\n")),
        }
        let counts = &mut self.counts;
        let count = match line.outcome {
            Outcome::Built => &mut counts.built,
            Outcome::UpToDate => &mut counts.up_to_date,
            Outcome::WouldBuild => &mut counts.would_build,
            Outcome::Failed(_) => &mut counts.failed,
            Outcome::NotBuilt(_) => &mut counts.not_built,
            Outcome::Held(_) => &mut counts.held,
            Outcome::Gone => &mut counts.gone,
            Outcome::Removed => &mut counts.removed,
        };
        *count = count.saturating_add(1);
        if line.facts.to_review.is_some() {
            counts.to_review = counts.to_review.saturating_add(1);
        }
        if let Some(report) = &mut self.report {
            report.add(&line);
        }
        if let Some(entry) = &line.facts.entry {
            let failed = Failed::of(&line).map(Box::new);
            self.tried.push((entry.clone(), failed));
        }
    }

    /// Tells the counts, once there is nothing more to be told.
    pub fn end(&mut self) {
        if !self.json {
            screen::tell(&self.counts);
        }
        if let Some(report) = &mut self.report {
            report.end();
        }
    }

    /// Whether anything was told.
    pub fn has_lines(&self) -> bool {
        self.counts != Counts::default()
    }

    /// Whether nothing has failed, or wasn't reached.
    pub fn is_well(&self) -> bool {
        self.counts.failed == 0 && self.counts.not_built == 0
    }

    /// 0 if all went well, 1 if a repository failed, 5 if none has, but something is to be reviewed.
    pub fn exit_code(&self) -> u8 {
        let Counts {
            failed,
            held,
            to_review,
            ..
        } = self.counts;
        match (failed, held, to_review) {
            (0, 0, 0) => 0,
            (0, _, _) => TO_REVIEW,
            _ => 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (built, up_to_date, failed) = (self.built, self.up_to_date, self.failed);
        write!(f, "{built} built, {up_to_date} up to date, {failed} failed")?;
        let others = [
            (self.not_built, "not built"),
            (self.would_build, "would be built"),
            (self.held, "held"),
            (self.to_review, "to review"),
            (self.gone, "gone"),
            (self.removed, "removed"),
        ];
        for (count, what) in others.iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        writeln!(f)
    }
}
