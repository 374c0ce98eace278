//! What is known of an entry without a container: that it is up to date still, as neither its commit nor those of its sources
//! have changed, and what it makes is published; or that it failed, and isn't tried again yet. Not here: how commits are asked
//! for (`look`), and what is remembered (`memory`).

use std::rc::Rc;
use std::time::Instant;

use crate::approvals::Approvals;
use crate::error::{Error, Kind, Result};
use crate::home::Sink;
use crate::http::Deadline;
use crate::list::Repo;
use crate::look::Looker;
use crate::memory::{Memory, Seen, Waiting};
use crate::owners::Owners;
use crate::report::{Facts, Failure, Line, Outcome, Step, ToReview, Waits, at};
use crate::words::Commit;

/// What knows it.
pub struct Known {
    /// Asks Git servers.
    pub looker: Looker,
    /// What was found before.
    pub memory: Memory,
    /// Which commits may be built; all if there are none of these.
    pub approvals: Option<Approvals>,
}

/// What can be said of an entry.
pub enum Glance {
    /// Its line.
    Final(Box<Line>),
    /// That it has changed, so that it is built in all likelihood.
    Changed,
}

impl Known {
    /// Says what is known of an entry, if anything is, and takes its names for it if it is up to date, or waits. What failed waits if
    /// that was with this base image; there is none for what is to be tried in any case.
    pub fn glance(
        &self,
        repo: &Rc<Repo>,
        base: Option<&str>,
        sink: &Sink,
        owners: &mut Owners,
        by: Deadline,
    ) -> Option<Glance> {
        let started = Instant::now();
        let seen = &self.memory.find(repo)?;
        // Git servers aren't asked for what a container has to look at anyway.
        let waiting = waiting(repo, seen, base, sink, by);
        let is_known = seen.is_recent() && seen.sources.is_some();
        if waiting.is_none() && !is_known {
            return None;
        }
        let tip = self.looker.commit(repo, by)?;
        let approved = self.approvals.as_ref().map(|it| it.find(repo));
        let (commit, to_review) = match approved {
            Some(Some(approved)) if approved != tip => {
                let to_review = self
                    .to_review(seen, &approved)
                    .filter(|it| it.tip.as_ref() == Some(&tip))
                    // What couldn't be counted is counted again in a day.
                    .filter(|it| it.count.is_some() || seen.is_of_today());
                (approved, Some(to_review?))
            }
            Some(None) => return None,
            _ => (tip, None),
        };
        if !self.is_unchanged(repo, seen, Some(&commit), by)? {
            return Some(Glance::Changed);
        }
        let line = |name: String, outcome| {
            let facts = Facts {
                entry: Some(repo.clone()),
                commit: seen.commit.clone(),
                pkgbase: seen.pkgbase.clone(),
                version: seen.version.clone(),
                names: seen.names.clone(),
                sources: seen.sources.clone(),
                to_review: to_review.cloned(),
                ..Facts::default()
            };
            Box::new(Line {
                name,
                url: repo.name(),
                outcome,
                took: started.elapsed(),
                facts,
            })
        };
        if let Some(waiting) = waiting {
            let (failure, waits) = told(waiting);
            let mut line = line(waits.failed.name.clone(), Outcome::Failed(failure));
            line.facts.log.clone_from(&waits.failed.log);
            line.facts.waits = Some(waits);
            keep_names(repo, seen, owners);
            return Some(Glance::Final(line));
        }
        let (pkgbase, version) = (seen.pkgbase.as_ref()?, seen.version.as_ref()?);
        let name = format!("{pkgbase} {version}");
        match is_published(repo, seen, sink, by) {
            Ok(true) => (),
            Ok(false) => return Some(Glance::Changed),
            Err(error) => {
                let failed = Outcome::Failed(at(Step::Check)(error));
                return Some(Glance::Final(line(name, failed)));
            }
        }
        owners.claim(repo, pkgbase, &seen.names).ok()?;
        Some(Glance::Final(line(name, Outcome::UpToDate)))
    }

    /// The failure of an entry's last build, if it isn't tried again yet, now that it has this commit. `base` is as in a glance.
    pub fn still_waits(
        &self,
        repo: &Repo,
        base: Option<&str>,
        commit: Option<&Commit>,
        sink: &Sink,
        by: Deadline,
    ) -> Option<(Failure, Waits)> {
        let seen = &self.memory.find(repo)?;
        let waiting = waiting(repo, seen, base, sink, by)?;
        // Sources that can't be asked are no reason to try.
        let is_changed = self.is_unchanged(repo, seen, commit, by) == Some(false);
        (!is_changed).then(|| told(waiting))
    }

    /// What came after the approved commit of an entry, as far as that is known. If updates are approved, it has to be known that it
    /// is none.
    pub fn to_review<'s>(&self, seen: &'s Seen, approved: &Commit) -> Option<&'s ToReview> {
        let approvals = self.approvals.as_ref();
        let updates = approvals.is_some_and(|it| it.settings.updates);
        let to_review = seen.to_review.as_ref();
        let is_its = |it: &&ToReview| it.approved == *approved && (it.is_judged || !updates);
        to_review.filter(is_its)
    }

    /// Whether it has the commit that it had, as have its sources; `None` if one of those can't be asked.
    fn is_unchanged(
        &self,
        repo: &Repo,
        seen: &Seen,
        commit: Option<&Commit>,
        by: Deadline,
    ) -> Option<bool> {
        let sources = seen.sources.as_deref().unwrap_or_default();
        match seen.commit.as_ref() == commit {
            true => self.looker.are_unchanged(repo, sources, by),
            false => Some(false),
        }
    }
}

/// The failure that an entry waits after with this base image, if nothing else has changed, and unless what failed is published: another
/// run, which remembers for itself, may have built it.
fn waiting<'s>(
    repo: &Repo,
    seen: &'s Seen,
    base: Option<&str>,
    sink: &Sink,
    by: Deadline,
) -> Option<&'s Waiting> {
    let base = base?;
    let waiting = seen.waiting.as_ref().filter(|it| it.holds(base))?;
    let is_published = matches!(is_published(repo, seen, sink, by), Ok(true));
    (!is_published).then_some(waiting)
}

/// What is said of a failure that isn't tried again yet.
fn told(waiting: &Waiting) -> (Failure, Waits) {
    let (failed, next) = (waiting.failed.clone(), waiting.next());
    let error = Error::new(Kind::Waits, failed.error.clone());
    let step = failed.step;
    (Failure { step, error }, Waits { failed, next })
}

/// Takes the names of an entry that waits for it: nobody else gets them meanwhile.
pub fn keep_names(repo: &Rc<Repo>, seen: &Seen, owners: &mut Owners) {
    if let Some(pkgbase) = &seen.pkgbase {
        // If another has them already, that is said when this one is tried.
        let _ = owners.claim(repo, pkgbase, &seen.names);
    }
}

/// Whether all that an entry made is published.
fn is_published(repo: &Repo, seen: &Seen, sink: &Sink, by: Deadline) -> Result<bool> {
    match &seen.version {
        Some(version) if !seen.names.is_empty() => {
            sink.has(&repo.publish_to, &seen.names, version, by)
        }
        _ => Ok(false),
    }
}
