//! A run that holds its engine: what is known without a container, the builder image, the repositories, what has gone from the list.
//! Not here: how the engine is held (`hold`), and how one repository is built (the crate's `job`).

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use super::{Settings, hold, tell_not_built};
use crate::error::{Kind, Result};
use crate::home::{Gone, Home, Sink};
use crate::http::Deadline;
use crate::image;
use crate::job::{self, Builds, Handover, Task};
use crate::known::{Glance, Known};
use crate::list::Repo;
use crate::lock;
use crate::others::Others;
use crate::owners::Listed;
use crate::queue::{Queue, Until};
use crate::report::{Line, Outcome, Summary};
use crate::screen;
use crate::workshop::Workshop;

/// How long it may take to remove packages of one repository that have gone from the list, or to say what couldn't be built.
const PRUNING: Duration = Duration::from_secs(600);

/// A repository that is to be built.
pub struct Due {
    /// Which one.
    pub repo: Rc<Repo>,
    /// How long it was tried already.
    pub spent: Duration,
    /// Whether it waits if it failed not long ago.
    pub has_to_wait: bool,
}

impl Due {
    /// The same, to be tried again after a try that has ended so.
    fn again(self, line: &Line) -> Due {
        Due {
            spent: line.took,
            has_to_wait: false,
            ..self
        }
    }
}

/// A run that holds its engine.
pub struct Night<'e> {
    /// How it is to be done.
    pub settings: &'e Settings,
    /// Where packages go.
    pub home: Home,
    /// What is on the list.
    pub listed: Listed,
    /// What is known without a container.
    pub known: Known,
    /// What is to be built.
    pub queue: Queue<Due, Line>,
    /// What goes from one repository's build to the next.
    pub handover: Handover<'e>,
    /// What the builder image is made of, for logs; nothing if there are none.
    pub origin: String,
    /// Where the builder image is made, with the lock: the last to go.
    pub workshop: Workshop<'e>,
}

