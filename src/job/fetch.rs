//! The step `clone`: the repository is brought, and its PKGBUILD read; with approvals, at the approved commit.

use super::Job;
use crate::approvals::{Approvals, By, NOT_APPROVED};
use crate::bring::{self, Brought, Wanted};
use crate::change::Change;
use crate::error::{Error, Kind, Result};
use crate::list::{Repo, RepoKind};
use crate::pkgbuild::{self, Pkgbuild};
use crate::report::{Failure, Step, ToReview, at};
use crate::sandbox::{DEEPEN, READ};
use crate::update::Update;
use crate::words::Commit;

impl Job<'_, '_> {
    /// Clones the repository, or downloads the PKGBUILD that stands for one, and reads the PKGBUILD: both in one exec.
    /// Meanwhile the container for the next repository is started, which takes the engine about as long.
    pub fn fetch(&mut self) -> Result<Pkgbuild, Failure> {
        let approvals = self.task.known.approvals.as_ref();
        let approved = approvals.and_then(|it| it.find(self.task.repo));
        let wanted = match (approvals, &approved) {
            (None, _) => Wanted::Tip,
            (Some(_), None) => return Err(held(NOT_APPROVED)),
            (Some(approvals), _) if approvals.settings.updates => Wanted::Decide,
            (Some(_), _) => Wanted::Approved,
        };
        let known = self.known_to_review(approved.as_ref());
        let counted = known.as_ref().and_then(|it| it.tip.as_ref());
        let (container, repo, by) = (&self.container, self.task.repo, self.by);
        let begin = |wanted, approved: Option<&Commit>, counted: Option<&Commit>| {
            let begun = bring::begin(container, repo, wanted, approved, counted, by);
            begun.map_err(at(Step::Clone))
        };
        let mut exec = begin(wanted, approved.as_ref(), counted)?;
        if !self.task.is_last {
            // If it can't be, that is said when it is needed.
            let started = self.builds.new_container(self.by);
            let started = started.inspect_err(|error| log::debug!("{error}"));
            self.handover.waiting = started.ok();
        }
        let mut brought = Brought::read(&mut exec).map_err(at(Step::Clone))?;
        if let (Some(approvals), Some(approved)) = (approvals, &approved) {
            if brought.commit.is_none() {
                return Err(held(&is_gone(repo, approved)));
            }
            if brought.tip != brought.commit {
                let mut to_review = brought.to_review(approved, known.clone());
                let mut chosen = approved.clone();
                if wanted == Wanted::Decide {
                    exec.rest().map_err(at(Step::Clone))?;
                    if let Some(tip) = &brought.tip {
                        let is_update = self.approve_update(approvals, approved, tip);
                        to_review.is_judged = is_update.is_some();
                        if is_update == Some(true) {
                            chosen = tip.clone();
                            approvals.note_update(repo);
                        }
                    }
                    exec = begin(Wanted::Approved, Some(&chosen), to_review.tip.as_ref())?;
                    brought = Brought::read(&mut exec).map_err(at(Step::Clone))?;
                    if to_review.tip.is_none() {
                        let why = "its newest commit isn't one that git makes, so no update";
                        log::warn!("{}: {why}", repo.name());
                        to_review.tip.clone_from(&brought.tip);
                        to_review.is_judged = true;
                    }
                }
                self.line.facts.to_review = (chosen == *approved).then_some(to_review);
            }
        }
        self.line.facts.is_update = approvals.is_some_and(|it| it.was_updated(repo));
        self.line.facts.commit = brought.commit.filter(|_| repo.kind == RepoKind::Git);
        exec.goes_on_to(READ.doing);
        let printed = exec.rest().map_err(at(Step::Version))?;
        pkgbuild::parse(printed.as_bytes()).map_err(at(Step::Version))
    }

    /// What is known to come after the approved commit, if it was counted: what couldn't be may be by now.
    fn known_to_review(&self, approved: Option<&Commit>) -> Option<ToReview> {
        let known = self.task.known;
        let seen = &known.memory.find(self.task.repo)?;
        let to_review = known.to_review(seen, approved?);
        let may_be_believed = |it: &&ToReview| it.count.is_some() && seen.is_recent();
        to_review.filter(may_be_believed).cloned()
    }

    /// Approves the newest commit if what leads to it is an update, and nothing else. Tells whether it has, or would have in a dry
    /// run; `None` if it can't be judged, or written, this time: then it isn't approved.
    fn approve_update(
        &self,
        approvals: &Approvals,
        approved: &Commit,
        tip: &Commit,
    ) -> Option<bool> {
        let (repo, url) = (self.task.repo, self.task.repo.name());
        if repo.kind == RepoKind::Pkgbuild {
            return Some(false);
        }
        let change = Change::between(&self.container, repo, Some(approved), tip, self.by);
        let change = change.inspect_err(|error| log::warn!("{url}: {error}"));
        let Some(Update { from, to }) = change.ok()?.as_update() else {
            return Some(false);
        };
        if self.builds.settings.dry_run {
            log::info!("{url}: would be approved as an update: {from} to {to}, commit {tip}");
            return Some(true);
        }
        let written = approvals.approve(repo, tip, Some(&to), By::Update);
        match written {
            Ok(()) => log::info!("{url}: approved as an update: {from} to {to}, commit {tip}"),
            Err(ref error) => log::error!("{error}"),
        }
        written.is_ok().then_some(true)
    }

    /// Reads the PKGBUILD once more: makepkg writes into it what `pkgver()` has found.
    pub fn read_pkgbuild(&self) -> Result<Pkgbuild> {
        let printed = self.container.read(&self.in_dir(READ.with([])), self.by)?;
        pkgbuild::parse(printed.as_bytes())
    }

    /// Brings the history of the clone, which a `pkgver()` may count.
    pub fn deepen(&self) -> Result<(), Failure> {
        if self.task.repo.kind == RepoKind::Pkgbuild {
            return Ok(());
        }
        let deepened = self.container.run(&self.in_dir(DEEPEN.with([])), self.by);
        deepened.map_err(at(Step::Clone))
    }
}

fn held(why: &str) -> Failure {
    at(Step::Clone)(Error::new(Kind::Held, why))
}

/// Why an approved commit can't be built.
fn is_gone(repo: &Repo, approved: &Commit) -> String {
    match repo.kind {
        RepoKind::Git => format!("the approved commit {approved} is gone from its repository"),
        RepoKind::Pkgbuild => "what is at its URL is another file than the approved one".to_owned(),
    }
}
