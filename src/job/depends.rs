//! The step `dependencies`: what the build needs is installed by root, as the build user can't, and need not.

use super::Job;
use crate::error::{Kind, Result};
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Step, at};
use crate::sandbox::{ADD_REPOSITORY, MISSING, User, command};
use crate::text::one_line;

impl Job<'_, '_> {
    /// Installs the dependencies that are missing. Tells whether there were any.
    pub fn install_dependencies(&mut self, pkgbuild: &Pkgbuild) -> Result<bool, Failure> {
        let missing = self
            .missing(&pkgbuild.dependencies)
            .map_err(at(Step::Dependencies))?;
        if missing.is_empty() {
            return Ok(false);
        }
        log::info!("installing {}", one_line(&missing, 500));
        self.add_repository().map_err(at(Step::Check))?;
        let mut argv = vec!["pacman", "-S", "--asdeps", "--needed", "--noconfirm", "--"];
        argv.extend(missing.lines());
        let install = command(User::Root, "installing the dependencies", argv);
        self.container
            .run(&install)
            .map_err(at(Step::Dependencies))?;
        Ok(true)
    }

    /// Those of the dependencies that no installed package satisfies, one a line.
    fn missing(&self, dependencies: &[String]) -> Result<String> {
        if dependencies.is_empty() {
            return Ok(String::new());
        }
        let look = self.in_dir(MISSING.with(dependencies.iter().map(String::as_str)));
        let missing = self.container.read(&look)?;
        Ok(String::from_utf8_lossy(&missing).into_owned())
    }

    /// Makes what is published to the same repository known to pacman, if there is anything (pacman takes a missing
    /// database for an error). If containers can't reach it, that is said once, and builds go on without it.
    fn add_repository(&mut self) -> Result<()> {
        let (sink, repo) = (self.builds.sink, &self.repo.publish_to);
        if !sink.has(repo, &format!("{repo}.db"), self.container.deadline())? {
            return Ok(());
        }
        let url = sink.url_of(repo);
        let error = match self
            .container
            .run(&ADD_REPOSITORY.with([repo.as_str(), &url]))
        {
            Err(error) if matches!(error.kind, Kind::Exit(_)) => error,
            added => return added,
        };
        if !self.handover.unreachable.contains(repo) {
            log::warn!(
                "builds go on without what is published to {repo}, which is {url} in a container: {error}"
            );
            self.handover.unreachable.push(repo.clone());
        }
        Ok(())
    }
}
