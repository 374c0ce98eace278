//! One run, as a story: the list, the lock, what killed runs left, the builder image, the repositories, the end.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::approvals::{self, Approvals, NOT_APPROVED};
use crate::docker::types::ContainerSummary;
use crate::docker::{Engine, Host};
use crate::error::{Kind, Result};
use crate::home::{Gone, Home, Sink};
use crate::http::Deadline;
use crate::image::Builder;
use crate::inbox::Inbox;
use crate::job::{self, Builds, Handover, Task};
use crate::known::{Glance, Known};
use crate::list::{self, Entry, List, Repo};
use crate::lock::{self, Lock};
use crate::look::Looker;
use crate::memory::Memory;
use crate::others::Others;
use crate::owners::{Key, Listed, Owners};
use crate::queue::{Queue, Until};
use crate::report::{Line, Outcome, Step, Summary, at};
use crate::sandbox::Sandbox;
use crate::shard::Shard;
use crate::sweep::{self, Whose, sweep, sweep_images};
use crate::words::{Arch, RunId};
use crate::workshop::Workshop;
use crate::{image, sandbox, screen};

/// How long it may take to remove packages of one repository that have gone from the list, or to say what couldn't be built.
const PRUNING: Duration = Duration::from_secs(600);

/// What a run needs to know, but for where packages go.
pub struct Settings {
    /// Where the engine may be: the first that answers is used.
    pub engines: Vec<Host>,
    /// What is built.
    pub list: list::Settings,
    /// What it is built for; `None` for the engine's own architecture.
    pub arch: Option<Arch>,
    /// How containers are made.
    pub sandbox: sandbox::Settings,
    /// What the builder image is made of.
    pub image: image::Settings,
    /// How repositories are built.
    pub builds: job::Settings,
    /// Whether packages are removed that no entry of the list makes any more.
    pub prune: bool,
    /// What is remembered from run to run; nothing is without.
    pub state: Option<PathBuf>,
    /// The part of the list that is built; all of it without.
    pub shard: Option<Shard>,
    /// Which commits may be built; all may without.
    pub approvals: Option<approvals::Settings>,
}

impl Settings {
    /// The architecture that is built for.
    ///
    /// # Errors
    /// Those of the engine, if it has to be asked.
    pub fn arch(&self, engine: &Engine) -> Result<Arch> {
        match &self.arch {
            Some(arch) => Ok(arch.clone()),
            None => engine.architecture(),
        }
    }
}

