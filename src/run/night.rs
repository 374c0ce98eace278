//! A run that holds its engine: what is known without a container, the builder image, the repositories, what has gone from the list.
//! Not here: how the engine is held (`hold`), and how one repository is built (the crate's `job`).

use std::rc::Rc;
use std::time::Duration;

use super::Settings;
use crate::approvals::Approvals;
use crate::error::{Kind, Result};
use crate::home::{Gone, Home, Sink};
use crate::http::Deadline;
use crate::image::{self, Builder};
use crate::inbox::Inbox;
use crate::job::{self, Builds, Handover, Task};
use crate::known::{Glance, Known};
use crate::list::Repo;
use crate::lock;
use crate::look::Looker;
use crate::memory::Memory;
use crate::others::Others;
use crate::owners::{Listed, Owners};
use crate::queue::{Queue, Until};
use crate::report::{Line, Outcome, Summary};
use crate::screen;
use crate::words::Arch;
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
    /// Whether it was tried in this run, and not only found to wait after another one.
    pub was_tried: bool,
}

/// A run that holds its engine.
pub struct Night<'e> {
    /// How it is to be done.
    pub settings: &'e Settings,
    /// Where packages go.
    pub home: Home,
    /// What is on the list.
    pub listed: Listed,
    /// What is remembered from nights before.
    pub memory: Memory,
    /// Which commits may be built.
    pub approvals: Option<Approvals>,
    /// What asks Git servers.
    pub looker: Looker,
    /// What is to be built.
    pub queue: Queue<Due, Line>,
    /// What goes from one repository's build to the next.
    pub handover: Handover<'e>,
    /// Where the builder image is made, with the lock: the last to go.
    pub workshop: Workshop<'e>,
}

