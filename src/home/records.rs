//! What a folder remembers of its packages beside the database: the entry of the list that each is of, and which files are ours.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::slice;

use serde::{Deserialize, Serialize};

use super::database::Database;
use super::{Gone, Source};
use crate::archive::Archive;
use crate::clock::since_1970;
use crate::error::{Error, Result};
use crate::list::Repo;
use crate::owners::{Key, Listed, Owners, belongs_to, names_of};
use crate::report::{Failed, Tried};
use crate::text::one_line;
use crate::words::{Commit, PackageName, RepoName};

/// The file, in the folder of a repository and an architecture.
pub const FILE: &str = "vieter.json";

/// What is remembered, by the packages' names.
#[derive(Default, Serialize, Deserialize)]
pub struct Records {
    /// Each package of ours.
    pub packages: BTreeMap<PackageName, Record>,
    /// What the last run that tried it couldn't build, and the entries that it is of.
    #[serde(default)]
    pub failures: Vec<(Key, Failed)>,
}

/// What is remembered of a package.
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    /// The entry that it is of.
    pub entry: Key,
    /// Its pkgbase, whose name is the entry's, too; its own if it isn't known.
    #[serde(default)]
    pub base: Option<PackageName>,
    /// The commit that it was built of; a PKGBUILD that was downloaded has none.
    pub commit: Option<Commit>,
    /// When it was published, in seconds since 1970.
    pub time: u64,
    /// The version that is published; none before the first publish has ended, and once its removal has begun.
    pub version: Option<String>,
    /// All archives of it that are ours and may be there: more than one while one is published.
    pub files: Vec<String>,
}

impl Records {
    /// Reads those of a repository's folder; none if there is no file.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn read(dir: &Path) -> Result<Records> {
        let path = dir.join(FILE);
        let advice = "restore it; if it is removed, nobody knows which entry a package is of";
        let bad = |why: String| {
            Error::unusable(format!("reading {}", path.display()), why).advise(advice)
        };
        match fs::read(&path) {
            Ok(bytes) => {
                let records: Records =
                    serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
                // They are removed by these names, and whoever shares the folder can write any.
                let mut files = records.packages.values().flat_map(|it| &it.files);
                match files.find(|it| it.contains('/') || it.starts_with('.')) {
                    Some(file) => Err(bad(format!("{} is no archive's name", one_line(file, 100)))),
                    None => Ok(records),
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Records::default()),
            Err(error) => Err(bad(error.to_string())),
        }
    }

    /// Their text.
    ///
    /// # Errors
    /// None, but for the library's type.
    pub fn text(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_vec_pretty(self);
        text.map_err(|error| Error::unusable(FILE, error))
    }

    /// Refuses names that another entry has, if that may be on the list still.
    ///
    /// # Errors
    /// That.
    pub fn must_not_be_anothers(
        &self,
        repo: &Repo,
        names: &[PackageName],
        listed: &Listed,
    ) -> Result<()> {
        let key = Key::of(repo);
        for (package, Record { entry, base, .. }) in &self.packages {
            let base = base.as_ref().unwrap_or(package);
            let its = names_of(base, slice::from_ref(package));
            if *entry != key
                && let Some(name) = names.iter().find(|name| its.contains(name))
                && listed.may_have(&repo.publish_to, entry)
            {
                let advice = format!("or, if it is the same, change the entry of {name} in {FILE}");
                return Err(belongs_to(name, repo, entry).advise(&advice));
            }
        }
        Ok(())
    }

    /// The packages that no entry of the list makes any more: their own entry has left the list, or was read and makes others, and no
    /// entry makes what is called so, as one does that is the same with another URL. A debug package is made as long as it is of the same
    /// version as what it is of.
    pub fn gone(&self, repo: &RepoName, listed: &Listed, owners: &Owners) -> Vec<Gone> {
        let is_gone = |(name, record): &(&PackageName, &Record)| {
            let key = &record.entry;
            if listed.may_have(repo, key) && !owners.have_read(repo, key) {
                return false;
            }
            let is_of_it = |(other, it): (&PackageName, &Record)| {
                let is_same = it.base == record.base && it.version == record.version;
                is_same && owners.make(repo, other)
            };
            let base = record.base.as_ref();
            let is_debug = base.is_some_and(|it| it.debug() == **name);
            let is_made = owners.make(repo, name) || is_debug && self.packages.iter().any(is_of_it);
            !is_made
        };
        let gone = self.packages.iter().filter(is_gone);
        gone.map(|(name, record)| Gone {
            repo: repo.clone(),
            name: name.clone(),
            version: record.version.clone(),
        })
        .collect()
    }

    /// Remembers what became of these entries; forgets all others' failures if those were all entries that there are. Tells
    /// whether there is something to be remembered or forgotten.
    pub fn set_tried(&mut self, tried: &[&Tried], is_whole: bool) -> bool {
        let had_some = !self.failures.is_empty();
        let keys: Vec<Key> = tried.iter().map(|it| Key::of(&it.entry)).collect();
        self.failures
            .retain(|(key, _)| !is_whole && !keys.contains(key));
        for (key, Tried { failed, .. }) in keys.into_iter().zip(tried) {
            let failed = failed.as_deref().cloned();
            self.failures.extend(failed.map(|it| (key, it)));
        }
        had_some || !self.failures.is_empty()
    }

    /// The archives of a package that are ours.
    pub fn files(&self, name: &PackageName) -> &[String] {
        self.packages.get(name).map_or(&[], |it| &it.files)
    }

