//! What is to be built: the entries of a list, and what each of them means. Where a list comes from has a file each: the
//! server's (`server`), one of ours (`file`); `choose` is about a part of it. Not here: what becomes of the entries (`run`).

mod choose;
mod file;
mod server;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::text::one_line;
use crate::words::{Arch, RepoName};

pub use choose::last_part;
pub use file::{named, read_from};
pub use server::{fetch, fetch_once};

/// The most that a list may have: entries, and bytes, of all of a server's pages together.
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The most that one entry may have, in bytes.
const MAX_ENTRY: usize = 64 * 1024;

/// How much of a URL is shown, in characters.
const SHOWN_URL: usize = 200;

/// What is to be built.
pub struct Settings {
    /// A list of ours, which takes the place of the server's; `-` is the standard input.
    pub file: Option<PathBuf>,
    /// The pacman repository of what names none: lines of that file, and what is on no list.
    pub repo: RepoName,
    /// What is chosen of the list; all of it if this is empty.
    pub what: Vec<String>,
}

impl Settings {
    /// The list that counts: the file's, if one is named, in place of the server's; `None` if there is neither.
    ///
    /// # Errors
    /// A file that can't be read, or isn't a list. A line that can't be used is no error of the list.
    pub fn in_place_of(&self, servers: Option<List>, arch: &Arch) -> Result<Option<List>> {
        match &self.file {
            Some(path) => file::read(path, &self.repo, arch).map(Some),
            None => Ok(servers),
        }
    }
}

/// A list, as it is for one architecture.
#[derive(Default)]
pub struct List {
    /// What is to be built, in the list's order.
    pub entries: Vec<Entry>,
    /// What isn't.
    others: Vec<Other>,
}

/// An entry of the list.
pub enum Entry {
    /// One to build.
    Repo(Rc<Repo>),
    /// One that can't be used.
    Unusable {
        /// Its URL, as it is shown, or, if it has none, what else it is called.
        name: String,
        /// Why; elsewhere, as a list may be long.
        error: Box<Error>,
    },
}

/// An entry that is for other architectures only.
struct Other {
    url: String,
    /// Separated by commas, as they are shown.
    archs: String,
}

/// A Git repository to build, or a PKGBUILD that stands for one.
#[derive(Clone, Debug)]
pub struct Repo {
    /// Where it is.
    pub url: String,
    /// What is at that URL.
    pub kind: RepoKind,
    /// Empty for the Git repository's default branch.
    pub branch: String,
    /// The folder of the PKGBUILD in the repository, empty for its root (servers from 0.5 on, and lists of ours).
    pub path: String,
    /// The pacman repository that its packages are published to.
    pub publish_to: RepoName,
    /// A server's number for it (from 0.4 on), which is no part of what it is known by (`Key`).
    pub target: Option<u64>,
}

impl Repo {
    /// What to call it until its pkgbase is known: the URL, on one line.
    pub fn name(&self) -> String {
        one_line(&self.url, SHOWN_URL)
    }
}

/// What a URL of the list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepoKind {
    /// A Git repository.
    Git,
    /// A PKGBUILD to download (the kind `url` of servers from 0.4 on).
    Pkgbuild,
}

/// What an entry says, not looked into yet. Fields that servers add are passed over.
#[derive(Default, Deserialize)]
struct Fields {
    id: Option<u64>,
    url: Option<String>,
    branch: Option<String>,
    path: Option<String>,
    kind: Option<String>,
    repo: Option<String>,
    /// What it is built for. Servers split what they are given at commas, without trimming.
    #[serde(rename = "arch", deserialize_with = "server::read_archs")]
    archs: Vec<String>,
}

impl List {
    /// Takes an entry in: `name` is what to call it if it has no URL, `what` is what it is to messages.
    fn add(&mut self, name: &str, what: &str, fields: Result<Fields, String>, arch: &Arch) {
        let mut name = one_line(name, SHOWN_URL);
        let is_ours = |its: &String| its.trim() == arch.as_str();
        let repo = match fields {
            Ok(fields) if !fields.archs.iter().any(is_ours) => {
                let url = present(&fields.url).unwrap_or_default().to_owned();
                let archs = one_line(&fields.archs.join(", "), 200);
                return self.others.push(Other { url, archs });
            }
            Ok(fields) => {
                name = present(&fields.url).map_or(name, |url| one_line(url, SHOWN_URL));
                parse_repo(&fields)
            }
            Err(why) => Err(why),
        };
        let unusable = |why: String| {
            let error = Box::new(Error::unusable(what, one_line(&why, 300)));
            Entry::Unusable { name, error }
        };
        let entry = repo.map_or_else(unusable, |repo| Entry::Repo(Rc::new(repo)));
        self.entries.push(entry);
    }

    /// How many entries it has, for all architectures.
    fn len(&self) -> usize {
        self.entries.len().saturating_add(self.others.len())
    }

    /// If all of it is for other architectures: how many entries it has, and for which.
    pub fn is_for_others(&self) -> Option<(usize, String)> {
        if !self.entries.is_empty() || self.others.is_empty() {
            return None;
        }
        let archs = self.others.iter().flat_map(|it| it.archs.split(", "));
        let archs: BTreeSet<_> = archs.filter(|it| !it.is_empty()).collect();
        let archs = Vec::from_iter(archs).join(", ");
        Some((self.others.len(), one_line(&archs, 200)))
    }
}

fn too_large() -> String {
    "is larger than 64 KiB".to_owned()
}

fn too_many() -> String {
    format!("the list has more than {MAX_ENTRIES} entries")
}

fn parse_repo(fields: &Fields) -> Result<Repo, String> {
    let url = present(&fields.url).ok_or("has no URL")?;
    if url.starts_with('-') {
        return Err(format!("{url:?} is an option, and no URL"));
    }
    let publish_to = present(&fields.repo).ok_or("names no repository to publish to")?;
    let to_text = |error: Error| error.to_string();
    let publish_to = publish_to.parse().map_err(to_text)?;
    let path = present(&fields.path).unwrap_or_default();
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(format!("the path {path:?} leads out of the repository"));
    }
    let kind = match present(&fields.kind) {
        None | Some("git") => RepoKind::Git,
        Some("url") if path.is_empty() => RepoKind::Pkgbuild,
        Some("url") => {
            return Err(format!(
                "names a folder, the path {path:?}, and is a PKGBUILD to download (kind url)"
            ));
        }
        Some(kind) => return Err(format!("is of the kind {kind:?}, neither git nor url")),
    };
    Ok(Repo {
        url: url.to_owned(),
        kind,
        branch: present(&fields.branch).unwrap_or_default().to_owned(),
        path: path.to_owned(),
        publish_to,
        target: fields.id,
    })
}

/// A field's text, trimmed; an empty one counts as missing.
fn present(field: &Option<String>) -> Option<&str> {
    field.as_deref().map(str::trim).filter(|it| !it.is_empty())
}

/// What the tests of other rooms take for a list.
#[cfg(test)]
pub mod tests {
    use super::*;

    /// The entries of a text of lines, for the repository `mine`.
    pub fn repos(text: &str) -> Vec<Rc<Repo>> {
        let (repo, arch) = ("mine".parse().unwrap(), "any".parse().unwrap());
        let list = read_from(text.as_bytes(), "L", &repo, &arch).unwrap();
        let repos = list.entries.into_iter().map(|entry| match entry {
            Entry::Repo(repo) => repo,
            Entry::Unusable { name, error } => panic!("{name}: {error}"),
        });
        repos.collect()
    }
}
