//! Files of ours that are replaced as a whole: whoever reads one, and whatever is killed meanwhile, finds the old text or the new
//! one; and how it is waited for that nobody else changes what is ours (flock(2)). Not here: what goes to a folder of packages
//! (`home::staging`).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufWriter, Error, IntoInnerError, Result};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::http::Deadline;

/// How often a lock is tried.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes a file beside its place, and renames it. Where a link leads to one, that is replaced. Gives the file, for reading.
///
/// # Errors
/// Those of the file system, and of what writes; what is there, and is no regular file: `/dev/null`, say.
pub fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<File> {
    let linked = fs::canonicalize(path);
    let path = linked.as_deref().unwrap_or(path);
    if fs::metadata(path).is_ok_and(|it| !it.is_file()) {
        return Err(Error::other("it is no regular file, and stays as it is"));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    // What a killed run has left; never what a link leads to.
    let _ = fs::remove_file(&beside);
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&beside)?;
    let finished = finish(file, path, write);
    let replaced = finished.and_then(|file| fs::rename(&beside, path).map(|()| file));
    if replaced.is_err() {
        // The disk may be full.
        let _ = fs::remove_file(&beside);
    }
    replaced
}

/// Writes what is to take another's place, as whoever has that.
fn finish(
    file: File,
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<File> {
    let mut buffer = BufWriter::new(file);
    write(&mut buffer)?;
    let file = buffer.into_inner().map_err(IntoInnerError::into_error)?;
    if let Ok(before) = fs::metadata(path) {
        file.set_permissions(before.permissions())?;
        // Only root can give it to somebody else.
        let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
    }
    // After a loss of power, too.
    file.sync_all()?;
    Ok(file)
}

/// Takes the lock of a file, or a folder. If somebody else holds it, what is `said` goes to the log, once.
///
/// # Errors
/// Those of the file system; that it is held until then.
pub fn lock(file: &File, said: &str, by: Deadline) -> Result<()> {
    let mut is_first = true;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if by.has_passed() => {
                return Err(Error::other("somebody else has locked it until now"));
            }
            Err(TryLockError::WouldBlock) => (),
        }
        if is_first {
            log::info!("{said}");
        }
        is_first = false;
        thread::sleep(PAUSE);
    }
}
