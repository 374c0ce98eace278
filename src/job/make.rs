//! The steps `build` and `publish`: makepkg, and what it made.

use super::Job;
use crate::archive::{self, Archive};
use crate::docker::Command;
use crate::error::Result;
use crate::report::{Failure, Outcome, Step, at};
use crate::sandbox::MAKEPKG;

impl Job<'_, '_> {
    /// Runs makepkg with these options where the PKGBUILD is; `doing` is what messages call it.
    pub fn makepkg(&self, doing: &str, options: &[&str]) -> Result<()> {
        let args = ["--noconfirm"].iter().chain(options).copied();
        let makepkg = Command {
            doing,
            ..MAKEPKG.with(args)
        };
        self.container.run(&self.in_dir(makepkg))
    }

    /// Publishes the archives that are missing, or all if it was told so.
    pub fn publish(&mut self) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::UpToDate;
        for archive in archive::list(&self.container).map_err(at(Step::Publish))? {
            if self
                .is_to_be_published(&archive)
                .map_err(at(Step::Publish))?
            {
                self.publish_one(&archive).map_err(at(Step::Publish))?;
                self.handover.published = self.handover.published.saturating_add(1);
                outcome = Outcome::Built;
            } else {
                log::info!("{} {} is published already", archive.name, archive.version);
            }
        }
        Ok(outcome)
    }

    fn is_to_be_published(&self, archive: &Archive) -> Result<bool> {
        let Archive { name, version, .. } = archive;
        let (sink, by) = (self.builds.sink, self.container.deadline());
        let package = format!("{name}-{version}");
        Ok(self.builds.settings.force || !sink.has(&self.repo.publish_to, &package, by)?)
    }

    fn publish_one(&self, archive: &Archive) -> Result<()> {
        let (repo, by) = (&self.repo.publish_to, self.container.deadline());
        let Archive {
            name,
            version,
            size,
            ..
        } = archive;
        log::info!("publishing {name} {version} ({size} bytes) to {repo}");
        let mut reader = archive.open(&self.container)?;
        self.builds.sink.publish(repo, &mut reader, by)
    }
}
