//! Where packages go: whether one is there, publishing, how pacman gets at them, and whose their names are. A home is one of
//! two, and nobody outside asks which. Not here: what may be published (`archive`).

mod change;
pub mod database;
pub mod folder;
mod page;
mod publish;
mod records;
pub mod server;
mod staging;

use std::hash::RandomState;
use std::rc::Rc;

use crate::archive::Archive;
use crate::docker::Container;
use crate::error::Result;
use crate::http::Deadline;
use crate::inbox::Inbox;
use crate::list::{self, List, Repo};
use crate::memory::Memory;
use crate::owners::{Key, Listed, Owners};
use crate::report::{Line, Outcome, Tried};
use crate::server::{self as client, Server};
use crate::text::one_line;
use crate::words::{Arch, Commit, PackageName, RepoName, Version};

use self::database::{Database, Package};
pub use self::folder::Folder;
use self::records::Record;

/// Where a home is.
pub enum Settings {
    /// A server, with its key.
    Server(client::Settings),
    /// A folder.
    Folder(folder::Settings),
}

/// The two.
pub enum Home {
    /// A Vieter server.
    Server(Box<Server>),
    /// A folder with the same layout.
    Folder(Folder),
}

impl Home {
    /// The home that is meant. A server isn't asked for anything yet.
    ///
    /// # Errors
    /// A folder that can't be used.
    pub fn open(settings: Settings) -> Result<Home> {
        Ok(match settings {
            Settings::Server(settings) => Home::Server(Box::new(Server::new(settings))),
            Settings::Folder(settings) => Home::Folder(Folder::open(settings)?),
        })
    }

    /// The list of what is to be built that is there, for this architecture; a folder has none.
    ///
    /// # Errors
    /// Those of [`list::fetch`].
    pub fn list(&mut self, arch: &Arch) -> Result<Option<List>> {
        match self {
            Home::Server(server) => list::fetch(server, arch).map(Some),
            Home::Folder(_) => Ok(None),
        }
    }

    /// Whether its databases may have to be unpacked, in a container, to see what is published.
    pub fn unpacks_databases(&self) -> bool {
        matches!(self, Home::Folder(_))
    }

    /// Whether archives are packed anew: servers may unpack them by older programs than those that they are checked with.
    pub fn packs_anew(&self) -> bool {
        matches!(self, Home::Server(_))
    }

    /// Whether a key goes to another machine, unencrypted.
    pub fn sends_key_in_the_clear(&self) -> bool {
        match self {
            Home::Server(server) => server.sends_key_in_the_clear(),
            Home::Folder(_) => false,
        }
    }

    /// The option that names it, for advice.
    pub fn option(&self) -> String {
        match self {
            Home::Server(server) => format!("--address {}", server.address()),
            Home::Folder(folder) => format!("--into {}", folder.settings.dir.display()),
        }
    }

    /// What it is, and what is well if its list can be had.
    pub fn what_is_well(&self) -> (&'static str, String) {
        match self {
            Home::Server(server) => {
                let address = server.address();
                ("server", format!("{address} answers and takes the key"))
            }
            Home::Folder(folder) => {
                let dir = folder.settings.dir.display();
                ("folder", format!("{dir} can be written to"))
            }
        }
    }

    /// The packages that no entry of the list makes any more, by what its entries have claimed in this run. A server's are
    /// the server's matter.
    ///
    /// # Errors
    /// Records that can't be read.
    pub fn gone(&self, arch: &Arch, listed: &Listed, owners: &Owners) -> Result<Vec<Gone>> {
        match self {
            Home::Server(_) => Ok(vec![]),
            Home::Folder(home) => home.gone(arch, listed, owners),
        }
    }
}

/// The packages of a home, those of one architecture.
pub struct Sink<'e> {
    /// Where they are.
    pub home: &'e Home,
    /// Theirs.
    pub arch: &'e Arch,
    /// Where archives are looked at, and databases unpacked and made.
    pub inbox: Inbox<'e>,
    /// Whose names are nobody else's.
    pub listed: &'e Listed,
}

