//! The step `clone`: the repository is brought, and its PKGBUILD read.

use super::Job;
use crate::docker::Command;
use crate::error::Result;
use crate::list::{Repo, RepoKind};
use crate::pkgbuild::{self, Pkgbuild};
use crate::report::{Failure, Step, at};
use crate::sandbox::{CLONE, CLONE_AND_READ, READ};
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
    pub fn fetch(&mut self, is_last: bool) -> Result<Fetched, Failure> {
        let Repo { url, branch, .. } = self.repo;
        let (to, branch_option) = (format!("{CLONE}/PKGBUILD"), format!("--branch={branch}"));
        let mut args = vec![self.dir.as_str(), READ.text];
        let doing = match self.repo.kind {
            RepoKind::Pkgbuild => {
                args.extend("curl -gfsSL --create-dirs -o".split(' '));
                args.extend([to.as_str(), "--", url]);
                "curl"
            }
            RepoKind::Git => {
                // Without the sample hooks, which take a tenth of the time.
                args.extend("git clone --template= --single-branch --depth 1".split(' '));
                args.extend(Some(branch_option.as_str()).filter(|_| !branch.is_empty()));
                args.extend(["--", url, CLONE]);
                "git clone"
            }
        };
        let command = Command {
            doing,
            ..CLONE_AND_READ.with(args)
        };
        let mut exec = self.container.exec(&command).map_err(at(Step::Clone))?;
        if !is_last {
            match self.builds.new_container(self.container.deadline()) {
                Ok(container) => self.handover.waiting = Some(container),
                // If it can't be, that is said when it is needed.
                Err(error) => log::debug!("{error}"),
            }
        }
        let commit = exec.field().map_err(at(Step::Clone))?.parse().ok();
        exec.goes_on_to(READ.doing);
        let printed = exec.rest().map_err(at(Step::Version))?;
        let pkgbuild = pkgbuild::parse(&printed).map_err(at(Step::Version))?;
        Ok(Fetched { pkgbuild, commit })
    }

    /// Reads the PKGBUILD once more: makepkg writes into it what `pkgver()` has found.
    pub fn read_pkgbuild(&self) -> Result<Pkgbuild> {
        pkgbuild::parse(&self.container.read(&self.in_dir(READ.with([])))?)
    }
}
