//! A part of the list: what somebody means by a URL, a URL's last part, or `REPO/`, and what comes nearest to what nobody
//! has. Not here: where that somebody says so (`cli`).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Entry, Fields, List, SHOWN_URL, Settings};
use crate::error::{Error, Kind, Result};
use crate::text::{masked, one_line};
use crate::words::Arch;

/// How many names are suggested.
const SUGGESTIONS: usize = 3;

impl List {
    /// The entries that are chosen, in the list's order, and behind them the URLs that are on no list. If nothing is
    /// chosen, all of them.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what means none of the list's entries for this architecture, and is no URL that is on no list.
    pub fn choose(mut self, settings: &Settings, arch: &Arch) -> Result<Vec<Entry>> {
        let chosen = &settings.what;
        if chosen.is_empty() {
            return Ok(self.entries);
        }
        for what in chosen {
            if what.contains("://") && !self.has(what) && self.archs_of(what).is_none() {
                let fields = Fields {
                    url: Some(what.clone()),
                    repo: Some(settings.repo.to_string()),
                    archs: vec![arch.to_string()],
                    ..Fields::default()
                };
                self.add(what, "the command line", Ok(fields), arch);
            }
        }
        let unknown = chosen.iter().filter(|what| !self.has(what));
        let unknown: Vec<_> = unknown.map(|what| self.unknown(what, arch)).collect();
        if !unknown.is_empty() {
            let advice =
                "what is chosen is a URL, its last part, or a pacman repository with a slash";
            return Err(Error::new(Kind::Usage, unknown.join("; ")).advise(advice));
        }
        let is_chosen = |entry: &Entry| chosen.iter().any(|what| is_meant(entry, what));
        self.entries.retain(is_chosen);
        Ok(self.entries)
    }

    fn has(&self, what: &str) -> bool {
        self.entries.iter().any(|entry| is_meant(entry, what))
    }

    /// The architectures of an entry that is for others only.
    fn archs_of(&self, what: &str) -> Option<&str> {
        let other = self.others.iter().find(|it| is_called(&it.url, what));
        other.map(|it| it.archs.as_str())
    }

    /// Says what there is in place of what there isn't.
    fn unknown(&self, what: &str, arch: &Arch) -> String {
        let shown = one_line(what, SHOWN_URL);
        if self.len() == 0 {
            let as_in = "as in https://aur.archlinux.org/yay.git";
            return format!("nothing is on a list, so {shown:?} has to be a URL, {as_in}");
        }
        if let Some(archs) = self.archs_of(what) {
            return format!("the list has {shown:?} for {archs} only, not for {arch}");
        }
        let mut names = BTreeSet::new();
        for entry in &self.entries {
            if let Entry::Repo(repo) = entry {
                names.insert(last_part(&masked(&repo.url)).to_owned());
                names.insert(format!("{}/", repo.publish_to));
            }
        }
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by_key(|it| Reverse(alike(what, it)));
        names.truncate(SUGGESTIONS);
        let nearest = match names.is_empty() {
            true => String::new(),
            false => format!(
                "; what comes nearest: {}",
                one_line(&names.join(", "), SHOWN_URL)
            ),
        };
        format!("the list has no {shown:?} for {arch}{nearest}")
    }
}

/// Whether it is an entry that somebody means by this.
fn is_meant(entry: &Entry, what: &str) -> bool {
    match entry {
        Entry::Repo(repo) => {
            let is_its_repo = what.strip_suffix('/') == Some(repo.publish_to.as_str());
            is_its_repo || is_called(&repo.url, what)
        }
        Entry::Unusable { name, .. } => is_called(name, &one_line(what, SHOWN_URL)),
    }
}

/// Whether this is the URL, or its last part.
fn is_called(url: &str, what: &str) -> bool {
    bare(url) == bare(what) || last_part(url) == what
}

/// A URL without what it may end with or not: `.git`, a slash.
fn bare(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix(".git").unwrap_or(url)
}

/// The name of what is at a URL: `yay` of `https://aur.archlinux.org/yay.git`, or of `git@example.com:yay`.
pub fn last_part(url: &str) -> &str {
    let url = bare(url);
    url.rsplit(['/', ':']).next().unwrap_or(url)
}

/// How many letters two texts share at their beginnings and at their ends.
fn alike(one: &str, other: &str) -> usize {
    let is_same = |(one, other): &(char, char)| one == other;
    let begin = one.chars().zip(other.chars()).take_while(is_same);
    let end = one.chars().rev().zip(other.chars().rev());
    begin
        .count()
        .saturating_add(end.take_while(is_same).count())
}

