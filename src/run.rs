//! One run, as a story: the list, the lock, what killed runs left, the builder image, the repositories, the end.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::Settings;
use crate::docker::{Container, Engine, Found};
use crate::error::{Error, Kind};
use crate::http::Deadline;
use crate::image;
use crate::repo::Builds;
use crate::report::{Line, Outcome, Summary};
use crate::server::{Repo, Server};

/// The name of the container that a run holds as long as it lives, so that an engine has one run at a time.
const LOCK: &str = "vieter-build";

/// The most that the pull and the preparation of the builder image may take, each.
const PREPARATION: Duration = Duration::from_secs(3600);

/// How long a lock container may stay created and not started before its run counts as killed: between the two
/// lie some tenths of a second.
const START: Duration = Duration::from_secs(5);

/// Builds all that the server lists for this architecture.
///
/// # Errors
/// What keeps the run from being done. A repository that fails is in the summary instead.
pub fn run(settings: &Settings) -> Result<Summary, Error> {
    let engine = Engine::open(&settings.docker_host)?;
    log::info!("using {}", engine.name());
    let arch = match &settings.arch {
        Some(arch) => arch.clone(),
        None => engine.architecture()?,
    };
    let mut server = Server::new(settings);
    let mut summary = Summary::default();
    let mut waiting = vec![];
    for (name, repo) in server.list(&arch)? {
        match repo {
            Ok(repo) => waiting.push(Waiting(name, repo, None)),
            Err(error) => summary.add(Line(Outcome::Failed("list", error), name, Duration::ZERO)),
        }
    }
    if waiting.is_empty() {
        log::info!("{} lists no repositories for {arch}", settings.address);
        return Ok(summary);
    }
    log::info!("repositories for {arch}: {}", waiting.len());

    refuse_if_held(&engine)?;
    pull(&engine, &settings.base_image)?;
    let run = Run::start(&engine, settings)?;
    let builds = Builds {
        engine: &engine,
        server: &server,
        image: &image::prepare(&engine, &run.lock, &run.id, settings)?,
        run: &run.id,
        arch: &arch,
        settings,
        without: RefCell::default(),
        published: Cell::default(),
        spare: RefCell::default(),
    };
    // One that lacks dependencies waits for what the others publish, and is tried again if they did.
    let is_due = |it: &Waiting, built| it.2.as_ref().is_none_or(|(then, _)| *then < built);
    while let Some(next) = waiting
        .iter()
        .position(|it| is_due(it, builds.published.get()))
    {
        if !run.lock.is_running()? {
            let why = "it is gone, so another run may take this engine; something removed it or cut the \
                connection to it (a proxy's idle timeout?)";
            return Err(Error::unusable(format!("the lock container {LOCK}"), why));
        }
        let Waiting(name, repo, _) = waiting.remove(next);
        log::info!("{name} for the repository {}", repo.repo);
        let line = builds.build(&repo, name.clone(), waiting.is_empty());
        if line.lacks_dependencies() {
            log::info!(
                "{}: its dependencies can't be installed yet; again after the others",
                line.1
            );
            waiting.push(Waiting(name, repo, Some((builds.published.get(), line))));
            continue;
        }
        summary.add(line);
    }
    let failed = waiting.into_iter().filter_map(|it| it.2);
    failed.for_each(|(_, line)| summary.add(line));
    Ok(summary)
}

/// A repository that is not done with: what to call it, and, if it was tried, how much was published then and what
/// became of it.
struct Waiting(String, Repo, Option<(usize, Line)>);

/// A name for a run that no other has had.
fn new_run_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    format!("{:x}", now.map_or(0, |time| time.as_nanos()))
}

/// Pulls the base image; an older one that is there already is better than no run.
fn pull(engine: &Engine, reference: &str) -> Result<(), Error> {
    match engine.pull(reference, Deadline::after(PREPARATION)) {
        Err(error) if engine.has_image(reference)? => {
            log::warn!("{error}; going on with the image {reference} that is there");
            Ok(())
        }
        pulled => pulled.map_err(|error| error.during(&format!("pulling {reference}"))),
    }
}

/// What a run holds: the engine, by its lock container, and whatever bears its label. Dropping it removes all of it.
struct Run<'e> {
    engine: &'e Engine,
    id: String,
    lock: Container<'e>,
}