impl Night<'_> {
    /// Builds what is due, remembers what came of it, and tells what it hasn't come to.
    ///
    /// # Errors
    /// What keeps it from being done.
    pub fn pass(mut self, summary: &mut Summary) -> Result<()> {
        let ended = self.build(summary);
        if !self.settings.builds.dry_run {
            self.memory.save();
        }
        let queue = std::mem::replace(&mut self.queue, Queue::empty());
        // Its containers go before what is left is told.
        drop(self);
        for Due { repo, .. } in queue.into_items() {
            summary.add(Line::untouched(repo.name(), Outcome::NotBuilt(None)));
        }
        ended
    }

    /// Tells what is known without a container, prepares the builder image if there is more, and builds what is due.
    fn build(&mut self, summary: &mut Summary) -> Result<()> {
        // Once a day in any case.
        let is_old = |it: &Builder| !self.memory.is_of_today(it.made);
        if self.settings.image.fresh {
            self.workshop.bring_up_to_date(&mut self.memory)?;
        } else if self.workshop.builder.as_ref().is_some_and(is_old) {
            match self.workshop.bring_up_to_date(&mut self.memory) {
                // It may well be that nothing has to be built.
                Err(error) if matches!(error.kind, Kind::Exit(_)) => log::warn!("{error}"),
                ended => ended?,
            }
        }
        let mut is_to_be_new = self.look(summary) || self.settings.builds.force;
        while !self.queue.is_empty() {
            if is_to_be_new || self.workshop.builder.is_none() {
                self.workshop.bring_up_to_date(&mut self.memory)?;
            }
            is_to_be_new = self.build_all(summary)?;
        }
        self.end(summary)
    }

    /// Whether databases are looked at in its container before something is built: a folder's, if it is compressed, and a server's if
    /// it is only said what would be done.
    fn uses_the_workshop(&self) -> bool {
        self.home.has_records() || self.settings.builds.dry_run
    }

    /// Looks at all entries without a container, and tells what is known of them so. Tells whether something has changed.
    fn look(&mut self, summary: &mut Summary) -> bool {
        let mut has_changed = false;
        if !self.memory.is_on() || self.settings.builds.force {
            return false;
        }
        let mut unknown = Queue::empty();
        self.workshop.is_used |= self.uses_the_workshop();
        while let Some(due) = self.queue.next(0) {
            screen::begin("looking".to_owned(), &due.repo.name());
            let inbox = &Inbox {
                container: self.workshop.container(),
            };
            let sink = &sink(&self.home, &self.listed, self.workshop.arch, inbox);
            let known = Known {
                looker: &self.looker,
                memory: &self.memory,
                base: &self.workshop.base,
                has_to_wait: due.has_to_wait,
                approvals: self.approvals.as_ref(),
            };
            let by = Deadline::after(self.settings.builds.timeout);
            match known.glance(&due.repo, sink, &mut self.handover.owners, by) {
                Glance::Final(line) if line.lacks_dependencies() => {
                    // What it lacks may be built in this run.
                    let due = Due {
                        has_to_wait: false,
                        ..due
                    };
                    unknown.wait(due, Until::Published(0), *line);
                }
                Glance::Final(line) => summary.add(*line),
                Glance::Changed => {
                    has_changed = true;
                    unknown.add(due);
                }
                Glance::Unknown => unknown.add(due),
            }
        }
        self.queue = unknown;
        has_changed
    }

    /// Builds what is due, until nothing is: one that lacks dependencies waits for what the others publish. Tells whether the
    /// builder image has to be brought up to date before it can go on.
    fn build_all(&mut self, summary: &mut Summary) -> Result<bool> {
        self.workshop.is_used |= self.uses_the_workshop();
        let Some(builder) = &self.workshop.builder else {
            return Ok(true);
        };
        let (sandbox, settings) = (self.workshop.sandbox, &self.settings.builds);
        let container = self.workshop.container();
        let inbox = &Inbox { container };
        let sink = &sink(&self.home, &self.listed, self.workshop.arch, inbox);
        let origin = match settings.log_dir {
            Some(_) => image::origin(sandbox.engine, container, builder)?,
            None => String::new(),
        };
        let builds = Builds {
            sandbox,
            builder,
            origin: &origin,
            arch: self.workshop.arch,
            inbox,
            sink,
            settings,
        };
        let (queue, handover, memory) = (&mut self.queue, &mut self.handover, &mut self.memory);
        let mut tell = |line: Line, memory: &mut Memory| {
            memory.keep(&line, &builder.base, settings.force);
            // What took long is remembered at once.
            if !settings.dry_run && !matches!(line.outcome, Outcome::UpToDate) {
                memory.save();
            }
            summary.add(line);
        };
        let count = queue.len();
        let shard = self.settings.shard;
        let shard = shard.filter(|it| it.count() > 1 && !settings.dry_run);
        let mut others = shard.map(|_| Others::new(settings.timeout));
        // What failed on another night, and waits for its next try, is tried before that only if something comes.
        if let Some(others) = &mut others {
            queue.lacking().for_each(|it| others.look(&it.repo, sink));
        }
        loop {
            let Some(due) = queue.next(handover.published) else {
                let is_held = || lock::must_be_held(&self.workshop.lock);
                let has_come = match &mut others {
                    Some(others) => have_published(others, queue, sink, is_held)?,
                    None => false,
                };
                if !has_come {
                    break;
                }
                // It may be what one of those that wait lacks.
                handover.published = handover.published.saturating_add(1);
                continue;
            };
            let repo = &due.repo;
            log::info!("{} for the repository {}", repo.name(), repo.publish_to);
            let place = format!("{}/{count}", count.saturating_sub(queue.len()));
            screen::begin(place, &repo.name());
            let (is_last, others_are_unknown) = (queue.is_empty(), queue.has_untried());
            let known = &Known {
                looker: &self.looker,
                memory,
                base: &builder.base,
                has_to_wait: due.has_to_wait,
                approvals: self.approvals.as_ref(),
            };
            let task = Task {
                repo,
                spent: due.spent,
                is_last,
                others_are_unknown,
                known,
            };
            let mut line = job::build(&builds, &task, handover);
            if let Err(error) = lock::must_be_held(&self.workshop.lock) {
                if let Outcome::Failed(failure) = line.outcome {
                    line.outcome = Outcome::NotBuilt(Some(failure));
                }
                tell(line, memory);
                return Err(error);
            }
            match verdict(&line, settings.timeout) {
                Verdict::NewImage => {
                    // The container that waits is of the old one.
                    handover.waiting = None;
                    queue.put_back(due);
                    return Ok(true);
                }
                Verdict::LacksDependencies => {
                    let why = "its dependencies can't be installed yet; again after the others";
                    log::info!("{}: {why}", line.name);
                    let waits = line.facts.waits.is_some();
                    if let Some(others) = others.as_mut().filter(|_| waits) {
                        others.look(&due.repo, sink);
                    }
                    let due = Due {
                        spent: line.took,
                        has_to_wait: false,
                        was_tried: due.was_tried || !waits,
                        ..due
                    };
                    // What it lacked on another night may have come earlier in this run.
                    let published = if waits { 0 } else { handover.published };
                    queue.wait(due, Until::Published(published), line);
                }
                Verdict::CameEarly => {
                    let why = "it may replace packages of others, so it is built after them";
                    log::info!("{}: {why}", line.name);
                    let spent = line.took;
                    queue.wait(Due { spent, ..due }, Until::AllWereTried, line);
                }
                Verdict::Final => tell(line, memory),
            }
        }
        queue.give_up().for_each(|line| tell(line, memory));
        Ok(false)
    }

    /// Says, and removes, what no entry makes any more, and tells whoever looks at the packages what became of the entries.
    fn end(&self, summary: &mut Summary) -> Result<()> {
        let inbox = &Inbox {
            container: self.workshop.container(),
        };
        let sink = &sink(&self.home, &self.listed, self.workshop.arch, inbox);
        let is_all = self.settings.list.what.is_empty() && self.settings.shard.is_none();
        let is_whole = is_all && !self.settings.builds.dry_run;
        let prune = self.settings.prune && is_whole;
        // Once, if there are several parts.
        if self.settings.shard.is_none_or(|it| it.is_first()) {
            clear_gone(sink, &self.handover.owners, prune, summary)?;
        }
        if !self.settings.builds.dry_run {
            sink.tell(&summary.tried, is_whole, Deadline::after(PRUNING));
        }
        Ok(())
    }
}

