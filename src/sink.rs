//! Where packages go: whether one is there, publishing, and how pacman gets at them. Not here: what may be published
//! (`archive`).

use std::io::Read;
use std::time::Duration;

use crate::error::Result;
use crate::http::{Deadline, encode};
use crate::server::{Server, refused};
use crate::words::{Arch, RepoName};

/// How long the server may take for an answer that needs no upload, if there is that much time at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The packages of a Vieter server, those of one architecture.
pub struct Sink {
    server: Server,
    arch: Arch,
}

impl Sink {
    /// The packages on this server for `arch`.
    pub fn new(server: Server, arch: Arch) -> Sink {
        Sink { server, arch }
    }

    /// Whether a version of a package (`<name>-<version>`) or a file is published (`HEAD /<repo>/<arch>/<that>`). A
    /// repository has no database (`<repo>.db`) before its first package.
    ///
    /// # Errors
    /// No answer, any but 200 and 404.
    pub fn has(&self, repo: &RepoName, what: &str, by: Deadline) -> Result<bool> {
        let [repo, arch, what] = [repo.as_str(), self.arch.as_str(), what].map(encode);
        let path = format!("/{repo}/{arch}/{what}");
        let answer = self.server.head(&path, by.within(PATIENCE))?;
        match answer.status() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(refused(answer)),
        }
    }

    /// Where pacman finds a repository: what stands behind `Server =` in pacman.conf.
    pub fn url_of(&self, repo: &RepoName) -> String {
        format!("{}/{repo}/{}", self.server.address(), self.arch)
    }

    /// A repository's database; `None` before its first package (`GET /<repo>/<arch>/<repo>.db`).
    ///
    /// # Errors
    /// No answer, any but 200 and 404; one of more than 16 MiB.
    pub fn database(&self, repo: &RepoName, by: Deadline) -> Result<Option<Vec<u8>>> {
        let [encoded, arch] = [repo.as_str(), self.arch.as_str()].map(encode);
        let answer = self
            .server
            .get(&format!("/{encoded}/{arch}/{encoded}.db"), by)?;
        match answer.status() {
            200 => answer.read().map(Some),
            404 => Ok(None),
            _ => Err(refused(answer)),
        }
    }

    /// Publishes a package archive of `size` bytes, as it is read (`POST /<repo>/publish`).
    ///
    /// # Errors
    /// No answer, any but 200, and those of the reader.
    pub fn publish(
        &self,
        repo: &RepoName,
        bytes: &mut dyn Read,
        size: u64,
        by: Deadline,
    ) -> Result<()> {
        let path = format!("/{}/publish", encode(repo.as_str()));
        let answer = self.server.post(&path, bytes, size, by)?;
        match answer.status() {
            200 => Ok(()),
            _ => Err(refused(answer)),
        }
    }
}
