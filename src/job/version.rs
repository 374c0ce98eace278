//! The step `version`: what the packages would be called, and which version they would have.

use super::Job;
use crate::error::Error;
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Step, at};
use crate::words::Version;

/// What messages call makepkg when it only prepares the sources and asks pkgver().
const NOBUILD: &str = "makepkg --nobuild";

/// What makepkg says of a signature that it has no key for.
const NO_KEY: &str = "unknown public key";

impl Job<'_, '_> {
    /// Lets makepkg write the version that `pkgver()` finds into the PKGBUILD. If a signature's key is missing, keyservers
    /// are asked for it; both pkgver() and prepare(), which runs before it, may need a program that makedepends names: if
    /// it fails still, it gets them. After each of the two it is tried once more.
    pub fn update_pkgver(&mut self, pkgbuild: &Pkgbuild) -> Result<(), Failure> {
        // Those that the repository brings: nobody is asked for others yet.
        self.import(pkgbuild, "")?;
        let Err(mut error) = self.makepkg(NOBUILD, &["--nobuild", "--nodeps"]) else {
            return Ok(());
        };
        if error.output.contains(NO_KEY) && !self.by.has_passed() {
            self.import_keys(pkgbuild)?;
            match self.makepkg(NOBUILD, &["--nobuild", "--nodeps", "--cleanbuild"]) {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
        if self.by.has_passed() {
            return Err(at(Step::Version)(error));
        }
        log::info!("trying again with the dependencies: {error}");
        match self.install_dependencies(pkgbuild)? {
            true => self.prepare_again(),
            false => Err(at(Step::Version)(error)),
        }
    }

    /// Prepares the sources anew, in a clean tree, now that dependencies are there.
    pub fn prepare_again(&mut self) -> Result<(), Failure> {
        let prepared = self.makepkg(NOBUILD, &["--nobuild", "--nodeps", "--cleanbuild"]);
        prepared.map_err(at(Step::Version))
    }

    /// What the PKGBUILD says after makepkg has run once more: another version, perhaps, but the names that were checked.
    pub fn read_again(&mut self, before: &Pkgbuild) -> Result<Pkgbuild, Failure> {
        let pkgbuild = self.read_pkgbuild().map_err(at(Step::Version))?;
        let is_same = pkgbuild.names == before.names && pkgbuild.pkgbase == before.pkgbase;
        if !is_same {
            let why = "it has other names now than it had when they were checked";
            return Err(at(Step::Version)(Error::unusable("the PKGBUILD", why)));
        }
        let version = pkgbuild.version().map_err(at(Step::Version))?;
        self.note_name(&pkgbuild, &version);
        Ok(pkgbuild)
    }

    /// What to call it from here on.
    pub fn note_name(&mut self, pkgbuild: &Pkgbuild, version: &Version) {
        self.line.name = format!("{} {version}", pkgbuild.pkgbase);
        self.line.facts.pkgbase = Some(pkgbuild.pkgbase.clone());
        self.line.facts.version = Some(version.clone());
        if let Some(log) = &self.container.log {
            log.rename(pkgbuild.pkgbase.as_str(), &version.to_string());
        }
    }
}
