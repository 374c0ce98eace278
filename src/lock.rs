//! The lock: a container with a fixed name that a run holds as long as it lives, so that an engine has one run at a time, or one
//! of each shard. Not here: what is done in it (`workshop`).

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

/// How long the containers of a killed run may take to go; and how long a lock container may stay created and not started before
/// its run counts as killed: between the two lie some tenths of a second.
const START: Duration = Duration::from_secs(5);

/// The same for the builder image's, which many may want at once, and for the locks of other runs.
const SLOW_START: Duration = Duration::from_secs(60);

/// How often a name is tried at most.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the engine may take to say what the lock container does.
const PATIENCE: Duration = Duration::from_secs(120);

/// The name of a run's lock container.
fn name(shard: Option<Shard>) -> String {
    shard.map_or(NAME.to_owned(), |it| format!("{NAME}-{}", it.name()))
}

/// Takes the engine, or a shard's part of it, in a container that gives it free when it is dropped.
///
/// # Errors
/// [`Kind::Busy`] if another run holds it; those of the engine.
pub fn take<'e>(sandbox: &Sandbox<'e>, image: &ImageRef) -> Result<Container<'e>> {
    take_name(sandbox, &name(sandbox.shard), image, START, None)
}

/// Takes what shards share on an engine, the kept builder image, once no other has it. `own` has to be held meanwhile.
///
/// # Errors
/// Likewise, once preparing an image may not take longer; that `own` isn't held any more.
pub fn take_image<'e>(
    sandbox: &Sandbox<'e>,
    image: &ImageRef,
    own: &Container,
) -> Result<Container<'e>> {
    let taken = take_name(sandbox, OF_IMAGE, image, PREPARATION, Some(own));
    taken.map_err(|error| match error.kind {
        // It is this run's own trouble, in the middle of it.
        Kind::Busy => error
            .of_kind(Kind::Unusable)
            .during("waiting for the builder image"),
        _ => error,
    })
}

/// Starts a container of this name, once whoever has it is gone. `own` has to be held meanwhile.
fn take_name<'e>(
    sandbox: &Sandbox<'e>,
    name: &str,
    image: &ImageRef,
    patience: Duration,
    own: Option<&Container>,
) -> Result<Container<'e>> {
    let give_up_at = Deadline::after(patience);
    let time_to_go = SLOW_START.min(patience);
    loop {
        if let Some(own) = own {
            must_be_held(own)?;
        }
        let error = match sandbox.start(Some(name), image, Deadline::after(PREPARATION)) {
            Ok(container) => return Ok(container),
            Err(error) => error,
        };
        let is_taken = error.kind == Kind::NameTaken;
        // One that we have asked for, and that came when nobody waited for it any more.
        if let Ok(Some(it)) = found(sandbox.engine, name)
            && run_of(&it) == Some(sandbox.run.as_str())
        {
            sandbox.engine.remove_container(&it.id)?;
            match is_taken {
                true => continue,
                false => return Err(error),
            }
        }
        let somebody_had_it = match clear(sandbox.engine, name, give_up_at, time_to_go) {
            Ok(somebody_had_it) => somebody_had_it,
            Err(why) if is_taken || why.kind == Kind::Busy => return Err(why),
            Err(_) => return Err(error),
        };
        // Podman says nothing but 500 of a name that is taken.
        if somebody_had_it {
            continue;
        }
        if !is_taken {
            return Err(error);
        }
        // Whoever had it has just gone, or is about to come.
        if give_up_at.has_passed() {
            return Err(error.of_kind(Kind::Busy));
        }
        thread::sleep(PAUSE);
    }
}

/// Waits so long for another run's container of this name to go, and removes one that isn't started by then: its run was killed
/// before it could be. Tells whether there was one.
///
/// # Errors
/// [`Kind::Busy`] if there is one, and `by` has passed; a container of that name that isn't ours; those of the engine.
fn clear(engine: &Engine, name: &str, by: Deadline, time_to_go: Duration) -> Result<bool> {
    let Some(other) = found(engine, name)? else {
        return Ok(false);
    };
    if by.has_passed() {
        return Err(busy(name, &other));
    }
    log::info!("waiting for the container {name} of another run to go");
    let gone = engine.wait_removed(&other.id, Deadline::after(time_to_go));
    if gone.is_ok() {
        return Ok(true);
    }
    // It may have been started meanwhile.
    match found(engine, name)? {
        Some(now) if now.id == other.id && !now.is_running() => engine.remove_container(&now.id)?,
        _ => thread::sleep(PAUSE),
    }
    Ok(true)
}