/// Builds what is on the list for this architecture, or what is chosen of it. Each line is told as soon as it is final.
///
/// # Errors
/// What keeps the run from being done. A repository that fails is in the summary instead.
pub fn run(settings: &Settings, mut home: Home, summary: &mut Summary) -> Result<()> {
    let engine = Engine::find(&settings.engines)?;
    log::info!("using {}", engine.name());
    let arch = settings.arch(&engine)?;
    let mut queue: Queue<Due, Line> = Queue::empty();
    // Also if a list of ours takes its place: the first request says whether the key is right, and who vouches for the server.
    let servers = home.list(&arch)?;
    let (entries, listed) = entries(&settings.list, servers, &arch)?;
    let entries = part(entries, settings.shard);
    let approvals = settings
        .approvals
        .clone()
        .map(Approvals::open)
        .transpose()?;
    for entry in entries {
        match entry {
            Entry::Repo(repo)
                if approvals
                    .as_ref()
                    .is_some_and(|it| it.find(&repo).is_none()) =>
            {
                summary.add(Line::held(&repo, NOT_APPROVED.to_owned()));
            }
            Entry::Repo(repo) => queue.add(Due {
                repo,
                spent: Duration::ZERO,
                // What somebody has named is what is wanted now.
                has_to_wait: settings.list.what.is_empty() && !settings.builds.force,
            }),
            Entry::Unusable { name, error } => {
                let outcome = Outcome::Failed(at(Step::List)(*error));
                summary.add(Line::untouched(name, outcome));
            }
        }
    }
    if queue.is_empty() {
        match settings.shard {
            Some(shard) => log::info!("nothing on the list falls to shard {shard}"),
            None if summary.has_lines() => (),
            None => log::info!("the list has no repositories for {arch}"),
        }
        let gone = home.gone(&arch, &listed, &Owners::default())?;
        gone.iter()
            .for_each(|it| summary.add(it.line(Outcome::Gone)));
        return Ok(());
    }
    log::info!("repositories for {arch}: {}", queue.len());

    hold(settings, &engine, &arch, |run, workshop, memory| {
        let mut night = Night {
            run,
            settings,
            home,
            listed,
            workshop,
            memory,
            approvals,
            looker: Looker::default(),
            queue,
            handover: Handover::default(),
        };
        let ended = night.build(summary);
        if !settings.builds.dry_run {
            night.memory.save();
        }
        let queue = std::mem::replace(&mut night.queue, Queue::empty());
        // Its containers go before what is left is told.
        drop(night);
        for Due { repo, .. } in queue.into_items() {
            summary.add(Line::untouched(repo.name(), Outcome::NotBuilt(None)));
        }
        ended
    })
}

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
    lock::refuse_if_still_held(engine, settings.shard)?;
    let sandbox = &Sandbox::new(engine, RunId::of_now(), &settings.sandbox, settings.shard);
    let memory = Memory::open(settings.state.clone(), arch);
    let (lock, builder, base) = take_lock(sandbox, &settings.image, &memory)?;
    let run = Run { sandbox, lock };
    let workshop = Workshop {
        sandbox,
        settings: &settings.image,
        arch,
        lock: &run.lock.container,
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
) -> Result<(Lock<'e>, Option<Builder>, String)> {
    if let Some(kept) = image::kept(sandbox.engine, settings, |made| memory.refreshed(made)) {
        match Lock::take(sandbox, &kept.image) {
            Ok(lock) => {
                let base = kept.base.clone();
                return Ok((lock, Some(kept), base));
            }
            Err(error) if error.kind == Kind::Busy => return Err(error),
            Err(error) => log::warn!("{}: {error}; it is made anew", kept.image),
        }
    }
    let base = image::pull(sandbox.engine, &settings.base)?;
    Ok((Lock::take(sandbox, &settings.base)?, None, base))
}

/// The entries that are chosen, and what is on the list: it isn't known if there is none, or if some of it can't be used.
pub fn entries(
    settings: &list::Settings,
    servers: Option<List>,
    arch: &Arch,
) -> Result<(Vec<Entry>, Listed)> {
    let list = settings.in_place_of(servers, arch)?;
    let listed = list.as_ref().map(|it| Listed::of(&it.entries));
    let list = list.unwrap_or_default();
    if let Some((count, others)) = list.is_for_others() {
        log::warn!("none of the list's {count} repositories is for {arch}, but for {others}");
    }
    Ok((list.choose(settings, arch)?, listed.unwrap_or_default()))
}

