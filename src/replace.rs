//! Files of ours that are replaced as a whole: whoever reads one, and whatever is killed meanwhile, finds the old text or the new
//! one. Not here: what goes to a folder of packages, which has to be on the disk as well (`home::staging`).

use std::fs;
use std::io::Result;
use std::path::Path;

/// Writes a file beside its place, and renames it.
///
/// # Errors
/// Those of the file system.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
