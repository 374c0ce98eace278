//! One run, as a story: the list, the lock, what killed runs left, the builder image, the repositories, the end.

mod hold;
mod night;

use std::path::PathBuf;
use std::time::Duration;

use self::night::{Due, Night};
use crate::approvals::{self, Approvals, NOT_APPROVED};
use crate::docker::{Engine, Host};
use crate::error::{Kind, Result};
use crate::home::Home;
use crate::job::{self, Handover};
use crate::known::Known;
use crate::list::{self, Entry, List};
use crate::lock;
use crate::look::Looker;
use crate::owners::{Key, Listed, Owners};
use crate::queue::Queue;
use crate::report::{Line, Outcome, Step, Summary, at};
use crate::shard::Shard;
use crate::words::Arch;
use crate::{image, sandbox};

pub use hold::{begin, hold};

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
    // Before a pull that would be for nothing, and before the report of a run that is on is written over.
    lock::must_be_free(&engine, settings.shard)?;
    summary.begin()?;
    let arch = settings.arch(&engine)?;
    let mut queue: Queue<Due, Line> = Queue::empty();
    // Also if a list of ours takes its place: the first request says whether the key is right, and who vouches for the server.
    let servers = home.list(&arch)?;
    let Chosen { entries, listed } = choose(&settings.list, servers, &arch)?;
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
                let outcome = Outcome::Held(NOT_APPROVED.to_owned());
                summary.add_of_many(&Line::of(&repo, outcome));
            }
            Entry::Repo(repo) => queue.add(Due {
                repo,
                spent: Duration::ZERO,
                // What somebody has named is what is wanted now.
                has_to_wait: settings.list.what.is_empty() && !settings.builds.force,
            }),
            Entry::Unusable { name, error } => {
                let outcome = Outcome::Failed(at(Step::List)(*error));
                summary.add_of_many(&Line::untouched(name, outcome));
            }
        }
    }
    summary.write_report();
    if queue.is_empty() {
        match settings.shard {
            _ if summary.has_lines() => (),
            Some(shard) => log::warn!("nothing on the list falls to shard {shard}"),
            None => log::info!("the list has no repositories for {arch}"),
        }
        if settings.shard.is_none_or(|it| it.is_first()) {
            let gone = home.gone(&arch, &listed, &Owners::default())?;
            let lines = gone.iter().map(|it| it.line(Outcome::Gone));
            lines.for_each(|line| summary.add(&line));
        }
        return Ok(());
    }
    log::info!("repositories for {arch}: {}", queue.len());

    let ended = hold(settings, &engine, &arch, |workshop, memory| {
        let known = Known {
            looker: Looker::default(),
            memory,
            approvals,
        };
        let night = Night {
            settings,
            home,
            listed,
            known,
            queue: std::mem::replace(&mut queue, Queue::empty()),
            handover: Handover::default(),
            origin: String::new(),
            workshop,
        };
        night.pass(summary)
    });
    // It has ended before it could be begun.
    tell_not_built(queue, &ended, summary);
    ended
}

/// Tells what a run that has ended early hasn't come to. Of one that has found another there is nothing to tell.
fn tell_not_built(queue: Queue<Due, Line>, ended: &Result<()>, summary: &mut Summary) {
    let is_busy = matches!(ended, Err(error) if error.kind == Kind::Busy);
    if queue.is_empty() || is_busy {
        return;
    }
    for Due { repo, .. } in queue.into_items() {
        summary.add_of_many(&Line::of(&repo, Outcome::NotBuilt(None)));
    }
    summary.write_report();
}

/// What is chosen of a list.
pub struct Chosen {
    /// The entries that are built.
    pub entries: Vec<Entry>,
    /// What is on the list: it isn't known if there is none, or if some of it can't be used.
    pub listed: Listed,
}

/// Chooses from the list, which a list of ours may take the place of.
///
/// # Errors
/// A list of ours that can't be read; what is wanted, and isn't there.
pub fn choose(settings: &list::Settings, servers: Option<List>, arch: &Arch) -> Result<Chosen> {
    let list = settings.in_place_of(servers, arch)?;
    let listed = list.as_ref().map(|it| Listed::of(&it.entries));
    let list = list.unwrap_or_default();
    if let Some((count, others)) = list.is_for_others() {
        log::warn!("none of the list's {count} repositories is for {arch}, but for {others}");
    }
    Ok(Chosen {
        entries: list.choose(settings, arch)?,
        listed: listed.unwrap_or_default(),
    })
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
