//! The step `clone`: the repository is brought, and its PKGBUILD read.

use super::Job;
use crate::error::Result;
use crate::list::{Repo, RepoKind};
use crate::pkgbuild::{self, Pkgbuild};
use crate::report::{Failure, Step, at};
use crate::sandbox::{CLONE_AND_READ, DEEPEN, READ};
use crate::words::Commit;

/// What was brought.
pub struct Fetched {
    /// What its PKGBUILD says.
    pub pkgbuild: Pkgbuild,
    /// The commit that it is of; `None` for a PKGBUILD that was downloaded.
    pub commit: Option<Commit>,
}

impl Job<'_, '_> {
    /// Clones the repository, or downloads the PKGBUILD that stands for one, and reads the PKGBUILD: both in one exec.
    /// Meanwhile the container for the next repository is started, which takes the engine about as long.
    pub fn fetch(&mut self) -> Result<Fetched, Failure> {
        let Repo {
            url, branch, kind, ..
        } = &**self.task.repo;
        let kind = match kind {
            RepoKind::Git => "git",
            RepoKind::Pkgbuild => "pkgbuild",
        };
        let clone = CLONE_AND_READ.with([self.dir.as_str(), READ.text, url, branch, kind]);
        let mut exec = self
            .container
            .ask(&clone, self.by)
            .map_err(at(Step::Clone))?;
        if !self.task.is_last {
            match self.builds.new_container(self.by) {
                Ok(container) => self.handover.waiting = Some(container),
                // If it can't be, that is said when it is needed.
                Err(error) => log::debug!("{error}"),
            }
        }
        let commit: Option<Commit> = exec.field().map_err(at(Step::Clone))?.parse().ok();
        self.facts.commit = commit.as_ref().map(ToString::to_string);
        exec.goes_on_to(READ.doing);
        let printed = exec.rest().map_err(at(Step::Version))?;
        let pkgbuild = pkgbuild::parse(&printed).map_err(at(Step::Version))?;
        Ok(Fetched { pkgbuild, commit })
    }

    /// Reads the PKGBUILD once more: makepkg writes into it what `pkgver()` has found.
    pub fn read_pkgbuild(&self) -> Result<Pkgbuild> {
        let printed = self.container.read(&self.in_dir(READ.with([])), self.by)?;
        pkgbuild::parse(&printed)
    }

    /// Brings the history of the clone, which a `pkgver()` may count.
    pub fn deepen(&self) -> Result<(), Failure> {
        if self.task.repo.kind == RepoKind::Pkgbuild {
            return Ok(());
        }
        let deepened = self.container.run(&self.in_dir(DEEPEN.with([])), self.by);
        deepened.map_err(at(Step::Clone))
    }
}
