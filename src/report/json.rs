//! The same for programs: a JSON object for each repository, and a file with all of a run's.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Archived, Failure, Line, Outcome};
use crate::clock::{since_1970, utc};
use crate::error::{Error, Result};
use crate::replace::replace;
use crate::text::{json_escaped, masked};
use crate::words::{Commit, PackageName, Version};

/// How the file begins.
const START: &str = "{\"started\":";

const ADVICE: &str = "--report (VIETER_REPORT) takes a file that can be written";

/// How much may wait to be written, in bytes.
const MOST: usize = 256 * 1024;

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
    version: Option<String>,
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
    let tip = facts.to_review.as_ref().and_then(|it| it.tip.as_ref());
    let is_of_none = matches!(line.outcome, Outcome::Gone | Outcome::Removed);
    let object = Object {
        outcome: line.outcome.name(),
        name: &line.name,
        url: (!is_of_none).then(|| entry.map_or_else(|| line.url.clone(), |it| masked(&it.url))),
        branch: entry.map(|it| it.branch.as_str()),
        path: entry.map(|it| it.path.as_str()),
        repo: entry.map(|it| it.publish_to.as_str()),
        commit: facts.commit.as_ref().map(Commit::as_str),
        pkgbase: facts.pkgbase.as_ref().map(PackageName::as_str),
        version: facts.version.as_ref().map(Version::to_string),
        published: facts.published.as_deref().filter(|it| !it.is_empty()),
        step: failure.map(|Failure { step, .. }| step.to_string()),
        error: failure.map(|Failure { error, .. }| error.to_string()),
        held: match &line.outcome {
            Outcome::Held(why) => Some(why),
            _ => None,
        },
        tip: tip.map(Commit::as_str),
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
    started: String,
    /// None as long as the run isn't.
    ended: Option<String>,
    /// The objects that aren't in the file yet, with commas between them.
    new: String,
    written: Option<Written>,
}

/// What was written last: its objects are only there, as there may be thousands of them.
struct Written {
    file: File,
    /// Where they begin, and how many bytes they have.
    begin: u64,
    size: u64,
}

impl Written {
    /// Whether there are objects in it, still: somebody may have emptied it, to have it begin anew.
    fn is_there(&self) -> bool {
        let end = self.begin.saturating_add(self.size);
        let is_whole = self.file.metadata().is_ok_and(|it| it.len() > end);
        self.size > 0 && is_whole
    }
}

impl Report {
    /// One that isn't written yet.
    ///
    /// # Errors
    /// A file that is there, and no report, or can't be read.
    pub fn new(path: PathBuf) -> Result<Report> {
        let bad = |why: &str| {
            let what = format!("writing the report {}", path.display());
            Err(Error::unusable(what, why).advise(ADVICE))
        };
        let mut start = vec![];
        // To open a pipe would be to wait for somebody at its other end.
        if fs::metadata(&path).is_ok_and(|it| it.is_file()) {
            let found = File::open(&path).map(|it| it.take(START.len() as u64));
            if let Err(error) = found.and_then(|mut it| it.read_to_end(&mut start)) {
                return bad(&format!("what is there can't be read: {error}"));
            }
        }
        if !start.is_empty() && start != START.as_bytes() {
            return bad("there is something else than the report of an earlier run, and it stays");
        }
        Ok(Report {
            path,
            started: utc(since_1970()),
            ended: None,
            new: String::new(),
            written: None,
        })
    }

    /// Writes its beginning, if it isn't there yet.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin(&mut self) -> Result<()> {
        match self.written {
            Some(_) => Ok(()),
            None => self.write().map_err(|error| error.advise(ADVICE)),
        }
    }

    /// Adds a line.
    pub fn add(&mut self, of: &Line) {
        if !self.new.is_empty() {
            self.new += ",";
        }
        self.new += &line(of);
        if self.new.len() > MOST {
            self.try_to_write();
        }
    }

    /// Says that the run has ended.
    pub fn end(&mut self) {
        self.ended = Some(utc(since_1970()));
        self.try_to_write();
    }

    /// Writes it. That it can't be written is no reason for a run to end.
    pub fn try_to_write(&mut self) {
        let _ = self.write().inspect_err(|error| log::warn!("{error}"));
    }

    /// Writes it, as a whole.
    fn write(&mut self) -> Result<()> {
        let ended = self
            .ended
            .as_ref()
            .map_or("null".to_owned(), |it| format!("\"{it}\""));
        let head = format!(
            "{START}\"{}\",\"ended\":{ended},\"entries\":[",
            self.started
        );
        let (new, mut size) = (&self.new, self.new.len() as u64);
        let written = &mut self.written;
        let file = replace(&self.path, |file| {
            file.write_all(head.as_bytes())?;
            if let Some(old) = written.as_mut().filter(|it| it.is_there()) {
                old.file.seek(SeekFrom::Start(old.begin))?;
                size = size.saturating_add(io::copy(&mut (&old.file).take(old.size), file)?);
                if !new.is_empty() {
                    file.write_all(b",")?;
                    size = size.saturating_add(1);
                }
            }
            file.write_all(new.as_bytes())?;
            file.write_all(b"]}")
        });
        let what = || format!("writing the report {}", self.path.display());
        let file = file.map_err(|error| Error::unusable(what(), error))?;
        let begin = head.len() as u64;
        self.written = Some(Written { file, begin, size });
        self.new.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_whole_however_often_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        // A list of ours, say.
        for other in ["https://x", "{", "{}"] {
            fs::write(&path, other).unwrap();
            assert!(Report::new(path.clone()).is_err());
        }
        fs::remove_file(&path).unwrap();
        // What leads elsewhere is not written through.
        let victim = dir.path().join("victim");
        fs::write(&victim, "theirs").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("report.new")).unwrap();
        let mut report = Report::new(path.clone()).unwrap();
        report.begin().unwrap();
        let told = || {
            let told: serde_json::Value =
                serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let names = told["entries"].as_array().unwrap().iter();
            let names: Vec<_> = names.map(|it| it["name"].as_str().unwrap().len()).collect();
            (names, told["ended"].is_string())
        };
        let line = |size| Line::untouched("x".repeat(size), Outcome::UpToDate);
        assert_eq!(told(), (vec![], false));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "theirs");
        report.try_to_write();
        report.add(&line(1));
        report.add(&line(2));
        assert_eq!(told(), (vec![], false));
        report.try_to_write();
        report.try_to_write();
        assert_eq!(told(), (vec![1, 2], false));
        // Whoever takes the file away doesn't take what was told.
        fs::remove_file(&path).unwrap();
        // So much isn't kept in memory.
        report.add(&line(MOST));
        assert_eq!(told(), (vec![1, 2, MOST], false));
        report.add(&line(3));
        report.end();
        assert_eq!(told(), (vec![1, 2, MOST, 3], true));
        // What somebody empties begins anew.
        fs::write(&path, "").unwrap();
        report.add(&line(4));
        report.try_to_write();
        assert_eq!(told(), (vec![4], true));
    }

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
