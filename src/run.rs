//! One run, as a story: the list, the lock, what killed runs left, the builder image, the repositories, the end.

use std::time::Duration;

use crate::docker::{Engine, Host};
use crate::error::Result;
use crate::http::Deadline;
use crate::inbox::Inbox;
use crate::job::{self, Builds, Handover, Task};
use crate::list::{self, Entry, Repo};
use crate::lock::{self, Lock};
use crate::queue::{Queue, Until};
use crate::report::{Line, Outcome, Step, Summary, at};
use crate::sandbox::Sandbox;
use crate::server::Server;
use crate::sink::Sink;
use crate::sweep::{Whose, sweep};
use crate::words::{Arch, RunId};
use crate::{image, sandbox};

/// What a run needs to know, but for the server.
pub struct Settings {
    /// Where the engine is.
    pub engine: Host,
    /// What is built for; `None` for the engine's own architecture.
    pub arch: Option<Arch>,
    /// How containers are made.
    pub sandbox: sandbox::Settings,
    /// What the builder image is made of.
    pub image: image::Settings,
    /// How repositories are built.
    pub builds: job::Settings,
}

impl Settings {
    /// The architecture that is built for.
    ///
    /// # Errors
    /// Those of the engine, if it has to be asked.
    pub fn arch(&self, engine: &Engine) -> Result<Arch> {
        match &self.arch {
            Some(arch) => Ok(arch.clone()),
            None => engine.architecture(),
        }
    }
}

/// Builds all that the server lists for this architecture.
///
/// # Errors
/// What keeps the run from being done. A repository that fails is in the summary instead.
pub fn run(settings: &Settings, mut server: Server) -> Result<Summary> {
    let engine = Engine::open(&settings.engine)?;
    log::info!("using {}", engine.name());
    let arch = settings.arch(&engine)?;
    let mut summary = Summary::default();
    let mut queue: Queue<Due, Line> = Queue::empty();
    for entry in list::fetch(&mut server, &arch)? {
        match entry {
            Entry::Repo(repo) => queue.add(Due {
                repo,
                spent: Duration::ZERO,
            }),
            Entry::Unusable { name, error } => {
                let outcome = Outcome::Failed(at(Step::List)(error));
                let took = Duration::ZERO;
                let url = name.clone();
                summary.add(Line {
                    name,
                    url,
                    outcome,
                    took,
                });
            }
        }
    }
    if queue.is_empty() {
        log::info!("{} lists no repositories for {arch}", server.address());
        return Ok(summary);
    }
    log::info!("repositories for {arch}: {}", queue.len());

    warn_of_network(&engine, settings.sandbox.network.as_deref());
    // Before a pull that would be for nothing.
    lock::refuse_if_held(&engine)?;
    image::pull(&engine, &settings.image.base)?;
    let sandbox = &Sandbox::new(&engine, RunId::of_now(), &settings.sandbox);
    let lock = Lock::take(sandbox, &settings.image.base)?;
    let run = Run { sandbox, lock };
    run.sweep(Whose::Everybodys);
    let lock = &run.lock.container;
    let image = &image::prepare(sandbox, lock, &settings.image, &arch)?;
    let (inbox, arch) = (&Inbox { container: lock }, &arch);
    inbox.empty(Deadline::after(image::PREPARATION))?;
    let (sink, settings) = (&Sink::new(server, arch.clone()), &settings.builds);
    let builds = Builds {
        sandbox,
        image,
        arch,
        inbox,
        sink,
        settings,
    };
    build_all(&builds, &run.lock, &mut queue, &mut summary)?;
    for line in queue.into_reports() {
        summary.add(line);
    }
    Ok(summary)
}

/// Builds what is due, until nothing is: one that lacks dependencies waits for what the others publish.
fn build_all(
    builds: &Builds,
    lock: &Lock,
    queue: &mut Queue<Due, Line>,
    summary: &mut Summary,
) -> Result<()> {
    let mut handover = Handover::default();
    while let Some(Due { repo, spent }) = queue.next(handover.published) {
        lock.must_be_held()?;
        log::info!("{} for the repository {}", repo.name, repo.publish_to);
        let (is_last, others_are_unknown) = (queue.is_empty(), queue.has_untried());
        let task = Task {
            repo: &repo,
            spent,
            is_last,
            others_are_unknown,
        };
        let line = job::build(builds, &task, &mut handover);
        let spent = line.took;
        if spent >= builds.settings.timeout {
            summary.add(line);
        } else if line.lacks_dependencies() {
            let why = "its dependencies can't be installed yet; again after the others";
            log::info!("{}: {why}", line.name);
            queue.wait(
                Due { repo, spent },
                Until::Published(handover.published),
                line,
            );
        } else if line.came_early() {
            let why = "it may replace packages of others, so it is built after them";
            log::info!("{}: {why}", line.name);
            queue.wait(Due { repo, spent }, Until::AllWereTried, line);
        } else {
            summary.add(line);
        }
    }
    Ok(())
}

/// A repository that is to be built, and how long it was tried already.
struct Due {
    repo: Repo,
    spent: Duration,
}

/// Says what builds can reach in their network that nobody may want them to.
fn warn_of_network(engine: &Engine, network: Option<&str>) {
    match network {
        Some(network) if !engine.is_direct() => log::warn!(
            "builds are in the network {network}: if the engine's TCP port can be reached from there, a stranger's build \
             is root on the engine's host; put builds into a network of their own (README, \"What protects you\")"
        ),
        Some("host") => {
            log::warn!("builds are in the host's network, and reach what listens on its loopback")
        }
        _ => (),
    }
}

/// What a run holds: the engine, by its lock container, and whatever bears its label. Dropping it removes all of it.
struct Run<'e> {
    sandbox: &'e Sandbox<'e>,
    lock: Lock<'e>,
}

impl Run<'_> {
    fn sweep(&self, whose: Whose) {
        let lock = self.lock.container.id();
        sweep(self.sandbox.engine, &self.sandbox.run, lock, whose);
    }
}

impl Drop for Run<'_> {
    /// Sweeps, then lets the lock container go. What killed runs left, again, as one that was killed during its commit
    /// leaves the image when the engine is done with it; but if the lock is lost, another run may be on, whose things
    /// stay.
    fn drop(&mut self) {
        match self.lock.is_held() {
            Ok(true) => self.sweep(Whose::Everybodys),
            Ok(false) | Err(_) => self.sweep(Whose::Own),
        }
    }
}
