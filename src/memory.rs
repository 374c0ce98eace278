//! What is remembered from run to run, in the file that `--state` names: of each entry the commit that was looked at and what it
//! made, and what failed. It may be lost, or wrong, with no harm but time, and but for whose a name on a server is: what is published
//! is asked of whoever has it, and nothing else here is believed for longer than a week. Not here: what a folder remembers of its packages (`home::records`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::clock::{DAY, is_within, since_1970};
use crate::error::{Error, Result};
use crate::list::Repo;
use crate::look::Head;
use crate::owners::{Key, Listed, Owners, belongs_to, names_of};
use crate::replace::replace;
use crate::report::{Failed, Line, Outcome, ToReview};
use crate::text::{json_reader, one_line};
use crate::words::{Arch, Commit, PackageName, Version, if_any};

/// The longest wait, and how long a look counts, in days.
const WEEK: u64 = 7;

/// What is remembered.
pub struct Memory {
    /// Where; nothing is remembered without.
    path: Option<PathBuf>,
    arch: Arch,
    text: Text,
    /// When the run began, in seconds since 1970.
    begun: u64,
    /// Whether it has to be written.
    is_changed: bool,
}

/// What is in the file.
#[derive(Default, Serialize, Deserialize)]
struct Text {
    /// When the kept builder image was made, and when it was last found to be up to date, in seconds since 1970.
    refreshed: Option<(u64, u64)>,
    /// By what [`Memory::name`] calls them: each is the text of a [`Seen`], as there may be thousands of them.
    entries: BTreeMap<String, Box<RawValue>>,
}

/// What is remembered of an entry.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Seen {
    /// What was looked at; `None` if it was never brought, or has no commits.
    #[serde(default, deserialize_with = "if_any")]
    pub commit: Option<Commit>,
    /// The Git sources of a PKGBUILD with a `pkgver()`; `None` if they can't be known, so that a container has to look.
    pub sources: Option<Vec<Head>>,
    /// What it is, if that is known.
    #[serde(default, deserialize_with = "if_any")]
    pub pkgbase: Option<PackageName>,
    /// Its packages.
    pub names: Vec<PackageName>,
    /// Their version, if that is known.
    #[serde(default, deserialize_with = "if_any")]
    pub version: Option<Version>,
    /// When a container last found it published, in seconds since 1970.
    pub looked: u64,
    /// What came after its approved commit, when it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_review: Option<ToReview>,
    /// How its last build failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// How long it waits, in days.
    fn days(&self) -> u64 {
        match self.tries {
            0 | 1 => 1,
            2 => 2,
            3 => 4,
            _ => WEEK,
        }
    }

    /// When it is tried again, in seconds since 1970.
    pub fn next(&self) -> u64 {
        let days = self.days().saturating_mul(DAY);
        self.failed.time.saturating_add(days)
    }

    /// Whether it isn't tried yet, with this base image.
    pub fn holds(&self, base: &str) -> bool {
        self.base == base && is_within(self.days(), self.failed.time)
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

    /// Reads what is remembered of one, if it can be read. What is shown of it is made fit for a log: whoever can write the file may
    /// have written anything.
    fn read(text: &RawValue) -> Option<Seen> {
        let mut seen: Seen = serde_json::from_str(text.get()).ok()?;
        if let Some(Waiting { failed, .. }) = &mut seen.waiting {
            failed.name = one_line(&failed.name, 600);
            failed.error = one_line(&failed.error, 500);
            let log = failed.log.take();
            failed.log = log.map(|it| one_line(&it.to_string_lossy(), 4096).into());
        }
        Some(seen)
    }

    fn has(&self, name: &PackageName) -> bool {
        let pkgbase = self.pkgbase.as_ref();
        pkgbase.is_some_and(|it| names_of(it, &self.names).contains(name))
    }
}

