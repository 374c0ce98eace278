//! Where the builder image is made or brought up to date, and archives are looked at: the lock's container, in which no stranger's
//! code ever ran. It is made of the kept image, or of the base image; another takes its place before an image is made of one in which
//! something was looked at, or if there is another base image by now. Not here: what is done to the image (`image`), and when (`run`).

use crate::docker::{Container, ImageRef};
use crate::error::{Kind, Result};
use crate::http::Deadline;
use crate::image::{self, Builder, PREPARATION};
use crate::inbox::Inbox;
use crate::lock;
use crate::memory::Memory;
use crate::sandbox::Sandbox;
use crate::words::Arch;

/// The place, and the builder image as far as there is one.
pub struct Workshop<'e> {
    /// What makes containers.
    pub sandbox: &'e Sandbox<'e>,
    /// What the image is made of.
    pub settings: &'e image::Settings,
    /// What is built for.
    pub arch: &'e Arch,
    /// The container that has taken the place of the lock's.
    pub own: Option<Container<'e>>,
    /// Whether something was looked at in the one that counts.
    pub is_used: bool,
    /// The id of the base image.
    pub base: String,
    /// The builder image, if there is one.
    pub builder: Option<Builder>,
    /// The lock, which is the last to go.
    pub lock: Container<'e>,
}

impl<'e> Workshop<'e> {
    /// The container.
    pub fn container(&self) -> &Container<'e> {
        self.own.as_ref().unwrap_or(&self.lock)
    }

    /// Makes the builder image, or brings the kept one up to date, unless it is. What becomes an image has held nothing but what
    /// pacman and we have put there: a container that was used goes for a new one before.
    ///
    /// # Errors
    /// Those of [`image::prepare`]; the kept one stays then.
    pub fn bring_up_to_date(&mut self, memory: &mut Memory) -> Result<()> {
        let (sandbox, settings, arch) = (self.sandbox, self.settings, self.arch);
        if self.builder.as_ref().is_some_and(|it| it.is_up_to_date) {
            return Ok(());
        }
        let _shared = self.share(memory)?;
        let refreshed = match &self.builder {
            Some(kept) => {
                if self.is_used {
                    self.own = Some(self.start(&kept.image)?);
                }
                match image::refresh(sandbox, self.container(), settings, arch, kept) {
                    // A new installation has no older packages that are in the way.
                    Err(error) if matches!(error.kind, Kind::Exit(_)) => {
                        log::warn!("{error}; the builder image is made anew");
                        None
                    }
                    refreshed => refreshed?,
                }
            }
            None => None,
        };
        let builder = match refreshed {
            Some(builder) => builder,
            None => {
                if self.is_used || self.builder.is_some() {
                    self.own = Some(self.start(&settings.base)?);
                    self.base = sandbox.engine.image_id(&settings.base.to_string())?;
                }
                let base = self.base.clone();
                image::prepare(sandbox, self.container(), settings, arch, base)?
            }
        };
        self.is_used = false;
        memory.note_refreshed(builder.made);
        self.builder = Some(builder);
        Ok(())
    }

    /// Has the kept image to itself for as long as what this gives is held, if there may be other shards on the engine: one of them
    /// may have made a newer one, which counts then.
    fn share(&mut self, memory: &Memory) -> Result<Option<Container<'e>>> {
        if self.sandbox.shard.is_none() {
            return Ok(None);
        }
        let image = self.builder.as_ref().map(|it| it.image.clone());
        let image = image.unwrap_or_else(|| self.settings.base.clone());
        let lock = lock::take_image(self.sandbox, &image, &self.lock)?;
        let kept = image::kept(self.sandbox.engine, self.settings, |made| {
            memory.refreshed(made)
        });
        let made = |builder: &Option<Builder>| builder.as_ref().map(|it| it.made);
        if made(&kept) != made(&self.builder) {
            self.is_used = true;
            if kept.is_none() {
                // It was there, so the base image wasn't needed yet.
                self.base = image::pull(self.sandbox.engine, &self.settings.base)?;
            }
            self.builder = kept;
        }
        Ok(Some(lock))
    }

    /// A container of this image, with an empty inbox.
    fn start(&self, image: &ImageRef) -> Result<Container<'e>> {
        let by = Deadline::after(PREPARATION);
        let container = self.sandbox.start(None, image, by)?;
        let inbox = Inbox {
            container: &container,
        };
        inbox.empty(by)?;
        Ok(container)
    }
}
