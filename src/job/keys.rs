//! The step `keys`: what the sources may be signed with. Which of the keys they need is for makepkg to know, so one that
//! can't be had is a warning.

use super::Job;
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Step, at};
use crate::sandbox::IMPORT_KEYS;
use crate::text::{masked, one_line};

impl Job<'_, '_> {
    /// Imports the keys that the repository brings, and fetches those of `validpgpkeys` that are missing still.
    pub fn import_keys(&self, pkgbuild: &Pkgbuild) -> Result<(), Failure> {
        let keyservers = self.builds.settings.keyservers.as_str();
        for key in self.import(pkgbuild, keyservers)?.lines() {
            let nowhere = "is not in keys/pgp, and on none of these keyservers";
            let (key, keyservers) = (one_line(key, 100), masked(keyservers));
            log::warn!(
                "{}: the key {key} of validpgpkeys {nowhere}: {keyservers}",
                self.line.name
            );
        }
        Ok(())
    }

    /// Imports the keys that the repository brings, and fetches the others from these keyservers, if there are any. Gives those
    /// that can't be had, one a line.
    pub fn import(&self, pkgbuild: &Pkgbuild, keyservers: &str) -> Result<String, Failure> {
        if pkgbuild.keys.is_empty() {
            return Ok(String::new());
        }
        let keys = pkgbuild.keys.iter().map(String::as_str);
        let import = IMPORT_KEYS.with([keyservers].into_iter().chain(keys));
        let missing = self.container.read(&self.in_dir(import), self.by);
        missing.map_err(at(Step::Keys))
    }
}
