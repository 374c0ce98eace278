//! A pacman repository's database, read on the host: which packages are in it, and what has changed in it. It is a tar stream
//! without compression, as this program writes it, or as others' is once it was unpacked. Not here: how it is changed (`change`).

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::tar::Members;
use crate::text::one_line;
use crate::words::PackageName;

/// The most that one file in a database may have, in bytes: a list of files, as a rule; and what is said of a package.
const MAX_FILE: u64 = 16 << 20;
const MAX_DESC: u64 = 1 << 20;

/// The most packages, and the longest name of one, or of a file, in bytes: they are held in memory.
const MAX_PACKAGES: usize = 20_000;
const MAX_NAME: usize = 1000;

/// How much longer a database may be after a publish, in bytes: pacman takes none of more than 128 MiB.
const MAX_NEW: u64 = 32 << 20;

/// How much of a file is read at once, in bytes.
const PIECE: u64 = 64 << 10;

/// A package in a database, in the words of its `desc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// `%NAME%`
    pub name: String,
    /// `%BASE%`, or its name.
    pub base: String,
    /// `%VERSION%`
    pub version: String,
    /// `%FILENAME%`
    pub filename: String,
    /// `%CSIZE%`: of the archive, in bytes.
    pub size: u64,
}

impl Package {
    fn is_one_of(&self, names: &[PackageName]) -> bool {
        names.iter().any(|name| name.as_str() == self.name)
    }

    /// That of an archive which is published.
    pub fn of(archive: &Archive) -> Package {
        Package {
            name: archive.name.to_string(),
            base: archive.base.to_string(),
            version: archive.version.to_string(),
            filename: archive.filename(),
            size: archive.size,
        }
    }
}

/// What is in a database.
#[derive(Debug, Default)]
pub struct Database {
    /// By the folders that they are in.
    packages: BTreeMap<String, Package>,
    /// What stands in each file, as a number that nobody can foretell.
    files: BTreeMap<String, u64>,
    /// How many bytes the files have.
    bytes: u64,
}

impl Database {
    /// Reads one; `seed` is the same for those that are compared.
    ///
    /// # Errors
    /// Those of the reader; what repo-add would not have written.
    pub fn read(tar: impl Read, seed: &RandomState) -> Result<Database> {
        let bad = |why: String| Error::unusable("reading the database", why);
        let io = |error: std::io::Error| bad(error.to_string());
        let mut members = Members::new(tar);
        let mut database = Database::default();
        while let Some(member) = members.next_file().map_err(io)? {
            let name = one_line(&member.name, 100);
            // A list of files may be long, and is nothing but compared.
            let is_desc = member.name.ends_with("/desc");
            let most = if is_desc { MAX_DESC } else { MAX_FILE };
            if member.size > most || member.name.len() > MAX_NAME {
                return Err(bad(format!("{name} is larger than it may be")));
            }
            database.bytes = database.bytes.saturating_add(member.size);
            let (mut hasher, mut bytes) = (seed.build_hasher(), vec![]);
            let mut piece = vec![];
            loop {
                piece.clear();
                let mut reader = members.by_ref().take(PIECE);
                if reader.read_to_end(&mut piece).map_err(io)? == 0 {
                    break;
                }
                hasher.write(&piece);
                if is_desc {
                    bytes.extend_from_slice(&piece);
                }
            }
            let before = database.files.insert(member.name.clone(), hasher.finish());
            let (Some((folder, file)), None) = (member.name.split_once('/'), before) else {
                return Err(bad(format!("{name} is no package's, or is there twice")));
            };
            if file == "desc" {
                let package = package(&String::from_utf8_lossy(&bytes));
                let package = package.ok_or_else(|| bad(format!("{name} is no package's")))?;
                database.packages.insert(folder.to_owned(), package);
            }
            if database.files.len() > MAX_PACKAGES.saturating_mul(2) {
                return Err(bad(format!("it has more than {MAX_PACKAGES} packages")));
            }
        }
        Ok(database)
    }