impl<'e> Run<'e> {
    /// Takes the engine, and removes what killed runs left.
    fn start(engine: &'e Engine, settings: &Settings) -> Result<Run<'e>, Error> {
        let id = new_run_id();
        let lock = lock(engine, settings, &id)?;
        let run = Run { engine, id, lock };
        run.sweep(true);
        Ok(run)
    }

    /// Removes what bears our label, but for the lock container: what this run has made, and what killed ones have.
    /// What can't be removed is a nuisance, not an obstacle, so it is a warning.
    fn sweep(&self, others_too: bool) {
        let is_own = |it: &Found| it.run.as_ref() == Some(&self.id);
        let is_to_go = |it: &&Found| it.id != self.lock.id && (others_too || is_own(it));
        let warn = |error: &Error| log::warn!("{error} (the next run tries again)");
        let list = |kind| self.engine.ours(kind).inspect_err(warn).unwrap_or_default();
        let say = |it: &Found, what: String| match is_own(it) {
            true => log::debug!("removing {what}"),
            false => log::info!("removing {what} of a killed run"),
        };
        for it in list("containers/json?all=1").iter().filter(is_to_go) {
            say(it, format!("the container {}", it.id));
            let _ = self.engine.remove_container(&it.id).inspect_err(warn);
        }
        for it in list("images/json?all=0").iter().filter(is_to_go) {
            // Somebody may have given the image a name of their own, which stays.
            let ours = |tag: &&String| tag.split(':').next() == Some(image::NAME);
            let untagged = Some(&it.id).filter(|_| it.tags.is_empty());
            for name in it.tags.iter().filter(ours).chain(untagged) {
                say(it, format!("the image {name}"));
                let _ = self.engine.remove_image(name).inspect_err(warn);
            }
        }
    }
}

impl Drop for Run<'_> {
    /// Sweeps, then lets the lock container go. What killed runs left, again, as one that was killed during its commit
    /// leaves the image when the engine is done with it; but if the lock is lost, another run may be on, whose things
    /// stay.
    fn drop(&mut self) {
        self.sweep(self.lock.is_running().unwrap_or(false));
    }
}

/// Starts the lock container, which only one run can at a time.
fn lock<'e>(engine: &'e Engine, settings: &Settings, run: &str) -> Result<Container<'e>, Error> {
    let (image, network) = (&settings.base_image, settings.network.as_deref());
    let deadline = Deadline::after(PREPARATION);
    // As often as the name was taken by something that could be cleared away, within reason.
    for _ in 0..3 {
        match Container::start(engine, Some(LOCK), image, run, network, deadline) {
            Err(error) if error.kind == Kind::Status(409) => clear_lock(engine)?,
            started => return started,
        }
    }
    let taken = format!("other runs took the container {LOCK} again and again");
    Err(Error::new(Kind::Busy, taken))
}

/// Clears away a lock container that nobody holds: its run was killed before it was started, or it is just
/// being removed.
fn clear_lock(engine: &Engine) -> Result<(), Error> {
    let Some(found) = refuse_if_held(engine)? else {
        return Ok(());
    };
    log::warn!("waiting for the container {LOCK} ({found}) of another run to go");
    if engine.wait_removed(&found, Deadline::after(START)).is_ok() {
        return Ok(());
    }
    // It may have been started meanwhile.
    match refuse_if_held(engine)? {
        Some(id) if id == found => engine.remove_container(&id),
        _ => Ok(()),
    }
}

/// Refuses to go on if another run holds this engine; gives the id of a lock container that nobody holds.
///
/// # Errors
/// [`Kind::Busy`] if one does; a container of that name that isn't ours; those of the engine.
pub fn refuse_if_held(engine: &Engine) -> Result<Option<String>, Error> {
    let Some(found) = engine.inspect_container(LOCK)? else {
        return Ok(None);
    };
    let short: String = found.id.chars().take(12).collect();
    match &found.run {
        None => Err(Error::unusable(
            format!("the container {LOCK} ({short})"),
            "it was not made by this program, which needs that name: rename or remove it",
        )),
        Some(run) if found.is_running => Err(Error::new(
            Kind::Busy,
            format!(
                "another run ({run}) is using this engine: the container {LOCK} ({short}) is running; \
             wait until that run has ended, or end its process"
            ),
        )),
        Some(_) => Ok(Some(found.id)),
    }
}
