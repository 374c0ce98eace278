//! The lock: a container with a fixed name that a run holds as long as it lives, so that an engine has one run at a time.
//! Not here: what is done in it, which is the preparation of the builder image (`image`).

use std::time::Duration;

use crate::docker::{Container, Engine, ImageRef, RUN_LABEL};
use crate::error::{Error, Kind, Result};
use crate::http::Deadline;
use crate::image::PREPARATION;
use crate::sandbox::Sandbox;
use crate::sweep::is_inherited;

/// The name of the container.
pub const NAME: &str = "vieter-build";

/// How long a lock container may stay created and not started before its run counts as killed: between the two
/// lie some tenths of a second.
const START: Duration = Duration::from_secs(5);

/// How long the engine may take to say what the lock container does.
const PATIENCE: Duration = Duration::from_secs(120);

/// As often a lock is tried for whose name was taken by something that could be cleared away, within reason.
const TRIES: usize = 3;

/// The lock, held. Dropping it gives the engine free.
pub struct Lock<'e> {
    /// The container.
    pub container: Container<'e>,
}

impl<'e> Lock<'e> {
    /// Takes the engine.
    ///
    /// # Errors
    /// [`Kind::Busy`] if another run holds it; those of the engine.
    pub fn take(sandbox: &Sandbox<'e>, base: &ImageRef) -> Result<Lock<'e>> {
        for _ in 0..TRIES {
            let deadline = Deadline::after(PREPARATION);
            match sandbox.start(Some(NAME), base, deadline) {
                Ok(container) => return Ok(Lock { container }),
                Err(error) if error.kind == Kind::NameTaken => clear(sandbox.engine)?,
                // Podman says nothing but 500 of that.
                Err(error) => match refuse_if_held(sandbox.engine) {
                    Ok(Some(_)) => clear(sandbox.engine)?,
                    Err(busy) if busy.kind == Kind::Busy => return Err(busy),
                    _ => return Err(error),
                },
            }
        }
        let taken = format!("other runs took the container {NAME} again and again");
        Err(Error::new(Kind::Busy, taken))
    }

    /// Fails if it isn't held any more: another run may take the engine then.
    ///
    /// # Errors
    /// That, and those of the request.
    pub fn must_be_held(&self) -> Result<()> {
        let why = "it is gone, so another run may take this engine; something removed it or cut the \
            connection to it (a proxy's idle timeout?)";
        match self.is_held()? {
            true => Ok(()),
            false => Err(Error::unusable(format!("the lock container {NAME}"), why)),
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
fn clear(engine: &Engine) -> Result<()> {
    let Some(found) = refuse_if_held(engine)? else {
        return Ok(());
    };
    log::warn!("waiting for the container {NAME} ({found}) of another run to go");
    if engine.wait_removed(&found, Deadline::after(START)).is_ok() {
        return Ok(());
    }
    // It may have been started meanwhile.
    match refuse_if_held(engine)? {
        Some(id) if id == found => engine.remove_container(&id),
        _ => Ok(()),
    }
}

/// Refuses to go on if another run holds this engine. One that was killed a moment ago gets that long for its containers
/// to go.
///
/// # Errors
/// Those of [`refuse_if_held`].
pub fn refuse_if_still_held(engine: &Engine) -> Result<()> {
    let found = match refuse_if_held(engine) {
        Err(error) if error.kind == Kind::Busy => {
            let _ = engine.wait_removed(NAME, Deadline::after(START));
            refuse_if_held(engine)
        }
        found => found,
    };
    found.map(drop)
}

/// Refuses to go on if another run holds this engine; gives the id of a lock container that nobody holds.
///
/// # Errors
/// [`Kind::Busy`] if one does; a container of that name that isn't ours; those of the engine.
pub fn refuse_if_held(engine: &Engine) -> Result<Option<String>> {
    let Some(found) = engine.inspect_container(NAME, Deadline::after(PATIENCE))? else {
        return Ok(None);
    };
    let short: String = found.id.chars().take(12).collect();
    let labels = found.config.labels.unwrap_or_default();
    let is_inherited = is_inherited(engine, &labels, &found.image)?;
    let lock = format!("the container {NAME} ({short})");
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