    /// Its packages.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// The most bytes that it may have once a build was published, as a tar stream: what comes is a stranger's word, and is carried about
    /// by each publish from then on.
    pub fn most_after_publish(&self) -> u64 {
        let headers = (self.files.len() as u64).saturating_mul(2048);
        let bytes = self.bytes.saturating_add(headers);
        bytes.saturating_add(MAX_NEW)
    }

    /// The package of this name.
    pub fn find(&self, name: &PackageName) -> Option<&Package> {
        self.packages().find(|it| it.name == name.as_str())
    }

    /// Forgets folders that another database doesn't have.
    pub fn retain_folders_of(&mut self, other: &Database) {
        let folder = |file: &str| file.split('/').next().unwrap_or("").to_owned();
        self.files
            .retain(|file, _| other.packages.contains_key(&folder(file)));
        self.packages
            .retain(|folder, _| other.packages.contains_key(folder));
    }

    /// Whether it is what `before` was, but that of these names it has exactly these packages.
    pub fn has_become(&self, before: &Database, names: &[PackageName], wanted: &[Package]) -> bool {
        let is_named = |it: &&Package| it.is_one_of(names);
        let is_in_place =
            |it: &Package| self.packages.get(&format!("{}-{}", it.name, it.version)) == Some(it);
        let count = self.packages().filter(is_named).count();
        count == wanted.len()
            && wanted.iter().all(is_in_place)
            && self.others(names) == before.others(names)
    }

    /// The files that are not in the folders of packages of these names.
    fn others(&self, names: &[PackageName]) -> BTreeMap<&str, u64> {
        let is_named = |folder: &str| {
            let package = self.packages.get(folder);
            package.is_some_and(|it| it.is_one_of(names))
        };
        let is_other = |file: &str| !file.split('/').next().is_some_and(is_named);
        let files = self.files.iter().map(|(file, hash)| (file.as_str(), *hash));
        files.filter(|(file, _)| is_other(file)).collect()
    }
}