impl Memory {
    /// Reads a file; nothing is remembered if there is none, or if it can't be read.
    pub fn open(path: Option<PathBuf>, arch: &Arch) -> Memory {
        let text = path.as_deref().map(read).transpose();
        let text =
            text.inspect_err(|error| log::warn!("{error}; going on without what it remembers"));
        let mut text = text.ok().flatten().unwrap_or_default();
        text.entries.retain(|name, text| {
            let is_read = Seen::read(text).is_some();
            if !is_read {
                let name = one_line(name, 600);
                log::warn!("what is remembered of {name} can't be read; going on without");
            }
            is_read
        });
        Memory {
            path,
            arch: arch.clone(),
            text,
            begun: since_1970(),
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

    /// What entries that publish to where this one does begin with in the file.
    fn place(&self, repo: &Repo) -> String {
        format!("{}/{} ", repo.publish_to, self.arch)
    }

    /// What an entry is called in the file, which [`owner`] takes apart.
    fn name(&self, repo: &Repo) -> String {
        let Key { url, branch, path } = Key::of(repo);
        let [url, branch] = [url, branch].map(|it| it.replace(' ', "\t"));
        format!("{}{url} {branch} {path}", self.place(repo))
    }

    /// What is remembered of an entry.
    pub fn find(&self, repo: &Repo) -> Option<Seen> {
        Seen::read(self.text.entries.get(&self.name(repo))?)
    }

    /// Remembers that of an entry.
    fn put(&mut self, repo: &Repo, seen: &Seen) {
        self.is_changed = true;
        // Nothing in it can fail to be written.
        let text = to_raw_value(seen).ok();
        self.text
            .entries
            .extend(text.map(|it| (self.name(repo), it)));
    }

    /// Refuses names that another entry had when it was last read, if that is on the list still and wasn't read in this run. For
    /// servers, as a folder has records of its own.
    ///
    /// # Errors
    /// That.
    pub fn must_not_be_anothers(
        &self,
        repo: &Repo,
        names: &[PackageName],
        listed: &Listed,
        owners: &Owners,
    ) -> Result<()> {
        let (key, to) = (Key::of(repo), &repo.publish_to);
        let place = self.place(repo);
        let entries = self.text.entries.iter();
        let here = entries.filter(|(name, text)| name.starts_with(&place) && may_have(text, names));
        for (called, text) in here {
            let owner = &owner(called);
            if *owner != key
                && listed.may_have(to, owner)
                && !owners.have_read(to, owner)
                && let Some(seen) = Seen::read(text)
                && let Some(name) = names.iter().find(|name| seen.has(name))
            {
                return Err(belongs_to(name, repo, owner));
            }
        }
        Ok(())
    }

    /// Forgets that other entries had these names, as this one was let have them.
    fn forget_owners(&mut self, repo: &Repo, names: &[PackageName]) {
        let (own, place) = (self.name(repo), self.place(repo));
        for (name, text) in &mut self.text.entries {
            if *name == own || !name.starts_with(&place) || !may_have(text, names) {
                continue;
            }
            let Some(mut seen) =
                Seen::read(text).filter(|it| names.iter().any(|name| it.has(name)))
            else {
                continue;
            };
            seen.names.retain(|it| !names.contains(it));
            // It isn't what it was, so a container looks.
            seen.looked = 0;
            if seen.pkgbase.as_ref().is_some_and(|it| names.contains(it)) || seen.names.is_empty() {
                (seen.pkgbase, seen.names) = (None, vec![]);
            }
            if let Ok(new) = to_raw_value(&seen) {
                *text = new;
            }
        }
    }

    /// Remembers what became of an entry. `base` is the id of the base image that it was built with.
    /// `is_forced` says that it was built although there may have been no reason to: then it doesn't wait.
    pub fn keep(&mut self, line: &Line, base: &str, is_forced: bool) {
        let facts = &line.facts;
        let Some(repo) = facts.entry.as_deref().filter(|_| self.is_on()) else {
            return;
        };
        let found = self.find(repo);
        // One whose wait goes on wasn't looked at, but for what came after its approved commit.
        if facts.waits.is_some() {
            if let Some(mut seen) = found.filter(|it| it.to_review != facts.to_review) {
                seen.to_review.clone_from(&facts.to_review);
                self.put(repo, &seen);
            }
            return;
        }
        let mut seen = found.unwrap_or_default();
        // What it makes it makes, as far as is known, until it is read again, and it is let have the names.
        if let Some(pkgbase) = &facts.pkgbase
            && !facts.names.is_empty()
            && (seen.names != facts.names || seen.pkgbase != facts.pkgbase)
        {
            seen.names.clone_from(&facts.names);
            seen.pkgbase = Some(pkgbase.clone());
            self.forget_owners(repo, &names_of(pkgbase, &facts.names));
        }
        // What couldn't be brought is what it was.
        if facts.commit.is_none() {
            return self.put(repo, &seen);
        }
        // Sources that couldn't be asked are no others.
        let is_known = seen.sources.is_some() && facts.sources.is_some();
        let are_same = !is_known || seen.sources == facts.sources;
        if seen.commit != facts.commit || !are_same {
            seen.waiting = None;
        }
        seen.commit.clone_from(&facts.commit);
        seen.sources.clone_from(&facts.sources);
        seen.version.clone_from(&facts.version);
        seen.to_review.clone_from(&facts.to_review);
        seen.looked = 0;
        match &line.outcome {
            Outcome::Built | Outcome::UpToDate => {
                seen.looked = since_1970();
                seen.waiting = None;
            }
            Outcome::Failed(failure) if failure.may_wait() && !is_forced => {
                let tries = seen.waiting.as_ref().map_or(0, |it| it.tries);
                // A build that takes hours to fail is tried on the next night, too, as days count from when runs begin.
                let time = self.begun;
                seen.waiting = Failed::of(line).map(|failed| Waiting {
                    failed: Failed { time, ..failed },
                    tries: tries.saturating_add(1),
                    base: base.to_owned(),
                });
            }
            _ => (),
        }
        self.put(repo, &seen);
    }

    /// Writes the file. That it can't be is no reason for a run to fail.
    pub fn save(&mut self) {
        let Some(path) = self.path.as_deref().filter(|_| self.is_changed) else {
            return;
        };
        self.is_changed = false;
        let written = replace(path, |file| Ok(serde_json::to_writer(file, &self.text)?));
        if let Err(error) = written {
            log::warn!("writing the state {}: {error}", path.display());
        }
    }
}

/// Whether what is remembered of an entry may have one of these names: to look into a text takes less than to parse it, and there may be
/// thousands.
fn may_have(text: &RawValue, names: &[PackageName]) -> bool {
    let mut names = names
        .iter()
        .map(|it| it.as_str().trim_end_matches("-debug"));
    names.any(|it| text.get().contains(it))
}

/// Whose an entry of the file is, by what it is called there.
fn owner(name: &str) -> Key {
    let mut words = name.splitn(4, ' ').skip(1);
    let mut word = || words.next().unwrap_or_default();
    Key {
        url: word().replace('\t', " "),
        branch: word().replace('\t', " "),
        path: word().to_owned(),
    }
}

fn read(path: &Path) -> Result<Text> {
    let bad = |why: String| Error::unusable(format!("reading the state {}", path.display()), why);
    match File::open(path) {
        Ok(file) => {
            let text = serde_json::from_reader(json_reader(file));
            text.map_err(|error| bad(error.to_string()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Text::default()),
        Err(error) => Err(bad(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::error::Kind;
    use crate::list::tests::repos;
    use crate::report::{Facts, Failure, Step};

    fn id(letter: &str) -> Commit {
        letter.repeat(40).parse().unwrap()
    }

    /// The line of an entry of this commit, which makes `x`, or couldn't be brought.
    fn line(repo: &Rc<Repo>, commit: Option<&str>, outcome: Outcome) -> Line {
        let mut line = Line::untouched(repo.name(), outcome);
        line.facts = Facts {
            entry: Some(repo.clone()),
            commit: commit.map(id),
            pkgbase: commit.map(|_| "x".parse().unwrap()),
            names: commit.iter().map(|_| "x".parse().unwrap()).collect(),
            ..Facts::default()
        };
        line
    }

    fn failed(step: Step, kind: Kind) -> Outcome {
        let error = Error::new(kind, "odd");
        Outcome::Failed(Failure { step, error })
    }

    #[test]
    fn a_name_that_another_entry_was_let_have_is_that_ones() {
        let dir = tempfile::tempdir().unwrap();
        let [old, new] = &repos("https://a/x\nhttps://b/x")[..] else {
            panic!("not two");
        };
        let state = Some(dir.path().join("state"));
        let mut memory = Memory::open(state, &"any".parse().unwrap());
        let is_free = |memory: &Memory, repo: &Repo| {
            let names = ["x".parse().unwrap()];
            // As if all that is remembered was on the list.
            let (listed, owners) = (Listed::default(), Owners::default());
            let taken = memory.must_not_be_anothers(repo, &names, &listed, &owners);
            taken.is_ok()
        };
        memory.keep(&line(old, Some("a"), Outcome::Built), "base", false);
        assert!(is_free(&memory, old) && !is_free(&memory, new));
        memory.keep(&line(new, Some("b"), Outcome::Built), "base", false);
        assert!(!is_free(&memory, old) && is_free(&memory, new));
        let old = memory.find(old).unwrap();
        assert!(old.names.is_empty() && old.looked == 0 && old.commit == Some(id("a")));
        // Its pkgbase is its own, too, and may change alone.
        let mut other = line(new, Some("c"), Outcome::Built);
        other.facts.pkgbase = Some("y".parse().unwrap());
        memory.keep(&other, "base", false);
        assert_eq!(memory.find(new).unwrap().pkgbase, other.facts.pkgbase);
    }

    #[test]
    fn what_an_older_version_has_remembered_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let seen =
            r#"{"commit":"","sources":null,"pkgbase":"x","names":["x"],"version":"","looked":0}"#;
        let text = format!(
            r#"{{"refreshed":null,"entries":{{"mine/any https://a/x  ":{seen},"odd":1}}}}"#
        );
        std::fs::write(&path, text).unwrap();
        let memory = Memory::open(Some(path), &"any".parse().unwrap());
        let seen = memory.find(&repos("https://a/x")[0]).unwrap();
        assert!(seen.commit.is_none() && seen.version.is_none() && seen.names.len() == 1);
        assert_eq!(memory.text.entries.len(), 1);
    }

    #[test]
    fn a_wait_grows_with_each_failure_of_one_commit() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, arch) = (&repos("https://x/y")[0], "any".parse().unwrap());
        let mut memory = Memory::open(Some(dir.path().join("state")), &arch);
        let broken = || failed(Step::Build, Kind::Exit(1));
        let mut tries_after = |commit, outcome, is_forced| {
            memory.keep(&line(repo, commit, outcome), "base", is_forced);
            let seen = memory.find(repo).unwrap();
            let tries = seen.waiting.as_ref().map_or(0, |it| it.tries);
            (
                tries,
                seen.commit.clone(),
                seen.names.len(),
                seen.looked > 0,
            )
        };
        let kept = |tries, commit: &str, looked| (tries, Some(id(commit)), 1, looked);
        assert_eq!(tries_after(Some("a"), broken(), false), kept(1, "a", false));
        assert_eq!(tries_after(Some("a"), broken(), false), kept(2, "a", false));
        assert_eq!(tries_after(Some("a"), broken(), true), kept(2, "a", false));
        // What couldn't be brought is what it was, and so is what failed for another's fault.
        let away = || failed(Step::Clone, Kind::Exit(128));
        assert_eq!(tries_after(None, away(), false), kept(2, "a", false));
        let refused = failed(Step::Publish, Kind::Status(500));
        assert_eq!(tries_after(Some("a"), refused, false), kept(2, "a", false));
        assert_eq!(tries_after(Some("b"), broken(), false), kept(1, "b", false));
        assert_eq!(
            tries_after(Some("b"), Outcome::Built, false),
            kept(0, "b", true)
        );
        assert_eq!(tries_after(None, away(), false), kept(0, "b", true));
        // It is all there still on the next night.
        memory.save();
        let path = dir.path().join("state");
        let commit = || {
            let next = Memory::open(Some(path.clone()), &arch);
            next.find(repo).and_then(|it| it.commit)
        };
        assert_eq!(commit(), Some(id("b")));
        // What can't be read of one entry is no matter of the others.
        let text = std::fs::read_to_string(&path).unwrap();
        let odd = text.replacen("\"entries\":{", "\"entries\":{\"x\":1,", 1);
        assert_ne!(odd, text);
        std::fs::write(&path, odd).unwrap();
        assert_eq!(commit(), Some(id("b")));
    }
}
