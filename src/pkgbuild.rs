//! What a PKGBUILD says: its names, its version, its dependencies. It is bash, so only a bash can read it, and
//! that bash runs in the build container, as the build user.

use crate::error::Error;
use crate::output::one_line;

/// Reads makepkg.conf and the PKGBUILD of the working directory as makepkg does, and prints what [`parse`]
/// takes, each field ended by a NUL. What the PKGBUILD itself prints goes to the standard error.
pub const READ: &str = r#"
for conf in /etc/makepkg.conf /etc/makepkg.conf.d/*.conf; do
    [[ ! -r $conf ]] || source "$conf" >&2
done
cd -P . && [[ $PWD/ == /build/repo/* ]] || { echo 'the path leads out of the repository' >&2; exit 1; }
[[ -f PKGBUILD ]] || { echo 'there is no PKGBUILD' >&2; exit 1; }
startdir=$PWD
source ./PKGBUILD >&2 || exit 1
declare -F pkgver >/dev/null && has_pkgver=yes || has_pkgver=
printf '%s\0' "$has_pkgver" "${pkgbase:-${pkgname[0]}}" "$epoch" "$pkgver" "$pkgrel" \
    "${#pkgname[@]}" "${pkgname[@]}" "${#validpgpkeys[@]}" "${validpgpkeys[@]}"
for _list in {depends,makedepends,checkdepends}{,_"$CARCH"}; do
    _list+=[@]; printf '%s\0' "${!_list}"
done
"#;

/// The most packages and keys that a PKGBUILD may name: each is a request to a server.
const MAX_NAMES: usize = 500;

/// The names and the version of a PKGBUILD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkgbuild {
    pub pkgbase: String,
    /// The packages that it makes: one, or more if it is a split package.
    pub names: Vec<String>,
    /// `[epoch:]pkgver-pkgrel`
    pub version: String,
    /// Whether it has a `pkgver()` function, so that its version is known only after a look at the sources.
    pub has_pkgver: bool,
    /// The fingerprints that its sources may be signed with (`validpgpkeys`).
    pub keys: Vec<String>,
    /// What has to be installed before the build: depends, makedepends, checkdepends, and their forms for the
    /// architecture.
    pub dependencies: Vec<String>,
}

/// Takes what [`READ`] prints.
///
/// # Errors
/// Missing fields, and names or versions that are none.
pub fn parse(printed: &[u8]) -> Result<Pkgbuild, Error> {
    let bad = |what: &str, why| {
        let what = format!("reading the PKGBUILD: {:?}", one_line(what, 100));
        Err(Error::unusable(what, why))
    };
    let text = String::from_utf8_lossy(printed);
    let fields: Vec<&str> = text.strip_suffix('\0').unwrap_or("").split('\0').collect();
    let [has_pkgver, pkgbase, epoch, pkgver, pkgrel, rest @ ..] = fields.as_slice() else {
        return bad(&text, "it ended before it was read to its end");
    };
    // As many as the number before them says.
    let mut rest = rest.iter().copied();
    let mut list = || {
        let count = rest.next()?.parse().ok()?;
        let list: Vec<&str> = rest.by_ref().take(count).collect();
        Some(list).filter(|it| it.len() == count)
    };
    let (Some(names), Some(mut keys)) = (list(), list()) else {
        return bad(pkgbase, "is cut short");
    };
    if names.is_empty() || names.len() + keys.len() > MAX_NAMES {
        return bad(pkgbase, "has no pkgname, or too many");
    }
    // What is no fingerprint is for makepkg to complain of.
    keys.retain(|key| !key.is_empty() && key.bytes().all(|it| it.is_ascii_hexdigit()));
    let mut dependencies: Vec<&str> = rest.filter(|it| !it.is_empty()).collect();
    dependencies.sort_unstable();
    dependencies.dedup();
    let odd = |it: &&&str| !is_package_name(it);
    if let Some(name) = names.iter().chain([pkgbase]).find(odd) {
        return bad(name, "is not a package name");
    }
    let version = match *epoch {
        "" | "0" => format!("{pkgver}-{pkgrel}"),
        epoch => format!("{epoch}:{pkgver}-{pkgrel}"),
    };
    if pkgver.is_empty() || pkgrel.is_empty() || !is_version(&version) {
        return bad(&version, "is not a version");
    }
    let owned = |all: Vec<&str>| all.into_iter().map(str::to_owned).collect();
    Ok(Pkgbuild {
        pkgbase: (*pkgbase).to_owned(),
        names: owned(names),
        version,
        has_pkgver: !has_pkgver.is_empty(),
        keys: owned(keys),
        dependencies: owned(dependencies),
    })
}

/// Name and version of a package archive, from its `.PKGINFO` (what it is called doesn't count).
///
/// # Errors
/// A missing or impossible name or version.
pub fn parse_pkginfo(pkginfo: &str) -> Result<(String, String), Error> {
    let pairs = || pkginfo.lines().filter_map(|line| line.split_once(" = "));
    let value = |key| pairs().find(|it| it.0 == key).map_or("", |it| it.1);
    let (name, version) = (value("pkgname"), value("pkgver"));
    if !is_package_name(name) || !is_version(version) {
        let what = "reading the .PKGINFO of a package archive";
        return Err(Error::unusable(what, "it has no pkgname and pkgver"));
    }
    Ok((name.to_owned(), version.to_owned()))
}

/// What makepkg allows in a package's name (and pacman in a repository's): ASCII letters, digits and `@._+-`, not
/// starting with `-` or `.`, which a command or a path would take for something else.
pub fn is_package_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
    !name.is_empty() && !name.starts_with(['-', '.']) && name.bytes().all(is_allowed)
}

fn is_version(version: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    (1..=256).contains(&version.len()) && version.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_version_are_read() {
        let plain = parse(b"\0foo\0\x001.0\x001\x001\0foo\x000\0").unwrap();
        assert_eq!(
            (plain.pkgbase.as_str(), plain.version.as_str()),
            ("foo", "1.0-1")
        );
        assert!(!plain.has_pkgver);
        let split = [
            "yes",
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
            "b>=1",
            "a",
            "",
            "b>=1",
            "",
        ];
        let split = parse(split.map(|it| format!("{it}\0")).concat().as_bytes()).unwrap();
        assert_eq!(split.version, "2:1.0-1.1");
        assert_eq!(split.names, ["lib++", "lib-docs"]);
        assert!(split.has_pkgver);
        assert_eq!(split.keys, ["ABCDEF01"]);
        assert_eq!(split.dependencies, ["a", "b>=1"]);
        assert_eq!(
            parse(b"\0foo\x000\x001.0\x001\x001\0foo\x000\0")
                .unwrap()
                .version,
            "1.0-1"
        );
    }

    #[test]
    fn nothing_that_a_pkgbuild_prints_is_taken_on_trust() {
        for printed in [
            &b""[..],
            b"\0",
            b"\0foo\0\x001.0\x001\x000\x000\0",
            b"\0foo\0\x001.0\x001\x002\0foo\x000\0",
            b"\0foo\0\x001.0\x001\x0099999999999999999999\0foo\x000\0",
            b"\0foo\0\x001.0\x001\x00-1\0foo\x000\0",
            b"\0foo\0\x001.0\x001\x001\0foo\x000",
            b"\0foo\0\x001.0\x001\x001\0foo\0",
            b"\0foo\0\x001.0\x001\x001\0foo\x001\0",
            b"\0\0\x001.0\x001\x001\0\x000\0",
            b"\0foo\0\0\x001\x001\0foo\x000\0",
            b"\0foo\0\x001.0\0\x001\0foo\x000\0",
            b"\0foo\0\x001/0\x001\x001\0foo\x000\0",
            b"\0foo\0\x001 0\x001\x001\0foo\x000\0",
            b"\0foo\0\x001.0\x001\x001\0../foo\x000\0",
            b"\0foo\0\x001.0\x001\x001\0-foo\x000\0",
            b"\0foo\0\x001.0\x001\x001\0f\xffo\x000\0",
        ] {
            assert!(
                parse(printed).is_err(),
                "{}",
                String::from_utf8_lossy(printed)
            );
        }
    }

    #[test]
    fn a_pkginfo_tells_name_and_version() {
        let info = "# Generated by makepkg\npkgname = foo\npkgbase = bar\npkgver = 1:2.0-1\n";
        assert_eq!(
            parse_pkginfo(info).unwrap(),
            ("foo".to_owned(), "1:2.0-1".to_owned())
        );
        assert!(parse_pkginfo("").is_err());
        assert!(parse_pkginfo("pkgname = a/b\npkgver = 1-1\n").is_err());
    }
}
