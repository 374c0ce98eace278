//! A list of ours, a text: one repository a line, its URL and then, in any order, `branch=`, `path=`, `repo=` and `arch=`
//! (separated by commas; without it, or with `any`, all architectures). A word that begins with `#` begins a comment, so a URL
//! may have one in it. No value can have white space. Not here: what the values may be (`list`).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{Fields, List, MAX_BYTES, MAX_ENTRIES, MAX_ENTRY, too_large, too_many};
use crate::error::{Error, Result};
use crate::text::one_line;
use crate::words::{Arch, RepoName};

/// What a message calls the reading of the list that is called so.
fn reading(name: &str) -> String {
    format!("reading the list {name}")
}

/// The list in this file, or, for `-`, that on the standard input. What names no repository is for `repo`.
///
/// # Errors
/// Those of the file, and those of [`read_from`].
pub fn read(path: &Path, repo: &RepoName, arch: &Arch) -> Result<List> {
    if path == Path::new("-") {
        return read_from(io::stdin().lock(), "on the standard input", repo, arch);
    }
    let name = one_line(&path.display().to_string(), 200);
    let file = File::open(path).map_err(|error| {
        let advice = "does --list, or VIETER_LIST, name the file with the list?";
        Error::unusable(reading(&name), error).advise(advice)
    })?;
    read_from(file, &name, repo, arch)
}

/// The list that is read here, called so in messages.
///
/// # Errors
/// Those of the reader, what is no text, and what is too much. A line that can't be used is no error of the list.
pub fn read_from(from: impl Read, name: &str, repo: &RepoName, arch: &Arch) -> Result<List> {
    let mut bytes = vec![];
    let mut from = from.take(MAX_BYTES + 1);
    let read = from.read_to_end(&mut bytes);
    read.map_err(|error| Error::unusable(reading(name), error))?;
    if from.limit() == 0 {
        return Err(Error::unusable(reading(name), "it is larger than 4 MiB"));
    }
    let text = String::from_utf8(bytes).ok();
    let Some(text) = text.filter(|it| !it.contains('\0')) else {
        let why = "it is no text (UTF-8, a repository a line)";
        return Err(Error::unusable(reading(name), why));
    };
    let mut list = List::default();
    // Some editors put a byte order mark before all else.
    let lines = text.trim_start_matches('\u{feff}').lines();
    for (line, number) in lines.zip(1_u32..) {
        let is_too_large = line.len() > MAX_ENTRY;
        let words = line.split_whitespace();
        let words = words.take(if is_too_large { 1 } else { usize::MAX });
        let words: Vec<_> = words.take_while(|it| !it.starts_with('#')).collect();
        let Some(first) = words.first() else {
            continue;
        };
        let what = format!("line {number} of the list {name}");
        let fields = match is_too_large {
            true => Err(too_large()),
            false => fields(&words, repo, arch),
        };
        list.add(first, &what, fields, arch);
        if list.len() > MAX_ENTRIES {
            return Err(Error::unusable(reading(name), too_many()));
        }
    }
    Ok(list)
}

/// What a line of these words says.
fn fields(words: &[&str], repo: &RepoName, arch: &Arch) -> Result<Fields, String> {
    let names = ["branch", "path", "repo", "arch"];
    let (url, rest) = match words {
        [url, rest @ ..] if named(&[*url], names).is_err() => (Some(*url), rest),
        _ => (None, words),
    };
    let [branch, path, its_repo, archs] = named(rest, names)?.map(|it| it.map(str::to_owned));
    let archs = archs.unwrap_or_default();
    let archs = archs.split(',').filter(|it| !it.is_empty());
    let mut archs: Vec<_> = archs.map(str::to_owned).collect();
    for its in &archs {
        its.parse::<Arch>().map_err(|error| error.to_string())?;
    }
    if archs.is_empty() || archs.iter().any(|it| it == "any") {
        archs = vec![arch.to_string()];
    }
    Ok(Fields {
        url: url.map(str::to_owned),
        branch,
        path,
        repo: its_repo
            .filter(|it| !it.trim().is_empty())
            .or_else(|| Some(repo.to_string())),
        archs,
        ..Fields::default()
    })
}

