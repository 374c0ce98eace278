//! A repository, brought into a container: with which a build, or a review, begins. Not here: what becomes of it there (`job`,
//! `review`).

use crate::docker::{Container, Exec};
use crate::error::Result;
use crate::http::Deadline;
use crate::list::{Repo, RepoKind};
use crate::report::ToReview;
use crate::sandbox::{CLONE, CLONE_AND_READ, READ};
use crate::words::Commit;

/// What is wanted of a repository. Each is called by its name in lower case in `scripts/clone.sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest commit.
    Tip,
    /// The approved one.
    Approved,
    /// The approved one, but only if it is the newest, too: nothing is read otherwise.
    Decide,
    /// No files, so nothing is read.
    Objects,
}

/// What was brought. Commits are those of a Git repository; of a PKGBUILD that is downloaded, the SHA-256 takes their place if
/// anything is approved at all.
pub struct Brought {
    /// The commit that was wanted; `None` if it isn't there.
    pub commit: Option<Commit>,
    /// The newest one.
    pub tip: Option<Commit>,
    /// How many there are between the approved one and the newest, if that was to be counted, and could be.
    pub count: Option<u64>,
}

/// The folder of an entry's PKGBUILD.
pub fn dir(repo: &Repo) -> String {
    format!("{CLONE}/{}", repo.path)
}

/// The path of a file beside the PKGBUILD in its repository, as git has it.
pub fn path(repo: &Repo, file: &str) -> String {
    let parts = repo.path.split('/').filter(|it| !matches!(*it, "" | "."));
    parts.chain([file]).collect::<Vec<_>>().join("/")
}

/// Begins to bring a repository, in a container in which nothing was brought before, or only to decide. What
/// [`Brought::read`] leaves is what `scripts/read.sh` prints, unless it was only wanted to look.
///
/// # Errors
/// Those of the engine.
pub fn begin<'c>(
    container: &'c Container,
    repo: &Repo,
    wanted: Wanted,
    approved: Option<&Commit>,
    counted: Option<&Commit>,
    by: Deadline,
) -> Result<Exec<'c>> {
    let kind = match repo.kind {
        RepoKind::Git => "git",
        RepoKind::Pkgbuild => "pkgbuild",
    };
    let (dir, wanted) = (dir(repo), format!("{wanted:?}").to_lowercase());
    let [approved, counted] = [approved, counted].map(|it| it.map_or("", Commit::as_str));
    let (url, branch) = (&repo.url, &repo.branch);
    let args = [
        &dir, READ.text, url, branch, kind, &wanted, approved, counted,
    ];
    container.ask(&CLONE_AND_READ.with(args), by)
}

impl Brought {
    /// What came after the approved commit; `known` is what is known of it.
    pub fn to_review(&self, approved: &Commit, known: Option<ToReview>) -> ToReview {
        let known = known.filter(|it| it.tip == self.tip);
        known.unwrap_or_else(|| ToReview {
            approved: approved.clone(),
            tip: self.tip.clone(),
            count: self.count,
            is_judged: false,
        })
    }

    /// Takes what was brought, once it is there.
    ///
    /// # Errors
    /// The command's end, of whatever kind.
    pub fn read(exec: &mut Exec) -> Result<Brought> {
        let commit = exec.field()?.parse().ok();
        let tip = exec.field()?.parse().ok();
        let count = exec.field()?.parse().ok();
        Ok(Brought { commit, tip, count })
    }
}
