//! A folder as the home of packages: `DIR/<repo>/<arch>/`, with pacman's own database, so that `Server = file://DIR/$repo/$arch`
//! works, and any web server on it. Not here: how it is changed (`publish`).

use std::cell::RefCell;
use std::fs::{self, DirEntry, File, OpenOptions, TryLockError};
use std::hash::RandomState;
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

use super::change::plain;
use super::database::{Database, Package};
use super::page::{self, Section};
use super::publish::tidy;
use super::records::Records;
use super::staging::{Staging, failed_to};
use super::{Gone, Sink};
use crate::docker::Container;
use crate::error::Result;
use crate::http::Deadline;
use crate::inbox::{FOLDER, Inbox};
use crate::owners::{Listed, Owners};
use crate::replace::lock;
use crate::report::Tried;
use crate::sandbox::WOULD_TAKE;
use crate::tar::{Own, of_files, own};
use crate::words::{Arch, PackageName, RepoName, Version};

/// The file that is locked while something in the folder is changed.
const LOCK: &str = ".vieter.lock";

/// Where the folder is, and how things go there.
#[derive(Clone)]
pub struct Settings {
    /// `DIR`
    pub dir: PathBuf,
    /// What signs a file, on the host.
    pub sign_command: Option<String>,
}

/// A folder.
pub struct Folder {
    /// Where it is, as an absolute path, and how things go there.
    pub settings: Settings,
    latest: RefCell<Option<Latest>>,
}

/// The database that was read last: a list asks for one again and again.
struct Latest {
    path: PathBuf,
    /// What tells it from others that were there: its inode, its size and its time.
    identity: [u64; 4],
    database: Rc<Database>,
}

/// A repository in it, for one architecture.
pub struct Shelf<'s> {
    /// The folder.
    pub folder: &'s Folder,
    /// Which repository.
    pub repo: &'s RepoName,
    /// For which architecture.
    pub arch: &'s Arch,
    /// `DIR/<repo>/<arch>`
    pub dir: PathBuf,
    /// Where its databases are made.
    pub inbox: &'s Inbox<'s>,
    /// Whose names are nobody else's.
    pub listed: &'s Listed,
    /// For the comparison of databases.
    pub seed: RandomState,
}

impl Folder {
    /// Opens it. It is made if it isn't there.
    ///
    /// # Errors
    /// What isn't a folder, or can't be written to.
    pub fn open(settings: Settings) -> Result<Folder> {
        let dir = &settings.dir;
        let made = fs::create_dir_all(dir).map_err(failed_to("making the folder", dir));
        let opened = made.and_then(|()| open_lock(dir)).and_then(|file| {
            // Not every file system has locks, and what was built would be lost.
            match file.try_lock() {
                Err(TryLockError::Error(error)) => {
                    Err(failed_to("locking", &dir.join(LOCK))(error))
                }
                _ => Ok(()),
            }
        });
        // From here on it doesn't begin with what a command would take for an option.
        let whole = opened.and_then(|()| fs::canonicalize(dir).map_err(failed_to("finding", dir)));
        let advice = "--into (VIETER_INTO) takes a folder that this user can write to";
        let dir = whole.map_err(|error| error.advise(advice))?;
        Ok(Folder {
            settings: Settings { dir, ..settings },
            latest: RefCell::default(),
        })
    }

    /// Waits until nobody else changes it.
    ///
    /// # Errors
    /// Those of the file system, and the time limit.
    pub fn lock(&self, by: Deadline) -> Result<File> {
        let path = self.settings.dir.join(LOCK);
        let file = open_lock(&self.settings.dir)?;
        let waiting = format!("waiting for another run that publishes: {}", path.display());
        let locked = lock(&file, &waiting, by);
        locked.map_err(failed_to("locking", &path))?;
        Ok(file)
    }

