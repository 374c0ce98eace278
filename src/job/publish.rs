//! The step `publish`: what makepkg made is carried out, looked at, and sent. Either all of it may be, or nothing is.

use std::time::Duration;

use super::{Job, TIDYING};
use crate::archive::Archive;
use crate::error::{Error, Kind, Result};
use crate::home::{Parcel, Source};
use crate::http::Deadline;
use crate::inbox::{Inbox, called, ending};
use crate::pkgbuild::Pkgbuild;
use crate::report::{Archived, Failure, Outcome, Step, at};
use crate::tar::Member;
use crate::text::one_line;
use crate::words::PackageName;

/// How much longer than a repository may take its publishing may.
const GRACE: Duration = Duration::from_secs(600);

impl Job<'_, '_> {
    /// Publishes the archives that are missing, or all if it was told so.
    pub fn publish(&mut self, pkgbuild: &Pkgbuild) -> Result<Outcome, Failure> {
        let inbox = self.builds.sink.inbox;
        // What is built isn't to be lost to the clock.
        self.by = self.by.plus(GRACE);
        let published = self.publish_from(inbox, pkgbuild);
        if let Err(error) = inbox.empty(Deadline::after(TIDYING)) {
            log::warn!("{error}");
        }
        published.map_err(at(Step::Publish))
    }

    fn publish_from(&mut self, inbox: &Inbox, pkgbuild: &Pkgbuild) -> Result<Outcome> {
        let members = inbox.carry(&self.container, self.by)?;
        if members.is_empty() {
            return Err(Error::unusable(
                "looking for package archives",
                "makepkg made none",
            ));
        }
        let archives = self.checked(inbox, pkgbuild, &members)?;
        let mut parcels = vec![];
        let mut places: Vec<_> = archives.iter().zip(&members).enumerate().collect();
        // What the next run looks for comes last: then all else is there, too.
        places.sort_by_key(|(_, (archive, _))| pkgbuild.names.contains(&archive.name));
        for (place, (archive, member)) in places {
            let (size, ending) = (member.size, ending(member));
            parcels.push(Parcel {
                place,
                archive,
                size,
                ending,
            });
        }
        let source = Source {
            repo: self.task.repo,
            commit: self.line.facts.commit.clone(),
            replace: &self.builds.settings.replace,
            force: self.builds.settings.force,
        };
        // Before, as what is published is built.
        let sums = match self.builds.settings.sums {
            true => inbox.sums(members.len(), self.by)?,
            false => vec![],
        };
        let (published, told) = (&mut self.handover.published, &mut self.line.facts.archives);
        let mut note = |it: &Parcel| {
            *published = published.saturating_add(1);
            told.push(Archived {
                file: it.filename(),
                size: it.size,
                sha256: sums.get(it.place).cloned().unwrap_or_default(),
            });
        };
        let sink = self.builds.sink;
        sink.publish(&source, &parcels, &mut note, self.by)?;
        let archives = &self.line.facts.archives;
        if archives.is_empty() {
            return Ok(Outcome::UpToDate);
        }
        if let Some(log) = &self.container.log {
            log.line("\n=== published");
            for Archived { file, size, sha256 } in archives {
                log.line(&format!("{sha256}  {size} bytes  {file}"));
            }
        }
        Ok(Outcome::Built)
    }

    /// The archives in the inbox, in its order, if each of them may be published.
    fn checked(
        &self,
        inbox: &Inbox,
        pkgbuild: &Pkgbuild,
        members: &[Member],
    ) -> Result<Vec<Archive>> {
        let mut archives: Vec<Archive> = vec![];
        for (listed, member) in inbox.list(members.len(), self.by)?.iter().zip(members) {
            let bad = |why: String| Error::unusable(called(member), why);
            if listed.names != ".PKGINFO" {
                let names = one_line(&listed.names, 100);
                return Err(bad(format!("it has not one .PKGINFO, but: {names}")));
            }
            let archive = Archive::check(&listed.pkginfo, pkgbuild, self.builds.sink.arch);
            let archive = archive.map_err(|error| bad(error.to_string()))?;
            if archives.iter().any(|other| other.name == archive.name) {
                return Err(bad(format!("there are two archives of {}", archive.name)));
            }
            self.may_replace(inbox, pkgbuild, &archive.replaces)
                .map_err(|error| error.during(called(member)))?;
            archives.push(archive);
        }
        Ok(archives)
    }

    /// Refuses to replace what another entry has, in this run or in the repository: on each machine that has that,
    /// pacman would remove it and install this instead.
    fn may_replace(&self, inbox: &Inbox, pkgbuild: &Pkgbuild, names: &[PackageName]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        if self.task.others_are_unknown {
            let why = "it replaces packages, and not all entries of the list have been looked at";
            return Err(Error::new(Kind::Early, why));
        }
        let repo = self.task.repo;
        let bad = |name: &PackageName, why: String| {
            Err(Error::unusable(format!("it replaces {name}"), why))
        };
        for name in names {
            if let Some(owner) = self.handover.owners.other(repo, name) {
                return bad(name, format!("that belongs to {}", owner.name()));
            }
        }
        let texts: Vec<&str> = names.iter().map(PackageName::as_str).collect();
        let others = self.builds.sink.must_not_be_anothers(repo, &texts);
        others.map_err(|error| error.during("what it replaces"))?;
        if let Some(name) = self.official(names)? {
            return bad(name, "that is official (see --replace)".to_owned());
        }
        let Some(database) = self.builds.sink.database(&repo.publish_to, self.by)? else {
            return Ok(());
        };
        for owned in inbox.owners(&database, names, self.by)? {
            if owned.pkgbase != pkgbuild.pkgbase.as_str() {
                let pkgbase = one_line(&owned.pkgbase, 100);
                return bad(
                    &owned.name.parse()?,
                    format!("that is published, and of {pkgbase}"),
                );
            }
        }
        Ok(())
    }
}
