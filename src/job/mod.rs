//! One repository, from its URL to its published packages, in a container of its own. Here is the order of the steps;
//! most steps have a file (`clone` is `fetch`). Not here: which repository comes next (`queue`, `run`).

mod check;
mod depends;
mod fetch;
mod keys;
mod publish;
mod version;

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::bring;
use crate::build_log::BuildLog;
use crate::clock::since_1970;
use crate::docker::{Command, Container};
use crate::error::{Error, Kind, Result};
use crate::home::Sink;
use crate::http::Deadline;
use crate::image::kept_name;
use crate::known::{Known, keep_names};
use crate::list::{Repo, last_part};
use crate::look::Head;
use crate::owners::{Key, Owners};
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Line, Outcome, Step, at};
use crate::sandbox::{IN_DIR, MAKEPKG, Sandbox, TIDY};
use crate::words::{PackageName, RepoName};

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
    /// Whether it is only said what would be done.
    pub dry_run: bool,
    /// Whether the SHA-256 of archives is to be told.
    pub sums: bool,
    /// Where all goes that is printed while a repository is built, a file each.
    pub log_dir: Option<PathBuf>,
    /// Where missing keys are asked for, separated by spaces.
    pub keyservers: String,
}

/// What the builds of one run have in common.
pub struct Builds<'b, 'e> {
    /// What makes their containers.
    pub sandbox: &'b Sandbox<'e>,
    /// The id of the base image.
    pub base: &'b str,
    /// Whether the builder image, which is made of that, is up to date.
    pub is_up_to_date: bool,
    /// What it is made of, for logs; nothing if there are none.
    pub origin: &'b str,
    /// Where the packages go, for which architecture, and where archives are looked at before.
    pub sink: &'b Sink<'b>,
    /// How repositories are built.
    pub settings: &'b Settings,
}

/// What goes from one repository's build to the next.
#[derive(Default)]
pub struct Handover<'e> {
    /// A container that was started for the next repository while the last one was cloned.
    pub waiting: Option<Container<'e>>,
    /// How often something has come that others may lack: archives that the run has published, or would, and what other shards have.
    pub published: usize,
    /// Whose the package names are.
    pub owners: Owners,
    /// What would have been built, if there was to be something built.
    pub would_be_built: Vec<PackageName>,
    /// Whether containers can reach a pacman repository of ours, of those that one was to reach. That one can't be is said once.
    pub reached: HashMap<RepoName, bool>,
}

/// A repository that is to be built, and what is around it.
pub struct Task<'a> {
    /// The repository.
    pub repo: &'a Rc<Repo>,
    /// How long it was tried before.
    pub spent: Duration,
    /// Whether it waits if it failed not long ago.
    pub has_to_wait: bool,
    /// Whether nothing comes after it.
    pub is_last: bool,
    /// Whether entries of the list are left that were never looked at, so that their names aren't known.
    pub others_are_unknown: bool,
    /// What is known of it from nights before.
    pub known: &'a Known,
}

/// Builds one repository, and publishes what is missing.
pub fn build<'e>(builds: &Builds<'_, 'e>, task: &Task, handover: &mut Handover<'e>) -> Line {
    let started = Instant::now();
    let by = Deadline::after(builds.settings.timeout.saturating_sub(task.spent));
    let mut line = Line::of(task.repo, Outcome::NotBuilt(None));
    let log = builds.log(task.repo);
    let began = since_1970();
    let outcome = match builds.container(handover.waiting.take(), by) {
        Ok(mut container) => {
            container.log = log.clone();
            let dir = bring::dir(task.repo);
            let mut job = Job {
                builds,
                task,
                handover,
                container,
                dir,
                by,
                line: &mut line,
                has_makepkg_run: false,
            };
            let outcome = job.steps();
            job.end(matches!(outcome, Ok(Outcome::UpToDate)));
            outcome
        }
        Err(error) => Err(at(Step::Container)(error)),
    };
    line.facts.log = log.and_then(|log| {
        if let Err(Failure { step, error }) = &outcome {
            log.line(&format!("\n=== failed at {step}: {error}"));
        }
        log.end(match &outcome {
            Ok(outcome) => !matches!(outcome, Outcome::UpToDate | Outcome::WouldBuild),
            Err(failure) => !matches!(
                failure.error.kind,
                Kind::Waits | Kind::Outdated | Kind::Held
            ),
        })
    });
    line.facts.times = [began, since_1970()];
    if let Some(waits) = &line.facts.waits {
        line.facts.log.clone_from(&waits.failed.log);
    }
    line.outcome = outcome.unwrap_or_else(|failure| match failure.error.kind {
        Kind::Held => Outcome::Held(failure.error.to_string()),
        _ => Outcome::Failed(failure),
    });
    line.took = task.spent.saturating_add(started.elapsed());
    line
}

impl<'e> Builds<'_, 'e> {
    /// The container that waits for a repository, or a new one if it doesn't: it may have waited for long.
    fn container(&self, waiting: Option<Container<'e>>, by: Deadline) -> Result<Container<'e>> {
        match waiting {
            Some(waiting) if waiting.is_running(by).unwrap_or(false) => Ok(waiting),
            _ => self.new_container(by),
        }
    }

    /// The file with what is printed while this repository is built, if there is to be one. That it can't be is no reason not
    /// to build.
    fn log(&self, repo: &Repo) -> Option<BuildLog> {
        let dir = self.settings.log_dir.as_ref()?;
        let entry = format!("{} repo={}", Key::of(repo).name(), repo.publish_to);
        let log = BuildLog::begin(dir, &entry, last_part(&repo.name()));
        let log = log.inspect_err(|error| log::warn!("{error}")).ok()?;
        log.line(&format!("image: {}", self.origin));
        Some(log)
    }

    fn new_container(&self, by: Deadline) -> Result<Container<'e>> {
        self.sandbox.start(None, &kept_name(), by)
    }
}