    /// Refuses to take a database that is gone for an empty one: what is published would be removed as if it were old.
    ///
    /// # Errors
    /// That.
    pub fn must_match(&self, database: &Database, path: &Path) -> Result<()> {
        let is_published = self.packages.values().any(|it| it.version.is_some());
        if !is_published || database.packages().next().is_some() {
            return Ok(());
        }
        let what = format!("the database {}", path.display());
        let why = format!("it is missing or empty, and {FILE} beside it knows of packages");
        let advice =
            "make it with repo-add, of all archives beside it; to begin anew, empty its folder";
        Err(Error::unusable(what, why).advise(advice))
    }

    /// Remembers that an archive of this package is going to be there.
    pub fn begin(&mut self, archive: &Archive, source: &Source) {
        let (name, filename) = (&archive.name, archive.filename());
        let before = self.packages.remove(name);
        let (version, mut files) = before.map_or((None, vec![]), |it| (it.version, it.files));
        if !files.contains(&filename) {
            files.push(filename);
        }
        let record = Record {
            entry: Key::of(source.repo),
            base: Some(archive.base.clone()),
            commit: source.commit.clone(),
            time: since_1970(),
            version,
            files,
        };
        self.packages.insert(name.clone(), record);
    }

    /// Whether no publish that was killed has left anything.
    pub fn are_settled(&self) -> bool {
        let is_settled = |it: &Record| it.version.is_some() && it.files.len() == 1;
        self.packages.values().all(is_settled)
    }

    /// Remembers what the database says of packages that it has an archive of ours of. Gives their other archives: old ones, and
    /// what publishes that were killed have left.
    pub fn settle(&mut self, database: &Database) -> Vec<String> {
        let mut others = vec![];
        for now in database.packages() {
            let record = self.packages.get_mut(now.name.as_str());
            let record = record.filter(|it| it.files.contains(&now.filename));
            if let Some(record) = record {
                record.version = Some(now.version.clone());
                let files = std::mem::replace(&mut record.files, vec![now.filename.clone()]);
                others.extend(files.into_iter().filter(|it| *it != now.filename));
            }
        }
        others
    }

    /// Remembers that it isn't published any more, though archives of it may be there.
    pub fn withdraw(&mut self, name: &PackageName) {
        if let Some(record) = self.packages.get_mut(name) {
            record.version = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::io::Cursor;

    use super::*;
    use crate::list::tests::repos;
    use crate::tar::{Own, of_files};

    fn record(version: Option<&str>, files: &[&str]) -> Record {
        let (url, empty) = ("https://x".to_owned(), String::new());
        let (branch, path) = (empty.clone(), empty);
        Record {
            entry: Key { url, branch, path },
            base: None,
            commit: None,
            time: 0,
            version: version.map(str::to_owned),
            files: files.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn a_pkgbase_and_its_debug_package_are_its_entrys_too() {
        let mut records = Records::default();
        let base = Some("base".parse().unwrap());
        let its = Record {
            base,
            ..record(Some("1-1"), &[])
        };
        records.packages.insert("part".parse().unwrap(), its);
        let other = &repos("https://other")[0];
        for (name, is_free) in [
            ("part", false),
            ("base", false),
            ("base-debug", false),
            ("base-docs", true),
            ("debug", true),
        ] {
            // Without a list, all that is remembered counts.
            let names = [name.parse().unwrap()];
            let claimed = records.must_not_be_anothers(other, &names, &Listed::default());
            assert_eq!(claimed.is_ok(), is_free, "{name}");
        }
    }

    #[test]
    fn what_a_killed_publish_has_left_is_settled_by_the_database() {
        let mut records = Records::default();
        for (name, version, files) in [
            ("whole", Some("1-1"), &["whole-1-1"][..]),
            // Killed behind the database, in the first publish and in a later one; before it; and replaced by somebody.
            ("first", None, &["first-2-1"]),
            ("later", Some("1-1"), &["later-1-1", "later-2-1"]),
            ("early", Some("1-1"), &["early-2-1", "early-3-1"]),
            ("theirs", Some("1-1"), &["theirs-1-1"]),
        ] {
            let record = record(version, files);
            records.packages.insert(name.parse().unwrap(), record);
        }
        let own = |(name, version): (&str, &str)| -> Own {
            let desc =
                format!("%FILENAME%\n{name}-{version}\n\n%NAME%\n{name}\n\n%VERSION%\n{version}\n");
            let size = desc.len() as u64;
            let path = format!("{name}-{version}/desc");
            (path, size, Box::new(Cursor::new(desc)))
        };
        let named = [("whole", "1-1"), ("first", "2-1"), ("later", "2-1")];
        let named = named.into_iter().chain([("theirs", "9-1"), ("no", "1-1")]);
        let tar = of_files(named.map(own).collect());
        let database = Database::read(tar, &RandomState::new()).unwrap();
        assert!(!records.are_settled());
        assert_eq!(records.settle(&database), ["later-1-1"]);
        let told = |name: &str| {
            let record = &records.packages[name];
            (record.version.clone().unwrap(), record.files.join(" "))
        };
        for (name, version, files) in [
            ("whole", "1-1", "whole-1-1"),
            ("first", "2-1", "first-2-1"),
            ("later", "2-1", "later-2-1"),
            ("early", "1-1", "early-2-1 early-3-1"),
            ("theirs", "1-1", "theirs-1-1"),
        ] {
            assert_eq!(told(name), (version.into(), files.into()), "{name}");
        }
        assert!(!records.packages.contains_key("no") && records.settle(&database).is_empty());
    }
}
