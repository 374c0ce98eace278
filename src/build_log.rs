//! A file with all that was printed while one repository was built, for whoever reads it days later.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{since_1970, utc};
use crate::error::{Error, Result};

/// The most that a file has, in bytes, and how much of its beginning and of its end is kept when that is reached.
const MOST: u64 = 64 << 20;
const BEGINNING: u64 = MOST / 2;
const END: u64 = MOST / 4;

/// How many files of an entry stay.
const KEPT: usize = 10;

/// The longest part of a file's name, in characters: what it is made of is a stranger's word.
const LONGEST: usize = 100;

/// What stands in the first line of a file, before the entry.
const ENTRY: &str = "entry: ";

/// A file that is being written. What is written to it is escaped already.
#[derive(Clone)]
pub struct BuildLog(Arc<Mutex<Written>>);

struct Written {
    dir: PathBuf,
    path: PathBuf,
    /// None once it can't be written any more.
    file: Option<File>,
    size: u64,
    /// How many bytes were left out, and how long what says so is.
    left_out: u64,
    said: u64,
    entry: String,
    /// When it was begun, as it stands in its name.
    time: String,
}

impl BuildLog {
    /// Begins one in this folder, for this entry, which is called so until its pkgbase is known.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin(dir: &Path, entry: &str, name: &str) -> Result<BuildLog> {
        let time = utc(since_1970()).replace(['-', ':'], "");
        let failed = |error: io::Error| {
            Error::unusable(format!("writing a log in {}", dir.display()), error)
        };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true);
        let (path, file) = loop {
            let path = free(dir, name, &time);
            match options.open(&path) {
                // Another run was a moment faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => (),
                opened => break (path, opened.map_err(failed)?),
            }
        };
        let log = BuildLog(Arc::new(Mutex::new(Written {
            dir: dir.to_owned(),
            path,
            file: Some(file),
            size: 0,
            left_out: 0,
            said: 0,
            entry: entry.to_owned(),
            time,
        })));
        log.line(&format!("{ENTRY}{entry}"));
        Ok(log)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line, at once.
    pub fn line(&self, line: &str) {
        let mut log = self.written();
        let written = log.write(format!("{line}\n").as_bytes());
        if let Err(error) = written {
            log::warn!(
                "writing the log {}: {error}; it ends here",
                log.path.display()
            );
            log.file = None;
        }
    }

    /// Gives it the name of what is built.
    pub fn rename(&self, pkgbase: &str, version: &str) {
        let mut log = self.written();
        let name = format!("{}-{}", cut(pkgbase), cut(version));
        if log.path == log.dir.join(file_name(&name, &log.time)) {
            return;
        }
        let path = free(&log.dir, &name, &log.time);
        if fs::rename(&log.path, &path).is_ok() {
            log.path = path;
        }
    }

    /// Ends it. One that nobody wants, as nothing was built, is removed; of the others of its entry, the last ten stay.
    pub fn end(self, is_wanted: bool) -> Option<PathBuf> {
        let log = self.written();
        let ended = match is_wanted {
            true => log.remove_old(),
            false => fs::remove_file(&log.path),
        };
        if let Err(error) = ended {
            log::warn!("clearing the logs in {}: {error}", log.dir.display());
        }
        is_wanted.then(|| log.path.clone())
    }
}

impl Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.write_all_at(bytes, self.size)?;
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > MOST {
            self.leave_the_middle_out()?;
        }
        Ok(())
    }

    /// Moves the end forward, behind the beginning.
    fn leave_the_middle_out(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut from = self.size.saturating_sub(END);
        let before = BEGINNING.saturating_add(self.said);
        self.left_out = self.left_out.saturating_add(from.saturating_sub(before));
        let said = format!("\n[... {} bytes are left out here ...]\n", self.left_out);
        file.write_all_at(said.as_bytes(), BEGINNING)?;
        self.said = said.len() as u64;
        let mut to = BEGINNING.saturating_add(self.said);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = file.read_at(&mut buffer, from)?;
            let Some(bytes) = buffer.get(..read).filter(|it| !it.is_empty()) else {
                break;
            };
            file.write_all_at(bytes, to)?;
            from = from.saturating_add(read as u64);
            to = to.saturating_add(read as u64);
        }
        self.size = to;
        file.set_len(to)
    }

    /// Removes the oldest files of the same entry. Its pkgbase may have been another then.
    fn remove_old(&self) -> io::Result<()> {
        let mut logs = vec![];
        for found in fs::read_dir(&self.dir)? {
            let path = found?.path();
            let is_log = path.extension().is_some_and(|it| it == "log");
            if is_log && path.is_file() && File::open(&path).is_ok_and(|it| is_of(&self.entry, it))
            {
                logs.push((path.metadata()?.modified()?, path));
            }
        }
        logs.sort();
        let too_many = logs.len().saturating_sub(KEPT);
        let mut old = logs.iter().take(too_many);
        old.try_for_each(|(_, path)| fs::remove_file(path))
    }
}

