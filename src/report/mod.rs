//! What became of each repository: a line as soon as it is known, and the counts at the end of a run. Not here: why it came so (`job`).

mod failure;
mod json;
mod line;

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

/// What is counted, in the order in which it is told; the first three are told in any case.
const COUNTED: &str =
    "built, up to date, failed, not built, would be built, held, to review, gone, removed";
const ALWAYS_TOLD: usize = 3;

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
    /// How many there are of each of what was counted.
    counts: Vec<(&'static str, usize)>,
    json: bool,
    report: Option<Report>,
    /// The entries that were tried.
    pub tried: Vec<Tried>,
}

/// An entry that was tried.
pub struct Tried {
    /// Which one.
    pub entry: Rc<Repo>,
    /// How it failed, if it did.
    pub failed: Option<Box<Failed>>,
}

impl Summary {
    /// Of a run that begins.
    ///
    /// # Errors
    /// A report that can't be written, or would be written over what is none.
    pub fn new(settings: Settings) -> Result<Summary> {
        Ok(Summary {
            report: settings.report.map(Report::new).transpose()?,
            json: settings.json,
            ..Summary::default()
        })
    }

    /// Begins the report, if there is one, and it isn't begun yet.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin(&mut self) -> Result<()> {
        self.report.as_mut().map_or(Ok(()), Report::begin)
    }

    /// Tells a line that is final, in the log and, at once, on the standard output: whatever ends the run, what was done
    /// stands there. A reader that has gone away is no reason to fail.
    pub fn add(&mut self, line: &Line) {
        self.add_of_many(line);
        self.write_report();
    }

    /// The same for one of many that come at once: the report is left to whoever has added the last, as it is written as a whole.
    pub fn add_of_many(&mut self, line: &Line) {
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
            true => screen::tell(format_args!("{}\n", json::line(line))),
            false => screen::tell(format_args!("{line}\n")),
        }
        self.count(line.outcome.counted());
        if line.facts.to_review.is_some() {
            self.count("to review");
        }
        if let Some(report) = &mut self.report {
            report.add(line);
        }
        if let Some(entry) = &line.facts.entry {
            self.tried.push(Tried {
                entry: entry.clone(),
                failed: Failed::of(line).map(Box::new),
            });
        }
    }

    /// Writes the report, if there is one.
    pub fn write_report(&mut self) {
        if let Some(report) = &mut self.report {
            report.try_to_write();
        }
    }

    fn count(&mut self, what: &'static str) {
        match self.counts.iter_mut().find(|(its, _)| *its == what) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.counts.push((what, 1)),
        }
    }

    /// Tells the counts, once there is nothing more to be told.
    pub fn end(&mut self) {
        if !self.json {
            let mut told = vec![];
            for (place, what) in COUNTED.split(", ").enumerate() {
                let count = self.counts.iter().find(|(its, _)| *its == what);
                let count = count.map_or(0, |(_, count)| *count);
                if count > 0 || place < ALWAYS_TOLD {
                    told.push(format!("{count} {what}"));
                }
            }
            screen::tell(format_args!("{}\n", told.join(", ")));
        }
        if let Some(report) = &mut self.report {
            report.end();
        }
    }

    /// Whether anything was told.
    pub fn has_lines(&self) -> bool {
        !self.counts.is_empty()
    }

    /// Whether nothing has failed, wasn't reached, or is held.
    pub fn is_well(&self) -> bool {
        !self.has(&["failed", "not built", "held"])
    }

    /// 0 if all went well, 1 if a repository failed, 5 if none has, but something is to be reviewed.
    pub fn exit_code(&self) -> u8 {
        if self.has(&["failed", "not built"]) {
            return 1;
        }
        if self.has(&["held", "to review"]) {
            return TO_REVIEW;
        }
        0
    }

    fn has(&self, any_of: &[&str]) -> bool {
        self.counts.iter().any(|(its, _)| any_of.contains(its))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};

    #[test]
    fn what_is_held_may_make_what_would_be_removed() {
        let mut summary = Summary::default();
        assert!(summary.is_well());
        let outcome = Outcome::Held("why".to_owned());
        summary.add(&Line::untouched("git://x".to_owned(), outcome));
        assert!(!summary.is_well());
    }

    #[test]
    fn whatever_is_counted_is_told() {
        let failure = || at(Step::Build)(Error::new(Kind::Unusable, "why"));
        for outcome in [
            Outcome::Built,
            Outcome::UpToDate,
            Outcome::WouldBuild,
            Outcome::Failed(failure()),
            Outcome::NotBuilt(Some(failure())),
            Outcome::Held(String::new()),
            Outcome::Gone,
            Outcome::Removed,
        ] {
            let what = outcome.counted();
            assert!(COUNTED.split(", ").any(|it| it == what), "{what}");
        }
    }
}
