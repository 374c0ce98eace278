//! What is remembered from run to run, in the file that `--state` names: of each entry the commit that was looked at and what it
//! made, and what failed. It may be lost, or wrong, with no harm but time: what is published is asked of whoever has it, and
//! nothing here is believed for longer than a week, but for whose a name is. Not here: what a folder remembers of its packages (`home::records`).

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::{DAY, HOUR, since_1970};
use crate::error::{Error, Result};
use crate::list::Repo;
use crate::look::Head;
use crate::owners::{Key, Listed, Owners, belongs_to, names_of};
use crate::replace::replace;
use crate::report::{Failed, Line, Outcome, ToReview};
use crate::text::one_line;
use crate::words::Arch;

/// The longest wait, and how long a look counts, in days.
const WEEK: u64 = 7;

/// What is remembered.
pub struct Memory {
    /// Where; nothing is remembered without.
    path: Option<PathBuf>,
    arch: Arch,
    text: Text,
    /// Whether it has to be written.
    is_changed: bool,
}

/// What is in the file.
#[derive(Default, Serialize, Deserialize)]
struct Text {
    /// When the kept builder image was made, and when it was last found to be up to date, in seconds since 1970.
    refreshed: Option<(u64, u64)>,
    /// By what [`name`] calls them.
    entries: BTreeMap<String, Seen>,
}

/// What is remembered of an entry.
#[derive(Clone, Serialize, Deserialize)]
pub struct Seen {
    entry: Key,
    /// What was looked at, or nothing if it has no commits.
    pub commit: String,
    /// The Git sources of a PKGBUILD with a `pkgver()`; `None` if they can't be known, so that a container has to look.
    pub sources: Option<Vec<Head>>,
    /// What it is, and makes.
    pub pkgbase: String,
    /// Its packages.
    pub names: Vec<String>,
    /// Their version.
    pub version: String,
    /// When a container last found it published, in seconds since 1970.
    pub looked: u64,
    /// What came after its approved commit, when it was last looked at.
    #[serde(default)]
    pub to_review: Option<ToReview>,
    /// How its last build failed, if it did.
    pub waiting: Option<Waiting>,
}

/// A build that failed, and isn't tried again at once.
#[derive(Clone, Serialize, Deserialize)]
pub struct Waiting {
    /// When, where, and how.
    pub failed: Failed,
    /// How often, with this commit.
    tries: u32,
    /// The base image that it failed with.
    base: String,
}

impl Waiting {
    /// When it is tried again, in seconds since 1970: after one day, two, four, and then each week.
    pub fn next(&self) -> u64 {
        let doublings = self.tries.saturating_sub(1).min(3);
        let days = 1_u64.checked_shl(doublings).unwrap_or(WEEK).min(WEEK);
        self.failed.time.saturating_add(days.saturating_mul(DAY))
    }

    /// Whether it isn't tried yet, with this base image. A night's run may begin a bit earlier than the last one's.
    pub fn holds(&self, base: &str) -> bool {
        let now = since_1970();
        let is_past = self.failed.time <= now;
        self.base == base && is_past && now.saturating_add(HOUR) < self.next()
    }
}

impl Seen {
    /// Whether it was looked at lately: once a week a container does, whatever is remembered.
    pub fn is_recent(&self) -> bool {
        is_within(WEEK, self.looked)
    }

    /// Whether it was looked at within a day.
    pub fn is_of_today(&self) -> bool {
        is_within(1, self.looked)
    }

    /// Makes fit for a log what is shown of it: whoever can write the file may have written anything.
    fn make_fit(&mut self) {
        self.pkgbase = one_line(&self.pkgbase, 300);
        self.version = one_line(&self.version, 300);
        if let Some(Waiting { failed, .. }) = &mut self.waiting {
            failed.name = one_line(&failed.name, 600);
            failed.error = one_line(&failed.error, 300);
            let log = failed.log.take();
            failed.log = log.map(|it| one_line(&it.to_string_lossy(), 4096).into());
        }
    }

    fn has(&self, name: &str) -> bool {
        let names = names_of(&self.pkgbase, &self.names);
        !self.names.is_empty() && names.iter().any(|it| it == name)
    }
}

/// Whether a time, in seconds since 1970, is less than so many days ago. A night's run may begin a bit earlier than the last one's.
fn is_within(days: u64, time: u64) -> bool {
    let age = since_1970().checked_sub(time);
    let most = days.saturating_mul(DAY).saturating_sub(HOUR);
    age.is_some_and(|it| it < most)
}

/// What an entry is called in the file.
fn name(arch: &Arch, repo: &Repo) -> String {
    let Key { url, branch, path } = Key::of(repo);
    format!("{}/{arch} {url} {branch} {path}", repo.publish_to)
}

impl Memory {
    /// Reads a file; nothing is remembered if there is none, or if it can't be read.
    pub fn open(path: Option<PathBuf>, arch: &Arch) -> Memory {
        let text = path.as_deref().map(read).transpose();
        let text =
            text.inspect_err(|error| log::warn!("{error}; going on without what it remembers"));
        Memory {
            path,
            arch: arch.clone(),
            text: text.ok().flatten().unwrap_or_default(),
            is_changed: false,
        }
    }

    /// Whether anything is remembered.
    pub fn is_on(&self) -> bool {
        self.path.is_some()
    }

