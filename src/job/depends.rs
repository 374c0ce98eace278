//! The step `dependencies`: what the build needs is installed by root, as the build user can't, and need not.

use super::Job;
use crate::error::{Kind, Result};
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Step, at};
use crate::sandbox::{ADD_REPOSITORY, MISSING, User, command};
use crate::text::one_line;

/// What pacman says of a package that the mirror doesn't have any more.
const NOT_FOUND: &str = "returned error: 404";

impl Job<'_, '_> {
    /// Installs the dependencies that are missing. Tells whether there were any.
    pub fn install_dependencies(&mut self, pkgbuild: &Pkgbuild) -> Result<bool, Failure> {
        let missing = self.missing(&pkgbuild.dependencies);
        let missing = missing.map_err(at(Step::Dependencies))?;
        if missing.is_empty() {
            return Ok(false);
        }
        log::info!("installing {}", one_line(&missing, 500));
        self.add_repository().map_err(at(Step::Check))?;
        self.has_root_run = true;
        self.install(&missing).map_err(at(Step::Dependencies))?;
        Ok(true)
    }

    /// Installs packages, one a line. The mirror may have moved on since the image was made: then what is installed is
    /// brought up to date first.
    fn install(&self, packages: &str) -> Result<()> {
        let mut argv = vec!["pacman", "-S", "--asdeps", "--needed", "--noconfirm", "--"];
        argv.extend(packages.lines());
        let install = command(User::Root, "installing the dependencies", argv);
        match self.container.run(&install, self.by) {
            Err(error) if error.output.contains(NOT_FOUND) => {
                log::info!("trying again after pacman -Syu: {error}");
                let update = vec!["pacman", "-Syu", "--noconfirm"];
                self.container
                    .run(&command(User::Root, "pacman -Syu", update), self.by)?;
                self.container.run(&install, self.by)
            }
            installed => installed,
        }
    }

    /// Those of the dependencies that no installed package satisfies, one a line.
    fn missing(&self, dependencies: &[String]) -> Result<String> {
        if dependencies.is_empty() {
            return Ok(String::new());
        }
        let look = MISSING.with(dependencies.iter().map(String::as_str));
        let missing = self.container.read(&self.in_dir(look), self.by)?;
        Ok(String::from_utf8_lossy(&missing).into_owned())
    }

    /// Makes what is published to the same repository known to pacman, if there is anything (pacman takes a missing
    /// database for an error). If containers can't reach it, that is said once, and builds go on without it.
    fn add_repository(&mut self) -> Result<()> {
        let repo = &self.task.repo.publish_to;
        if !self.has(&format!("{repo}.db"))? {
            return Ok(());
        }
        let url = self.builds.sink.url_of(repo);
        let add = ADD_REPOSITORY.with([repo.as_str(), &url]);
        let error = match self.container.run(&add, self.by) {
            Err(error) if matches!(error.kind, Kind::Exit(_)) => error,
            added => return added,
        };
        if !self.handover.unreachable.contains(repo) {
            let without = format!("builds go on without what is published to {repo}");
            log::warn!("{without}, which is {url} in a container: {error}");
            self.handover.unreachable.push(repo.clone());
        }
        Ok(())
    }
}