/// The values of words that are `name=value`, in any order, of these names, each once.
pub fn named<'l, const N: usize>(
    words: &[&'l str],
    names: [&str; N],
) -> Result<[Option<&'l str>; N], String> {
    let mut values = [None; N];
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or(("", word));
        let its = names.iter().zip(&mut values).find(|(it, _)| **it == name);
        let shown = one_line(word, 100);
        let Some((_, its)) = its else {
            return Err(format!("{shown:?} is none of {}=", names.join("=, ")));
        };
        if its.replace(value).is_some() {
            return Err(format!("{shown:?} says once more what was said before"));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Repo};
    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Result<List> {
        let (repo, arch) = ("usual".parse().unwrap(), "x86_64".parse().unwrap());
        read_from(text.as_ref(), "L", &repo, &arch)
    }

    fn repos(text: &str) -> Vec<Repo> {
        let repo = |entry| match entry {
            Entry::Repo(repo) => (*repo).clone(),
            Entry::Unusable { error, .. } => panic!("{error}"),
        };
        let entries = read(text).unwrap().entries;
        entries.into_iter().map(repo).collect()
    }

    #[test]
    fn a_line_is_a_url_and_what_else_is_known_in_any_order() {
        let text = "\u{feff}# a comment\r\n\
            https://a/x.git\r\n\
            \t \r\n\
            https://b/?y=z#frag  arch=aarch64,x86_64 repo=mine path=p/q branch=b#1=2 # a comment\n\
            https://c arch=aarch64\n\
            \u{a0}git@d:e branch= path= repo= arch=, #\n\
            https://e arch=any,armv7h\n\
            https://f\t#comment=";
        let repos = repos(text);
        let shown = repos.iter().map(|it| {
            let (url, branch, path) = (&it.url, &it.branch, &it.path);
            format!("{url} {branch} {path} {}", it.publish_to)
        });
        let expected = [
            "https://a/x.git   usual",
            "https://b/?y=z#frag b#1=2 p/q mine",
            "git@d:e   usual",
            "https://e   usual",
            "https://f   usual",
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        let others = read("https://c arch=aarch64,armv7h\n").unwrap();
        let expected = Some((1, "aarch64, armv7h".to_owned()));
        assert_eq!(others.is_for_others(), expected);
        assert_eq!(read(text).unwrap().is_for_others(), None);
        assert_eq!(read("#\n\n").unwrap().is_for_others(), None);
    }

    #[test]
    fn a_line_that_cannot_be_used_is_its_own_failure_with_its_number() {
        for (line, why) in [
            ("https://x branch=a branch=b", "once more"),
            ("https://x arch= arch=", "once more"),
            ("https://x branches=a", "\"branches=a\" is none of"),
            ("https://x https://me:pw@y", "\"https://***@y\" is none of"),
            ("branch=a", "has no URL"),
            ("repo=mine https://x", "is none of"),
            ("--upload-pack=x", "is an option"),
            ("https://x repo=../etc", "is not a name"),
            ("https://x repo=local", "is not a name"),
            ("https://x path=../y", "leads out"),
            ("https://x path=/etc", "leads out"),
            ("https://x arch=x86-64", "is not an architecture"),
            (
                &format!("https://x {}", "y".repeat(MAX_ENTRY)),
                "is larger than 64 KiB",
            ),
        ] {
            let list = read(format!("https://good\n#\n{line}\nhttps://better")).unwrap();
            let [good, bad, better] = &list.entries[..] else {
                panic!("{line}");
            };
            assert!(matches!((good, better), (Entry::Repo(_), Entry::Repo(_))));
            let Entry::Unusable { name, error } = bad else {
                panic!("{line}");
            };
            assert_eq!(Some(&**name), line.split(' ').next());
            let error = error.to_string();
            assert!(error.starts_with("line 3 of the list L: "), "{error}");
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_is_no_list_and_what_is_too_much_is_an_error() {
        let why = |text: &[u8]| read(text).err().unwrap().to_string();
        let utf16 = "https://x".encode_utf16().flat_map(u16::to_le_bytes);
        for text in [b"\xff\xfe".to_vec(), utf16.collect()] {
            let why = why(&text);
            assert!(
                why.starts_with("reading the list L: it is no text"),
                "{why}"
            );
        }
        let line = |n| format!("https://x/{n}\n#\n");
        let lines: String = (0..10_000).map(line).collect();
        assert_eq!(read(&lines).unwrap().entries.len(), 10_000);
        // Those that are for others, or can't be used, are entries, too.
        for last in ["https://x", "-x", "https://x arch=aarch64"] {
            let why = why((lines.clone() + last).as_bytes());
            assert!(why.contains("more than 10000 entries"), "{why}");
        }
        let large = 4 << 20;
        assert!(read("#".repeat(large)).is_ok());
        let why = why("#".repeat(large + 1).as_bytes());
        assert!(why.contains("larger than 4 MiB"), "{why}");
        assert!(read("").unwrap().entries.is_empty());
    }
}
