//! A Vieter server as the home of packages: what it is asked for, and how often. Not here: how it is reached (`crate::server`).

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::archive::Archive;
use crate::error::{Error, Kind, Result};
use crate::http::{Answer, Deadline, encode};
use crate::inbox::Inbox;
use crate::retry::{A_FEW, Tries, WHILE_THERE_IS_TIME, retry};
use crate::server::{Server, refused};
use crate::words::{Arch, PackageName, RepoName, Version};

/// How long the server may take for one answer to a `HEAD`, one that is away for the same, and for one database, if there is that much time at
/// all.
const PATIENCE: Duration = Duration::from_secs(20);
const LAST_PATIENCE: Duration = Duration::from_secs(3);
const DATABASE: Duration = Duration::from_secs(30);

/// How long it may take for a build's log.
const LOG: Duration = Duration::from_secs(120);

/// A repository on a server, for one architecture.
pub struct Shelf<'s> {
    /// The server.
    pub server: &'s Server,
    /// Which repository.
    pub repo: &'s RepoName,
    /// Whose packages.
    pub arch: &'s Arch,
}

impl Shelf<'_> {
    /// The path of a version of a package, or of a file.
    fn path(&self, what: &str) -> String {
        let [repo, arch, what] = [self.repo.as_str(), self.arch.as_str(), what].map(encode);
        format!("/{repo}/{arch}/{what}")
    }

    /// Whether a version of a package (`<name>-<version>`) or a file is published (`HEAD /<repo>/<arch>/<that>`).
    ///
    /// # Errors
    /// No answer, any but 200 and 404.
    pub fn has(&self, what: &str, tries: Tries) -> Result<bool> {
        let (path, by) = (self.path(what), tries.by);
        let has = retry(tries, || {
            let answer = self.server.head(&path, by.within(PATIENCE))?;
            match answer.status() {
                // It bears no key that could be wrong.
                401 | 403 => Err(answer.refused()),
                _ => Ok(found(answer)?.is_some()),
            }
        });
        self.server.note(!has.as_ref().is_err_and(is_silence));
        has
    }

    /// What a version of a package is called here.
    ///
    /// # Errors
    /// What these servers take for something else: in what they are asked, `.pkg` makes a file's name; and of a repository with two hyphens or more,
    /// they take their own database for an older version of what is called as its beginning is.
    pub fn called(&self, name: &PackageName, version: &Version) -> Result<String> {
        let called = format!("{name}-{version}");
        let bad = |why: &str| {
            Err(Error::unusable(
                &called,
                format!("no Vieter server can have it: {why}"),
            ))
        };
        if called.contains(".pkg") {
            return bad("what has .pkg in its name or version is a file to it");
        }
        if self.repo.as_str().rsplitn(3, '-').nth(2) == Some(name.as_str()) {
            return bad("the repository's name begins with its name");
        }
        Ok(called)
    }

    /// A few tries for a question; but one if the server is away: a list is long, and the next night asks again.
    pub fn tries(&self, by: Deadline) -> Tries {
        match self.server.is_away() {
            true => Tries::new(1, by.within(LAST_PATIENCE)),
            false => Tries::new(A_FEW, by),
        }
    }

    /// Where pacman finds it; `None` if it has no database (`<repo>.db`), as before its first package.
    ///
    /// # Errors
    /// Those of [`Shelf::has`].
    pub fn url(&self, by: Deadline) -> Result<Option<String>> {
        let Shelf { server, repo, arch } = self;
        let is_there = self.has(&format!("{repo}.db"), self.tries(by))?;
        Ok(is_there.then(|| format!("{}/{repo}/{arch}", server.address())))
    }

    /// Its database; `None` before its first package (`GET /<repo>/<arch>/<repo>.db`).
    ///
    /// # Errors
    /// No answer, any but 200 and 404; one of more than 16 MiB.
    pub fn database(&self, by: Deadline) -> Result<Option<Vec<u8>>> {
        let path = self.path(&format!("{}.db", self.repo));
        retry(Tries::new(WHILE_THERE_IS_TIME, by), || {
            let answer = self.server.get(&path, by.within(DATABASE))?;
            found(answer)?.map(Answer::read).transpose()
        })
    }

    /// Publishes archives, one after another, but for those that are there already, unless that is forced. Notes each at once:
    /// what comes later may fail.
    ///
    /// # Errors
    /// Those of the first that fails.
    pub fn publish(
        &self,
        inbox: &Inbox,
        force: bool,
        archives: &[Archive],
        note: &mut dyn FnMut(&Archive),
        by: Deadline,
    ) -> Result<()> {
        for Archive { name, version, .. } in archives {
            self.called(name, version)?;
        }
        for archive in archives {
            let Archive { name, version, .. } = archive;
            let what = self.called(name, version)?;
            let was_there = self.has(&what, Tries::new(WHILE_THERE_IS_TIME, by))?;
            if was_there && !force {
                log::info!("{name} {version} is published already");
                continue;
            }
            archive.announce(self.repo);
            let open = || inbox.open(&archive.path, by);
            self.upload(&what, was_there, open, archive.size, by)?;
            note(archive);
        }
        Ok(())
    }

    /// Publishes an archive of `size` bytes (`POST /<repo>/publish`), which `open` gives anew for each try. Two at once of one
    /// package would wedge the server: before another try a `HEAD` has to be answered, as long as there is time. It tells, too,
    /// whether the version (`<name>-<version>`) has arrived after all, unless it `was_there` before.
    ///
    /// # Errors
    /// No answer, any but 200, and those of the reader.
    pub fn upload<R: Read>(
        &self,
        version: &str,
        was_there: bool,
        open: impl Fn() -> Result<R>,
        size: u64,
        by: Deadline,
    ) -> Result<()> {
        let path = format!("/{}/publish", encode(self.repo.as_str()));
        let mut refusals = Tries::new(A_FEW, by);
        let mut faults = Tries::new(WHILE_THERE_IS_TIME, by);
        // Servers file what has come of an upload that breaks off, and from then on the version is there.
        let mut may_be_there = false;
        let advised = |may_be_there: bool, error: Error| match may_be_there {
            true => error.advise("the server may have kept a part of it: publish it with --force"),
            false => error,
        };
        loop {
            // It is open for this request alone: as long as it is, Docker answers nobody who asks about the container that it is read from.
            let mut archive = open().map_err(|error| advised(may_be_there, error))?;
            let error = match self.server.post(&path, &mut archive, size, by) {
                Ok(answer) if answer.status() == 200 => return Ok(()),
                Ok(answer) => refused(answer),
                Err(error) => error,
            };
            drop(archive);
            may_be_there |= matches!(error.kind, Kind::NoAnswer | Kind::Status(500..));
            let tries = match error.kind {
                // What these servers say of an archive that they can't take as well, and what a full disk is.
                Kind::Status(500 | 507) => &mut refusals,
                _ => &mut faults,
            };
            let given_up = tries.pause_after(error).err();
            let look = match given_up {
                // A last one: it may have been the answer alone that was lost.
                Some(_) => Tries::new(A_FEW, Deadline::after(PATIENCE)),
                None => Tries::new(WHILE_THERE_IS_TIME, by),
            };
            let arrived = self.has(version, look);
            let is_there = matches!(arrived, Ok(true)) && !was_there;
            if is_there && matches!(self.has_whole(version, size), Ok(true)) {
                log::info!("{version} has arrived in {} after all", self.repo);
                return Ok(());
            }
            may_be_there = is_there || may_be_there && !matches!(arrived, Ok(false));
            if let Some(error) = given_up.or(arrived.err()) {
                return Err(advised(may_be_there, error));
            }
        }
    }

    /// Whether a version that is there is all of an archive of `size` bytes: of an upload that breaks off these servers file what has
    /// come. What they know of it says how long it is, and what its file is called (`GET /<repo>/<arch>/<name>-<version>`).
    fn has_whole(&self, version: &str, size: u64) -> Result<bool> {
        let by = || Deadline::after(PATIENCE);
        let answer = self.server.get(&self.path(version), by())?;
        let Some(answer) = found(answer)? else {
            return Ok(false);
        };
        let known = answer.read()?;
        let known = String::from_utf8_lossy(&known);
        let field = |name: &str| {
            let mut lines = known.lines();
            lines.find(|it| *it == name)?;
            lines.next()
        };
        match field("%FILENAME%") {
            Some(file) if field("%CSIZE%") == Some(&size.to_string()) => {
                self.has(file, Tries::new(1, by()))
            }
            _ => Ok(false),
        }
    }
}

