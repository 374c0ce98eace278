//! The list of what is to be built: the server's two forms of it, and what an entry means. Not here: how the server is
//! reached (`server`), and what becomes of the entries (`run`).

use std::fmt;
use std::io::{BufReader, Read};
use std::time::Duration;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::{Error, Kind, Result};
use crate::http::{Answer, Deadline};
use crate::server::{Server, refused};
use crate::text::one_line;
use crate::words::{Arch, RepoName};

/// How long the server may take for the list, all pages together.
const PATIENCE: Duration = Duration::from_secs(120);

/// The most that a list may have: entries, bytes of all pages together, and bytes of one entry.
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: u64 = 4 * 1024 * 1024;
const MAX_ENTRY: usize = 64 * 1024;

/// A Git repository to build, or a PKGBUILD that stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// What to call it until its pkgbase is known: the URL, on one line.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What is at that URL.
    pub kind: RepoKind,
    /// Empty for the Git repository's default branch.
    pub branch: String,
    /// The folder of the PKGBUILD in the repository, empty for its root (servers from 0.5 on).
    pub path: String,
    /// The pacman repository that its packages are published to.
    pub publish_to: RepoName,
}

/// What a URL of the list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepoKind {
    /// A Git repository.
    Git,
    /// A PKGBUILD to download (the kind `url` of servers from 0.4 on).
    Pkgbuild,
}

/// An entry of the list.
pub enum Entry {
    /// One to build.
    Repo(Repo),
    /// One that can't be used.
    Unusable {
        /// Its URL, or its id if it has none.
        name: String,
        /// Why.
        error: Error,
    },
}

/// What a server answers with: the entries, not looked into yet, as one that can't be used is no fault of the others.
#[derive(Deserialize)]
struct Page {
    #[serde(deserialize_with = "read_entries")]
    data: Vec<RawEntry>,
}

/// An entry, and what it is called: its id, or its place in a list.
struct RawEntry {
    id: String,
    json: Box<RawValue>,
}

/// An entry of either form (`GET /api/repos`, `GET /api/v1/targets`). Fields that servers add are passed over.
#[derive(Deserialize)]
struct EntryJson {
    url: Option<String>,
    branch: Option<String>,
    path: Option<String>,
    kind: Option<String>,
    repo: Option<String>,
    arch: Vec<ArchForm>,
}

/// An architecture, in the two forms of the server's list.
#[derive(Deserialize)]
#[serde(untagged)]
enum ArchForm {
    /// `GET /api/repos`
    Name(String),
    /// `GET /api/v1/targets`
    Object { value: String },
    /// Neither, so nobody's.
    Other(IgnoredAny),
}

/// The entries that are to be built for `arch`, in the server's order (`GET /api/repos`, which servers from
/// 0.4 on don't have; then `GET /api/v1/targets`, page by page).
///
/// # Errors
/// No answer, any but 200, a list that can't be read. An entry that can't be used is no error of the list.
pub fn fetch(server: &mut Server, arch: &Arch) -> Result<Vec<Entry>> {
    let by = Deadline::after(PATIENCE);
    let mut bytes_left = MAX_BYTES;
    let answer = server.get_first("/api/repos", by)?;
    let entries = match read_page(answer, &mut bytes_left) {
        Err(error) if error.kind == Kind::Status(404) => fetch_targets(server, by)?,
        entries => entries?,
    };
    let to_build = |raw| to_build(raw, arch);
    Ok(entries.iter().filter_map(to_build).collect())
}

fn fetch_targets(server: &Server, by: Deadline) -> Result<Vec<RawEntry>> {
    let (mut targets, mut bytes_left): (Vec<RawEntry>, u64) = (vec![], MAX_BYTES);
    loop {
        let path = format!("/api/v1/targets?limit=100&offset={}", targets.len());
        let answer = server.get(&path, by)?;
        let what = answer.what.clone();
        let page = read_page(answer, &mut bytes_left)?;
        let first = |entries: &[RawEntry]| entries.first().map(|it| it.json.get().to_owned());
        // A server that doesn't know offsets gives the first page for ever.
        if page.is_empty() || first(&page) == first(&targets) {
            return Ok(targets);
        }
        targets.extend(page);
        if targets.len() > MAX_ENTRIES {
            return Err(Error::unusable(what, too_many()));
        }
    }
}

