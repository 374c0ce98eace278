//! The step `check`: whether the version is published already, and whether the names may be published at all. That they
//! are nobody else's is told as a failure at `version`, which finds them.

use std::time::Duration;

use super::Job;
use crate::error::{Error, Kind, Result};
use crate::owners::names_of;
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Outcome, Step, at};
use crate::text::one_line;
use crate::words::PackageName;

/// How long it may take to ask which versions are published.
const ASKING: Duration = Duration::from_secs(60);

impl Job<'_, '_> {
    /// Takes the PKGBUILD's names for this entry.
    pub fn take_names(&mut self, pkgbuild: &Pkgbuild) -> Result<(), Failure> {
        let version = pkgbuild.version().map_err(at(Step::Version))?;
        self.note_name(pkgbuild, &version);
        self.claim(pkgbuild).map_err(|error| {
            // A file of the folder's that can't be read is no fault of this entry, which would wait for the next try.
            let step = match error.kind {
                Kind::Anothers => Step::Version,
                _ => Step::Check,
            };
            at(step)(error)
        })
    }

    /// Whether the PKGBUILD's version of each of its packages is published, and isn't to be published once more.
    pub fn is_up_to_date(&self, pkgbuild: &Pkgbuild) -> Result<bool, Failure> {
        if self.builds.settings.force {
            return Ok(false);
        }
        let version = pkgbuild.version().map_err(at(Step::Version))?;
        let (sink, repo) = (self.builds.sink, &self.task.repo.publish_to);
        let has = sink.has(repo, &pkgbuild.names, &version, self.by);
        has.map_err(at(Step::Check))
    }

    /// Says what would be done, and what stands in its way, as far as that is known without doing it.
    pub fn would_build(&mut self, pkgbuild: &Pkgbuild) -> Result<Outcome, Failure> {
        self.refuse_official(pkgbuild)?;
        self.could_install(pkgbuild)?;
        let (sink, repo) = (self.builds.sink, &self.task.repo.publish_to);
        // It is told, and nothing else: a build wouldn't ask for it.
        match sink.packages(repo, self.by.within(ASKING)) {
            Ok(published) => {
                let mut names = pkgbuild.names.iter();
                let found = names.find_map(|it| published.find(it));
                let version = found.map_or(String::new(), |it| one_line(&it.version, 100));
                self.line.facts.published = Some(version);
            }
            Err(error) => log::warn!("asking what is published to {repo}: {error}"),
        }
        // For those that depend on it.
        let would_be_built = &mut self.handover.would_be_built;
        would_be_built.extend(pkgbuild.names.iter().cloned());
        self.handover.published = self.handover.published.saturating_add(1);
        Ok(Outcome::WouldBuild)
    }

    /// Takes the PKGBUILD's names for this entry, in this run, if no other had them in nights before.
    fn claim(&mut self, pkgbuild: &Pkgbuild) -> Result<()> {
        let repo = self.task.repo;
        let Pkgbuild { pkgbase, names, .. } = pkgbuild;
        let all = names_of(pkgbase, names);
        let (sink, owners) = (self.builds.sink, &mut self.handover.owners);
        let memory = &self.task.known.memory;
        sink.must_not_be_anothers(repo, &all, memory, owners)?;
        owners.claim(repo, pkgbase, names)?;
        owners.note_read(repo);
        self.line.facts.names.clone_from(names);
        Ok(())
    }

    /// Refuses names of official packages, and of what they provide, unless they are to be replaced: pacman prefers the
    /// literal name in any repository to what only provides it, so what is built later would install this instead.
    pub fn refuse_official(&self, pkgbuild: &Pkgbuild) -> Result<(), Failure> {
        let mut names = pkgbuild.names.clone();
        names.push(pkgbuild.pkgbase.debug());
        let Some(name) = self.official(&names).map_err(at(Step::Check))? else {
            return Ok(());
        };
        let why = "is an official package, or one provides it";
        let advice = format!("to replace it, say --replace {name}, or VIETER_REPLACE");
        Err(at(Step::Check)(Error::unusable(name, why).advise(&advice)))
    }

    /// The first of these names that is official, and isn't to be replaced.
    pub fn official<'n>(&self, names: &'n [PackageName]) -> Result<Option<&'n PackageName>> {
        let repo = &self.task.repo.publish_to;
        let official = self.builds.sink.inbox.official(repo, names, self.by)?;
        let replaced = &self.builds.settings.replace;
        Ok(official.into_iter().find(|name| !replaced.contains(name)))
    }
}
