//! One repository, from its URL to its published packages, in a container of its own. Here is the order of the steps;
//! each step has a file. Not here: which repository comes next (`queue`, `run`).

mod check;
mod depends;
mod fetch;
mod keys;
mod publish;
mod version;

use std::time::{Duration, Instant};

use crate::docker::{Command, Container, ImageRef};
use crate::error::{Error, Kind, Result};
use crate::http::Deadline;
use crate::inbox::Inbox;
use crate::list::Repo;
use crate::owners::Owners;
use crate::report::{Failure, Line, Outcome, Step, at};
use crate::sandbox::{CLONE, MAKEPKG, Sandbox, TIDY};
use crate::sink::Sink;
use crate::words::{Arch, PackageName, RepoName};

/// How long it may take to remove what a build has written.
const TIDYING: Duration = Duration::from_secs(60);

/// How repositories are built.
pub struct Settings {
    /// The most that one repository may take, by the wall clock, all steps and all tries together.
    pub timeout: Duration,
    /// Whether what is published already is built and published, too.
    pub force: bool,
    /// The official packages that may be replaced.
    pub replace: Vec<PackageName>,
    /// Where missing keys are asked for, separated by spaces.
    pub keyservers: String,
}

/// What the builds of one run have in common.
pub struct Builds<'e> {
    /// What makes their containers.
    pub sandbox: &'e Sandbox<'e>,
    /// The builder image.
    pub image: &'e ImageRef,
    /// What is built for.
    pub arch: &'e Arch,
    /// Where archives are looked at.
    pub inbox: &'e Inbox<'e>,
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
    /// Whose the package names are.
    pub owners: Owners,
    /// The pacman repositories that containers can't reach, as was said once.
    pub unreachable: Vec<RepoName>,
}

/// A repository that is to be built, and what is around it.
pub struct Task<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// How long it was tried before.
    pub spent: Duration,
    /// Whether nothing comes after it.
    pub is_last: bool,
    /// Whether entries of the list are left that were never looked at, so that their names aren't known.
    pub others_are_unknown: bool,
}

/// Builds one repository, and publishes what is missing.
pub fn build<'e>(builds: &Builds<'e>, task: &Task, handover: &mut Handover<'e>) -> Line {
    let started = Instant::now();
    let by = Deadline::after(builds.settings.timeout.saturating_sub(task.spent));
    let mut name = task.repo.name.clone();
    let outcome = match builds.container(handover.waiting.take(), by) {
        Ok(container) => {
            let dir = format!("{CLONE}/{}", task.repo.path);
            let (has_makepkg_run, has_root_run) = (false, false);
            let mut job = Job {
                builds,
                task,
                handover,
                container,
                dir,
                by,
                name,
                has_makepkg_run,
                has_root_run,
            };
            let outcome = job.steps();
            name = job.name.clone();
            job.end(matches!(outcome, Ok(Outcome::UpToDate)));
            outcome
        }
        Err(error) => Err(at(Step::Container)(error)),
    };
    Line {
        name,
        url: task.repo.name.clone(),
        outcome: outcome.unwrap_or_else(Outcome::Failed),
        took: task.spent.saturating_add(started.elapsed()),
    }
}

impl<'e> Builds<'e> {
    /// The container that waits for a repository, or a new one if it doesn't: it may have waited for long.
    fn container(&self, waiting: Option<Container<'e>>, by: Deadline) -> Result<Container<'e>> {
        match waiting {
            Some(waiting) if waiting.is_running(by).unwrap_or(false) => Ok(waiting),
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
    task: &'a Task<'a>,
    handover: &'a mut Handover<'e>,
    container: Container<'e>,
    /// Where the PKGBUILD is.
    dir: String,
    /// When it is given up, whatever it is at.
    by: Deadline,
    /// What to call it: its URL, then its pkgbase and its version.
    name: String,
    /// Whether makepkg has run in the container.
    has_makepkg_run: bool,
    /// Whether root has run something of a stranger's in the container: the scriptlets of dependencies.
    has_root_run: bool,
}

impl Job<'_, '_> {
    fn steps(&mut self) -> Result<Outcome, Failure> {
        let fetched = self.fetch()?;
        let mut pkgbuild = fetched.pkgbuild;
        let has_pkgver = pkgbuild.has_pkgver;
        if has_pkgver {
            self.deepen()?;
            self.update_pkgver(&pkgbuild)?;
            pkgbuild = self.read_pkgbuild().map_err(at(Step::Version))?;
        }
        if self.is_up_to_date(&pkgbuild)? {
            return Ok(Outcome::UpToDate);
        }
        if pkgbuild.may_replace && self.task.others_are_unknown {
            let why = "its packages may replace others', and not all entries have been looked at";
            return Err(at(Step::Publish)(Error::new(Kind::Early, why)));
        }
        self.refuse_official(&pkgbuild)?;
        if self.install_dependencies(&pkgbuild)? && has_pkgver {
            // The sources were prepared without them, and the version may depend on them, too.
            self.prepare_again()?;
            pkgbuild = self.read_pkgbuild().map_err(at(Step::Version))?;
            if self.is_up_to_date(&pkgbuild)? {
                return Ok(Outcome::UpToDate);
            }
            self.refuse_official(&pkgbuild)?;
        }
        match &fetched.commit {
            Some(commit) => log::info!("building {}, commit {commit}", self.name),
            None => log::info!("building {}", self.name),
        }
        if has_pkgver {
            // The sources are there, prepared. pkgver() is asked again, and may tell the time.
            self.makepkg("makepkg", &["--noextract"])
                .map_err(at(Step::Build))?;
            pkgbuild = self.read_again(&pkgbuild)?;
        } else {
            self.import_keys(&pkgbuild)?;
            self.makepkg("makepkg", &[]).map_err(at(Step::Build))?;
        }
        self.publish(&pkgbuild)
    }

    /// Ends it. A container in which a PKGBUILD was only read goes with our connection, and nobody waits for that. But not
    /// all proxies pass the end of one on, and what root has run in it could have made it stay.
    fn end(self, is_up_to_date: bool) {
        let is_only_read = is_up_to_date && !self.has_makepkg_run && !self.has_root_run;
        if is_only_read && self.builds.sandbox.engine.is_direct() {
            self.container.let_go();
            return;
        }
        let tidied = self.container.run(&TIDY.with([]), Deadline::after(TIDYING));
        let _ = tidied.inspect_err(|error| log::debug!("{error}"));
    }

    /// The same command, where the PKGBUILD is.
    fn in_dir<'b>(&'b self, command: Command<'b>) -> Command<'b> {
        let workdir = &self.dir;
        Command { workdir, ..command }
    }

    /// Runs makepkg with these options where the PKGBUILD is; `doing` is what messages call it.
    fn makepkg(&mut self, doing: &str, options: &[&str]) -> Result<()> {
        self.has_makepkg_run = true;
        let args = ["--noconfirm"].iter().chain(options).copied();
        let makepkg = Command {
            doing,
            ..MAKEPKG.with(args)
        };
        self.container.run(&self.in_dir(makepkg), self.by)
    }

    /// Whether a version of a package, or a file, is published.
    fn has(&self, what: &str) -> Result<bool> {
        self.builds
            .sink
            .has(&self.task.repo.publish_to, what, self.by)
    }
}
