//! The server's list, in its two forms, and how it is asked for. Not here: what an entry means (`list`), and how the server
//! is reached (`server`).

use std::fmt;
use std::io::Read;
use std::time::Duration;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{List, MAX_BYTES, MAX_ENTRIES, MAX_ENTRY, too_large, too_many};
use crate::error::{Error, Kind, Result};
use crate::http::{Answer, Deadline};
use crate::retry::{A_FEW, Tries, retry};
use crate::server::{Server, refused};
use crate::text::{json_reader, one_line};
use crate::words::Arch;

/// How long the server may take for the list, all tries together, and for one of them.
const PATIENCE: Duration = Duration::from_secs(120);
const ONE_TRY: Duration = Duration::from_secs(60);

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

/// An architecture, in the two forms of the server's list.
#[derive(Deserialize)]
#[serde(untagged)]
enum ArchForm {
    /// `GET /api/repos`
    Name(String),
    /// `GET /api/v1/targets`
    Object { value: String },
}

/// The list, as it is for `arch`, in the server's order (`GET /api/repos`, which servers from 0.4 on don't have; then
/// `GET /api/v1/targets`).
///
/// # Errors
/// No answer, any but 200, a list that can't be read. An entry that can't be used is no error of the list.
pub fn fetch(server: &mut Server, arch: &Arch) -> Result<List> {
    let by = Deadline::after(PATIENCE);
    retry(Tries::new(A_FEW, by), || {
        fetch_once(server, arch, by.within(ONE_TRY))
    })
}

/// The same, in one try.
///
/// # Errors
/// Those of [`fetch`].
pub fn fetch_once(server: &mut Server, arch: &Arch, by: Deadline) -> Result<List> {
    let mut bytes_left = MAX_BYTES;
    let answer = server.get_first("/api/repos", by)?;
    let entries = match read_page(answer, &mut bytes_left) {
        Err(error) if error.kind == Kind::Status(404) => fetch_targets(server, by)?,
        entries => entries?,
    };
    Ok(look_into(entries, arch))
}

/// One by one, so that each one's text goes when its words are there.
fn look_into(entries: Vec<RawEntry>, arch: &Arch) -> List {
    let mut list = List::default();
    for RawEntry { id, json } in entries {
        let fields = match json.get() {
            json if json.len() > MAX_ENTRY => Err(too_large()),
            json => serde_json::from_str(json).map_err(|error| error.to_string()),
        };
        let id = one_line(&id, 100);
        list.add(&id, &format!("entry {id} of the list"), fields, arch);
    }
    list
}

/// All of them in one page, as a list that changes between two would lose some. A server that gives less than it is asked
/// for is asked for the rest, from the last one on that is known, which shows if it isn't there any more.
fn fetch_targets(server: &Server, by: Deadline) -> Result<Vec<RawEntry>> {
    let (mut targets, mut bytes_left): (Vec<RawEntry>, u64) = (vec![], MAX_BYTES);
    loop {
        let (limit, offset) = (MAX_ENTRIES + 1, targets.len().saturating_sub(1));
        let path = format!("/api/v1/targets?limit={limit}&offset={offset}");
        let answer = server.get(&path, by)?;
        let what = answer.what.clone();
        let page = read_page(answer, &mut bytes_left)?;
        let text = |entry: Option<&RawEntry>| entry.map(|it| it.json.get().to_owned());
        // A server that doesn't know offsets gives the first page for ever.
        if offset > 0 && text(page.first()) == text(targets.first()) {
            return Ok(targets);
        }
        let last = targets.pop();
        if last.is_some() && text(page.first()) != text(last.as_ref()) {
            let why = "the list has changed while it was read";
            return Err(Error::new(Kind::NoAnswer, format!("{what}: {why}")));
        }
        let was_last = page.len() <= usize::from(last.is_some());
        targets.extend(page);
        if targets.len() > MAX_ENTRIES {
            return Err(Error::unusable(what, too_many()));
        }
        if was_last {
            return Ok(targets);
        }
    }
}

/// Reads a page, as far as there are bytes left for it.
fn read_page(answer: Answer, bytes_left: &mut u64) -> Result<Vec<RawEntry>> {
    if answer.status() != 200 {
        return Err(refused(answer));
    }
    let (what, hidden) = (answer.what.clone(), answer.hides());
    let mut body = answer.into_reader().take(*bytes_left);
    let page: serde_json::Result<Page> = serde_json::from_reader(json_reader(&mut body));
    *bytes_left = body.limit();
    let page = page.map_err(|error| match body.limit() {
        0 => Error::unusable(&what, "the list is larger than 4 MiB"),
        // Newer servers don't say how long it is: that it was cut off shows here alone.
        _ if error.is_io() || error.is_eof() => Error::new(
            Kind::NoAnswer,
            hidden(format!("{what}: it broke off: {error}")),
        ),
        _ => {
            let why = format!("the answer is not a list of repositories: {error}");
            Error::unusable(&what, one_line(&hidden(why), 300))
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

/// Reads the architectures of an entry.
pub fn read_archs<'de, D: Deserializer<'de>>(arch: D) -> Result<Vec<String>, D::Error> {
    let name = |form| match form {
        ArchForm::Name(it) | ArchForm::Object { value: it } => it.trim().to_owned(),
    };
    let forms = Vec::<ArchForm>::deserialize(arch)?;
    Ok(forms.into_iter().map(name).collect())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::{Entry, Repo, RepoKind};
    use super::*;

    fn is_usable(entry: &Entry) -> bool {
        matches!(entry, Entry::Repo(_))
    }

    fn repos(entries: Vec<Entry>) -> Vec<Rc<Repo>> {
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
        Ok(look_into(page.data, &arch).entries)
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
            r#"{"url":"git://x","arch":["x86_64",7],"repo":"bur"}"#,
            r#"{"id":"x","url":"git://x","arch":["x86_64"],"repo":"bur"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","path":"../x"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","path":"a/../../x"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","path":"/etc"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","kind":"svn"}"#,
            r#"{"url":"http://x","arch":["x86_64"],"repo":"bur","kind":"url","path":"a"}"#,
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
