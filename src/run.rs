//! One run, as a story: the list, the lock, what killed runs left, the builder image, the repositories, the end.

use std::time::Duration;

use crate::docker::{Engine, Host};
use crate::error::Result;
use crate::job::{self, Builds, Handover};
use crate::list::{self, Entry, Repo};
use crate::lock::{self, Lock};
use crate::queue::Queue;
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
    let mut queue = Queue::empty();
    for entry in list::fetch(&mut server, &arch)? {
        match entry {
            Entry::Repo(repo) => queue.add(repo),
            Entry::Unusable { name, error } => {
                let outcome = Outcome::Failed(at(Step::List)(error));
                let took = Duration::ZERO;
                summary.add(Line {
                    name,
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

    // Before a pull that would be for nothing.
    lock::refuse_if_held(&engine)?;
    image::pull(&engine, &settings.image.base)?;
    let sandbox = &Sandbox::new(&engine, RunId::of_now(), &settings.sandbox);
    let lock = Lock::take(sandbox, &settings.image.base)?;
    let run = Run { sandbox, lock };
    run.sweep(Whose::Everybodys);
    let image = &image::prepare(sandbox, &run.lock.container, &settings.image)?;
    let (sink, settings) = (&Sink::new(server, arch), &settings.builds);
    let builds = Builds {
        sandbox,
        image,
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
    queue: &mut Queue<Repo, Line>,
    summary: &mut Summary,
) -> Result<()> {
    let mut handover = Handover::default();
    while let Some(repo) = queue.next(handover.published) {
        lock.must_be_held()?;
        log::info!("{} for the repository {}", repo.name, repo.publish_to);
        let line = job::build(builds, &repo, queue.is_empty(), &mut handover);
        if line.lacks_dependencies() {
            let why = "its dependencies can't be installed yet; again after the others";
            log::info!("{}: {why}", line.name);
            queue.wait(repo, handover.published, line);
        } else {
            summary.add(line);
        }
    }
    Ok(())
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
