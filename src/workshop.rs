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
    /// Whether something is, or was, looked at in the container, so that no image is made of it; or the kept image is a newer one
    /// than the container's.
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

    /// What archives are looked at in.
    pub fn inbox(&self) -> Inbox<'_> {
        let container = self.container();
        Inbox { container }
    }

    /// The id of the base image that the builder image was made of.
    pub fn base_of_builds(&self) -> &str {
        self.builder.as_ref().map_or(&self.base, |it| &it.base)
    }

    /// Makes the builder image, or brings the kept one up to date, unless it is. One that can't be is made anew, if it may be: that
    /// takes as much as the first one did.
    ///
    /// # Errors
    /// Those of [`image::update`] and [`image::commit`]; the kept one stays then.
    pub fn bring_up_to_date(&mut self, may_be_anew: bool, memory: &mut Memory) -> Result<()> {
        if self.builder.as_ref().is_some_and(|it| it.is_up_to_date) {
            return Ok(());
        }
        // If there is one, the base image wasn't needed yet, or not that of another shard.
        let was_kept = self.builder.is_some();
        let _shared = self.share()?;
        if was_kept || self.builder.is_some() {
            self.base = image::pull(self.sandbox.engine, &self.settings.base)?;
        }
        let refreshed = match &self.builder {
            Some(kept) if kept.base == self.base => match self.make(false) {
                // A new installation has no older packages that are in the way.
                Err(error) if may_be_anew && matches!(error.kind, Kind::Exit(_)) => {
                    log::warn!("{error}; the builder image is made anew");
                    None
                }
                made => Some(made?),
            },
            Some(_) => {
                log::info!("there is a new base image: the builder image is made anew");
                None
            }
            None => None,
        };
        let builder = match refreshed {
            Some(builder) => builder,
            None => self.make(true)?,
        };
        self.is_used = false;
        memory.note_refreshed(builder.made);
        self.builder = Some(builder);
        Ok(())
    }

    /// Makes the image in a container of the base image, or of the kept one if anything is new in that. What becomes an image has held
    /// nothing but what pacman and we have put there: a container that was used goes for a new one before.
    fn make(&mut self, is_of_base: bool) -> Result<Builder> {
        let (engine, settings) = (self.sandbox.engine, self.settings);
        // Without a kept image, the lock's container is of the base image.
        if self.is_used || is_of_base && self.builder.is_some() {
            let image = match is_of_base {
                true => settings.base.clone(),
                false => image::kept_name(),
            };
            self.own = Some(self.start(&image)?);
        }
        // Whatever becomes of this: a second try in the same one would find nothing new.
        self.is_used = true;
        let container = self.container();
        let has_news = image::update(container, settings, is_of_base)?;
        match &self.builder {
            Some(kept) if !is_of_base && !has_news => {
                log::info!("builder image: nothing is new");
                let is_up_to_date = true;
                Ok(Builder {
                    is_up_to_date,
                    ..kept.clone()
                })
            }
            _ => image::commit(engine, container, settings, &self.base),
        }
    }

    /// Has the kept image to itself for as long as what this gives is held, if there may be other shards on the engine: one of them
    /// may have made a newer one, which counts then.
    fn share(&mut self) -> Result<Option<Container<'e>>> {
        if self.sandbox.shard.is_none() {
            return Ok(None);
        }
        let image = match self.builder {
            Some(_) => image::kept_name(),
            None => self.settings.base.clone(),
        };
        let lock = lock::take_image(self.sandbox, &image, &self.lock)?;
        let kept = image::kept(self.sandbox.engine, self.settings);
        let made = |builder: &Option<Builder>| builder.as_ref().map(|it| it.made);
        if made(&kept) != made(&self.builder) {
            self.is_used = true;
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
