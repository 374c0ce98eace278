//! How files come into a folder: they are written beside their place, synced and signed, and then renamed. A kill at any moment
//! leaves the old file or the new one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::http::Deadline;
use crate::server::KEY_VARIABLES;
use crate::text::Output;

/// The folder beside the files' places, on the same file system.
const FOLDER: &str = ".vieter";

/// The most that the sign command may take for a file.
const SIGNING: Duration = Duration::from_secs(60);

/// How often it is looked whether the sign command has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// Where files wait. Dropping it removes what was not placed.
pub struct Staging<'s> {
    /// Where they will be.
    target: &'s Path,
    folder: PathBuf,
    sign_command: Option<&'s str>,
}

/// The error that something can't be done with a file.
pub fn failed_to<'s>(doing: &'s str, path: &'s Path) -> impl Fn(io::Error) -> Error + 's {
    move |error| Error::unusable(format!("{doing} {}", path.display()), error)
}

/// What the signature of a file of this name is called.
pub fn signature_of(name: &str) -> String {
    format!("{name}.sig")
}

impl<'s> Staging<'s> {
    /// For files that are going to be in this folder, which is made if it isn't there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(target: &'s Path, sign_command: Option<&'s str>) -> Result<Staging<'s>> {
        let folder = target.join(FOLDER);
        remove_all(&folder).map_err(failed_to("emptying", &folder))?;
        fs::create_dir_all(&folder).map_err(failed_to("making", &folder))?;
        Ok(Staging {
            target,
            folder,
            sign_command,
        })
    }

    /// Where a file waits.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file, to the disk; gives its size in bytes.
    ///
    /// # Errors
    /// Those of the file system, and of the reader.
    pub fn write(&self, name: &str, mut bytes: impl Read) -> Result<u64> {
        let path = self.path(name);
        let mut write = || {
            let mut file = File::create_new(&path)?;
            let size = io::copy(&mut bytes, &mut file)?;
            file.sync_all().map(|()| size)
        };
        write().map_err(failed_to("writing", &self.target.join(name)))
    }

    /// Has the user's command sign a file: `sh -c 'COMMAND "$1"' sh FILE` has to leave `FILE.sig`, which we write to the disk.
    ///
    /// # Errors
    /// A command that can't be run, fails, takes too long, or leaves none.
    pub fn sign(&self, name: &str, by: Deadline) -> Result<()> {
        let Some(sign_command) = self.sign_command else {
            return Ok(());
        };
        let (path, log) = (self.path(name), self.path("sign.log"));
        let signature = self.path(&signature_of(name));
        // Without the command, which may have a passphrase in it: this is told on the page, too.
        let doing = |why: String| Error::unusable(format!("signing {name} by --sign-command"), why);
        let ended = run(sign_command, &path, &log, by.within(SIGNING))
            .map_err(|error| doing(error.to_string()))?;
        let mut said = Output::default();
        said.push(&fs::read(&log).unwrap_or_default());
        let why = match ended {
            Some(status) if !status.success() => format!("it ended with {status}"),
            Some(_) if signature.is_file() => {
                let synced = File::open(&signature).and_then(|it| it.sync_all());
                return synced.map_err(failed_to("writing", &signature));
            }
            Some(_) => "it left no .sig beside the file that is its last argument".to_owned(),
            None => "stopped at the time limit".to_owned(),
        };
        let mut error = doing(why);
        error.output = said.last_lines();
        Err(error)
    }

    /// Puts a file into its place. An old signature goes first, the new one comes last.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn place(&self, name: &str) -> Result<()> {
        let signature = signature_of(name);
        let is_signed = self.path(&signature).is_file();
        let place = self.target.join(&signature);
        if !is_signed && place.exists() {
            let why = "it isn't true any more, and there is no --sign-command";
            log::warn!("removing {}: {why}", place.display());
        }
        remove(&place).map_err(failed_to("removing", &place))?;
        self.place_alone(name)?;
        match is_signed {
            true => self.place_alone(&signature),
            false => Ok(()),
        }
    }

    /// Puts an archive into its place, behind its signature: what is there is taken for whole, and nothing comes to it later.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn place_archive(&self, name: &str) -> Result<()> {
        let signature = signature_of(name);
        match self.path(&signature).is_file() {
            true => self.place_alone(&signature)?,
            // Of an archive of that name that was lost.
            false => {
                let place = self.target.join(&signature);
                remove(&place).map_err(failed_to("removing", &place))?;
            }
        }
        self.place_alone(name)
    }

    /// Puts a file into its place, and nothing else: if it is never signed, what is called like its signature is somebody else's.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn place_alone(&self, name: &str) -> Result<()> {
        let place = self.target.join(name);
        fs::rename(self.path(name), &place).map_err(failed_to("placing", &place))
    }

    /// Removes a file from its place, and its signature.
    ///
    /// # Errors
    /// Those of the file system; one that isn't there is none.
    pub fn remove(&self, name: &str) -> Result<()> {
        for name in [name, &signature_of(name)] {
            let place = self.target.join(name);
            remove(&place).map_err(failed_to("removing", &place))?;
        }
        Ok(())
    }

    /// Waits until all renames so far are on the disk.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sync(&self) -> Result<()> {
        let sync = || File::open(self.target)?.sync_all();
        sync().map_err(failed_to("writing", self.target))
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // What stays is removed by the next one.
        let _ = remove_all(&self.folder);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    unless_missing(fs::remove_file(path))
}

fn remove_all(path: &Path) -> io::Result<()> {
    unless_missing(fs::remove_dir_all(path))
}

/// What isn't there can't be removed; nor can what has too long a name to be.
fn unless_missing(removed: io::Result<()>) -> io::Result<()> {
    use ErrorKind::{InvalidFilename, NotFound};
    match removed {
        Err(error) if matches!(error.kind(), NotFound | InvalidFilename) => Ok(()),
        removed => removed,
    }
}

/// Runs a command of the user's on a file, with what it prints into another one. `None` if it had to be ended, with all that it
/// has started.
fn run(command: &str, file: &Path, log: &Path, by: Deadline) -> io::Result<Option<ExitStatus>> {
    let output = File::create(log)?;
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("{command} \"$1\""), "sh"])
        .arg(file);
    for name in KEY_VARIABLES {
        sh.env_remove(name);
    }
    sh.stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let mut child = sh.process_group(0).spawn()?;
    while !by.has_passed() {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(PAUSE);
    }
    let group = child.id().to_string();
    Command::new("sh")
        .args(["-c", "kill -KILL -$1", "sh", &group])
        .status()?;
    child.wait().map(|_| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_command_that_hangs_is_ended_with_what_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x86_64");
        // What it has started holds its output, and a pipe.
        let command = "sh -c 'sleep 1000 3>\"$0.pipe\" & echo waiting for a pin; wait'";
        let staging = Staging::new(&target, Some(command)).unwrap();
        staging.write("file", &b"text"[..]).unwrap();
        let pipe = staging.path("file.pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        // It is at its end once nobody holds it.
        let (sender, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(fs::read(pipe)));
        let error = staging.sign("file", Deadline::after(Duration::from_secs(1)));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("signing file by --sign-command"), "{error}");
        assert!(error.contains("stopped at the time limit"), "{error}");
        assert!(error.contains("waiting for a pin"), "{error}");
        let read = ended.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(read.unwrap(), b"");
    }
}
