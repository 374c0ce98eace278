//! What a PKGBUILD says: its names, its version, its dependencies. It is bash, so only a bash can read it, and
//! that bash runs in the build container, as the build user (`scripts/read.sh`). Here is what it prints.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::text::one_line;
use crate::words::{PackageName, Version};

/// The most packages and keys that a PKGBUILD may name: each is a request to a server.
const MAX_NAMES: usize = 500;

/// What a PKGBUILD says.
pub struct Pkgbuild {
    /// What the packages are called together: the name of the only one, as a rule.
    pub pkgbase: PackageName,
    /// The packages that it makes: one, or more if it is a split package.
    pub names: Vec<PackageName>,
    epoch: String,
    pkgver: String,
    pkgrel: String,
    /// Whether it has a `pkgver()` function, so that its version is known only after a look at the sources.
    pub has_pkgver: bool,
    /// Whether its text says something of `replaces`. Its packages may have them even if it doesn't.
    pub may_replace: bool,
    /// The fingerprints that its sources may be signed with (`validpgpkeys`).
    pub keys: Vec<String>,
    /// Where its sources come from, if there is a `pkgver()`: `source`, and its form for the architecture.
    pub sources: Vec<String>,
    /// What has to be installed before the build: depends, makedepends, checkdepends, and their forms for the
    /// architecture.
    pub dependencies: Vec<String>,
}

impl Pkgbuild {
    /// The version of its packages.
    ///
    /// # Errors
    /// Epoch, pkgver and pkgrel make none. Before `pkgver()` was run that may well be.
    pub fn version(&self) -> Result<Version> {
        Version::new(&self.epoch, &self.pkgver, &self.pkgrel).map_err(unreadable)
    }
}

/// Takes what `scripts/read.sh` prints.
///
/// # Errors
/// Missing fields, and names that are none.
pub fn parse(printed: &[u8]) -> Result<Pkgbuild> {
    let bad = |what: &str, why: &str| unreadable(format!("{:?} {why}", one_line(what, 100)));
    let text = String::from_utf8_lossy(printed);
    let mut fields = text.strip_suffix('\0').unwrap_or("").split('\0');
    let head: Vec<&str> = fields.by_ref().take(6).collect();
    let &[has_pkgver, may_replace, pkgbase, epoch, pkgver, pkgrel] = head.as_slice() else {
        return Err(bad(&text, "ended before it was read to its end"));
    };
    let mut list = || take_list(&mut fields).ok_or_else(|| bad(pkgbase, "is cut short"));
    let (names, mut keys, sources) = (list()?, list()?, list()?);
    if names.is_empty() || names.len().saturating_add(keys.len()) > MAX_NAMES {
        return Err(bad(pkgbase, "has no pkgname, or too many"));
    }
    // What is no fingerprint is for makepkg to complain of.
    keys.retain(|key| !key.is_empty() && key.bytes().all(|it| it.is_ascii_hexdigit()));
    let dependencies: BTreeSet<&str> = fields.filter(|it| !it.is_empty()).collect();
    let names: Result<Vec<PackageName>> = names.into_iter().map(str::parse).collect();
    Ok(Pkgbuild {
        pkgbase: pkgbase.parse().map_err(unreadable::<Error>)?,
        names: names.map_err(unreadable)?,
        epoch: epoch.to_owned(),
        pkgver: pkgver.to_owned(),
        pkgrel: pkgrel.to_owned(),
        has_pkgver: !has_pkgver.is_empty(),
        may_replace: !may_replace.is_empty(),
        keys: keys.into_iter().map(str::to_owned).collect(),
        sources: sources.into_iter().map(str::to_owned).collect(),
        dependencies: dependencies.into_iter().map(str::to_owned).collect(),
    })
}

/// As many of the next fields as the first of them says.
fn take_list<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Vec<&'a str>> {
    let count: usize = fields.next()?.parse().ok()?;
    let list: Vec<&str> = fields.by_ref().take(count).collect();
    (list.len() == count).then_some(list)
}

fn unreadable<E: std::fmt::Display>(why: E) -> Error {
    Error::unusable("reading the PKGBUILD", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(pkgbuild: &Pkgbuild) -> String {
        pkgbuild.version().unwrap().to_string()
    }

    #[test]
    fn names_and_version_are_read() {
        let plain = parse(b"\0\0foo\0\x001.0\x001\x001\0foo\x000\x000\0").unwrap();
        assert_eq!(
            (plain.pkgbase.as_str(), version(&plain).as_str()),
            ("foo", "1.0-1")
        );
        assert!(!plain.has_pkgver);
        let split = [
            "yes",
            "",
            "base",
            "2",
            "1.0",
            "1.1",
            "2",
            "lib++",
            "lib-docs",
            "3",
            "ABCDEF01",
            "",
            "--recv-keys",
            "1",
            "git+https://a/b",
            "b>=1",
            "a",
            "",
            "b>=1",
            "",
        ];
        let split = parse(split.map(|it| format!("{it}\0")).concat().as_bytes()).unwrap();
        assert_eq!(version(&split), "2:1.0-1.1");
        assert_eq!(
            split
                .names
                .iter()
                .map(PackageName::as_str)
                .collect::<Vec<_>>(),
            ["lib++", "lib-docs"]
        );
        assert!(split.has_pkgver);
        assert_eq!(split.keys, ["ABCDEF01"]);
        assert_eq!(split.sources, ["git+https://a/b"]);
        assert_eq!(split.dependencies, ["a", "b>=1"]);
        let without_epoch = parse(b"\0\0foo\x000\x001.0\x001\x001\0foo\x000\x000\0").unwrap();
        assert_eq!(version(&without_epoch), "1.0-1");
    }

    #[test]
    fn nothing_that_a_pkgbuild_prints_is_taken_on_trust() {
        for printed in [
            &b""[..],
            b"\0",
            b"\0\0foo\0\x001.0\x001\x000\x000\x000\0",
            b"\0\0foo\0\x001.0\x001\x002\0foo\x000\x000\0",
            b"\0\0foo\0\x001.0\x001\x0099999999999999999999\0foo\x000\x000\0",
            b"\0\0foo\0\x001.0\x001\x00-1\0foo\x000\x000\0",
            b"\0\0foo\0\x001.0\x001\x001\0foo\x000\x000",
            b"\0\0foo\0\x001.0\x001\x001\0foo\0",
            b"\0\0foo\0\x001.0\x001\x001\0foo\x001\0",
            b"\0\0foo\0\x001.0\x001\x001\0foo\x000\x002\0a\0",
            b"\0\0foo\0\x001.0\x001\x001\0foo\x000\0",
            b"\0\0\0\x001.0\x001\x001\0\x000\x000\0",
            b"\0\0foo\0\0\x001\x001\0foo\x000\x000\0",
            b"\0\0foo\0\x001.0\0\x001\0foo\x000\x000\0",
            b"\0\0foo\0\x001/0\x001\x001\0foo\x000\x000\0",
            b"\0\0foo\0\x001 0\x001\x001\0foo\x000\x000\0",
            b"\0\0foo\0\x001.0\x001\x001\0../foo\x000\x000\0",
            b"\0\0foo\0\x001.0\x001\x001\0-foo\x000\x000\0",
            b"\0\0foo\0\x001.0\x001\x001\0f\xffo\x000\x000\0",
        ] {
            assert!(
                parse(printed).and_then(|it| it.version()).is_err(),
                "{}",
                String::from_utf8_lossy(printed)
            );
        }
    }
}