/// The package that a `desc` is of: each field has its name on a line, then its values. `None` if it is none.
fn package(desc: &str) -> Option<Package> {
    let mut lines = desc.lines();
    let mut package = Package::default();
    while let Some(field) = lines.next() {
        if field.is_empty() {
            continue;
        }
        // They end at an empty line. What stands in them is anybody's, and may look like a field.
        let values: Vec<&str> = lines.by_ref().take_while(|it| !it.is_empty()).collect();
        let value = || values.first().copied().unwrap_or_default().to_owned();
        match field {
            "%NAME%" => package.name = value(),
            "%BASE%" => package.base = value(),
            "%VERSION%" => package.version = value(),
            "%FILENAME%" => package.filename = value(),
            "%CSIZE%" => package.size = value().parse().ok()?,
            _ => (),
        }
    }
    if package.base.is_empty() {
        package.base.clone_from(&package.name);
    }
    let is_short = |it: &String| it.len() <= MAX_NAME && !it.contains(char::is_control);
    let is_plain = |it: &String| !it.is_empty() && !it.contains('/') && !it.starts_with('.');
    let Package {
        name,
        base,
        version,
        filename,
        ..
    } = &package;
    let is_whole = is_plain(name) && is_plain(filename) && !version.is_empty();
    (is_whole && [name, base, version, filename].into_iter().all(is_short)).then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::{Own, of_files};

    /// The files of a package in a database.
    fn entry(name: &str, version: &str, more: &str) -> Vec<(String, String)> {
        let desc = format!(
            "%FILENAME%\n{name}-{version}-any.pkg.tar.zst\n\n%NAME%\n{name}\n\n%VERSION%\n{version}\n\n\
             %CSIZE%\n7\n\n{more}"
        );
        vec![(format!("{name}-{version}/desc"), desc)]
    }

    fn read(entries: &[Vec<(String, String)>], seed: &RandomState) -> Result<Database> {
        let files = entries.concat();
        let own = |(name, text): &(String, String)| -> Own {
            let bytes = std::io::Cursor::new(text.clone());
            (name.clone(), text.len() as u64, Box::new(bytes))
        };
        Database::read(of_files(files.iter().map(own).collect()), seed)
    }

    #[test]
    fn a_change_is_seen_wherever_it_is() {
        let seed = RandomState::new();
        let other = entry("other", "1-1", "");
        let before = read(&[entry("foo", "1-1", ""), other.clone()], &seed).unwrap();
        let wanted = [Package {
            name: "foo".to_owned(),
            base: "foo".to_owned(),
            version: "2-1".to_owned(),
            filename: "foo-2-1-any.pkg.tar.zst".to_owned(),
            size: 7,
        }];
        let is_so = |entries: &[Vec<(String, String)>], wanted: &[Package]| {
            let now = read(entries, &seed).unwrap();
            now.has_become(&before, &["foo".parse().unwrap()], wanted)
        };
        let new = entry("foo", "2-1", "");
        assert!(is_so(&[new.clone(), other.clone()], &wanted));
        assert!(is_so(std::slice::from_ref(&other), &[]));
        let stray = vec![("stray/files".to_owned(), "x".to_owned())];
        let mut moved = new.clone();
        moved[0].0 = "bar-2-1/desc".to_owned();
        for (what, entries) in [
            (
                "nothing is new",
                vec![entry("foo", "1-1", ""), other.clone()],
            ),
            (
                "it is of another pkgbase",
                vec![entry("foo", "2-1", "%BASE%\nother\n"), other.clone()],
            ),
            (
                "both are there",
                vec![entry("foo", "1-1", ""), new.clone(), other.clone()],
            ),
            ("it is missing", vec![other.clone()]),
            ("another one is gone", vec![new.clone()]),
            (
                "another one has changed",
                vec![new.clone(), entry("other", "1-1", "%REPLACES%\nfoo\n")],
            ),
            (
                "another one is new",
                vec![new.clone(), other.clone(), entry("bar", "1-1", "")],
            ),
            ("a folder is no package's", vec![new, other.clone(), stray]),
            ("it is in another's folder", vec![moved, other]),
        ] {
            assert!(!is_so(&entries, &wanted), "{what}");
        }
    }

    #[test]
    fn what_looks_like_a_field_in_a_value_is_none() {
        let more = "%DESC%\n%NAME%\nothers\n\n%BASE%\na\n\n";
        let database = read(&[entry("a", "1-1", more)], &RandomState::new()).unwrap();
        let [a, others] = ["a", "others"].map(|it| it.parse().unwrap());
        assert_eq!(database.find(&a).map(|it| it.base.as_str()), Some("a"));
        assert!(database.find(&others).is_none());
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let seed = RandomState::new();
        assert!(Database::read(&b"x"[..], &seed).is_err());
        let twice = [entry("a", "1-1", ""), entry("a", "1-1", "")];
        assert!(read(&twice, &seed).is_err());
        let long = format!(
            "%NAME%\na\n\n%VERSION%\n{}\n\n%FILENAME%\nf\n",
            "1".repeat(1001)
        );
        for (path, text) in [
            ("a-1/desc", long.as_str()),
            (
                "a-1/desc",
                "%NAME%\na\n\n%VERSION%\n\u{1b}[2J\n\n%FILENAME%\nf\n",
            ),
            (&"a".repeat(1001), ""),
            ("desc", "%NAME%\na\n\n%VERSION%\n1\n\n%FILENAME%\nf\n"),
            ("a/desc", "%NAME%\na\n\n%VERSION%\n1\n\n%FILENAME%\n../f\n"),
            ("a/desc", "%NAME%\na\n"),
        ] {
            let entry = vec![(path.to_owned(), text.to_owned())];
            assert!(read(&[entry], &seed).is_err(), "{path} {text}");
        }
    }

    #[test]
    fn paths_of_any_length_are_read() {
        let seed = RandomState::new();
        let (name, version) = ("n".repeat(150), "1".repeat(90) + "-1");
        let database = read(&[entry(&name, &version, "")], &seed).unwrap();
        let name = name.parse().unwrap();
        assert_eq!(database.find(&name).unwrap().version, version);
    }
}
