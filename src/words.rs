//! The words of the field as types: what has become one of them was checked where it came in, and is believed from
//! there on. `Display` gives the one spelling that each has: an epoch of 0 is left out, say.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Kind, Result};
use crate::text::one_line;

/// Makes a type of the texts that pass a test: its name, what messages call it, and the test.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident, $called:literal, $is_one:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<$name> {
                let is_one: fn(&str) -> bool = $is_one;
                let word = is_one(text).then(|| $name(text.to_owned()));
                word.ok_or_else(|| misspelt(text, $called))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<$name> {
                text.parse()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl $name {
            /// The word as a text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )*};
}

words! {
    /// A package's name (PKGBUILD(5), `pkgname` and `pkgbase`): ASCII letters, digits and `@._+-`, not starting with `-`
    /// or `.`, which a command or a path would take for something else.
    PackageName, "a package name", is_name;

    /// A pacman repository's name: the section in pacman.conf, the database's file name, a folder on the server. What is
    /// installed is `local` to pacman, and `options` are its own settings.
    RepoName, "a name for a pacman repository", |text| is_name(text) && !["local", "options"].contains(&text);

    /// An architecture in makepkg's words (`CARCH`): `x86_64`, `aarch64`, `any`.
    Arch, "an architecture", |text| is_all(text, |it| it.is_ascii_alphanumeric() || it == b'_');

    /// A Git commit's id: 40 hexadecimal digits, or 64 in a SHA-256 repository.
    Commit, "a commit's id", |text| {
        matches!(text.len(), 40 | 64) && is_all(text, |it| it.is_ascii_hexdigit())
    };

    /// The name of a run, which no other has: the value of the label that all of its containers bear. What is
    /// read from the engine may be anybody's label, so any text is one.
    RunId, "a run", |_| true;
}

impl PackageName {
    /// What makepkg calls the package with the debug symbols of all that this pkgbase makes.
    pub fn debug(&self) -> PackageName {
        PackageName(format!("{self}-debug"))
    }
}

impl Arch {
    /// The architecture of a machine, in the words of `uname -m` or of Go.
    ///
    /// # Errors
    /// What is neither.
    pub fn of_machine(machine: &str) -> Result<Arch> {
        match machine {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "armv7l" => "armv7h",
            "armv6l" => "armv6h",
            "arm" => {
                let why = "Go's word, arm, is not enough: is it armv7h or armv6h?";
                let advice = "say so by --arch, or VIETER_ARCH";
                return Err(Error::unusable("the engine's architecture", why).advise(advice));
            }
            machine => machine,
        }
        .parse()
    }
}

impl RunId {
    /// A new one: the time, in nanoseconds.
    pub fn of_now() -> RunId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        RunId(format!("{:x}", now.map_or(0, |time| time.as_nanos())))
    }
}

/// The error that a text is which is not the word that it should be.
fn misspelt(text: &str, called: &str) -> Error {
    let text = one_line(text, 100);
    Error::new(Kind::Unusable, format!("{text:?} is not {called}"))
}

/// Whether a text consists of such bytes, and of one at least.
fn is_all(text: &str, is_allowed: fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// The longest name, in bytes: file systems know none that is longer.
const MAX_NAME: usize = 255;

fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
    let is_short = (1..=MAX_NAME).contains(&text.len());
    is_short && !text.starts_with(['-', '.']) && text.bytes().all(is_allowed)
}

/// A package's full version, `[epoch:]pkgver-pkgrel` (PKGBUILD(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Version {
    /// Digits; `None` stands for 0, which is never written.
    epoch: Option<String>,
    /// ASCII without `:`, `/`, `-` and white space.
    pkgver: String,
    /// A number, or two with a dot between them.
    pkgrel: String,
}

/// The longest part of a version, in bytes.
const MAX_PART: usize = 256;

