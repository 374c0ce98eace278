//! The same for programs: a JSON object for each repository, and a file with all of a run's.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Archived, Failure, Line, Outcome};
use crate::clock::{since_1970, utc};
use crate::error::{Error, Result};
use crate::replace::replace;
use crate::text::{json_escaped, masked};

/// A line's object. What isn't known is null.
#[derive(Serialize)]
struct Object<'a> {
    outcome: &'a str,
    /// The pkgbase and its version, or the URL; of what has gone from the list, its repository and name.
    name: &'a str,
    url: Option<String>,
    branch: Option<&'a str>,
    path: Option<&'a str>,
    repo: Option<&'a str>,
    commit: Option<&'a str>,
    pkgbase: Option<&'a str>,
    version: Option<&'a str>,
    published: Option<&'a str>,
    step: Option<String>,
    error: Option<String>,
    /// Why it is held.
    held: Option<&'a str>,
    /// What came after the approved commit: the newest one, and how many there are.
    tip: Option<&'a str>,
    to_review: Option<u64>,
    /// When what failed before is tried again.
    next_try: Option<String>,
    seconds: f64,
    log: Option<&'a Path>,
    archives: &'a [Archived],
}

/// The object of a line, as text on one line.
pub fn line(line: &Line) -> String {
    let (facts, failure) = (&line.facts, line.failure());
    let entry = facts.entry.as_deref();
    let is_of_none = matches!(line.outcome, Outcome::Gone | Outcome::Removed);
    let object = Object {
        outcome: line.outcome.name(),
        name: &line.name,
        url: (!is_of_none).then(|| entry.map_or_else(|| line.url.clone(), |it| masked(&it.url))),
        branch: entry.map(|it| it.branch.as_str()),
        path: entry.map(|it| it.path.as_str()),
        repo: entry.map(|it| it.publish_to.as_str()),
        commit: facts.commit.as_deref(),
        pkgbase: facts.pkgbase.as_deref(),
        version: facts.version.as_deref(),
        published: facts.published.as_deref().filter(|it| !it.is_empty()),
        step: failure.map(|Failure { step, .. }| step.to_string()),
        error: failure.map(|Failure { error, .. }| error.to_string()),
        held: match &line.outcome {
            Outcome::Held(why) => Some(why),
            _ => None,
        },
        tip: facts.to_review.as_ref().map(|it| it.tip.as_str()),
        to_review: facts.to_review.as_ref().and_then(|it| it.count),
        next_try: facts.waits.as_ref().map(|it| utc(it.next)),
        seconds: line.took.as_secs_f64(),
        log: facts.log.as_deref(),
        archives: &facts.archives,
    };
    // Nothing in it can fail to be written.
    json_escaped(&serde_json::to_string(&object).unwrap_or_default())
}

/// A file with what was told of a run so far. A run that was killed leaves one, too, which isn't finished.
pub struct Report {
    path: PathBuf,
    told: Told,
}

/// What is in it.
#[derive(Serialize)]
struct Told {
    started: String,
    /// None as long as the run isn't.
    ended: Option<String>,
    entries: Vec<Box<RawValue>>,
}

impl Report {
    /// Writes the beginning of one.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin(path: PathBuf) -> Result<Report> {
        let told = Told {
            started: utc(since_1970()),
            ended: None,
            entries: vec![],
        };
        let report = Report { path, told };
        let advice = "--report (VIETER_REPORT) takes a file that can be written";
        report.write().map_err(|error| error.advise(advice))?;
        Ok(report)
    }

    /// Adds a line.
    pub fn add(&mut self, of: &Line) {
        self.told.entries.extend(RawValue::from_string(line(of)));
    }

    /// Says that the run has ended.
    pub fn end(&mut self) {
        self.told.ended = Some(utc(since_1970()));
        self.try_to_write();
    }

    /// Writes it. That it can't be written is no reason for a run to end.
    pub fn try_to_write(&self) {
        let _ = self.write().inspect_err(|error| log::warn!("{error}"));
    }

    /// Writes it, as a whole.
    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.told).map_err(Into::into);
        let written = text.and_then(|text| replace(&self.path, &text));
        let what = || format!("writing the report {}", self.path.display());
        written.map_err(|error| Error::unusable(what(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_no_entry_has_no_url() {
        let url = |outcome| {
            let text = line(&Line::untouched("vieter/x 1-1".to_owned(), outcome));
            let object: serde_json::Value = serde_json::from_str(&text).unwrap();
            object["url"].clone()
        };
        assert_eq!(url(Outcome::Gone), serde_json::Value::Null);
        assert_eq!(url(Outcome::Removed), serde_json::Value::Null);
        assert_eq!(url(Outcome::NotBuilt(None)), "vieter/x 1-1");
    }
}
