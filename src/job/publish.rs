//! The step `publish`: what makepkg made is carried out, looked at, and sent. Either all of it may be, or nothing is.

use std::time::Duration;

use super::{Job, TIDYING};
use crate::archive::Archive;
use crate::error::{Error, Kind, Result};
use crate::home::Source;
use crate::http::Deadline;
use crate::inbox::Listed;
use crate::pkgbuild::Pkgbuild;
use crate::report::{Archived, Failure, Outcome, Step, at};
use crate::text::one_line;
use crate::words::PackageName;

/// How much longer than a repository may take its publishing may.
const GRACE: Duration = Duration::from_secs(600);

impl Job<'_, '_> {
    /// Publishes the archives that are missing, or all if it was told so.
    pub fn publish(&mut self, pkgbuild: &Pkgbuild) -> Result<Outcome, Failure> {
        // What is built isn't to be lost to the clock.
        self.by = self.by.plus(GRACE);
        let published = self.publish_from_inbox(pkgbuild);
        if let Err(error) = self.builds.sink.inbox.empty(Deadline::after(TIDYING)) {
            log::warn!("{error}");
        }
        published.map_err(at(Step::Publish))
    }

    fn publish_from_inbox(&mut self, pkgbuild: &Pkgbuild) -> Result<Outcome> {
        let (sink, settings) = (self.builds.sink, self.builds.settings);
        let carried = sink.inbox.carry(&self.container, self.by)?;
        if carried.is_empty() {
            let what = "looking for package archives";
            return Err(Error::unusable(what, "makepkg made none"));
        }
        let packs_anew = sink.home.packs_anew();
        let listed = sink
            .inbox
            .list(carried, settings.sums, packs_anew, self.by)?;
        let mut archives = self.checked(&listed, pkgbuild)?;
        // What the next run looks for comes last: then all else is there, too.
        archives.sort_by_key(|it| pkgbuild.names.contains(&it.name));
        let source = Source {
            repo: self.task.repo,
            commit: self.line.facts.commit.clone(),
            replace: &settings.replace,
            force: settings.force,
        };
        let (published, told) = (&mut self.handover.published, &mut self.line.facts.archives);
        let mut note = |it: &Archive| {
            *published = published.saturating_add(1);
            told.push(Archived {
                file: it.filename(),
                size: it.size,
                sha256: it.sha256.clone(),
            });
        };
        let published = sink.publish(&source, &archives, &mut note, self.by);
        // Those too that went before one that failed.
        self.log_published();
        published?;
        Ok(match self.line.facts.archives.is_empty() {
            true => Outcome::UpToDate,
            false => Outcome::Built,
        })
    }

    fn log_published(&self) {
        let archives = &self.line.facts.archives;
        if let Some(log) = self.container.log.as_ref().filter(|_| !archives.is_empty()) {
            log.line("\n=== published");
            for Archived { file, size, sha256 } in archives {
                log.line(&format!("{sha256}  {size} bytes  {file}"));
            }
        }
    }

    /// The archives, if each of them may be published.
    fn checked(&self, listed: &[Listed], pkgbuild: &Pkgbuild) -> Result<Vec<Archive>> {
        let mut archives: Vec<Archive> = vec![];
        for it in listed {
            let during = |error: Error| error.during(one_line(&it.file, 300));
            let archive = Archive::check(it, pkgbuild, self.builds.sink.arch).map_err(during)?;
            if archives.iter().any(|other| other.name == archive.name) {
                let why = format!("there are two archives of {}", archive.name);
                return Err(during(Error::new(Kind::Unusable, why)));
            }
            let may_replace = self.may_replace(pkgbuild, &archive.replaces);
            may_replace.map_err(during)?;
            archives.push(archive);
        }
        Ok(archives)
    }

    /// Refuses to replace what another entry has, in this run or in the repository: on each machine that has that,
    /// pacman would remove it and install this instead.
    fn may_replace(&self, pkgbuild: &Pkgbuild, names: &[PackageName]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        if self.task.others_are_unknown {
            let why = "it replaces packages, and not all entries of the list have been looked at";
            return Err(Error::new(Kind::Early, why));
        }
        let (repo, sink) = (self.task.repo, self.builds.sink);
        let (memory, owners) = (&self.task.known.memory, &self.handover.owners);
        let others = sink.must_not_be_anothers(repo, names, memory, owners);
        others.map_err(|error| error.during("what it replaces"))?;
        let official = self.official(names)?;
        let published = sink.packages(&repo.publish_to, self.by)?;
        for name in names {
            let owner = owners.other(repo, name);
            let found = published.find(name);
            let found = found.filter(|_| !self.builds.settings.replace.contains(name));
            let other = match found {
                Some(it) if !sink.is_own(repo, it, &pkgbuild.pkgbase)? => Some(it),
                _ => None,
            };
            let why = match (owner, other) {
                (Some(owner), _) => format!("that belongs to {}", owner.name()),
                (_, Some(it)) => format!("that is published, and of {}", one_line(&it.base, 100)),
                _ if official == Some(name) => "that is official (see --replace)".to_owned(),
                _ => continue,
            };
            return Err(Error::unusable(format!("it replaces {name}"), why));
        }
        Ok(())
    }
}