/// One repository, being built.
struct Job<'a, 'e> {
    builds: &'a Builds<'a, 'e>,
    task: &'a Task<'a>,
    handover: &'a mut Handover<'e>,
    container: Container<'e>,
    /// Where the PKGBUILD is.
    dir: String,
    /// When it is given up, whatever it is at; publishing moves it.
    by: Deadline,
    /// What is told of it: what to call it, which is its URL, then its pkgbase and its version; and what else is known.
    line: &'a mut Line,
    /// Whether makepkg has run in the container.
    has_makepkg_run: bool,
}

impl Job<'_, '_> {
    fn steps(&mut self) -> Result<Outcome, Failure> {
        let mut pkgbuild = self.fetch()?;
        if let (Some(log), Some(commit)) = (&self.container.log, &self.line.facts.commit) {
            log.line(&format!("commit: {commit}"));
        }
        self.must_not_wait()?;
        let has_pkgver = pkgbuild.has_pkgver;
        self.line.facts.sources = self.sources(&pkgbuild);
        if has_pkgver {
            self.deepen()?;
            self.update_pkgver(&pkgbuild)?;
            pkgbuild = self.read_pkgbuild().map_err(at(Step::Version))?;
        }
        self.take_names(&pkgbuild)?;
        if self.is_up_to_date(&pkgbuild)? {
            return Ok(Outcome::UpToDate);
        }
        self.needs_image_up_to_date()?;
        if self.builds.settings.dry_run {
            return self.would_build(&pkgbuild);
        }
        if pkgbuild.may_replace && self.task.others_are_unknown {
            let why = "its packages may replace others', and not all entries have been looked at";
            return Err(at(Step::Publish)(Error::new(Kind::Early, why)));
        }
        self.refuse_official(&pkgbuild)?;
        if self.install_dependencies(&pkgbuild)? && has_pkgver {
            // The sources were prepared without them, and the version may depend on them, too.
            self.prepare_again()?;
            pkgbuild = self.read_again(&pkgbuild)?;
            self.take_names(&pkgbuild)?;
            if self.is_up_to_date(&pkgbuild)? {
                return Ok(Outcome::UpToDate);
            }
        }
        match &self.line.facts.commit {
            Some(commit) => log::info!("building {}, commit {commit}", self.line.name),
            None => log::info!("building {}", self.line.name),
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

    /// Fails as the last build did, if that isn't to be tried again yet.
    fn must_not_wait(&mut self) -> Result<(), Failure> {
        let commit = self.line.facts.commit.as_ref();
        let Task { repo, known, .. } = self.task;
        let base = self.task.has_to_wait.then_some(self.builds.base);
        let Some((failure, waits)) =
            known.still_waits(repo, base, commit, self.builds.sink, self.by)
        else {
            return Ok(());
        };
        if let Some(seen) = known.memory.find(repo) {
            keep_names(repo, &seen, &mut self.handover.owners);
        }
        self.line.name.clone_from(&waits.failed.name);
        self.line.facts.waits = Some(waits);
        Err(failure)
    }

    /// The commits that the Git sources of a PKGBUILD have before they are brought, so that what is newer then is seen the next
    /// time. Nothing if its version is written in it; `None` if they can't be known, or nobody wants to.
    fn sources(&self, pkgbuild: &Pkgbuild) -> Option<Vec<Head>> {
        let Known { looker, memory, .. } = self.task.known;
        match pkgbuild.has_pkgver {
            false => Some(vec![]),
            true if memory.is_on() => looker.sources(self.task.repo, &pkgbuild.sources, self.by),
            true => None,
        }
    }

    /// Refuses to build, or to install anything, on an image that may lack what is new: it has to be brought up to date first.
    fn needs_image_up_to_date(&self) -> Result<(), Failure> {
        if self.builds.is_up_to_date {
            return Ok(());
        }
        let why = "the builder image has to be brought up to date first";
        Err(at(Step::Container)(Error::new(Kind::Outdated, why)))
    }

    /// Ends it. A container in which a PKGBUILD was only read goes with our connection, and nobody waits for that. But not
    /// all proxies pass the end of one on. Root runs the scriptlets of dependencies, which could make it stay; but of what is up to
    /// date none are installed before makepkg has run, too.
    fn end(mut self, is_up_to_date: bool) {
        let is_only_read = is_up_to_date && !self.has_makepkg_run;
        if is_only_read && self.builds.sandbox.engine.is_direct {
            self.container.let_go();
            return;
        }
        if self.builds.sandbox.engine.is_silent() {
            return;
        }
        self.container.log = None;
        let tidied = self.container.run(&TIDY.with([]), Deadline::after(TIDYING));
        let _ = tidied.inspect_err(|error| log::debug!("{error}"));
    }

    /// The same command, where the PKGBUILD is.
    fn in_dir<'b>(&'b self, mut command: Command<'b>) -> Command<'b> {
        command.argv = IN_DIR
            .with([self.dir.as_str()].into_iter().chain(command.argv))
            .argv;
        command
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
}