/// Sends the log of an entry's build (`POST /api/v1/logs`): the server's number for it, for which architecture and when it was
/// built, from and to, in seconds since 1970, and whether it was. Servers keep them from 0.4 on.
///
/// # Errors
/// Those of the file; no answer, any but 200.
pub fn send_log(
    server: &Server,
    target: u64,
    arch: &Arch,
    [start, end]: [u64; 2],
    is_built: bool,
    path: &Path,
) -> Result<()> {
    let failed = |error| Error::unusable(format!("reading {}", path.display()), error);
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let (arch, code) = (encode(arch.as_str()), i32::from(!is_built));
    let path = format!(
        "/api/v1/logs?target={target}&startTime={start}&endTime={end}&arch={arch}&exitCode={code}"
    );
    let answer = server.post(&path, &mut file, size, Deadline::after(LOG))?;
    match answer.status() {
        200 => Ok(()),
        _ => Err(refused(answer)),
    }
}

/// Whether it means that the server is away: a proxy may answer that nobody else does.
pub fn is_silence(error: &Error) -> bool {
    matches!(error.kind, Kind::NoAnswer | Kind::Status(502..=504))
}

/// The answer that something is there; `None` if it isn't.
fn found(answer: Answer) -> Result<Option<Answer>> {
    match answer.status() {
        200 => Ok(Some(answer)),
        404 => Ok(None),
        _ => Err(refused(answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Settings;

    /// Runs `work` with the shelf of this repository.
    fn with_shelf<T>(repo: &str, work: impl FnOnce(&Shelf) -> T) -> T {
        let server = Server::new(Settings {
            address: "http://127.0.0.1:1".to_owned(),
            api_key: String::new(),
            ca_file: None,
        });
        let (repo, arch) = (repo.parse().unwrap(), "any".parse().unwrap());
        work(&Shelf {
            server: &server,
            repo: &repo,
            arch: &arch,
        })
    }

    #[test]
    fn what_a_server_takes_for_something_else_has_no_name_there() {
        let called = |repo: &str, name: &str, version: &str| {
            let (name, version) = (name.parse().unwrap(), version.parse().unwrap());
            with_shelf(repo, |it| it.called(&name, &version))
        };
        for (repo, name, version) in [
            ("bur", "foo", "1:2-1"),
            ("bur", "bur", "1-1"),
            ("a-b", "a", "1-1"),
            ("a-b-c", "a-b", "1-1"),
            ("a-b-c", "b", "1-1"),
        ] {
            let name_there = called(repo, name, version).unwrap();
            assert_eq!(name_there, format!("{name}-{version}"));
        }
        for (repo, name, version) in [
            ("bur", "foo.pkg", "1-1"),
            ("bur", "foo", "1.pkg.tar-1"),
            ("a-b-c", "a", "1-1"),
            ("a-b-c-d", "a-b", "1-1"),
        ] {
            let error = called(repo, name, version).unwrap_err().to_string();
            assert!(error.contains("no Vieter server can have it"), "{error}");
        }
    }
}
