//! What has changed in a repository between two commits, asked of git in a container in which nothing of the repository was run.
//! Not here: what it looks like to a person (`review`), and which texts are an update (`update`).

use crate::bring::path;
use crate::docker::Container;
use crate::error::Result;
use crate::http::Deadline;
use crate::list::Repo;
use crate::sandbox::{CLONE, FILES, User, command};
use crate::update::{Update, claimed, is_of_srcinfo, of_pkgbuild};
use crate::words::{Commit, Version};

/// The ids of the tree that has nothing in it, in repositories of SHA-1 and of SHA-256.
const EMPTY: [&str; 2] = [
    "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
];

/// How much of the list of files is read, in bytes.
const MAX_LISTED: usize = 500_000;

/// A change, and where it can be asked for.
pub struct Change<'a> {
    container: &'a Container<'a>,
    by: Deadline,
    repo: &'a Repo,
    /// The approved commit; the empty tree if there is none.
    pub from: String,
    /// The newest one.
    pub to: &'a Commit,
    /// The files that differ.
    pub files: Vec<Changed>,
    /// Whether there are more.
    pub is_cut: bool,
}

/// A file that differs (git-diff(1), "Raw output format").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// What it is, before and after: `100644` for a plain file.
    pub modes: [String; 2],
    /// `A` for one that is new, `D` for one that has gone, `M` for one that is another.
    pub status: String,
    /// Where it is; what is no text in it is U+FFFD.
    pub path: String,
}

impl<'a> Change<'a> {
    /// Asks what differs between the approved commit, or nothing, and the newest one.
    ///
    /// # Errors
    /// Those of git.
    pub fn between(
        container: &'a Container<'a>,
        repo: &'a Repo,
        approved: Option<&Commit>,
        to: &'a Commit,
        by: Deadline,
    ) -> Result<Change<'a>> {
        let [of_sha1, of_sha256] = EMPTY;
        let is_sha1 = to.as_str().len() == of_sha1.len();
        let empty = if is_sha1 { of_sha1 } else { of_sha256 };
        let from = approved.map_or(empty, Commit::as_str).to_owned();
        let most = MAX_LISTED.to_string();
        let first = ["PKGBUILD", ".SRCINFO"].map(|file| path(repo, file));
        let args = [from.as_str(), to.as_str(), &most].into_iter();
        let list = FILES.with(args.chain(first.iter().map(String::as_str)));
        let listed = container.read(&list, by)?;
        Ok(Change {
            container,
            by,
            repo,
            from,
            to,
            files: parse(&listed),
            is_cut: listed.len() >= MAX_LISTED,
        })
    }

    /// The text of a file beside the PKGBUILD at one of the ends; nothing if it isn't there, or can't be shown.
    pub fn text(&self, at: &str, file: &str) -> String {
        let name = format!("{at}:{}", self.path_of(file));
        let args = ["cat-file", "blob", &name];
        let text = git(self.container, CLONE, args, self.by);
        let text = text.inspect_err(|error| log::debug!("{error}"));
        text.unwrap_or_default()
    }

    /// The path of a file beside the PKGBUILD.
    pub fn path_of(&self, file: &str) -> String {
        path(self.repo, file)
    }

    /// The version that the newest commit's .SRCINFO claims.
    pub fn claimed(&self) -> Option<Version> {
        claimed(&self.text(self.to.as_str(), ".SRCINFO"))
    }

    /// What it updates, if it is an update and nothing else.
    pub fn as_update(&self) -> Option<Update> {
        let (recipe, info) = (self.path_of("PKGBUILD"), self.path_of(".SRCINFO"));
        let is_plain = |file: &Changed| {
            let [before, after] = &file.modes;
            let is_file = before == after && before.starts_with("100") && file.status == "M";
            is_file && [&recipe, &info].contains(&&file.path)
        };
        if self.is_cut
            || !self.files.iter().all(is_plain)
            || !self.files.iter().any(|it| it.path == recipe)
        {
            return None;
        }
        // What is shown of bytes that are no text may be the same for others.
        let text = |at: &str, file| {
            Some(self.text(at, file)).filter(|it| !it.is_empty() && !it.contains('\u{fffd}'))
        };
        let texts = |file| Some((text(&self.from, file)?, text(self.to.as_str(), file)?));
        let (old, new) = texts("PKGBUILD")?;
        let update = of_pkgbuild(&old, &new)?;
        if self.files.iter().any(|it| it.path == info) {
            let (old, new) = texts(".SRCINFO")?;
            if !is_of_srcinfo(&old, &new, &update) {
                return None;
            }
        }
        let Update { from, to } = &update;
        let is_higher = self.is_higher(&to.to_string(), &from.to_string())
            && (to.pkgver() == from.pkgver() || self.is_higher(to.pkgver(), from.pkgver()));
        is_higher.then_some(update)
    }

    fn is_higher(&self, new: &str, old: &str) -> bool {
        let vercmp = command(User::Builder, "vercmp", vec!["vercmp", new, old]);
        let compared = self.container.read(&vercmp, self.by);
        let compared = compared.inspect_err(|error| log::debug!("{error}"));
        compared.is_ok_and(|it| it.trim() == "1")
    }
}

/// Runs git in a repository of the container, as the build user, who can't be asked for anything.
///
/// # Errors
/// Its own.
pub fn git<'g>(
    container: &Container,
    repository: &'g str,
    args: impl IntoIterator<Item = &'g str>,
    by: Deadline,
) -> Result<String> {
    let mut argv = vec!["git", "--no-replace-objects", "-C", repository];
    argv.extend(args);
    container.read(&command(User::Builder, "git", argv), by)
}

/// Takes what `git diff --raw -z` prints: `:<mode> <mode> <id> <id> <status>`, and the path, each ended by a NUL.
fn parse(printed: &str) -> Vec<Changed> {
    let mut fields = printed.split('\0');
    let mut files = vec![];
    // What a cut has left of one isn't ended.
    fields.next_back();
    while let (Some(head), Some(path)) = (fields.next(), fields.next()) {
        let head: Vec<&str> = head.trim_start_matches(':').split(' ').collect();
        if let [before, after, _, _, status] = head.as_slice() {
            files.push(Changed {
                modes: [(*before).to_owned(), (*after).to_owned()],
                status: (*status).to_owned(),
                path: path.to_owned(),
            });
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_prints_of_a_change_is_read_file_by_file() {
        let printed = ":100644 100755 aa bb M\0a b\n\0:000000 120000 00 cc A\0.SRCINFO\0:100644 100644 dd ee M\0cu";
        let file = |before: &str, after: &str, status: &str, path: &str| Changed {
            modes: [before.to_owned(), after.to_owned()],
            status: status.to_owned(),
            path: path.to_owned(),
        };
        let expected = [
            file("100644", "100755", "M", "a b\n"),
            file("000000", "120000", "A", ".SRCINFO"),
        ];
        assert_eq!(parse(printed), expected);
        assert_eq!(parse(""), []);
    }
}