/// What follows from how a repository's try has ended.
enum Verdict {
    /// Its line is told.
    Final,
    /// It is tried again once the builder image is up to date.
    NewImage,
    /// It is tried again when something was published.
    LacksDependencies,
    /// It is tried again when all have been tried.
    CameEarly,
}

/// All of its tries share the time limit.
fn verdict(line: &Line, timeout: Duration) -> Verdict {
    if line.needs_newer_image() {
        Verdict::NewImage
    } else if line.took >= timeout {
        Verdict::Final
    } else if line.lacks_dependencies() {
        Verdict::LacksDependencies
    } else if line.came_early() {
        Verdict::CameEarly
    } else {
        Verdict::Final
    }
}

/// Waits until other shards have published what may be lacking. Nothing is waited for that is for entries alone that weren't tried
/// in this run.
fn have_published(
    others: &mut Others,
    queue: &Queue<Due, Line>,
    sink: &Sink,
    may_go_on: impl Fn() -> Result<()>,
) -> Result<bool> {
    let lacking: Vec<&Repo> = queue.lacking().map(|it| &*it.repo).collect();
    let were_tried = queue.lacking().any(|it| it.was_tried);
    match were_tried {
        true => others.publish_for(&lacking, sink, may_go_on),
        false => Ok(false),
    }
}

fn sink<'s>(home: &'s Home, listed: &'s Listed, arch: &'s Arch, inbox: &'s Inbox<'s>) -> Sink<'s> {
    Sink {
        home,
        arch,
        inbox,
        listed,
    }
}

/// Names the packages that no entry of the list makes any more, and removes them if that was asked for and all went well.
fn clear_gone(sink: &Sink, owners: &Owners, prune: bool, summary: &mut Summary) -> Result<()> {
    let gone = sink.home.gone(sink.arch, sink.listed, owners)?;
    let prune = prune && summary.is_well();
    for gone in gone.chunk_by(|one, next| one.repo == next.repo) {
        let mut outcome: fn() -> Outcome = || Outcome::Gone;
        if let (true, Some(Gone { repo, .. })) = (prune, gone.first()) {
            sink.remove(repo, gone, Deadline::after(PRUNING))?;
            outcome = || Outcome::Removed;
        }
        gone.iter().for_each(|it| summary.add(it.line(outcome())));
    }
    Ok(())
}