fn too_many() -> String {
    format!("the list has more than {MAX_ENTRIES} entries")
}

/// Reads a page, as far as there are bytes left for it.
fn read_page(answer: Answer, bytes_left: &mut u64) -> Result<Vec<RawEntry>> {
    if answer.status() != 200 {
        return Err(refused(answer));
    }
    let what = answer.what.clone();
    let mut body = answer.into_reader().take(*bytes_left);
    let page: serde_json::Result<Page> = serde_json::from_reader(BufReader::new(&mut body));
    *bytes_left = body.limit();
    let page = page.map_err(|error| match body.limit() {
        0 => Error::unusable(&what, "the list is larger than 4 MiB"),
        _ => {
            let why = format!("the answer is not a list of repositories: {error}");
            Error::unusable(&what, one_line(&why, 300))
        }
    })?;
    Ok(page.data)
}

fn read_entries<'de, D: Deserializer<'de>>(data: D) -> Result<Vec<RawEntry>, D::Error> {
    data.deserialize_any(EntriesVisitor)
}

/// Takes the entries one by one: an object of them by id, whose order counts, or a list.
struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Vec<RawEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list of entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<RawEntry>, A::Error> {
        let mut entries = vec![];
        while let Some((id, json)) = map.next_entry()? {
            entries.push(RawEntry { id, json });
            if entries.len() > MAX_ENTRIES {
                return Err(A::Error::custom(too_many()));
            }
        }
        Ok(entries)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<RawEntry>, A::Error> {
        let mut entries = vec![];
        while let Some(json) = list.next_element()? {
            let id = format!("at {}", entries.len());
            entries.push(RawEntry { id, json });
            if entries.len() > MAX_ENTRIES {
                return Err(A::Error::custom(too_many()));
            }
        }
        Ok(entries)
    }
}

/// The entry, unless it is for other architectures only.
fn to_build(raw: &RawEntry, arch: &Arch) -> Option<Entry> {
    let mut name = one_line(&raw.id, 100);
    let what = format!("entry {name} of the list");
    let json = Some(raw.json.get()).filter(|json| json.len() <= MAX_ENTRY);
    let repo = match serde_json::from_str::<EntryJson>(json.unwrap_or("")) {
        Err(_) if json.is_none() => Err("is larger than 64 KiB".to_owned()),
        Ok(entry) if !entry.arch.iter().any(|form| is_for(form, arch)) => return None,
        Ok(entry) => {
            name = present(&entry.url).map_or(name, |url| one_line(url, 200));
            parse_repo(&entry, name.clone())
        }
        Err(error) => Err(error.to_string()),
    };
    let unusable = |why: String| {
        let error = Error::unusable(what, one_line(&why, 300));
        Entry::Unusable { name, error }
    };
    Some(repo.map_or_else(unusable, Entry::Repo))
}

/// Servers split what they are given at commas, without trimming.
fn is_for(form: &ArchForm, arch: &Arch) -> bool {
    match form {
        ArchForm::Name(it) | ArchForm::Object { value: it } => it.trim() == arch.as_str(),
        ArchForm::Other(_) => false,
    }
}

fn parse_repo(entry: &EntryJson, name: String) -> Result<Repo, String> {
    let url = present(&entry.url).ok_or("has no URL")?;
    let publish_to = present(&entry.repo).ok_or("names no repository to publish to")?;
    let to_text = |error: Error| error.to_string();
    let publish_to = publish_to.parse().map_err(to_text)?;
    let path = present(&entry.path).unwrap_or_default();
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(format!("the path {path:?} leads out of the repository"));
    }
    let kind = match present(&entry.kind) {
        None | Some("git") => RepoKind::Git,
        Some("url") => RepoKind::Pkgbuild,
        Some(kind) => return Err(format!("is of the kind {kind:?}, neither git nor url")),
    };
    Ok(Repo {
        name,
        url: url.to_owned(),
        kind,
        branch: present(&entry.branch).unwrap_or_default().to_owned(),
        path: path.to_owned(),
        publish_to,
    })
}