/// Something that is published by a repository's build, for a home's records.
pub struct Source<'a> {
    /// The entry of the list.
    pub repo: &'a Repo,
    /// What was built; `None` for a PKGBUILD that was downloaded.
    pub commit: Option<Commit>,
    /// The packages that are others', and may be replaced.
    pub replace: &'a [PackageName],
    /// Whether what is published already is published again.
    pub force: bool,
}

/// A package in a folder that no entry of the list makes any more.
#[derive(Clone)]
pub struct Gone {
    /// Where it is.
    pub repo: RepoName,
    /// Which one.
    pub name: PackageName,
    /// In which version; none if it is an archive alone, of a publish or a removal that was killed.
    pub version: Option<String>,
}

impl Gone {
    /// What is told of it.
    pub fn line(&self, outcome: Outcome) -> Line {
        let version = self.version.as_ref();
        // The records may be anybody's.
        let version = version.map_or(String::new(), |it| format!(" {}", one_line(it, 100)));
        Line::untouched(format!("{}/{}{version}", self.repo, self.name), outcome)
    }
}

impl Sink<'_> {
    fn on_server<'s>(&'s self, server: &'s Server, repo: &'s RepoName) -> server::Shelf<'s> {
        let arch = self.arch;
        server::Shelf { server, repo, arch }
    }

    /// Whether a package that is published is this entry's, as far as is known: a folder remembers whose each is; for a server, it is
    /// if it has the same pkgbase.
    ///
    /// # Errors
    /// A folder's records that can't be read.
    pub fn is_own(&self, repo: &Repo, package: &Package, base: &PackageName) -> Result<bool> {
        match self.home {
            Home::Server(_) => Ok(package.base == base.as_str()),
            Home::Folder(home) => {
                let records = home.shelf(self, &repo.publish_to).records()?;
                let record = records.packages.get(package.name.as_str());
                // An entry may have changed its URL.
                let was_own = |it: &Record| {
                    package.base == base.as_str()
                        && !self.listed.may_have(&repo.publish_to, &it.entry)
                };
                Ok(record.is_some_and(|it| it.entry == Key::of(repo) || was_own(it)))
            }
        }
    }

    /// Whether a version of each of these packages is published.
    ///
    /// # Errors
    /// No answer, or none that tells it; a folder's database that can't be read.
    pub fn has(
        &self,
        repo: &RepoName,
        names: &[PackageName],
        version: &Version,
        by: Deadline,
    ) -> Result<bool> {
        for name in names {
            let has = match self.home {
                Home::Server(home) => {
                    let shelf = self.on_server(home, repo);
                    shelf.has(&shelf.called(name, version)?, shelf.tries(by))?
                }
                Home::Folder(home) => home.shelf(self, repo).has(name, version, by)?,
            };
            if !has {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes a repository's database reachable for a build's container: what stands behind `Server =` in its pacman.conf.
    /// `None` before the first package: pacman takes a missing database for an error.
    ///
    /// # Errors
    /// No answer, or none that tells it; those of the engine and of a folder's database.
    pub fn lend(
        &self,
        repo: &RepoName,
        container: &Container,
        by: Deadline,
    ) -> Result<Option<String>> {
        match self.home {
            Home::Server(home) => self.on_server(home, repo).url(by),
            Home::Folder(home) => home.shelf(self, repo).lend(container, by),
        }
    }

    /// Makes those of a repository's archives reachable that pacman would take for these packages, once it knows its database.
    ///
    /// # Errors
    /// Those of the engine; an archive that has gone.
    pub fn lend_archives(
        &self,
        repo: &RepoName,
        container: &Container,
        packages: &str,
        by: Deadline,
    ) -> Result<()> {
        match self.home {
            Home::Server(_) => Ok(()),
            Home::Folder(home) => {
                let shelf = home.shelf(self, repo);
                shelf.lend_archives(container, packages, by)
            }
        }
    }

    /// A repository's database; `None` before its first package.
    ///
    /// # Errors
    /// No answer, or none that is one; one of more than 16 MiB; those of a folder's.
    pub fn database(&self, repo: &RepoName, by: Deadline) -> Result<Option<Vec<u8>>> {
        match self.home {
            Home::Server(home) => self.on_server(home, repo).database(by),
            Home::Folder(home) => home.shelf(self, repo).database(),
        }
    }

    /// The packages of a repository; none before its first.
    ///
    /// # Errors
    /// Those of [`Sink::database`]; a database that can't be read.
    pub fn packages(&self, repo: &RepoName, by: Deadline) -> Result<Rc<Database>> {
        match self.home {
            Home::Server(home) => {
                let Some(packed) = self.on_server(home, repo).database(by)? else {
                    return Ok(Rc::default());
                };
                let size = packed.len() as u64;
                let plain = change::plain(&self.inbox, &mut packed.as_slice(), size, by);
                let read = plain.and_then(|it| Database::read(it, &RandomState::new()));
                read.map(Rc::new)
                    .map_err(|error| error.during(format!("the database of {repo}")))
            }
            Home::Folder(home) => home.shelf(self, repo).latest(by),
        }
    }

    /// Refuses names that another entry has from nights before, if that may be on the list still. A folder has records of its own;
    /// for a server, this is what is remembered, and who has which in this run.
    ///
    /// # Errors
    /// That; a folder's records that can't be read.
    pub fn must_not_be_anothers(
        &self,
        repo: &Repo,
        names: &[PackageName],
        memory: &Memory,
        owners: &Owners,
    ) -> Result<()> {
        match self.home {
            Home::Server(_) => memory.must_not_be_anothers(repo, names, self.listed, owners),
            Home::Folder(home) => {
                let records = home.shelf(self, &repo.publish_to).records()?;
                records.must_not_be_anothers(repo, names, self.listed)
            }
        }
    }

    /// Publishes archives, in this order as far as a server is concerned, but for those that are published already, unless that
    /// is forced. Notes each that it has published, those too that go before one that fails.
    ///
    /// # Errors
    /// No answer, or another than success; those of the inbox; whatever keeps a folder from being changed.
    pub fn publish(
        &self,
        source: &Source,
        archives: &[Archive],
        note: &mut dyn FnMut(&Archive),
        by: Deadline,
    ) -> Result<()> {
        match self.home {
            Home::Server(home) => {
                let shelf = self.on_server(home, &source.repo.publish_to);
                shelf.publish(&self.inbox, source.force, archives, note, by)
            }
            Home::Folder(home) => {
                let shelf = home.shelf(self, &source.repo.publish_to);
                let placed = publish::publish(&shelf, source, archives, by)?;
                placed.into_iter().for_each(note);
                Ok(())
            }
        }
    }

    /// Sends the log of a build that is told now to whoever keeps such. That it can't be is no reason for a build to fail.
    pub fn send_log(&self, line: &Line) {
        let target = line.facts.entry.as_ref().and_then(|it| it.target);
        if let (Home::Server(server), Some(target), Some(log)) = (self.home, target, line.own_log())
            && !server.is_away()
        {
            let (times, is_built) = (line.facts.times, line.failure().is_none());
            let sent = server::send_log(server, target, self.arch, times, is_built, log);
            server.note(!sent.as_ref().is_err_and(server::is_silence));
            if let Err(error) = sent {
                log::warn!("sending the log of {}: {error}", line.url);
            }
        }
    }

    /// Says what became of these entries, which may be all that there are, to whoever looks at the packages. That it can't be
    /// is no reason for a run to fail.
    pub fn tell(&self, tried: &[Tried], is_whole: bool, by: Deadline) {
        let told = match self.home {
            Home::Server(_) => Ok(()),
            Home::Folder(home) => home.tell(self, tried, is_whole, by),
        };
        let _ = told.inspect_err(|error| log::error!("{error}"));
    }

    /// Removes packages of one repository that no entry of the list makes any more.
    ///
    /// # Errors
    /// Whatever keeps a folder from being changed.
    pub fn remove(&self, repo: &RepoName, gone: &[Gone], by: Deadline) -> Result<()> {
        match self.home {
            Home::Server(_) => Ok(()),
            Home::Folder(home) => publish::remove(&home.shelf(self, repo), gone, by),
        }
    }
}
