//! The lock: a container with a fixed name that a run holds as long as it lives, so that an engine has one run at a time, or one
//! of each shard. Not here: what is done in it, which is the preparation of the builder image (`image`).

use std::thread;
use std::time::Duration;

use crate::docker::types::ContainerSummary;
use crate::docker::{Container, Engine, ImageRef, RUN_LABEL};
use crate::error::{Error, Kind, Result};
use crate::http::Deadline;
use crate::image::PREPARATION;
use crate::sandbox::Sandbox;
use crate::shard::Shard;
use crate::sweep::is_inherited;

/// The name of the container of a run that has the engine to itself; a shard's goes on with the shard.
const NAME: &str = "vieter-build";

/// The name of the container that a shard holds while it makes the builder image that all of them use.
const OF_IMAGE: &str = "vieter-build-image";

/// How often that is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// The name of a run's lock container.
fn name(shard: Option<Shard>) -> String {
    shard.map_or(NAME.to_owned(), |it| format!("{NAME}-{}", it.name()))
}

/// Whose lock a container of this name is: the engine's, or a shard's.
fn of_name(name: &str) -> Option<Option<Shard>> {
    // Some engines put a slash before it.
    match name.trim_start_matches('/').strip_prefix(NAME)? {
        "" => Some(None),
        rest => Shard::of_name(rest.strip_prefix('-')?).map(Some),
    }
}

/// How long a lock container may stay created and not started before its run counts as killed: between the two
/// lie some tenths of a second.
const START: Duration = Duration::from_secs(5);

/// How long ago, in seconds, a lock container was made that isn't started, but will be.
const JUST_NOW: u64 = 60;

/// How long the engine may take to say what the lock container does.
const PATIENCE: Duration = Duration::from_secs(120);

/// As often a lock is tried for whose name was taken by something that could be cleared away, within reason.
const TRIES: usize = 3;

/// The lock, held. Dropping it gives the engine free.
pub struct Lock<'e> {
    /// The container.
    pub container: Container<'e>,
    name: String,
}

impl<'e> Lock<'e> {
    /// Takes the engine, or a shard's part of it.
    ///
    /// # Errors
    /// [`Kind::Busy`] if another run holds it; those of the engine.
    pub fn take(sandbox: &Sandbox<'e>, base: &ImageRef) -> Result<Lock<'e>> {
        Lock::named(sandbox, base, name(sandbox.shard))
    }

    /// Takes what shards share on an engine, the kept builder image, once no other has it. `own` has to be held meanwhile.
    ///
    /// # Errors
    /// Those of the engine; that preparing an image may not take longer.
    pub fn take_image(
        sandbox: &Sandbox<'e>,
        image: &ImageRef,
        own: &Container,
    ) -> Result<Lock<'e>> {
        let (engine, give_up_at) = (sandbox.engine, Deadline::after(PREPARATION));
        // A container that has the name, and isn't running: it will be, or its run was killed in that moment. And when it is taken
        // for the latter.
        let mut idle: Option<(String, Deadline)> = None;
        let mut is_first = true;
        loop {
            let error = match sandbox.start(Some(OF_IMAGE), image, give_up_at) {
                Ok(container) => {
                    let name = OF_IMAGE.to_owned();
                    return Ok(Lock { container, name });
                }
                Err(error) => error,
            };
            let now_idle = match refuse_if_held(engine, OF_IMAGE) {
                Err(busy) if busy.kind == Kind::Busy => None,
                // Podman says nothing but 500 of a name that is taken.
                Ok(None) if error.kind != Kind::NameTaken => return Err(error),
                found => found?,
            };
            if give_up_at.has_passed() || !own.is_running(Deadline::after(PATIENCE))? {
                return Err(error.during("waiting for the builder image"));
            }
            let was_idle = idle.take();
            if let Some(id) = now_idle {
                let since_before = was_idle.filter(|(its, _)| *its == id);
                let soon = Deadline::after(Duration::from_secs(JUST_NOW));
                let remove_at = since_before.map_or(soon, |(_, remove_at)| remove_at);
                if remove_at.has_passed() {
                    engine.remove_container(&id)?;
                }
                idle = Some((id, remove_at));
            }
            if std::mem::take(&mut is_first) {
                log::info!("waiting for another shard, which has the builder image to itself");
            }
            thread::sleep(PAUSE);
        }
    }