    /// A repository in it.
    pub fn shelf<'s>(&'s self, sink: &'s Sink, repo: &'s RepoName) -> Shelf<'s> {
        self.shelf_of(sink, repo, sink.arch)
    }

    fn shelf_of<'s>(&'s self, sink: &'s Sink, repo: &'s RepoName, arch: &'s Arch) -> Shelf<'s> {
        Shelf {
            folder: self,
            repo,
            arch,
            dir: self.dir(repo, arch),
            inbox: &sink.inbox,
            listed: sink.listed,
            seed: RandomState::new(),
        }
    }

    fn dir(&self, repo: &RepoName, arch: &Arch) -> PathBuf {
        let dir = &self.settings.dir;
        dir.join(repo.as_str()).join(arch.as_str())
    }

    /// The packages that no entry of the list makes any more.
    ///
    /// # Errors
    /// Records that can't be read.
    pub fn gone(&self, arch: &Arch, listed: &Listed, owners: &Owners) -> Result<Vec<Gone>> {
        let mut gone = vec![];
        for (repo, _) in self.places()?.iter().filter(|(_, its)| its == arch) {
            let records = Records::read(&self.dir(repo, arch))?;
            gone.extend(records.gone(repo, listed, owners));
        }
        Ok(gone)
    }

    /// The repositories in it, each with an architecture, by name. What can't be one isn't ours.
    fn places(&self) -> Result<Vec<(RepoName, Arch)>> {
        let mut places = vec![];
        for repo in names_in::<RepoName>(&self.settings.dir)? {
            // A file system's lost+found, say, can't be read.
            let dir = self.settings.dir.join(repo.as_str());
            let archs = names_in::<Arch>(&dir).unwrap_or_default();
            places.extend(archs.into_iter().map(|arch| (repo.clone(), arch)));
        }
        Ok(places)
    }

    /// Remembers what became of these entries, which may be all that there are, and writes the page.
    ///
    /// # Errors
    /// Those of the file system, and of databases and records that can't be read.
    pub fn tell(&self, sink: &Sink, tried: &[Tried], is_whole: bool, by: Deadline) -> Result<()> {
        let _lock = self.lock(by)?;
        for Tried { entry, failed } in tried {
            // The first package of a repository may be what couldn't be built.
            let dir = self.dir(&entry.publish_to, sink.arch);
            if failed.is_some() {
                fs::create_dir_all(&dir).map_err(failed_to("making", &dir))?;
            }
        }
        let places = self.places()?;
        let mut sections = vec![];
        for (repo, arch) in &places {
            let shelf = self.shelf_of(sink, repo, arch);
            let is_its = |it: &&Tried| arch == sink.arch && it.entry.publish_to == *repo;
            let its: Vec<&Tried> = tried.iter().filter(is_its).collect();
            match shelf.tell(&its, is_whole && arch == sink.arch, by) {
                Ok((database, records)) => sections.push(Section {
                    shelf,
                    database,
                    records,
                }),
                // One that is broken is no reason not to show the others.
                Err(error) => log::error!("{error}"),
            }
        }
        sections.retain(|it| !it.is_empty());
        page::write(&self.settings.dir, &sections)
    }
}

/// The folders in a folder whose names can be such, in their order. Links are none: what one leads to is another repository, perhaps,
/// and what is on the list for that isn't for this.
fn names_in<T: FromStr>(dir: &Path) -> Result<Vec<T>> {
    let found = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut found = found.map_err(failed_to("reading", dir))?;
    found.retain(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
    found.sort_by_key(DirEntry::file_name);
    let name = |it: &DirEntry| it.file_name().to_str()?.parse().ok();
    Ok(found.iter().filter_map(name).collect())
}

/// Whether a folder can be written to, if it is there: a file of ours is made in it, and removed.
fn can_be_written(dir: &Path) -> Result<()> {
    let path = dir.join(".vieter.new");
    match File::create_new(&path) {
        // Nothing is there yet; or another run is at it, or was killed at it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
            Ok(())
        }
        Err(error) => Err(failed_to("writing to", dir)(error)),
        Ok(_) => {
            // Another run may have been quicker.
            let _ = fs::remove_file(&path);
            Ok(())
        }
    }
}

fn open_lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    opened.map_err(failed_to("opening", &path))
}