/// The entries that fall to a shard, or all. What can't be used is told by the first one.
fn part(mut entries: Vec<Entry>, shard: Option<Shard>) -> Vec<Entry> {
    let Some(shard) = shard else {
        return entries;
    };
    let all = entries.len();
    entries.retain(|entry| match entry {
        Entry::Repo(repo) => shard.has(&Key::of(repo)),
        Entry::Unusable { .. } => shard.is_first(),
    });
    log::info!(
        "shard {shard}: {} of the list's {all} entries",
        entries.len()
    );
    entries
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

/// A repository that is to be built.
struct Due {
    repo: Rc<Repo>,
    /// How long it was tried already.
    spent: Duration,
    /// Whether it waits if it failed not long ago.
    has_to_wait: bool,
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
    lock: Lock<'e>,
}

impl Run<'_> {
    /// Begins with an engine that has nothing of killed runs on it, and keeps to its limits.
    ///
    /// # Errors
    /// A limit that doesn't hold; those of the engine.
    pub fn begin(&self) -> Result<()> {
        let soon = || Deadline::after(image::PREPARATION);
        let lock = &self.lock.container;
        self.sandbox.check_limits(lock, soon())?;
        let Sandbox { engine, shard, .. } = self.sandbox;
        // Who else is on has to be known.
        let containers = engine.labelled_containers()?;
        self.lock.must_be_alone(engine, *shard, &containers)?;
        let in_use = self.sweep(containers, Whose::Everybodys);
        sweep_images(self.sandbox.engine, &in_use);
        // Before the image is made of that container: what is lent to a build has a place then, too.
        Inbox { container: lock }.empty(soon())
    }

    /// Sweeps; gives the images that are in use.
    fn sweep(&self, containers: Vec<ContainerSummary>, whose: Whose) -> Vec<String> {
        let lock = self.lock.container.id();
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
        let whose = match self.lock.is_held() {
            Ok(true) => Whose::Everybodys,
            Ok(false) | Err(_) => Whose::Own,
        };
        let in_use = self.sweep(sweep::containers(engine), whose);
        drop(self);
        sweep_images(engine, &in_use);
    }
}

/// A run that holds its engine.
struct Night<'e> {
    run: &'e Run<'e>,
    settings: &'e Settings,
    home: Home,
    listed: Listed,
    workshop: Workshop<'e>,
    memory: Memory,
    approvals: Option<Approvals>,
    looker: Looker,
    queue: Queue<Due, Line>,
    handover: Handover<'e>,
}

impl Night<'_> {
    /// Tells what is known without a container, prepares the builder image if there is more, and builds what is due.
    fn build(&mut self, summary: &mut Summary) -> Result<()> {
        self.run.begin()?;
        // Once a day in any case.
        let is_old = |it: &Builder| it.is_old;
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
        let (sandbox, settings) = (self.run.sandbox, &self.settings.builds);
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
        let shard = self.settings.shard.filter(|_| !settings.dry_run);
        let mut others = shard.map(|_| Others::new(settings.timeout));
        loop {
            let Some(due) = queue.next(handover.published) else {
                let lacking: Vec<&Repo> = queue.lacking().map(|it| &*it.repo).collect();
                let Some(others) = others.as_mut().filter(|_| !lacking.is_empty()) else {
                    break;
                };
                let is_held = || self.run.lock.must_be_held();
                if !others.publish_for(&lacking, sink, is_held)? {
                    break;
                }
                // It may be what one of them waits for.
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
            let spent = line.took;
            if let Err(error) = self.run.lock.must_be_held() {
                if let Outcome::Failed(failure) = line.outcome {
                    line.outcome = Outcome::NotBuilt(Some(failure));
                }
                tell(line, memory);
                return Err(error);
            }
            if line.needs_newer_image() {
                // The container that waits is of the old one.
                handover.waiting = None;
                queue.put_back(due);
                return Ok(true);
            }
            let before = due.spent;
            let due = Due { spent, ..due };
            if spent >= settings.timeout {
                tell(line, memory);
            } else if line.lacks_dependencies() {
                let why = "its dependencies can't be installed yet; again after the others";
                log::info!("{}: {why}", line.name);
                let due = Due {
                    has_to_wait: false,
                    // What other shards do may take any time.
                    spent: if others.is_some() { before } else { spent },
                    ..due
                };
                queue.wait(due, Until::Published(handover.published), line);
            } else if line.came_early() {
                let why = "it may replace packages of others, so it is built after them";
                log::info!("{}: {why}", line.name);
                queue.wait(due, Until::AllWereTried, line);
            } else {
                tell(line, memory);
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

fn sink<'s>(home: &'s Home, listed: &'s Listed, arch: &'s Arch, inbox: &'s Inbox<'s>) -> Sink<'s> {
    Sink {
        home,
        arch,
        inbox,
        listed,
    }
}
