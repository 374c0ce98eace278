//! The engine, held for some work in containers: the lock, what killed runs have left, the end. Not here: what is done meanwhile
//! (`night`, and the crate's `review`).

use super::Settings;
use crate::docker::{Container, Engine};
use crate::error::{Kind, Result};
use crate::http::Deadline;
use crate::image::{self, Builder};
use crate::inbox::Inbox;
use crate::lock;
use crate::memory::Memory;
use crate::sandbox::Sandbox;
use crate::sweep::{self, sweep};
use crate::words::{Arch, RunId};
use crate::workshop::Workshop;

/// Holds the engine, which [`lock::must_be_free`], for some work in containers, which has to [`begin`], and leaves nothing on it but the
/// kept builder image.
///
/// # Errors
/// [`Kind::Busy`] if another run holds it; those of the engine, and of the work.
pub fn hold<T>(
    settings: &Settings,
    engine: &Engine,
    arch: &Arch,
    work: impl FnOnce(Workshop, Memory) -> Result<T>,
) -> Result<T> {
    warn_of_network(engine, settings.sandbox.network.as_deref());
    let sandbox = &Sandbox {
        engine,
        run: RunId::of_now(),
        settings: &settings.sandbox,
        shard: settings.shard,
    };
    let Taken { lock, kept, base } = take_lock(sandbox, &settings.image)?;
    // Now that no other run of this part on this engine writes it.
    let memory = Memory::open(settings.state.clone(), arch);
    let workshop = Workshop {
        sandbox,
        settings: &settings.image,
        arch,
        own: None,
        is_used: false,
        base,
        builder: kept,
        lock,
    };
    // The lock goes with the workshop.
    let ended = work(workshop, memory);
    match engine.is_silent() {
        true => {
            log::warn!("the engine doesn't answer, so the next run sweeps what this one has left")
        }
        // Containers that were let go may be just going, and then the image that they and the lock's were made of.
        false => sweep(engine, sweep::containers(engine), &sandbox.run),
    }
    ended
}

/// Begins the work with an engine that has nothing of killed runs on it, and keeps to its limits.
///
/// # Errors
/// A limit that doesn't hold; [`Kind::Busy`]; those of the engine.
pub fn begin(workshop: &Workshop) -> Result<()> {
    let soon = || Deadline::after(image::PREPARATION);
    let Workshop { sandbox, lock, .. } = workshop;
    sandbox.check_limits(lock, soon())?;
    let containers = lock::must_be_alone(sandbox.engine, sandbox.shard)?;
    sweep(sandbox.engine, containers, &sandbox.run);
    // Before the image is made of that container: what is lent to a build has a place then, too.
    Inbox { container: lock }.empty(soon())
}

/// The lock that was taken.
struct Taken<'e> {
    /// Its container.
    lock: Container<'e>,
    /// The kept builder image that it is of; `None` if that can't be used.
    kept: Option<Builder>,
    /// The id of the base image.
    base: String,
}

/// Takes the lock, in a container of the kept builder image, or of the base image if that can't be used.
fn take_lock<'e>(sandbox: &Sandbox<'e>, settings: &image::Settings) -> Result<Taken<'e>> {
    if let Some(kept) = image::kept(sandbox.engine, settings) {
        match lock::take(sandbox, &image::kept_name()) {
            Ok(lock) => {
                return Ok(Taken {
                    lock,
                    base: kept.base.clone(),
                    kept: Some(kept),
                });
            }
            Err(error) if error.kind == Kind::Busy => return Err(error),
            Err(error) => log::warn!("{}: {error}; it is made anew", image::kept_name()),
        }
    }
    let base = image::pull(sandbox.engine, &settings.base)?;
    Ok(Taken {
        lock: lock::take(sandbox, &settings.base)?,
        kept: None,
        base,
    })
}

/// Says what builds can reach in their network that nobody may want them to.
fn warn_of_network(engine: &Engine, network: Option<&str>) {
    match network {
        Some(network) if !engine.is_direct => log::warn!(
            "builds are in the network {network}: if the engine's TCP port can be reached from there, a stranger's build \
             is root on the engine's host; put builds into a network of their own (README, \"What protects you\")"
        ),
        Some("host") => {
            log::warn!("builds are in the host's network, and reach what listens on its loopback")
        }
        _ => (),
    }
}
