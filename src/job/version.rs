//! The steps `version` and `check`: which version it would be, and whether that is published.

use super::Job;
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Step, at};
use crate::words::Version;

impl Job<'_, '_> {
    /// Lets makepkg write the version that `pkgver()` finds into the PKGBUILD. Both pkgver() and prepare(), which
    /// runs before it, may need a program that makedepends names: if it fails, it gets them, and a second try.
    /// Tells whether it did.
    pub fn update_pkgver(&mut self, pkgbuild: &Pkgbuild) -> Result<bool, Failure> {
        let doing = "makepkg --nobuild";
        let Err(error) = self.makepkg(doing, &["--nobuild", "--nodeps"]) else {
            return Ok(false);
        };
        if self.container.deadline().has_passed() {
            return Err(at(Step::Version)(error));
        }
        log::info!("trying again with the dependencies: {error}");
        if !self.install_dependencies(pkgbuild)? {
            return Err(at(Step::Version)(error));
        }
        // In a clean tree: prepare() may have come half-way.
        let again = self.makepkg(doing, &["--nobuild", "--nodeps", "--cleanbuild"]);
        again.map_err(at(Step::Version))?;
        Ok(true)
    }

    /// Whether this version of each of the packages is published.
    pub fn is_published(&self, pkgbuild: &Pkgbuild, version: &Version) -> Result<bool, Failure> {
        let by = self.container.deadline();
        for name in &pkgbuild.names {
            let package = format!("{name}-{version}");
            let has = self.builds.sink.has(&self.repo.publish_to, &package, by);
            if !has.map_err(at(Step::Check))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
