//! The step `dependencies`: what the build needs is installed by root, as the build user can't, and need not.

use super::Job;
use crate::error::{Error, Kind, Result};
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Step, at};
use crate::sandbox::{ADD_REPOSITORY, MISSING, User, command};
use crate::text::one_line;
use crate::words::PackageName;

/// What pacman says at its end if it couldn't download something: a mirror may not have it any more.
const NOT_RETRIEVED: &str = "failed to retrieve some files";

/// The dependencies that are in no repository, by what pacman says, without versions.
fn nowhere(error: &Error) -> Vec<PackageName> {
    let name = |line: &str| {
        let found = line.strip_prefix("error: target not found: ").or_else(|| {
            let (_, rest) = line.split_once("unable to satisfy dependency '")?;
            rest.split_once('\'').map(|(name, _)| name)
        });
        found?.split(['<', '>', '=']).next()?.parse().ok()
    };
    error.output.lines().filter_map(name).collect()
}

impl Job<'_, '_> {
    /// Installs the dependencies that are missing. Tells whether there were any.
    pub fn install_dependencies(&mut self, pkgbuild: &Pkgbuild) -> Result<bool, Failure> {
        let missing = self.missing(&pkgbuild.dependencies)?;
        if missing.is_empty() {
            return Ok(false);
        }
        self.needs_image_up_to_date()?;
        log::info!("installing {}", one_line(&missing, 500));
        self.add_repository(&missing).map_err(at(Step::Check))?;
        let was_reached = self.handover.reached.get(&self.task.repo.publish_to);
        let failed = |error: Error| match was_reached {
            // It may lack what is there: neither another entry nor another night's wait can help.
            Some(false) => self.advised(error).of_kind(Kind::NoAnswer),
            _ => self.advised(error),
        };
        let installed = self.install(&missing).map_err(failed);
        installed.map_err(at(Step::Dependencies))?;
        Ok(true)
    }

    /// Whether pacman could install the dependencies that are missing, now or when what would be built is there.
    ///
    /// # Errors
    /// What it finds nowhere.
    pub fn could_install(&mut self, pkgbuild: &Pkgbuild) -> Result<(), Failure> {
        let missing = self.missing(&pkgbuild.dependencies)?;
        if missing.is_empty() {
            return Ok(());
        }
        self.add_repository(&missing).map_err(at(Step::Check))?;
        let mut argv = vec!["pacman", "-Sp", "--needed", "--noconfirm", "--"];
        argv.extend(missing.lines());
        let look = command(User::Root, "looking for the dependencies", argv);
        let Err(error) = self.container.run(&look, self.by) else {
            return Ok(());
        };
        let (nowhere, would_be_built) = (nowhere(&error), &self.handover.would_be_built);
        match !nowhere.is_empty() && nowhere.iter().all(|it| would_be_built.contains(it)) {
            true => Ok(()),
            false => Err(at(Step::Dependencies)(self.advised(error))),
        }
    }

    /// Says what to do about dependencies that are in no repository.
    fn advised(&self, error: Error) -> Error {
        let nowhere = nowhere(&error);
        let nowhere = nowhere
            .iter()
            .filter(|it| !self.handover.would_be_built.contains(it));
        let repo = &self.task.repo.publish_to;
        let advice = |name: &PackageName| {
            let home = self.builds.sink.home.option();
            let url = format!("https://aur.archlinux.org/{name}.git");
            let build = format!("vieter build {home} --repo {repo} {url}");
            format!("{name} is in no repository; if the AUR has it: {build}")
        };
        let advice: Vec<String> = nowhere.map(advice).collect();
        match advice.is_empty() {
            true => error,
            false => error.advise(&advice.join("; ")),
        }
    }

    /// Installs packages, one a line. The mirror may have moved on since the image was made: then what is installed is
    /// brought up to date first.
    fn install(&self, packages: &str) -> Result<()> {
        let mut argv = vec!["pacman", "-S", "--asdeps", "--needed", "--noconfirm", "--"];
        argv.extend(packages.lines());
        let install = command(User::Root, "installing the dependencies", argv);
        match self.container.run(&install, self.by) {
            Err(error) if error.output.contains(NOT_RETRIEVED) => {
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
    fn missing(&self, dependencies: &[String]) -> Result<String, Failure> {
        if dependencies.is_empty() {
            return Ok(String::new());
        }
        let look = MISSING.with(dependencies.iter().map(String::as_str));
        let missing = self.container.read(&self.in_dir(look), self.by);
        missing.map_err(at(Step::Dependencies))
    }

    /// Makes what is published to the same repository known to pacman, if there is anything, and what these packages need of
    /// it. If containers can't reach it, that is said once, and builds go on without it.
    fn add_repository(&mut self, missing: &str) -> Result<()> {
        let repo = &self.task.repo.publish_to;
        let was_reached = self.handover.reached.get(repo).copied();
        // Each try would cost pacman's time-out.
        if was_reached == Some(false) {
            return Ok(());
        }
        let (sink, container) = (self.builds.sink, &self.container);
        let Some(url) = sink.lend(repo, container, self.by)? else {
            return Ok(());
        };
        let add = ADD_REPOSITORY.with([repo.as_str(), &url]);
        let error = match container.run(&add, self.by) {
            Ok(()) => {
                self.handover.reached.insert(repo.clone(), true);
                return sink.lend_archives(repo, container, missing, self.by);
            }
            Err(error) if matches!(error.kind, Kind::Exit(_)) && was_reached.is_none() => error,
            Err(error) => return Err(error),
        };
        let without = format!("builds go on without what is published to {repo}");
        log::warn!("{without}, which is {url} in a container: {error}");
        self.handover.reached.insert(repo.clone(), false);
        Ok(())
    }
}