/// Refuses to go on if another run holds what this one would take, or can't be beside it, and clears away a lock of
/// this name that a killed one has left.
///
/// # Errors
/// [`Kind::Busy`]; a container of that name that isn't ours; those of the engine.
pub fn must_be_free(engine: &Engine, shard: Option<Shard>) -> Result<()> {
    let (name, by) = (name(shard), Deadline::after(START));
    while clear(engine, &name, by, START)? {}
    // What is only created may be a killed run's. It counts when ours is beside it, by whose age its own is told.
    alone(engine, shard, running).map(drop)
}

/// The containers that bear our label, and run.
///
/// # Errors
/// Those of the engine.
pub fn running(engine: &Engine) -> Result<Vec<ContainerSummary>> {
    let mut containers = engine.labelled_containers()?;
    containers.retain(ContainerSummary::is_running);
    Ok(containers)
}

/// Gives the containers that bear our label, once no run that can't be beside this one is among them: one of the whole list beside a
/// shard, or shards of different wholes. Each looks after it has started its own lock container, so of two that begin in the same
/// moment one at least sees the other. If both do, the one of the fewer parts gives way.
///
/// # Errors
/// [`Kind::Busy`]; those of the engine.
pub fn must_be_alone(engine: &Engine, shard: Option<Shard>) -> Result<Vec<ContainerSummary>> {
    alone(engine, shard, Engine::labelled_containers)
}

fn alone(
    engine: &Engine,
    shard: Option<Shard>,
    list: fn(&Engine) -> Result<Vec<ContainerSummary>>,
) -> Result<Vec<ContainerSummary>> {
    let advice = "a run of the whole list has an engine to itself, and shards are of one whole";
    loop {
        let containers = list(engine)?;
        let Some(other) = excluding(&containers, shard) else {
            return Ok(containers);
        };
        let patience = match parts(called(other)) < parts(&name(shard)) {
            // It waits for us, and not as long.
            true => START.saturating_mul(2),
            false => START,
        };
        let gone = engine.wait_removed(&other.id, Deadline::after(patience));
        if gone.is_err() {
            let busy = busy(called(other), other);
            return Err(busy.advise(advice));
        }
    }
}

/// Fails if a lock isn't held any more: another run may take the engine then.
///
/// # Errors
/// That, and those of the request.
pub fn must_be_held(lock: &Container) -> Result<()> {
    let why = "it is gone, so another run may take this engine; something removed it or cut the \
        connection to it (a proxy's idle timeout?)";
    let is_held = || lock.is_running(Deadline::after(PATIENCE));
    // An engine that stumbles once is no reason to end a night.
    let is_held = match is_held() {
        Err(error) if matches!(error.kind, Kind::Status(500..)) => {
            log::warn!("{error}; asking once more");
            is_held()
        }
        answer => answer,
    };
    match is_held? {
        true => Ok(()),
        false => Err(Error::unusable("the lock container", why)),
    }
}

/// Refuses if a run is on that has this lock: of this shard, or, without one, of the whole list.
///
/// # Errors
/// [`Kind::Busy`] if one is; a container of that name that isn't ours; those of the engine.
pub fn refuse_if_on(engine: &Engine, shard: Option<Shard>) -> Result<()> {
    let name = name(shard);
    match found(engine, &name)? {
        Some(other) if other.is_running() => Err(busy(&name, &other)),
        _ => Ok(()),
    }
}

/// The container of this name, if there is one; it has to be a run's.
fn found(engine: &Engine, name: &str) -> Result<Option<ContainerSummary>> {
    let Some(found) = engine.container_named(name)? else {
        return Ok(None);
    };
    let is_ours = match &found.labels {
        Some(labels) if labels.contains_key(RUN_LABEL) => {
            !is_inherited(engine, labels, &found.image)?
        }
        _ => false,
    };
    if !is_ours {
        let lock = format!("the container {name} ({})", short(&found.id));
        let why = "it was not made by this program, which needs that name: rename or remove it";
        return Err(Error::unusable(lock, why));
    }
    Ok(Some(found))
}