    fn named(sandbox: &Sandbox<'e>, base: &ImageRef, name: String) -> Result<Lock<'e>> {
        for _ in 0..TRIES {
            let deadline = Deadline::after(PREPARATION);
            match sandbox.start(Some(&name), base, deadline) {
                Ok(container) => return Ok(Lock { container, name }),
                Err(error) if error.kind == Kind::NameTaken => clear(sandbox.engine, &name)?,
                // Podman says nothing but 500 of that.
                Err(error) => match refuse_if_held(sandbox.engine, &name) {
                    Ok(Some(_)) => clear(sandbox.engine, &name)?,
                    Err(busy) if busy.kind == Kind::Busy => return Err(busy),
                    _ => return Err(error),
                },
            }
        }
        let taken = format!("other runs took the container {name} again and again");
        Err(Error::new(Kind::Busy, taken))
    }

    /// Fails if a run that can't be beside this one holds the engine, too: one of the whole list beside a shard, or shards of
    /// different wholes. Of two that begin in the same moment one at least sees the other, as each looks after it has taken its own
    /// lock; if both do, the one of the fewer parts gives way.
    ///
    /// # Errors
    /// [`Kind::Busy`]; those of the requests.
    pub fn must_be_alone(
        &self,
        engine: &Engine,
        shard: Option<Shard>,
        containers: &[ContainerSummary],
    ) -> Result<()> {
        let Some(other) = excluding(containers, shard) else {
            return Ok(());
        };
        if parts(locks(other).flatten()) < parts(shard) {
            let _ = engine.wait_removed(&other.id, Deadline::after(START));
            if excluding(&engine.labelled_containers()?, shard).is_none() {
                return Ok(());
            }
        }
        let name = other
            .names
            .first()
            .map_or("", |it| it.trim_start_matches('/'));
        let busy = format!(
            "another run, which this one can't be beside, is using this engine: the container {name}"
        );
        let advice = "a run of the whole list has an engine to itself, and shards are of one whole";
        Err(Error::new(Kind::Busy, busy).advise(advice))
    }

    /// Fails if it isn't held any more: another run may take the engine then.
    ///
    /// # Errors
    /// That, and those of the request.
    pub fn must_be_held(&self) -> Result<()> {
        let why = "it is gone, so another run may take this engine; something removed it or cut the \
            connection to it (a proxy's idle timeout?)";
        // An engine that stumbles once is no reason to end a night.
        let is_held = match self.is_held() {
            Err(error) if matches!(error.kind, Kind::Status(500..)) => {
                log::warn!("{error}; asking once more");
                self.is_held()
            }
            answer => answer,
        };
        match is_held? {
            true => Ok(()),
            false => Err(Error::unusable(
                format!("the lock container {}", self.name),
                why,
            )),
        }
    }

    /// Whether it is held still.
    ///
    /// # Errors
    /// Those of the request.
    pub fn is_held(&self) -> Result<bool> {
        self.container.is_running(Deadline::after(PATIENCE))
    }
}

/// Clears away a lock container that nobody holds: its run was killed before it was started, or it is just
/// being removed.
fn clear(engine: &Engine, name: &str) -> Result<()> {
    let Some(found) = refuse_if_held(engine, name)? else {
        return Ok(());
    };
    log::warn!("waiting for the container {name} ({found}) of another run to go");
    if engine.wait_removed(&found, Deadline::after(START)).is_ok() {
        return Ok(());
    }
    // It may have been started meanwhile.
    match refuse_if_held(engine, name)? {
        Some(id) if id == found => engine.remove_container(&id),
        _ => Ok(()),
    }
}

/// Refuses to go on if another run holds this engine. One that was killed a moment ago gets that long for its containers
/// to go.
///
/// # Errors
/// Those of [`refuse_if_held`].
pub fn refuse_if_still_held(engine: &Engine, shard: Option<Shard>) -> Result<()> {
    let name = name(shard);
    let found = match refuse_if_held(engine, &name) {
        Err(error) if error.kind == Kind::Busy => {
            let _ = engine.wait_removed(&name, Deadline::after(START));
            refuse_if_held(engine, &name)
        }
        found => found,
    };
    found.map(drop)
}

/// Whether a run of this shard, or of the whole list, holds this engine.
///
/// # Errors
/// Those of [`refuse_if_held`].
pub fn refuse_if_on(engine: &Engine, shard: Option<Shard>) -> Result<()> {
    refuse_if_held(engine, &name(shard)).map(drop)
}

/// Whose lock a container is.
fn locks(container: &ContainerSummary) -> Option<Option<Shard>> {
    container.names.iter().find_map(|it| of_name(it))
}

/// When the newest of these was made, by the engine's clock: ours is in this list as long as it is held.
fn newest(containers: &[ContainerSummary]) -> u64 {
    containers.iter().map(|it| it.created).max().unwrap_or(0)
}

/// Whether a container's run is on: it goes on, or is just about to be started.
fn is_alive(container: &ContainerSummary, newest: u64) -> bool {
    let age = newest.saturating_sub(container.created);
    match container.state.as_str() {
        "exited" | "dead" | "removing" | "stopped" => false,
        "created" | "configured" | "initialized" => age < JUST_NOW,
        _ => true,
    }
}

/// How many parts the whole has that a run builds a part of; none if it builds all of it.
fn parts(shard: Option<Shard>) -> u64 {
    shard.map_or(0, |it| it.count())
}

/// The lock container of a run that one of this shard can't be beside, if there is one: its whole has another number of parts.
pub fn excluding(
    containers: &[ContainerSummary],
    shard: Option<Shard>,
) -> Option<&ContainerSummary> {
    let is_another =
        |it: &&ContainerSummary| locks(it).is_some_and(|its| parts(its) != parts(shard));
    held(containers).into_iter().find(is_another)
}

/// The lock containers of the runs that hold this engine.
pub fn held(containers: &[ContainerSummary]) -> Vec<&ContainerSummary> {
    let newest = newest(containers);
    let is_one = |it: &&ContainerSummary| is_alive(it, newest) && locks(it).is_some();
    containers.iter().filter(is_one).collect()
}

/// Refuses to go on if another run holds the lock of this name; gives the id of a lock container that nobody holds.
///
/// # Errors
/// [`Kind::Busy`] if one does; a container of that name that isn't ours; those of the engine.
fn refuse_if_held(engine: &Engine, name: &str) -> Result<Option<String>> {
    let Some(found) = engine.inspect_container(name, Deadline::after(PATIENCE))? else {
        return Ok(None);
    };
    let short: String = found.id.chars().take(12).collect();
    let labels = found.config.labels.unwrap_or_default();
    let is_inherited = is_inherited(engine, &labels, &found.image)?;
    let lock = format!("the container {name} ({short})");
    let label = labels.get(RUN_LABEL);
    match label.filter(|_| !is_inherited) {
        None => {
            let why = "it was not made by this program, which needs that name: rename or remove it";
            Err(Error::unusable(lock, why))
        }
        Some(run) if found.state.running => {
            let busy = format!("another run ({run}) is using this engine: {lock} is running");
            let advice = "wait until that run has ended, or end its process";
            Err(Error::new(Kind::Busy, format!("{busy}; {advice}")))
        }
        Some(_) => Ok(Some(found.id)),
    }
}
