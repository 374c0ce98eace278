//! Files of ours that are replaced as a whole: whoever reads one, and whatever is killed meanwhile, finds the old text or the new
//! one. Not here: what goes to a folder of packages, which has to be on the disk as well (`home::staging`).

use std::fs::{self, File};
use std::io::{Result, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;

/// Writes a file beside its place, and renames it.
///
/// # Errors
/// Those of the file system.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    if let Ok(before) = fs::metadata(path) {
        file.set_permissions(before.permissions())?;
        // Only root can give it to somebody else.
        let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
    }
    // After a loss of power, too.
    file.sync_all()?;
    fs::rename(&beside, path)
}
