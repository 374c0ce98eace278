//! One repository, from its URL to its published packages, in a container of its own. Here is the order of the steps;
//! each step has a file. Not here: which repository comes next (`queue`, `run`).

mod depends;
mod fetch;
mod keys;
mod make;
mod version;

use std::time::{Duration, Instant};

use crate::docker::{Command, Container, ImageRef};
use crate::error::Result;
use crate::http::Deadline;
use crate::list::Repo;
use crate::report::{Failure, Line, Outcome, Step, at};
use crate::sandbox::{CLONE, Sandbox};
use crate::sink::Sink;
use crate::words::RepoName;

/// How repositories are built.
pub struct Settings {
    /// The most that one repository may take, by the wall clock, all steps together.
    pub timeout: Duration,
    /// Whether what is published already is built and published, too.
    pub force: bool,
    /// Where missing keys are asked for, separated by spaces.
    pub keyservers: String,
}

/// What the builds of one run have in common.
pub struct Builds<'e> {
    /// What makes their containers.
    pub sandbox: &'e Sandbox<'e>,
    /// The builder image.
    pub image: &'e ImageRef,
    /// Where the packages go.
    pub sink: &'e Sink,
    /// How repositories are built.
    pub settings: &'e Settings,
}

/// What goes from one repository's build to the next.
#[derive(Default)]
pub struct Handover<'e> {
    /// A container that was started for the next repository while the last one was cloned.
    pub waiting: Option<Container<'e>>,
    /// How many archives the run has published.
    pub published: usize,
    /// The pacman repositories that containers can't reach, as was said once.
    pub unreachable: Vec<RepoName>,
}

/// Builds one repository, and publishes what is missing. Another one comes after it unless it `is_last`.
pub fn build<'e>(
    builds: &Builds<'e>,
    repo: &Repo,
    is_last: bool,
    handover: &mut Handover<'e>,
) -> Line {
    let started = Instant::now();
    let mut name = repo.name.clone();
    let container = builds.container(handover.waiting.take());
    let outcome = container
        .map_err(at(Step::Container))
        .and_then(|container| {
            let dir = format!("{CLONE}/{}", repo.path);
            let job = Job {
                builds,
                repo,
                handover,
                container,
                dir,
            };
            job.steps(&mut name, is_last)
        });
    let outcome = outcome.unwrap_or_else(Outcome::Failed);
    let took = started.elapsed();
    Line {
        name,
        outcome,
        took,
    }
}

impl<'e> Builds<'e> {
    /// The container that waits for a repository, or a new one if it doesn't: it may have waited for long.
    fn container(&self, waiting: Option<Container<'e>>) -> Result<Container<'e>> {
        let by = Deadline::after(self.settings.timeout);
        match waiting {
            Some(waiting) if waiting.is_running(by).unwrap_or(false) => Ok(waiting.until(by)),
            _ => self.new_container(by),
        }
    }

    fn new_container(&self, by: Deadline) -> Result<Container<'e>> {
        self.sandbox.start(None, self.image, by)
    }
}

/// One repository, being built.
struct Job<'a, 'e> {
    builds: &'a Builds<'e>,
    repo: &'a Repo,
    handover: &'a mut Handover<'e>,
    container: Container<'e>,
    /// Where the PKGBUILD is.
    dir: String,
}

impl Job<'_, '_> {
    fn steps(mut self, name: &mut String, is_last: bool) -> Result<Outcome, Failure> {
        let fetched = self.fetch(is_last)?;
        let mut pkgbuild = fetched.pkgbuild;
        let has_pkgver = pkgbuild.has_pkgver;
        let mut has_dependencies = false;
        if has_pkgver {
            self.import_keys(&pkgbuild)?;
            has_dependencies = self.update_pkgver(&pkgbuild)?;
            pkgbuild = self.read_pkgbuild().map_err(at(Step::Version))?;
        }
        let version = pkgbuild.version().map_err(at(Step::Version))?;
        *name = format!("{} {version}", pkgbuild.pkgbase);

        if !self.builds.settings.force && self.is_published(&pkgbuild, &version)? {
            self.end(has_dependencies);
            return Ok(Outcome::UpToDate);
        }
        has_dependencies = has_dependencies || self.install_dependencies(&pkgbuild)?;
        if !has_pkgver {
            self.import_keys(&pkgbuild)?;
        }
        match &fetched.commit {
            Some(commit) => log::info!("building {name}, commit {commit}"),
            None => log::info!("building {name}"),
        }
        // Behind pkgver(), the sources are there, prepared.
        let options: &[&str] = if has_pkgver { &["--noextract"] } else { &[] };
        self.makepkg("makepkg", options).map_err(at(Step::Build))?;
        let outcome = self.publish()?;
        self.end(has_dependencies);
        Ok(outcome)
    }

    /// Ends a job that went well. Its container goes with our connection, and nobody waits for that. But not all proxies
    /// pass the end of one on, and what ran as root, a dependency's scriptlet, could have made it stay.
    fn end(self, has_dependencies: bool) {
        if self.builds.sandbox.engine.is_direct() && !has_dependencies {
            self.container.let_go();
        }
    }

    /// The same command, where the PKGBUILD is.
    fn in_dir<'b>(&'b self, command: Command<'b>) -> Command<'b> {
        Command {
            workdir: &self.dir,
            ..command
        }
    }
}
