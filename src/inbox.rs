//! The place where archives are looked at: a folder in the workshop's container, in which no stranger's code ever ran. What
//! makepkg left is carried there as bytes, by the engine and us, and is listed, checked and sent from there, so what was
//! checked is what is sent. Not here: what an archive has to be (`archive`).

use std::io::Read;

use crate::docker::Container;
use crate::error::{Error, Kind, Result};
use crate::http::Deadline;
use crate::sandbox::{ARCHIVES, EMPTY, OFFICIAL, Script, WALK};
use crate::tar::{Bounds, Carrier, Member, Members, Own, of_files};
use crate::words::{PackageName, RepoName};

/// The folder, which root owns. A build's container has it, too, for what is lent to it.
pub const FOLDER: &str = "/vieter";

/// Where the checker puts those that are packed anew.
const PACKED: &str = "/tmp/vieter-packed";

/// Where makepkg puts archives, in a build's container.
const PKGDEST: &str = "/build/packages/.";

/// The most that is carried of a build: more archives than a PKGBUILD may name, with a signature each, and 16 GiB.
const BOUNDS: Bounds = Bounds {
    files: 2200,
    bytes: 16 << 30,
};

/// What may stand behind `.pkg.tar`: what makepkg can make (makepkg.conf(5), PKGEXT). A web server may run what has another ending. What
/// lrzip packs isn't looked into, and is refused.
const ENDINGS: [&str; 10] = [
    "", ".gz", ".bz2", ".xz", ".zst", ".lzo", ".lrz", ".lz4", ".lz", ".Z",
];

/// The folder in a container.
#[derive(Clone, Copy)]
pub struct Inbox<'a> {
    /// The workshop's: the lock's, or what has taken its place.
    pub container: &'a Container<'a>,
}

/// An archive in the inbox, and what was found in it.
#[derive(Default)]
pub struct Listed {
    /// Where it is, as it was carried, or as it was packed anew.
    pub path: String,
    /// What the build calls it.
    pub file: String,
    /// In bytes.
    pub size: u64,
    /// How it is packed: the ending that makepkg gives what is packed so.
    pub kind: String,
    /// The names in it that could be taken for its `.PKGINFO`, a line each.
    pub names: String,
    /// The text of that.
    pub pkginfo: String,
    /// The SHA-256 of its bytes, in hexadecimal digits, if that is to be told.
    pub sha256: String,
}

impl Inbox<'_> {
    /// Makes the folder anew, empty.
    ///
    /// # Errors
    /// Those of the commands.
    pub fn empty(&self, by: Deadline) -> Result<()> {
        self.container.run(&EMPTY.with([FOLDER, PACKED]), by)
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

    /// Looks into the archives that were carried. Sums them up if that is to be told, and packs them anew for those who unpack them
    /// by older programs than ours.
    ///
    /// # Errors
    /// An archive that can't be read.
    pub fn list(
        &self,
        carried: Vec<Member>,
        sums: bool,
        packs_anew: bool,
        by: Deadline,
    ) -> Result<Vec<Listed>> {
        let count = carried.len().to_string();
        let sums = if sums { "sums" } else { "" };
        let (packed, folder) = match packs_anew {
            true => (PACKED, PACKED),
            false => ("", FOLDER),
        };
        let printed = self.ask(&ARCHIVES, &[FOLDER, &count, WALK, sums, packed], by)?;
        let mut fields = printed.split_terminator('\0').map(str::to_owned);
        let no_size = |error| Error::unusable("the size of an archive", error);
        let mut listed = vec![];
        for (place, member) in carried.into_iter().enumerate() {
            let mut field = || {
                let ended = || Error::new(Kind::Lost, "the list of archives ended early");
                fields.next().ok_or_else(ended)
            };
            listed.push(Listed {
                path: format!("{folder}/{place}"),
                file: file_name(&member).to_owned(),
                kind: field()?,
                size: field()?.parse().map_err(no_size)?,
                names: field()?,
                pkginfo: field()?,
                sha256: field()?,
            });
        }
        match fields.next() {
            None => Ok(listed),
            Some(_) => Err(Error::new(Kind::Lost, "the list of archives goes on")),
        }
    }

    /// Opens an archive, or another file at this path, from its beginning; as often as it has to be. It ends only where it should.
    ///
    /// # Errors
    /// Those of the request.
    pub fn open(&self, path: &str, by: Deadline) -> Result<impl Read + use<>> {
        let mut members = Members::new(self.container.archive(path, by)?);
        let first = members.next_file();
        match first.map_err(|error| Error::unusable(format!("reading {path}"), error))? {
            Some(_) => Ok(members),
            None => Err(Error::new(
                Kind::Lost,
                format!("{path} is gone from the inbox"),
            )),
        }
    }

    /// Where something in it is.
    pub fn path(&self, name: &str) -> String {
        format!("{FOLDER}/{name}")
    }

    /// Puts what the host has into it, under these names.
    ///
    /// # Errors
    /// Those of the request and of the files.
    pub fn put(&self, files: Vec<Own>, by: Deadline) -> Result<()> {
        self.container.unpack(FOLDER, &mut of_files(files), by)
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

    /// What a script of the checker's prints. It is ended when our time is up.
    ///
    /// # Errors
    /// Those of the script.
    pub fn ask(&self, script: &Script, args: &[&str], by: Deadline) -> Result<String> {
        let seconds = by.left().as_secs().saturating_add(1).to_string();
        let mut question = script.with(args.iter().copied());
        question
            .argv
            .splice(0..0, ["timeout", "-s", "KILL", &seconds]);
        self.container.read(&question, by)
    }
}

/// Whether a file in PKGDEST is a package archive, by what it is called: flat, `.pkg.tar` and an ending that makepkg knows.
fn is_archive(member: &Member) -> bool {
    let name = file_name(member);
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '/';
    let Some((stem, ending)) = name.rsplit_once(".pkg.tar") else {
        return false;
    };
    let is_named = !stem.is_empty() && !name.starts_with('.') && !name.contains(is_odd);
    is_named && ENDINGS.contains(&ending)
}

/// What a file in PKGDEST is called: the engine says in which folder.
fn file_name(member: &Member) -> &str {
    member.name.strip_prefix("./").unwrap_or(&member.name)
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
            "a.pkg.tar.php",
            "a.pkg.tar.zst.html",
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