#[cfg(test)]
mod tests {
    use super::super::read_from;
    use super::*;

    const LIST: &str = "https://a/yay.git repo=mine
        https://b/yay repo=yours
        https://me:pw@c/zig/ path=p repo=mine
        git@d:paru.git
        https://e/far repo=mine arch=aarch64
        https://me:pw@f/bad path=..
        repo=mine";

    /// What is chosen: the URLs, as they are shown, and the pacman repositories.
    fn choose(list: &str, what: &[&str]) -> Result<Vec<String>, String> {
        let (repo, arch) = ("usual".parse().unwrap(), "x86_64".parse().unwrap());
        let list = read_from(list.as_bytes(), "L", &repo, &arch).unwrap();
        let what = what.iter().map(|it| (*it).to_owned()).collect();
        let settings = Settings {
            file: None,
            repo,
            what,
        };
        let chosen = list.choose(&settings, &arch);
        let chosen = chosen.map_err(|error| {
            assert_eq!(error.kind, Kind::Usage);
            error.to_string()
        })?;
        let shown = chosen.iter().map(|entry| match entry {
            Entry::Repo(repo) => format!("{} {}", repo.name(), repo.publish_to),
            Entry::Unusable { name, .. } => name.clone(),
        });
        Ok(shown.collect())
    }

    #[test]
    fn a_url_its_last_part_and_a_repository_are_chosen_in_the_lists_order() {
        let a = "https://a/yay.git mine";
        let b = "https://b/yay yours";
        let c = "https://***@c/zig/ mine";
        let d = "git@d:paru.git usual";
        let bad = "https://***@f/bad";
        for (what, chosen) in [
            (&["https://a/yay.git"][..], &[a][..]),
            (&["https://a/yay"], &[a]),
            (&["https://b/yay.git/"], &[b]),
            (&["https://me:pw@c/zig"], &[c]),
            (&["git@d:paru"], &[d]),
            (&["yay"], &[a, b]),
            (&["paru", "zig"], &[c, d]),
            (&["mine/"], &[a, c]),
            (
                &["usual/", "yay", "mine/", "https://b/yay", "yay"],
                &[a, b, c, d],
            ),
            (&["bad"], &[bad]),
            (&["https://me:pw@f/bad.git", "zig"], &[c, bad]),
            (&[], &[a, b, c, d, bad, "repo=mine"]),
        ] {
            assert_eq!(choose(LIST, what).unwrap(), chosen, "{what:?}");
        }
    }

    #[test]
    fn a_url_that_is_on_no_list_is_added_once_behind_the_list() {
        let new = "https://me:pw@n/new.git";
        let shown = "https://***@n/new.git usual";
        let what = [new, "zig", "https://me:pw@n/new/", new];
        assert_eq!(
            choose(LIST, &what).unwrap(),
            ["https://***@c/zig/ mine", shown]
        );
        assert_eq!(choose("", &[new]).unwrap(), [shown]);
        // With another password, or of another server, it is another.
        let other = ["https://c/zig"];
        assert_eq!(choose(LIST, &other).unwrap(), ["https://c/zig usual"]);
        assert_eq!(choose("", &["-x://y"]).unwrap(), ["-x://y"]);
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        for (what, said) in [
            (
                "yey",
                "no \"yey\" for x86_64; what comes nearest: yay, yours/, mine/ (",
            ),
            ("pary", "nearest: paru, "),
            ("mime/", "nearest: mine/, "),
            ("yay/", "no \"yay/\" for x86_64; what comes nearest: yay, "),
            ("mine", "nearest: mine/, "),
            ("far", "\"far\" for aarch64 only, not for x86_64"),
            ("https://e/far", "for aarch64 only"),
            ("https://e/far.git", "for aarch64 only"),
            ("\u{1b}[2J", "no \"\\\\u{1b}[2J\""),
            ("", "no \"\" for"),
        ] {
            let error = choose(LIST, &["yay", what]).unwrap_err();
            assert!(error.contains(said), "{error}");
            assert!(!error.contains("pw"), "{error}");
        }
        let both = choose(LIST, &["one", "two"]).unwrap_err();
        assert!(
            both.contains("\"one\"") && both.contains("\"two\""),
            "{both}"
        );
        let secret = choose("https://me:pw@host", &["x"]).unwrap_err();
        assert!(secret.contains("nearest: ***@host"), "{secret}");
        let empty = choose("", &["yay"]).unwrap_err();
        assert!(!empty.contains("nearest"), "{empty}");
    }
}
