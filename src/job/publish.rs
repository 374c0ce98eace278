//! The step `publish`: what makepkg made is carried out, looked at, and sent. Either all of it may be, or nothing is.

use super::{Job, TIDYING};
use crate::archive::Archive;
use crate::error::{Error, Kind, Result};
use crate::http::Deadline;
use crate::inbox::{Inbox, called};
use crate::pkgbuild::Pkgbuild;
use crate::report::{Failure, Outcome, Step, at};
use crate::tar::Member;
use crate::text::one_line;
use crate::words::PackageName;

impl Job<'_, '_> {
    /// Publishes the archives that are missing, or all if it was told so.
    pub fn publish(&mut self, pkgbuild: &Pkgbuild) -> Result<Outcome, Failure> {
        let inbox = self.builds.inbox;
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
        let repo = &self.task.repo.publish_to;
        let mut outcome = Outcome::UpToDate;
        for (place, (archive, member)) in archives.iter().zip(&members).enumerate() {
            let Archive { name, version, .. } = archive;
            if !self.builds.settings.force && self.has(&format!("{name}-{version}"))? {
                log::info!("{name} {version} is published already");
                continue;
            }
            log::info!(
                "publishing {name} {version} ({} bytes) to {repo}",
                member.size
            );
            let mut bytes = inbox.open(place, self.by)?;
            self.builds
                .sink
                .publish(repo, &mut bytes, member.size, self.by)?;
            self.handover.published = self.handover.published.saturating_add(1);
            outcome = Outcome::Built;
        }
        Ok(outcome)
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
            let archive = Archive::check(&listed.pkginfo, pkgbuild, self.builds.arch);
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
                return bad(name, format!("that belongs to {}", owner.name));
            }
        }
        let replaced = &self.builds.settings.replace;
        let official = inbox.official(&repo.publish_to, names, self.by)?;
        if let Some(name) = official.into_iter().find(|name| !replaced.contains(name)) {
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