/// That a run holds its lock.
fn busy(name: &str, other: &ContainerSummary) -> Error {
    let run = run_of(other);
    let run = run.unwrap_or("");
    let lock = format!("the container {name} ({})", short(&other.id));
    let busy = format!("another run ({run}) is using this engine: {lock}");
    let advice = "wait until that run has ended, or end its process; if there is none (an engine that keeps containers over its restart, \
        a proxy that keeps connections), remove the container";
    Error::new(Kind::Busy, format!("{busy}; {advice}"))
}

/// The run that a container is of.
fn run_of(container: &ContainerSummary) -> Option<&str> {
    container
        .labels
        .as_ref()?
        .get(RUN_LABEL)
        .map(String::as_str)
}

/// As much of a container's id as tells it from others.
fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// What a lock container is called, or nothing if a container is none. Some engines put a slash before it.
pub fn called(container: &ContainerSummary) -> &str {
    let mut names = container.names.iter().map(|it| it.trim_start_matches('/'));
    names.find(|it| parts(it).is_some()).unwrap_or("")
}

/// How many parts the whole has of which a run is one, as its lock container's name says it: 0 if it is of the whole list;
/// `None` for a name that is no lock's.
fn parts(name: &str) -> Option<u64> {
    match name.strip_prefix(NAME)? {
        "" => Some(0),
        shard => shard.split_once("-of-")?.1.parse().ok(),
    }
}

/// The lock containers of the runs that are on, or are just about to start them.
pub fn held(containers: &[ContainerSummary]) -> Vec<&ContainerSummary> {
    // By the engine's clock: ours is among these as long as it is held.
    let newest = containers.iter().map(|it| it.created).max().unwrap_or(0);
    let is_held = |it: &&ContainerSummary| match it.state.as_str() {
        "created" | "configured" | "initialized" => {
            newest.saturating_sub(it.created) < SLOW_START.as_secs()
        }
        _ => it.is_running(),
    };
    let locks = containers.iter().filter(|it| !called(it).is_empty());
    locks.filter(is_held).collect()
}

/// One of a run that one of this shard can't be beside, if there is one: its whole has another number of parts.
pub fn excluding(
    containers: &[ContainerSummary],
    shard: Option<Shard>,
) -> Option<&ContainerSummary> {
    let own = name(shard);
    let mut held = held(containers).into_iter();
    held.find(|it| parts(called(it)) != parts(&own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, state: &str, created: u64) -> ContainerSummary {
        ContainerSummary {
            id: String::new(),
            image: String::new(),
            labels: None,
            names: vec!["/alias/of-it".to_owned(), name.to_owned()],
            state: state.to_owned(),
            created,
        }
    }

    #[test]
    fn locks_exclude_each_other_if_their_wholes_differ_until_their_runs_are_over() {
        let (one, two) = ("1/2".parse().ok(), "2/2".parse().ok());
        let third = "1/3".parse().ok();
        for (name, state, excludes) in [
            ("/vieter-build", "running", [false, true, true, true]),
            ("vieter-build", "paused", [false, true, true, true]),
            ("/vieter-build", "created", [false, true, true, true]),
            (
                "/vieter-build",
                "of a new engine",
                [false, true, true, true],
            ),
            ("/vieter-build", "exited", [false; 4]),
            ("/vieter-build", "removing", [false; 4]),
            (
                "/vieter-build-1-of-2",
                "running",
                [true, false, false, true],
            ),
            ("/vieter-build-1-of-3", "created", [true, true, true, false]),
            ("/vieter-build-1-of-3", "stopped", [false; 4]),
            ("/vieter-build-image", "running", [false; 4]),
            ("/vieter", "running", [false; 4]),
        ] {
            let containers = [container(name, state, 1000)];
            let is_excluded = |shard| excluding(&containers, shard).is_some();
            let found = [None, one, two, third].map(is_excluded);
            assert_eq!(found, excludes, "{name} {state}");
        }
    }

    #[test]
    fn a_lock_that_was_never_started_is_held_for_a_minute() {
        for (created, is_held) in [(1000, true), (950, true), (940, false), (1, false)] {
            let lock = container("/vieter-build-1-of-2", "created", created);
            let containers = [lock, container("/else", "running", 1000)];
            assert_eq!(!held(&containers).is_empty(), is_held, "{created}");
        }
    }
}
