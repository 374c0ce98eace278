//! The engine, held for some work in containers: the lock, what killed runs have left, the end. Not here: what is done meanwhile
//! (`night`, and the crate's `review`).

use super::Settings;
use crate::docker::types::ContainerSummary;
use crate::docker::{Container, Engine};
use crate::error::{Kind, Result};
use crate::http::Deadline;
use crate::image::{self, Builder};
use crate::inbox::Inbox;
use crate::lock;
use crate::memory::Memory;
use crate::sandbox::Sandbox;
use crate::sweep::{self, Whose, sweep, sweep_images};
use crate::words::{Arch, RunId};
use crate::workshop::Workshop;

/// Holds the engine for some work in containers, and leaves nothing on it but the kept builder image.
///
/// # Errors
/// [`Kind::Busy`] if another run holds it; those of the engine, and of the work.
pub fn hold<T>(
    settings: &Settings,
    engine: &Engine,
    arch: &Arch,
    work: impl for<'e> FnOnce(&'e Run<'e>, Workshop<'e>, Memory) -> Result<T>,
) -> Result<T> {
    warn_of_network(engine, settings.sandbox.network.as_deref());
    // Before a pull that would be for nothing.
    lock::must_be_free(engine, settings.shard)?;
    let sandbox = &Sandbox::new(engine, RunId::of_now(), &settings.sandbox, settings.shard);
    let memory = Memory::open(settings.state.clone(), arch);
    let (lock, builder, base) = take_lock(sandbox, &settings.image, &memory)?;
    let run = Run { sandbox, lock };
    let workshop = Workshop {
        sandbox,
        settings: &settings.image,
        arch,
        lock: &run.lock,
        own: None,
        is_used: false,
        base,
        builder,
    };
    let ended = work(&run, workshop, memory);
    run.end();
    ended
}

/// Takes the lock, in a container of the kept builder image, or of the base image if that can't be used. Gives the kept one, and
/// the id of the base image.
fn take_lock<'e>(
    sandbox: &Sandbox<'e>,
    settings: &image::Settings,
    memory: &Memory,
) -> Result<(Container<'e>, Option<Builder>, String)> {
    if let Some(kept) = image::kept(sandbox.engine, settings, |made| memory.refreshed(made)) {
        match lock::take(sandbox, &kept.image) {
            Ok(lock) => {
                let base = kept.base.clone();
                return Ok((lock, Some(kept), base));
            }
            Err(error) if error.kind == Kind::Busy => return Err(error),
            Err(error) => log::warn!("{}: {error}; it is made anew", kept.image),
        }
    }
    let base = image::pull(sandbox.engine, &settings.base)?;
    Ok((lock::take(sandbox, &settings.base)?, None, base))
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

/// What a run holds: the engine, by its lock container, and whatever bears its label. [`Run::end`] removes all of it.
pub struct Run<'e> {
    /// What makes its containers.
    pub sandbox: &'e Sandbox<'e>,
    /// The lock.
    pub lock: Container<'e>,
}

impl Run<'_> {
    /// Begins with an engine that has nothing of killed runs on it, and keeps to its limits.
    ///
    /// # Errors
    /// A limit that doesn't hold; those of the engine.
    pub fn begin(&self) -> Result<()> {
        let soon = || Deadline::after(image::PREPARATION);
        self.sandbox.check_limits(&self.lock, soon())?;
        let Sandbox { engine, shard, .. } = self.sandbox;
        let containers = lock::must_be_alone(engine, *shard)?;
        let in_use = self.sweep(containers, Whose::Everybodys);
        sweep_images(self.sandbox.engine, &in_use);
        // Before the image is made of that container: what is lent to a build has a place then, too.
        Inbox {
            container: &self.lock,
        }
        .empty(soon())
    }

    /// Sweeps; gives the images that are in use.
    fn sweep(&self, containers: Vec<ContainerSummary>, whose: Whose) -> Vec<String> {
        let lock = self.lock.id();
        let Sandbox { engine, run, .. } = self.sandbox;
        sweep(engine, containers, run, lock, whose)
    }

    /// Sweeps, then lets the lock container go, and then the image that it was made of, if that isn't kept any more. What killed
    /// runs left, again, as one that was killed during its commit leaves the image when the engine is done with it; but if the lock
    /// is lost, another run may be on, whose things stay.
    fn end(self) {
        let engine = self.sandbox.engine;
        if engine.is_silent() {
            log::warn!("the engine doesn't answer, so the next run sweeps what this one has left");
            return;
        }
        let soon = Deadline::after(image::PREPARATION);
        let whose = match self.lock.is_running(soon) {
            Ok(true) => Whose::Everybodys,
            Ok(false) | Err(_) => Whose::Own,
        };
        let in_use = self.sweep(sweep::containers(engine), whose);
        drop(self);
        sweep_images(engine, &in_use);
    }
}
