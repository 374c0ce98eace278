//! The step `check`: whether the version is published already, and whether the names may be published at all. That they
//! are nobody else's belongs to the step `version`, which finds them.

use super::Job;
use crate::error::Error;
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Step, at};

impl Job<'_, '_> {
    /// Takes the PKGBUILD's names for this entry, and tells whether its version of each of its packages is published.
    pub fn is_up_to_date(&mut self, pkgbuild: &Pkgbuild) -> Result<bool, Failure> {
        let version = pkgbuild.version().map_err(at(Step::Version))?;
        self.name = format!("{} {version}", pkgbuild.pkgbase);
        let claimed = self.handover.owners.claim(self.task.repo, pkgbuild);
        claimed.map_err(at(Step::Version))?;
        if self.builds.settings.force {
            return Ok(false);
        }
        for name in &pkgbuild.names {
            let has = self.has(&format!("{name}-{version}"));
            if !has.map_err(at(Step::Check))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Refuses names of official packages, and of what they provide, unless they are to be replaced: pacman prefers the
    /// literal name in any repository to what only provides it, so what is built later would install this instead.
    pub fn refuse_official(&self, pkgbuild: &Pkgbuild) -> Result<(), Failure> {
        let (repo, inbox) = (&self.task.repo.publish_to, self.builds.inbox);
        let mut names = pkgbuild.names.clone();
        let debug = format!("{}-debug", pkgbuild.pkgbase);
        names.push(debug.parse().map_err(at(Step::Version))?);
        let official = inbox.official(repo, &names, self.by);
        let official = official.map_err(at(Step::Check))?;
        let replaced = &self.builds.settings.replace;
        let Some(name) = official.into_iter().find(|name| !replaced.contains(name)) else {
            return Ok(());
        };
        let why = "is an official package, or one provides it";
        let advice = format!("to replace it, say --replace {name}, or VIETER_REPLACE");
        Err(at(Step::Check)(Error::unusable(name, why).advise(&advice)))
    }
}
