//! The place where archives are looked at: a folder in the lock's container, in which no stranger's code ever ran. What
//! makepkg left is carried there as bytes, by the engine and us, and is listed, checked and sent from there, so what was
//! checked is what is sent. Not here: what an archive has to be (`archive`).

use std::io::{Cursor, Read};

use crate::docker::Container;
use crate::error::{Error, Kind, Result};
use crate::http::Deadline;
use crate::sandbox::{ARCHIVES, EMPTY, OFFICIAL, OWNER, Script};
use crate::tar::{Bounds, Carrier, Member, Members, of_one};
use crate::text::one_line;
use crate::words::{PackageName, RepoName};

/// The folder, which root owns.
const FOLDER: &str = "/vieter";

/// Where makepkg puts archives, in a build's container.
const PKGDEST: &str = "/build/packages/.";

/// The most that is carried of a build: more archives than a PKGBUILD may name, and 16 GiB.
const BOUNDS: Bounds = Bounds {
    files: 1100,
    bytes: 16 << 30,
};

/// The folder in a container.
pub struct Inbox<'a> {
    /// The lock's.
    pub container: &'a Container<'a>,
}

/// What an archive has for a `.PKGINFO`.
pub struct Listed {
    /// The names that could be taken for it, a line each.
    pub names: String,
    /// Its text.
    pub pkginfo: String,
}

/// A package in a repository's database.
pub struct Owned {
    /// What it is called.
    pub name: String,
    /// The pkgbase that it was made of.
    pub pkgbase: String,
}

impl Inbox<'_> {
    /// Makes the folder anew, empty.
    ///
    /// # Errors
    /// Those of the commands.
    pub fn empty(&self, by: Deadline) -> Result<()> {
        self.container.run(&EMPTY.with([FOLDER]), by)
    }

    /// Carries the archives out of a build's container: regular files alone, flat, by what they are called. Gives what
    /// they are called, in the order of their places here.
    ///
    /// # Errors
    /// Those of the requests; too many archives, or too large ones.
    pub fn carry(&self, from: &Container, by: Deadline) -> Result<Vec<Member>> {
        let mut carrier = Carrier::new(from.archive(PKGDEST, by)?, is_archive, BOUNDS);
        let carried = self.container.unpack(FOLDER, &mut carrier, by);
        carried.map_err(|error| error.during("carrying the archives out of the container"))?;
        Ok(carrier.carried)
    }

    /// Looks into so many archives.
    ///
    /// # Errors
    /// An archive that can't be read.
    pub fn list(&self, count: usize, by: Deadline) -> Result<Vec<Listed>> {
        let printed = self.ask(&ARCHIVES, &[FOLDER, &count.to_string()], by)?;
        let mut fields = printed.split_terminator('\0').map(str::to_owned);
        let mut listed = vec![];
        while let (Some(names), Some(pkginfo)) = (fields.next(), fields.next()) {
            listed.push(Listed { names, pkginfo });
        }
        match listed.len() == count {
            true => Ok(listed),
            false => Err(Error::new(Kind::Lost, "the list of archives ended early")),
        }
    }

    /// Opens the archive at this place, from its beginning; as often as it has to be. It ends only where it should.
    ///
    /// # Errors
    /// Those of the request.
    pub fn open(&self, place: usize, by: Deadline) -> Result<impl Read + use<>> {
        let mut members = Members::new(self.container.archive(&format!("{FOLDER}/{place}"), by)?);
        let first = members
            .next_file()
            .map_err(|error| Error::unusable("reading an archive", error))?;
        match first {
            Some(_) => Ok(members),
            None => Err(Error::new(Kind::Lost, "an archive is gone from the inbox")),
        }
    }

    /// Those of the names that are official: those of packages of the base image's own repositories, or of something
    /// that one of them provides.
    ///
    /// # Errors
    /// Those of the script.
    pub fn official<'n>(
        &self,
        repo: &RepoName,
        names: &'n [PackageName],
        by: Deadline,
    ) -> Result<Vec<&'n PackageName>> {
        let args: Vec<&str> = names.iter().map(PackageName::as_str).collect();
        let printed = self.ask(&OFFICIAL, &[&[repo.as_str()], &args[..]].concat(), by)?;
        let is_official = |name: &&PackageName| !printed.lines().any(|it| it == name.as_str());
        Ok(names.iter().filter(is_official).collect())
    }

    /// Of these packages, those that are in a repository's database.
    ///
    /// # Errors
    /// A database that can't be read.
    pub fn owners(
        &self,
        database: &[u8],
        names: &[PackageName],
        by: Deadline,
    ) -> Result<Vec<Owned>> {
        let mut tar = Cursor::new(of_one("database", database));
        self.container.unpack(FOLDER, &mut tar, by)?;
        let path = format!("{FOLDER}/database");
        let args: Vec<&str> = names.iter().map(PackageName::as_str).collect();
        let printed = self.ask(&OWNER, &[&[path.as_str()], &args[..]].concat(), by)?;
        let pairs = printed.lines().filter_map(|line| line.split_once(' '));
        let owned = |(name, pkgbase): (&str, &str)| Owned {
            name: name.to_owned(),
            pkgbase: pkgbase.to_owned(),
        };
        Ok(pairs.map(owned).collect())
    }

    /// What a script of the checker's prints. It is ended with us.
    fn ask(&self, script: &Script, args: &[&str], by: Deadline) -> Result<String> {
        let seconds = by.left().as_secs().saturating_add(1).to_string();
        let mut question = script.with(args.iter().copied());
        question
            .argv
            .splice(0..0, ["timeout", "-s", "KILL", &seconds]);
        let printed = self.container.read(&question, by)?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }
}

/// Whether a file in PKGDEST is a package archive, by what it is called: flat, `.pkg.tar` with at most one more ending,
/// and no signature.
fn is_archive(member: &Member) -> bool {
    let name = file_name(member);
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '/';
    let Some((stem, ending)) = name.rsplit_once(".pkg.tar") else {
        return false;
    };
    let compression = ending.strip_prefix('.').unwrap_or("none");
    let is_compression = (ending.is_empty() || ending.starts_with('.'))
        && !compression.is_empty()
        && compression.chars().all(char::is_alphanumeric);
    let is_named = !stem.is_empty() && !name.starts_with('.') && !name.contains(is_odd);
    is_named && is_compression && compression != "sig"
}

/// What a file in PKGDEST is called: the engine says in which folder.
fn file_name(member: &Member) -> &str {
    member.name.strip_prefix("./").unwrap_or(&member.name)
}

/// What messages call an archive.
pub fn called(member: &Member) -> String {
    one_line(file_name(member), 300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_known_by_its_name() {
        let is_one = |name: &str| {
            let (name, size) = (name.to_owned(), 1);
            is_archive(&Member { name, size })
        };
        for name in [
            "a-1-1-any.pkg.tar.zst",
            "./a:1.pkg.tar",
            "x.pkg.tar.pkg.tar.xz",
        ] {
            assert!(is_one(name), "{name}");
        }
        for name in [
            "a.pkg.tar.zst.sig",
            "a.pkg.tar.sig",
            ".pkg.tar.zst",
            "a.pkg.tarball",
            "a.pkg.tar.z-t",
            "a.pkg.tar.",
            "dir/a.pkg.tar.zst",
            "../a.pkg.tar.zst",
            "a b.pkg.tar",
            "a\nb.pkg.tar",
            "a.pkg",
            ".a.pkg.tar",
        ] {
            assert!(!is_one(name), "{name}");
        }
    }
}