    /// Whether the builder image that was made at this time was found to be up to date within a day.
    pub fn is_of_today(&self, made: u64) -> bool {
        let refreshed = self.text.refreshed.filter(|(its, _)| *its == made);
        is_within(1, refreshed.map_or(made, |(_, time)| time))
    }

    /// Remembers that it is up to date now.
    pub fn note_refreshed(&mut self, made: u64) {
        self.text.refreshed = Some((made, since_1970()));
        self.is_changed = true;
    }

    /// What is remembered of an entry.
    pub fn find(&self, repo: &Repo) -> Option<&Seen> {
        self.text.entries.get(&name(&self.arch, repo))
    }

    /// Refuses names that another entry had when it was last read, if that is on the list still and wasn't read in this run. For
    /// servers, as a folder has records of its own.
    ///
    /// # Errors
    /// That.
    pub fn must_not_be_anothers(
        &self,
        repo: &Repo,
        names: &[&str],
        listed: &Listed,
        owners: &Owners,
    ) -> Result<()> {
        let (key, to) = (Key::of(repo), &repo.publish_to);
        let place = format!("{to}/{} ", self.arch);
        let here = self
            .text
            .entries
            .iter()
            .filter(|(it, _)| it.starts_with(&place));
        let others = here.map(|(_, seen)| seen).filter(|seen| seen.entry != key);
        for seen in others {
            let owner = &seen.entry;
            if let Some(name) = names.iter().find(|name| seen.has(name))
                && listed.may_have(to, owner)
                && !owners.have_read(to, owner)
            {
                return Err(belongs_to(name, repo, &owner.name()));
            }
        }
        Ok(())
    }

    /// Remembers what became of an entry. `base` is the id of the base image that it was built with.
    /// `is_forced` says that it was built although there may have been no reason to: then it doesn't wait.
    pub fn keep(&mut self, line: &Line, base: &str, is_forced: bool) {
        let (facts, now) = (&line.facts, since_1970());
        let Some(repo) = facts.entry.as_deref().filter(|_| self.is_on()) else {
            return;
        };
        let name = name(&self.arch, repo);
        // One whose wait goes on wasn't looked at, but for what came after its approved commit.
        if facts.waits.is_some() {
            if let Some(seen) = self.text.entries.get_mut(&name) {
                self.is_changed |= seen.to_review != facts.to_review;
                seen.to_review.clone_from(&facts.to_review);
            }
            return;
        }
        let before = self.text.entries.remove(&name);
        let commit = facts.commit.clone().unwrap_or_default();
        let looked = match &line.outcome {
            Outcome::Built | Outcome::UpToDate => now,
            _ => 0,
        };
        let mut seen = Seen {
            entry: Key::of(repo),
            commit,
            sources: facts.sources.clone(),
            pkgbase: String::new(),
            names: facts.names.clone(),
            version: facts.version.clone().unwrap_or_default(),
            looked,
            to_review: facts.to_review.clone(),
            waiting: None,
        };
        // Its own only if it was let have them.
        if !seen.names.is_empty() {
            seen.pkgbase = facts.pkgbase.clone().unwrap_or_default();
        }
        if let Some(before) = before {
            // What it makes it makes, as far as is known, until it is read again.
            if seen.names.is_empty() {
                (seen.names, seen.pkgbase) = (before.names, before.pkgbase);
            }
            // Sources that couldn't be asked are no others.
            let is_known = before.sources.is_some() && seen.sources.is_some();
            let are_same = !is_known || before.sources == seen.sources;
            let is_same = before.commit == seen.commit && are_same;
            if facts.commit.is_none() {
                (seen.commit, seen.sources) = (before.commit, before.sources);
                (seen.version, seen.looked) = (before.version, before.looked);
                seen.to_review = before.to_review;
            }
            seen.waiting = before.waiting.filter(|_| is_same || facts.commit.is_none());
        }
        match &line.outcome {
            Outcome::Failed(failure)
                if failure.may_wait() && !is_forced && facts.commit.is_some() =>
            {
                let tries = seen.waiting.map_or(0, |it| it.tries).saturating_add(1);
                seen.waiting = Failed::of(line).map(|failed| Waiting {
                    failed,
                    tries,
                    base: base.to_owned(),
                });
            }
            Outcome::Built | Outcome::UpToDate => seen.waiting = None,
            _ => (),
        }
        self.text.entries.insert(name, seen);
        self.is_changed = true;
    }

    /// Writes the file. That it can't be is no reason for a run to fail.
    pub fn save(&mut self) {
        let Some(path) = self.path.as_deref().filter(|_| self.is_changed) else {
            return;
        };
        self.is_changed = false;
        let failed = |error: std::io::Error| {
            Error::unusable(format!("writing the state {}", path.display()), error)
        };
        let text = serde_json::to_vec(&self.text).map_err(Into::into);
        let written = text.and_then(|text| replace(path, &text)).map_err(failed);
        let _ = written.inspect_err(|error| log::warn!("{error}"));
    }
}

fn read(path: &Path) -> Result<Text> {
    let bad = |why: String| Error::unusable(format!("reading the state {}", path.display()), why);
    match fs::read(path) {
        Ok(bytes) => {
            let text: serde_json::Result<Text> = serde_json::from_slice(&bytes);
            let mut text = text.map_err(|error| bad(error.to_string()))?;
            text.entries.values_mut().for_each(Seen::make_fit);
            Ok(text)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Text::default()),
        Err(error) => Err(bad(error.to_string())),
    }
}
