//! The step `keys`: what the sources may be signed with.

use super::Job;
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Step, at};
use crate::sandbox::IMPORT_KEYS;

impl Job<'_, '_> {
    /// Imports the keys that the repository brings, and fetches those of `validpgpkeys` that are missing still.
    pub fn import_keys(&self, pkgbuild: &Pkgbuild) -> Result<(), Failure> {
        if pkgbuild.keys.is_empty() {
            return Ok(());
        }
        let mut args = vec![self.builds.settings.keyservers.as_str()];
        args.extend(pkgbuild.keys.iter().map(String::as_str));
        let imported = self.container.run(&self.in_dir(IMPORT_KEYS.with(args)));
        imported.map_err(at(Step::Keys))
    }
}