impl Night<'_> {
    /// Builds what is due, remembers what came of it, and tells what it hasn't come to.
    ///
    /// # Errors
    /// What keeps it from being done.
    pub fn pass(mut self, summary: &mut Summary) -> Result<()> {
        let ended = self.build(summary).and_then(|()| self.clear_gone(summary));
        if !self.settings.builds.dry_run {
            self.known.memory.save();
            let is_whole = self.is_of_all() && ended.is_ok();
            let sink = sink(&self.home, &self.listed, &self.workshop);
            sink.tell(&summary.tried, is_whole, Deadline::after(PRUNING));
        }
        let queue = std::mem::replace(&mut self.queue, Queue::empty());
        // Its containers go before what is left is told.
        drop(self);
        tell_not_built(queue, &ended, summary);
        ended
    }

    /// Tells what is known without a container, and builds what is due of the rest.
    fn build(&mut self, summary: &mut Summary) -> Result<()> {
        hold::begin(&self.workshop)?;
        let (memory, builder) = (&mut self.known.memory, &self.workshop.builder);
        // Once a day in any case.
        let is_old = builder
            .as_ref()
            .is_some_and(|it| !memory.is_of_today(it.made));
        let is_fresh = self.settings.image.fresh;
        if is_old || is_fresh {
            match self.workshop.bring_up_to_date(is_fresh, memory) {
                // It may well be that nothing has to be built.
                Err(error) if is_old && is_others(error.kind) => log::warn!("{error}"),
                ended => ended?,
            }
        }
        let is_to_be_new = self.look(summary) || self.settings.builds.force;
        if self.queue.is_empty() && self.workshop.builder.is_none() {
            // Without one, each run pulls the base image, on quiet nights, too.
            match self.workshop.bring_up_to_date(true, &mut self.known.memory) {
                Err(error) if is_others(error.kind) => log::warn!("{error}"),
                ended => ended?,
            }
        }
        if !self.queue.is_empty() {
            self.get_ready(is_to_be_new)?;
            self.warn_of_architecture();
            self.build_all(summary)?;
        }
        Ok(())
    }

    /// Looks at all entries without a container, before one that is built can take the names of another. Tells what is known of them
    /// so, and gives whether something has changed.
    fn look(&mut self, summary: &mut Summary) -> bool {
        let mut has_changed = false;
        if !self.known.memory.is_on() || self.settings.builds.force {
            return false;
        }
        let mut unknown = Queue::empty();
        self.workshop.is_used |= self.uses_the_workshop();
        while let Some((due, _)) = self.queue.next(0) {
            screen::begin("looking".to_owned(), &due.repo.name());
            let sink = &sink(&self.home, &self.listed, &self.workshop);
            let base = due.has_to_wait.then_some(self.workshop.base_of_builds());
            let by = Deadline::after(self.settings.builds.timeout);
            let owners = &mut self.handover.owners;
            match self.known.glance(&due.repo, base, sink, owners, by) {
                Some(Glance::Final(line)) if line.lacks_dependencies() => {
                    unknown.wait(due.again(&line), Until::Published(0), *line);
                }
                Some(Glance::Final(line)) => summary.add_of_many(&line),
                Some(Glance::Changed) => {
                    has_changed = true;
                    unknown.add(due);
                }
                None => unknown.add(due),
            }
        }
        summary.write_report();
        self.queue = unknown;
        has_changed
    }

    /// Whether databases are looked at in its container before something is built: a folder's, if it is compressed, and a server's if
    /// it is only said what would be done.
    fn uses_the_workshop(&self) -> bool {
        self.home.unpacks_databases() || self.settings.builds.dry_run
    }

    /// Makes the builder image if there is none, or brings it up to date if it has to be.
    fn get_ready(&mut self, is_to_be_new: bool) -> Result<()> {
        if is_to_be_new || self.workshop.builder.is_none() {
            // The container that waits is of the old one.
            self.handover.waiting = None;
            self.workshop
                .bring_up_to_date(true, &mut self.known.memory)?;
        }
        let (workshop, log_dir) = (&self.workshop, &self.settings.builds.log_dir);
        if let (Some(builder), Some(_)) = (&workshop.builder, log_dir) {
            let engine = workshop.sandbox.engine;
            self.origin = image::origin(engine, workshop.container(), builder)?;
        }
        Ok(())
    }

    /// Says if builds make what is for other machines.
    fn warn_of_architecture(&self) {
        let Workshop { builder, arch, .. } = &self.workshop;
        let carch = builder.as_ref().map_or(arch.as_str(), |it| &it.carch);
        if carch != arch.as_str() {
            log::warn!("the base image's makepkg builds for {carch}, this run is for {arch}");
        }
    }

    /// Builds what is due, until nothing is: one that lacks dependencies waits for what the others publish.
    fn build_all(&mut self, summary: &mut Summary) -> Result<()> {
        let settings = &self.settings.builds;
        let count = self.queue.len();
        let shard = self.settings.shard;
        let shard = shard.filter(|it| it.count() > 1 && !settings.dry_run);
        let mut others = shard.map(|_| Others::new(settings.timeout));
        // What failed on another night, and waits for its next try, is tried before that only if something comes.
        for (due, _) in self.queue.lacking() {
            self.look_at_others(&mut others, due);
        }
        loop {
            let Some((due, before)) = self.queue.next(self.handover.published) else {
                if !self.have_published(&mut others)? {
                    break;
                }
                // It may be what one of those that wait lacks.
                self.handover.published = self.handover.published.saturating_add(1);
                continue;
            };
            let place = count.saturating_sub(self.queue.len());
            screen::begin(format!("{place}/{count}"), &due.repo.name());
            // There is another one now.
            if let Some(log) = before.as_ref().and_then(Line::own_log) {
                let _ = fs::remove_file(log);
            }
            let mut line = self.build_one(&due);
            if let Err(error) = lock::must_be_held(&self.workshop.lock) {
                if let Outcome::Failed(failure) = line.outcome {
                    line.outcome = Outcome::NotBuilt(Some(failure));
                }
                self.tell(&line, summary);
                return Err(error);
            }
            // All of its tries share the time limit.
            let has_time = line.took < settings.timeout;
            if line.needs_newer_image() {
                let spent = line.took;
                self.queue.put_back(Due { spent, ..due });
                self.get_ready(true)?;
            } else if line.lacks_dependencies() && has_time {
                let why = "its dependencies can't be installed yet; again after the others";
                log::info!("{}: {why}", line.name);
                // What it lacked on another night may have come earlier in this run.
                let published = match line.facts.waits {
                    Some(_) => {
                        self.look_at_others(&mut others, &due);
                        0
                    }
                    None => self.handover.published,
                };
                let until = Until::Published(published);
                self.queue.wait(due.again(&line), until, line);
            } else if line.came_early() && has_time {
                let why = "it may replace packages of others, so it is built after them";
                log::info!("{}: {why}", line.name);
                let spent = line.took;
                self.queue
                    .wait(Due { spent, ..due }, Until::AllWereTried, line);
            } else {
                self.tell(&line, summary);
            }
        }
        for line in self.queue.give_up().collect::<Vec<_>>() {
            self.tell(&line, summary);
        }
        Ok(())
    }

    /// Builds an entry, in a container.
    fn build_one(&mut self, due: &Due) -> Line {
        self.workshop.is_used |= self.uses_the_workshop();
        let (workshop, repo) = (&self.workshop, &due.repo);
        log::info!("{} for the repository {}", repo.name(), repo.publish_to);
        let builder = workshop.builder.as_ref();
        let builds = Builds {
            sandbox: workshop.sandbox,
            base: workshop.base_of_builds(),
            is_up_to_date: builder.is_some_and(|it| it.is_up_to_date),
            origin: &self.origin,
            sink: &sink(&self.home, &self.listed, workshop),
            settings: &self.settings.builds,
        };
        let task = Task {
            repo,
            spent: due.spent,
            has_to_wait: due.has_to_wait,
            is_last: self.queue.is_empty(),
            others_are_unknown: self.queue.has_untried(),
            known: &self.known,
        };
        job::build(&builds, &task, &mut self.handover)
    }

    /// Tells what became of an entry, and remembers it.
    fn tell(&mut self, line: &Line, summary: &mut Summary) {
        let job::Settings { dry_run, force, .. } = self.settings.builds;
        let memory = &mut self.known.memory;
        memory.keep(line, self.workshop.base_of_builds(), force);
        summary.add(line);
        // What took long is remembered at once.
        if !dry_run && !matches!(line.outcome, Outcome::UpToDate) {
            memory.save();
        }
        if !dry_run {
            sink(&self.home, &self.listed, &self.workshop).send_log(line);
        }
    }

    /// Looks at what other shards, if there are any, have published to where an entry is to be published: only what comes after that is
    /// a reason to try it.
    fn look_at_others(&self, others: &mut Option<Others>, due: &Due) {
        let sink = &sink(&self.home, &self.listed, &self.workshop);
        if let Some(others) = others {
            others.look(&due.repo, sink);
        }
    }

    /// Waits until other shards, if there are any, have published what may be lacking. For entries that have only waited in this run
    /// it doesn't, but tells whether they have.
    fn have_published(&self, others: &mut Option<Others>) -> Result<bool> {
        let Some(others) = others else {
            return Ok(false);
        };
        let mut lacking = self.queue.lacking();
        let were_tried = lacking.any(|(_, line)| line.facts.waits.is_none());
        let lacking: Vec<&Repo> = self.queue.lacking().map(|(due, _)| &*due.repo).collect();
        let sink = &sink(&self.home, &self.listed, &self.workshop);
        match were_tried {
            true => others.publish_for(&lacking, sink, || lock::must_be_held(&self.workshop.lock)),
            false => Ok(others.have_published(&lacking, sink)),
        }
    }

    /// Whether it was to build all that is on the list.
    fn is_of_all(&self) -> bool {
        self.settings.list.what.is_empty() && self.settings.shard.is_none()
    }

    /// Names the packages that no entry of the list makes any more, and removes them if that was asked for and all went well.
    fn clear_gone(&self, summary: &mut Summary) -> Result<()> {
        // Once, if there are several parts.
        if self.settings.shard.is_some_and(|it| !it.is_first()) {
            return Ok(());
        }
        let sink = &sink(&self.home, &self.listed, &self.workshop);
        let owners = &self.handover.owners;
        let gone = sink.home.gone(sink.arch, sink.listed, owners)?;
        let prune = self.settings.prune && self.is_of_all() && !self.settings.builds.dry_run;
        // What an entry makes that is held isn't known.
        let prune = prune && summary.is_well();
        for gone in gone.chunk_by(|one, next| one.repo == next.repo) {
            let mut outcome: fn() -> Outcome = || Outcome::Gone;
            if let (true, Some(Gone { repo, .. })) = (prune, gone.first()) {
                sink.remove(repo, gone, Deadline::after(PRUNING))?;
                outcome = || Outcome::Removed;
            }
            gone.iter().for_each(|it| summary.add(&it.line(outcome())));
        }
        Ok(())
    }
}

/// Whether an update of the builder image failed for what isn't the engine's end: the registry, a mirror.
fn is_others(kind: Kind) -> bool {
    matches!(kind, Kind::Exit(_) | Kind::Status(_) | Kind::Unusable)
}

fn sink<'s>(home: &'s Home, listed: &'s Listed, workshop: &'s Workshop) -> Sink<'s> {
    Sink {
        home,
        arch: workshop.arch,
        inbox: workshop.inbox(),
        listed,
    }
}
