//! Which entry of the list a package name belongs to, in each pacman repository, for one run: the first that has it. Not
//! here: who had it last night, which a folder remembers (`home`), or a state (`memory`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::list::{Entry, Repo};
use crate::text::{masked, one_line};
use crate::words::{PackageName, RepoName};

/// What an entry is known by from night to night.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Its URL, without a password.
    pub url: String,
    /// Its branch, or nothing.
    pub branch: String,
    /// Its path, or nothing.
    pub path: String,
}

impl Key {
    /// That of an entry.
    pub fn of(repo: &Repo) -> Key {
        Key {
            url: masked(&repo.url),
            branch: repo.branch.clone(),
            path: repo.path.clone(),
        }
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        one_line(&self.to_string(), 300)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        for (name, value) in [("branch", &self.branch), ("path", &self.path)] {
            if !value.is_empty() {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}

/// The entries that are on the list for this architecture, each as a number, as a list may be long.
#[derive(Default)]
pub struct Listed {
    /// Makes the numbers.
    hasher: RandomState,
    /// `None` if they aren't known, as there is no list, or one with lines that can't be used: then all may be on it.
    entries: Option<HashSet<u64>>,
}

impl Listed {
    /// Those of a list of which this is known.
    pub fn of(list: &[Entry]) -> Listed {
        let hasher = RandomState::new();
        let number = |entry: &Entry| match entry {
            Entry::Repo(repo) => Some(hasher.hash_one((&repo.publish_to, Key::of(repo)))),
            Entry::Unusable { .. } => None,
        };
        let entries = list.iter().map(number).collect();
        Listed { hasher, entries }
    }

    /// Whether an entry may be on the list.
    pub fn may_have(&self, repo: &RepoName, key: &Key) -> bool {
        let number = self.hasher.hash_one((repo, key));
        self.entries.as_ref().is_none_or(|it| it.contains(&number))
    }
}

/// The names that were seen, and whose they are.
#[derive(Default)]
pub struct Owners {
    /// Makes numbers of names and entries, as there may be many.
    hasher: RandomState,
    /// By what [`Owners::place`] makes of a name.
    names: HashMap<u64, Rc<Repo>>,
    /// The pacman repositories that they are in.
    repos: HashSet<RepoName>,
    /// Those of them that are packages', and not only a pkgbase's, or kept for its debug package.
    made: HashSet<u64>,
    /// The entries whose PKGBUILDs were read, by where they publish to. Of others it is remembered what they make.
    read: HashSet<u64>,
}

/// All names that a PKGBUILD with these packages takes: those of its packages, its pkgbase, and that of the debug package.
pub fn names_of(pkgbase: &PackageName, names: &[PackageName]) -> Vec<PackageName> {
    let others = [pkgbase.clone(), pkgbase.debug()];
    names.iter().cloned().chain(others).collect()
}

impl Owners {
    /// Takes all names of a PKGBUILD for its entry.
    ///
    /// # Errors
    /// One of them is another entry's.
    pub fn claim(
        &mut self,
        repo: &Rc<Repo>,
        pkgbase: &PackageName,
        names: &[PackageName],
    ) -> Result<()> {
        let packages = names.len();
        let (names, own) = (names_of(pkgbase, names), Key::of(repo));
        let mut places = vec![];
        for name in &names {
            let place = self.place(&repo.publish_to, name);
            let owner = self.names.get(&place).map(|it| Key::of(it));
            if let Some(owner) = owner.filter(|it| *it != own) {
                return Err(belongs_to(name, repo, &owner));
            }
            places.push(place);
        }
        let made = names.iter().take(packages);
        let made = made.map(|name| self.place(&repo.publish_to, name));
        self.made.extend(made.collect::<Vec<_>>());
        let owned = places.into_iter().map(|place| (place, repo.clone()));
        self.names.extend(owned);
        self.repos.insert(repo.publish_to.clone());
        Ok(())
    }

    /// Notes that the PKGBUILD of this entry was read in this run, and that it makes what it has claimed and nothing else.
    pub fn note_read(&mut self, repo: &Repo) {
        let number = self.hasher.hash_one((&repo.publish_to, Key::of(repo)));
        self.read.insert(number);
    }

    /// An entry other than this one that has this name, in whatever pacman repository.
    pub fn other(&self, repo: &Repo, name: &PackageName) -> Option<&Repo> {
        let own = Key::of(repo);
        let places = self.repos.iter().map(|it| self.place(it, name));
        let mut owners = places.filter_map(|place| self.names.get(&place));
        owners.find(|owner| Key::of(owner) != own).map(|it| &**it)
    }

    /// Whether an entry makes a package of this name in this run, whichever that is.
    pub fn make(&self, repo: &RepoName, name: &PackageName) -> bool {
        self.made.contains(&self.place(repo, name))
    }

    /// Whether the PKGBUILD of this entry was read in this run.
    pub fn have_read(&self, repo: &RepoName, key: &Key) -> bool {
        self.read.contains(&self.hasher.hash_one((repo, key)))
    }

    fn place(&self, repo: &RepoName, name: &PackageName) -> u64 {
        self.hasher.hash_one((repo, name))
    }
}

/// The error that a name is another entry's.
pub fn belongs_to(name: &PackageName, repo: &Repo, owner: &Key) -> Error {
    let what = format!("a package {name} in {}", repo.publish_to);
    let (owner, other) = (owner.name(), Key::of(repo).name());
    let why = format!("it belongs to {owner}, and {other} can't have it");
    let advice = "take one of the two off the list, or give it another repo";
    let error = Error::unusable(what, why).advise(advice);
    error.of_kind(Kind::Anothers)
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::list::tests::repos;

    #[test]
    fn a_name_is_had_by_whichever_entry_was_read_in_its_repository() {
        let (mine, other) = ("mine".parse().unwrap(), "other".parse().unwrap());
        let repo = &repos("https://a/x")[0];
        let mut owners = Owners::default();
        let key = Key::of(repo);
        assert!(!owners.have_read(&mine, &key));
        let [base, foo, bar] = ["base", "foo", "bar"].map(|it| it.parse().unwrap());
        owners.claim(repo, &base, slice::from_ref(&foo)).unwrap();
        assert!(!owners.have_read(&mine, &key));
        owners.note_read(repo);
        assert!(owners.make(&mine, &foo) && !owners.make(&mine, &base.debug()));
        assert!(!owners.make(&other, &foo) && !owners.make(&mine, &bar));
        assert!(owners.have_read(&mine, &key) && !owners.have_read(&other, &key));
        let branch = "b".to_owned();
        assert!(!owners.have_read(&mine, &Key { branch, ..key }));
    }
}