impl Version {
    /// A version of what a PKGBUILD's three variables hold; an `epoch` of nothing is 0.
    ///
    /// # Errors
    /// What makepkg would not take for one of them; what repo-add would take for a pattern.
    pub fn new(epoch: &str, pkgver: &str, pkgrel: &str) -> Result<Version> {
        let is_number = |text: &str| is_all(text, |it| it.is_ascii_digit());
        // Neither what makepkg refuses nor what repo-add, which lets bash expand names of folders, takes for a pattern.
        let is_in_pkgver = |byte: u8| byte.is_ascii_graphic() && !b":/-*?[\\()|".contains(&byte);
        let is_version = (epoch.is_empty() || is_number(epoch))
            && is_all(pkgver, is_in_pkgver)
            && pkgrel.splitn(2, '.').all(is_number);
        let longest = epoch.len().max(pkgver.len()).max(pkgrel.len());
        if !is_version || longest > MAX_PART {
            return Err(misspelt(&format!("{epoch}:{pkgver}-{pkgrel}"), "a version"));
        }
        let is_zero = epoch.bytes().all(|digit| digit == b'0');
        Ok(Version {
            epoch: (!is_zero).then(|| epoch.to_owned()),
            pkgver: pkgver.to_owned(),
            pkgrel: pkgrel.to_owned(),
        })
    }

    /// What comes before everything else, if it isn't 0.
    pub fn epoch(&self) -> Option<&str> {
        self.epoch.as_deref()
    }

    /// What the upstream calls it, without epoch and pkgrel.
    pub fn pkgver(&self) -> &str {
        &self.pkgver
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Version> {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        match rest.split_once('-') {
            Some((pkgver, pkgrel)) if !epoch.is_empty() => Version::new(epoch, pkgver, pkgrel),
            _ => Err(misspelt(text, "a version")),
        }
    }
}

/// Reads a word that may be missing, or an empty text in its place.
///
/// # Errors
/// What isn't one.
pub fn if_any<'d, D: Deserializer<'d>, T: FromStr<Err = Error>>(
    reader: D,
) -> Result<Option<T>, D::Error> {
    let text: Option<String> = Option::deserialize(reader)?;
    let word = text.filter(|it| !it.is_empty()).map(|it| it.parse());
    word.transpose().map_err(serde::de::Error::custom)
}

impl TryFrom<String> for Version {
    type Error = Error;

    fn try_from(text: String) -> Result<Version> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(epoch) = &self.epoch {
            write!(f, "{epoch}:")?;
        }
        write!(f, "{}-{}", self.pkgver, self.pkgrel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_the_form_that_makepkg_gives_it() {
        for text in ["1.0-1", "2:1.0_beta+2-1.1", "r12.abcdef-3", "1~rc1^2-1"] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }
        assert_eq!("0:1-1".parse::<Version>().unwrap().to_string(), "1-1");
        assert_eq!(Version::new("", "1", "1").unwrap().to_string(), "1-1");
        for text in [
            "", "5", "-1", "1-", "1-1-1", ":1-1", "a:1-1", "1:1:1-1", "1/0-1", "1 0-1", "1-1.",
            "1-1.1.1", "1-a", "é-1", "1!(x)-1", "1|2-1",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert!(format!("{}-1", "9".repeat(300)).parse::<Version>().is_err());
    }

    #[test]
    fn names_are_what_makepkg_and_pacman_allow() {
        for text in ["a", "lib++", "b.c+d", "@x_y-z", "0ad"] {
            assert!(text.parse::<PackageName>().is_ok(), "{text}");
        }
        for text in ["", "-a", ".a", "a/b", "a b", "é", "a\n"] {
            assert!(text.parse::<PackageName>().is_err(), "{text}");
            assert!(text.parse::<RepoName>().is_err(), "{text}");
        }
        assert!("local".parse::<RepoName>().is_err() && "options".parse::<RepoName>().is_err());
        assert_eq!(Arch::of_machine("amd64").unwrap().as_str(), "x86_64");
        let which = Arch::of_machine("arm").unwrap_err().to_string();
        assert!(which.contains("--arch"), "{which}");
        assert!("../x86_64".parse::<Arch>().is_err() && "armv7h".parse::<Arch>().is_ok());
    }

    #[test]
    fn a_commit_is_an_id_and_no_name() {
        assert!(
            "0123456789abcdef0123456789abcdef01234567"
                .parse::<Commit>()
                .is_ok()
        );
        assert!("main".parse::<Commit>().is_err() && "0123456".parse::<Commit>().is_err());
    }
}