impl Shelf<'_> {
    /// Remembers what became of its entries, and clears up after publishes that were killed; gives what is to be shown.
    fn tell(&self, tried: &[&Tried], is_whole: bool, by: Deadline) -> Result<(Database, Records)> {
        let (mut records, database) = (self.records()?, self.read("db", by)?);
        if records.set_tried(tried, is_whole) || !records.are_settled() {
            tidy(&mut records, &database, &Staging::new(&self.dir, None)?)?;
        }
        Ok((database, records))
    }

    /// What is remembered of its packages.
    ///
    /// # Errors
    /// Those of [`Records::read`].
    pub fn records(&self) -> Result<Records> {
        Records::read(&self.dir)
    }

    /// What a database is called: `db`, or the list of files, `files`.
    pub fn file(&self, kind: &str) -> String {
        format!("{}.{kind}", self.repo)
    }

    /// Opens one, as it is; `None` if there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(&self, kind: &str) -> Result<Option<File>> {
        let path = self.dir.join(self.file(kind));
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(failed_to("opening", &path)),
        }
    }

    /// Reads one, whether it is compressed or not; an empty one if there is none.
    ///
    /// # Errors
    /// Those of [`Shelf::open`], of what unpacks it, and of [`Database::read`].
    pub fn read(&self, kind: &str, by: Deadline) -> Result<Database> {
        let Some(mut file) = self.open(kind)? else {
            return Ok(Database::default());
        };
        let path = self.dir.join(self.file(kind));
        let size = file.metadata().map_err(failed_to("reading", &path))?.len();
        let mut beginning = [0; 262];
        let read = file.read_exact(&mut beginning);
        let is_tar = beginning.ends_with(b"ustar") || beginning.iter().all(|byte| *byte == 0);
        file.rewind().map_err(failed_to("reading", &path))?;
        let read = if read.is_ok() && is_tar {
            Database::read(file, &self.seed)
        } else {
            let unpacked = plain(self.inbox, &mut file, size, by);
            unpacked.and_then(|it| Database::read(it, &self.seed))
        };
        let advice = "make it anew with repo-add, of all archives beside it";
        read.map_err(|error| error.during(path.display()).advise(advice))
    }

    /// Reads its database, unless it is the one that was read last: each is a file of its own, that is never changed.
    ///
    /// # Errors
    /// Those of [`Shelf::read`].
    pub fn latest(&self, by: Deadline) -> Result<Rc<Database>> {
        let path = self.dir.join(self.file("db"));
        let found = path.metadata().ok().map(|it| {
            let (seconds, rest) = (it.mtime().unsigned_abs(), it.mtime_nsec().unsigned_abs());
            [it.ino(), it.len(), seconds, rest]
        });
        let mut latest = self.folder.latest.borrow_mut();
        if let Some(it) = &*latest
            && it.path == path
            && Some(it.identity) == found
        {
            return Ok(it.database.clone());
        }
        let database = Rc::new(self.read("db", by)?);
        *latest = found.map(|identity| Latest {
            path,
            identity,
            database: database.clone(),
        });
        Ok(database)
    }

    /// The bytes of its database, as they are.
    ///
    /// # Errors
    /// Those of opening and reading it.
    pub fn database(&self) -> Result<Option<Vec<u8>>> {
        let path = self.dir.join(self.file("db"));
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some).map_err(failed_to("reading", &path)),
        }
    }

    /// Whether a version of a package is in its database, and the archive there.
    ///
    /// # Errors
    /// Those of [`Shelf::read`]; a database that is lost; if it isn't, a folder that can't be written to.
    pub fn has(&self, name: &PackageName, version: &Version, by: Deadline) -> Result<bool> {
        let database = self.latest(by)?;
        // Before anything is built that couldn't be published.
        if database.packages().next().is_none() {
            let path = self.dir.join(self.file("db"));
            self.records()?.must_match(&database, &path)?;
        }
        let has = self.has_in(&database, name, version);
        if !has {
            can_be_written(&self.dir)?;
        }
        Ok(has)
    }

    /// Whether a version of a package is in this database of its, and the archive there.
    pub fn has_in(&self, database: &Database, name: &PackageName, version: &Version) -> bool {
        let found = database.find(name);
        let found = found.filter(|it| it.version == version.to_string());
        found.is_some_and(|it| self.has_whole(it))
    }

    /// Whether the archive of a package of its database is there, as long as it was.
    pub fn has_whole(&self, package: &Package) -> bool {
        let file = self.dir.join(&package.filename).metadata();
        file.is_ok_and(|file| file.is_file() && file.len() == package.size)
    }

    /// Puts its database into a build's container.
    ///
    /// # Errors
    /// Those of [`Shelf::open`] and of the engine.
    pub fn lend(&self, container: &Container, by: Deadline) -> Result<Option<String>> {
        let Some(file) = self.open("db")? else {
            return Ok(None);
        };
        let name = self.file("db");
        let database = own(&name, file).map_err(failed_to("reading", &self.dir.join(&name)))?;
        container.unpack(FOLDER, &mut of_files(vec![database]), by)?;
        Ok(Some(format!("file://{FOLDER}")))
    }

    /// Puts those of its archives beside that which pacman would take for these packages, one a line.
    ///
    /// # Errors
    /// Those of the script and of the file system.
    pub fn lend_archives(&self, container: &Container, packages: &str, by: Deadline) -> Result<()> {
        let ask = WOULD_TAKE.with([self.repo.as_str()].into_iter().chain(packages.lines()));
        let wanted = container.read(&ask, by)?;
        let database = self.read("db", by)?;
        let is_wanted = |name: &str| wanted.lines().any(|it| it == name);
        let mut archives: Vec<Own> = vec![];
        for package in database.packages().filter(|it| is_wanted(&it.filename)) {
            let path = self.dir.join(&package.filename);
            // One that is gone will be built again, and what needs it after that: pacman says that it isn't there.
            let file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(failed_to("opening", &path))?,
            };
            archives.push(own(&package.filename, file).map_err(failed_to("opening", &path))?);
        }
        if archives.is_empty() {
            return Ok(());
        }
        container.unpack(FOLDER, &mut of_files(archives), by)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::home::records::Record;
    use crate::list::Entry;
    use crate::list::tests::repos;
    use crate::owners::Key;

    #[test]
    fn a_debug_package_goes_when_what_it_is_of_is_newer() {
        let temp = tempfile::tempdir().unwrap();
        let arch = "any".parse().unwrap();
        let entry = &repos("https://a/x")[0];
        let record = |version: &str| {
            let (entry, base) = (Key::of(entry), Some("x".parse().unwrap()));
            let version = Some(version.to_owned());
            let (commit, time, files) = (None, 0, vec![]);
            Record {
                entry,
                base,
                commit,
                time,
                version,
                files,
            }
        };
        let (dir, sign_command) = (temp.path().to_owned(), None);
        let folder = Folder::open(Settings { dir, sign_command }).unwrap();
        let mut owners = Owners::default();
        let x: PackageName = "x".parse().unwrap();
        owners
            .claim(entry, &x, &["x-bin".parse().unwrap()])
            .unwrap();
        owners.note_read(entry);
        let listed = Listed::of(&[Entry::Repo(entry.clone())]);
        let dir = temp.path().join("mine/any");
        fs::create_dir_all(&dir).unwrap();
        // What is called as the pkgbase is made no more; nor is the debug package, once it is older.
        for (version, gone) in [("2-1", &["x"][..]), ("1-1", &["x", "x-debug"])] {
            let mut records = Records::default();
            for (name, version) in [("x-bin", "2-1"), ("x", "1-1"), ("x-debug", version)] {
                let name = name.parse().unwrap();
                records.packages.insert(name, record(version));
            }
            fs::write(dir.join("vieter.json"), records.text().unwrap()).unwrap();
            let found = folder.gone(&arch, &listed, &owners).unwrap();
            let found: Vec<_> = found.iter().map(|it| it.name.as_str()).collect();
            assert_eq!(found, gone);
        }
    }

    #[test]
    fn another_name_of_a_repository_is_none_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["mine/x86_64", "mine/aarch64", ".hidden/x86_64", "a b/any"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("file"), "").unwrap();
        symlink("mine", dir.path().join("alias")).unwrap();
        symlink("x86_64", dir.path().join("mine/any")).unwrap();
        let (dir, sign_command) = (dir.path().to_owned(), None);
        let folder = Folder::open(Settings { dir, sign_command }).unwrap();
        let places = folder.places().unwrap();
        let places = places.iter().map(|(repo, arch)| format!("{repo} {arch}"));
        assert_eq!(places.collect::<Vec<_>>(), ["mine aarch64", "mine x86_64"]);
    }
}