/// A field's text, trimmed; an empty one counts as missing.
fn present(field: &Option<String>) -> Option<&str> {
    field.as_deref().map(str::trim).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_usable(entry: &Entry) -> bool {
        matches!(entry, Entry::Repo(_))
    }

    fn repos(entries: Vec<Entry>) -> Vec<Repo> {
        let repo = |entry| match entry {
            Entry::Repo(repo) => repo,
            Entry::Unusable { error, .. } => panic!("{error}"),
        };
        entries.into_iter().map(repo).collect()
    }

    fn list(data: &str) -> Result<Vec<Entry>, serde_json::Error> {
        let text = format!(r#"{{"message":"","data":{data}}}"#);
        let page: Page = serde_json::from_reader(text.as_bytes())?;
        let arch = "x86_64".parse().unwrap();
        let to_build = |raw| to_build(raw, &arch);
        Ok(page.data.iter().filter_map(to_build).collect())
    }

    #[test]
    fn keeps_the_servers_order_and_our_architecture() {
        let entries = list(
            r#"{"f":{"url":"git://z","branch":"main","arch":["aarch64","x86_64"],"repo":"bur","schedule":""},
                "e":{"url":"git://y","branch":"","arch":["aarch64"],"repo":"bur"},
                "d":{"url":"git://x","branch":"","arch":[" x86_64"],"repo":"a+b"}}"#,
        )
        .unwrap();
        let repos = repos(entries);
        assert_eq!(repos[0].url, "git://z");
        assert_eq!(repos[0].branch, "main");
        assert_eq!(repos[1].url, "git://x");
        assert_eq!(repos[1].branch, "");
        assert_eq!(repos.len(), 2);
    }

    #[test]
    fn a_newer_servers_list_is_read() {
        let entries = list(
            r#"[{"id":7,"kind":"git","url":"git://z","branch":"","repo":"bur","schedule":"","path":"a/b",
                 "arch":[{"id":1,"target_id":7,"value":"aarch64"},{"id":2,"target_id":7,"value":" x86_64"}]},
                {"id":8,"kind":"url","url":"http://y/PKGBUILD","branch":"","repo":"bur","schedule":"","path":"",
                 "arch":[{"id":3,"target_id":8,"value":"x86_64"}]},
                {"id":9,"kind":"git","url":"git://x","branch":"","repo":"bur","schedule":"","path":"",
                 "arch":[{"id":4,"target_id":9,"value":"aarch64"}]}]"#,
        )
        .unwrap();
        let repos = repos(entries);
        assert_eq!(repos.len(), 2);
        assert_eq!(
            (repos[0].path.as_str(), repos[0].kind),
            ("a/b", RepoKind::Git)
        );
        assert_eq!(
            (repos[1].url.as_str(), repos[1].kind),
            ("http://y/PKGBUILD", RepoKind::Pkgbuild)
        );
    }

    #[test]
    fn a_broken_entry_is_its_own_failure() {
        let broken = [
            r#"{"url":"","arch":["x86_64"],"repo":"bur"}"#,
            r#"{"arch":["x86_64"],"repo":"bur"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"../etc"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"-S"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"local"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":["bur"]}"#,
            r#"{"url":"git://x","arch":"x86_64","repo":"bur"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","path":"../x"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","path":"a/../../x"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","path":"/etc"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","kind":"svn"}"#,
            "7",
            "null",
        ];
        for broken in broken {
            let good = r#"{"url":"git://x","branch":"b","arch":["x86_64"],"repo":"bur"}"#;
            let entries = list(&format!(r#"{{"1":{broken},"2":{good}}}"#)).unwrap();
            assert!(!is_usable(&entries[0]), "{broken}");
            assert!(is_usable(&entries[1]));
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for data in ["\"x\"", "7", "null", "{"] {
            assert!(list(data).is_err(), "{data}");
        }
        assert!(serde_json::from_str::<Page>("<html>").is_err());
        assert!(list("{}").unwrap().is_empty());
    }
}