/// Whether a file is of this entry, by its first line. No more of it is read than that line has: it may be anybody's, and of any
/// size.
fn is_of(entry: &str, file: impl Read) -> bool {
    let expected = format!("{ENTRY}{entry}\n");
    let mut first = vec![];
    let read = file.take(expected.len() as u64).read_to_end(&mut first);
    read.is_ok() && first == expected.as_bytes()
}

/// The place of a file that isn't there yet: two entries may be called the same in one second.
fn free(dir: &Path, name: &str, time: &str) -> PathBuf {
    let mut path = dir.join(file_name(name, time));
    let mut number = 1_u64;
    while path.symlink_metadata().is_ok() {
        number = number.saturating_add(1);
        path = dir.join(file_name(name, &format!("{time}-{number}")));
    }
    path
}

/// What a file is called.
fn file_name(name: &str, time: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@._+-".contains(c);
    let plain: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    format!("{}-{time}.log", plain.trim_start_matches('.'))
}

fn cut(word: &str) -> String {
    word.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(dir: &Path) -> Vec<String> {
        let name = |it: io::Result<fs::DirEntry>| it.unwrap().file_name().into_string().unwrap();
        let mut logs: Vec<_> = fs::read_dir(dir).unwrap().map(name).collect();
        logs.sort();
        logs
    }

    #[test]
    fn the_beginning_and_the_end_stay() {
        let dir = tempfile::tempdir().unwrap();
        let log = BuildLog::begin(dir.path(), "git://x", "x").unwrap();
        let filler = "x".repeat(1 << 20);
        for n in 0..200 {
            log.line(&format!("{n} {filler}"));
        }
        log.line("the last");
        // As makepkg says it once more.
        log.rename("pkg", "1:2.0*-1");
        log.rename("pkg", "1:2.0*-1");
        let path = log.end(true).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() as u64 <= MOST);
        assert!(text.starts_with("entry: git://x\n0 xxx") && text.ends_with("x\nthe last\n"));
        let said = text.lines().find(|it| it.starts_with("[...")).unwrap();
        let left_out: u64 = said.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(text.matches("[...").count(), 1);
        // All that was written is there, or counted.
        let written = 15
            + (0..200)
                .map(|n: u64| n.to_string().len() as u64 + 2 + (1 << 20))
                .sum::<u64>()
            + 9;
        assert_eq!(
            written,
            left_out + text.len() as u64 - (said.len() as u64 + 2)
        );
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name.starts_with("pkg-1_2.0_-1-20") && name.ends_with("Z.log"),
            "{name}"
        );
    }

    #[test]
    fn of_a_file_without_a_line_the_beginning_is_read() {
        let mut zeros = io::repeat(0).take(1 << 30);
        assert!(!is_of("git://x", &mut zeros));
        assert!(zeros.limit() > (1 << 30) - (64 << 10));
        assert!(is_of("git://x", &b"entry: git://x\nmore"[..]));
        assert!(!is_of("git://x", &b"entry: git://xy\n"[..]));
        assert!(!is_of("git://x", &b"entry: git://x"[..]));
    }

    #[test]
    fn the_last_ten_of_an_entry_stay_whatever_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let other = BuildLog::begin(dir.path(), "git://other", "other").unwrap();
        other.end(true).unwrap();
        fs::write(dir.path().join("mine.log"), "a file of somebody's").unwrap();
        for n in 0..15 {
            let log = BuildLog::begin(dir.path(), "git://x", "x").unwrap();
            log.rename(&format!("name{n:02}"), "1-1");
            log.end(true).unwrap();
        }
        let done = BuildLog::begin(dir.path(), "git://x", "x").unwrap();
        assert_eq!(done.end(false), None);
        let logs = logs(dir.path());
        assert_eq!(logs.len(), 12, "{logs:?}");
        assert!(
            logs.iter().any(|it| it.starts_with("other-")) && logs.contains(&"mine.log".into())
        );
        assert!(
            logs.iter().any(|it| it.starts_with("name14-"))
                && !logs.iter().any(|it| it.starts_with("name04-"))
        );
    }
}
