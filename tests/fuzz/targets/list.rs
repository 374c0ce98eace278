//! The server's list, in both of its forms.

use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};
use vieter::error::Result;
use vieter::http::Deadline;
use vieter::list::{Entry, RepoKind, fetch_once};
use vieter::server::{Server, Settings};

use super::assert_one_line;
use super::scripted::{Reply, Scripted};
use super::source::Source;

static SERVER: LazyLock<(Mutex<Server>, Scripted)> = LazyLock::new(|| {
    let (listener, scripted) = (TcpListener::bind("127.0.0.1:0").unwrap(), Scripted::new());
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = scripted.clone();
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|it| {
            it.set_nodelay(true).unwrap();
            server.serve(it);
        });
    });
    let (api_key, ca_file) = ("key".to_owned(), None);
    let server = Server::new(Settings {
        address,
        api_key,
        ca_file,
    });
    (Mutex::new(server), scripted)
});

/// What an entry has to be taken for.
#[derive(Debug, PartialEq)]
pub enum Meant {
    Nothing,
    Unusable,
    Repo {
        url: String,
        branch: String,
        path: String,
        repo: String,
        is_git: bool,
    },
}

/// An entry of the list, and what it means.
fn entry(source: &mut Source, is_newer: bool) -> (Value, Meant) {
    if source.once_in(12) {
        let odd = [
            json!(7),
            json!(null),
            json!([]),
            json!("x"),
            json!({}),
            json!({"arch": "x86_64"}),
            json!({"arch": {}}),
        ];
        return (odd[source.below(odd.len())].clone(), Meant::Unusable);
    }
    let mut entry = Map::new();
    let mut is_broken = false;
    let mut field = |source: &mut Source, name: &str, values: &[&str]| {
        let value = match source.below(12) {
            0 => return String::new(),
            1 => json!(null),
            2 => json!(" \n"),
            3 if source.once_in(4) => {
                is_broken = true;
                json!(["x"])
            }
            _ => json!(format!(
                "{}{}",
                source.pick(values),
                source.pick(&["", "", " ", "\n"])
            )),
        };
        let text = value.as_str().unwrap_or("").trim().to_owned();
        entry.insert(name.to_owned(), value);
        text
    };
    let url = field(
        source,
        "url",
        &[
            "git://x",
            "https://me:pw@h/x.git",
            "\u{1b}[2J",
            "é\u{202e}x",
            "--upload-pack=x",
        ],
    );
    let branch = field(source, "branch", &["main", "-x", "é", "a b"]);
    let repo = field(
        source,
        "repo",
        &["bur", "a+b", "../etc", "local", "-S", "a\tb"],
    );
    let path = field(
        source,
        "path",
        &[
            "a", "a/b", "..", "a/../..", "/etc", "...", "..a/b..", "a/..",
        ],
    );
    let kind = field(source, "kind", &["git", "git", "url", "svn"]);
    let archs = source.many(3, |it| {
        it.pick(&[
            "x86_64",
            " x86_64\n",
            "aarch64",
            "any",
            "",
            "x86_64,aarch64",
        ])
    });
    let is_ours = archs.iter().any(|it| it.trim() == "x86_64");
    let form = |it: &&str| {
        if is_newer {
            json!({"id": 1, "target_id": 2, "value": it})
        } else {
            json!(it)
        }
    };
    let odd = source.once_in(12).then(|| json!(7));
    is_broken |= odd.is_some();
    let archs = archs.iter().map(form).chain(odd);
    entry.insert("arch".to_owned(), archs.collect());
    entry.insert("schedule".to_owned(), json!({"of": ["later", 1]}));
    let is_good_path = !path.starts_with('/') && path.split('/').all(|it| it != "..");
    let is_good_kind = kind != "svn" && (kind != "url" || path.is_empty());
    let is_usable = !url.is_empty()
        && !url.starts_with('-')
        && ["bur", "a+b"].contains(&&*repo)
        && is_good_path
        && is_good_kind;
    let meant = match () {
        () if is_broken => Meant::Unusable,
        () if !is_ours => Meant::Nothing,
        () if !is_usable => Meant::Unusable,
        () => Meant::Repo {
            url,
            branch,
            path,
            repo,
            is_git: kind != "url",
        },
    };
    (entry.into(), meant)
}

/// Asserts what holds for every entry.
pub fn meaning(entry: &Entry) -> Meant {
    match entry {
        Entry::Unusable { name, error } => {
            assert_one_line(name);
            assert_one_line(&error.to_string());
            Meant::Unusable
        }
        Entry::Repo(repo) => {
            let (name, path) = (repo.name(), &repo.path);
            assert_one_line(&name);
            assert!(!name.contains("://me:pw@"), "{name:?} {:?}", repo.url);
            assert!(!repo.url.is_empty());
            assert!(!path.starts_with('/') && path.split('/').all(|it| it != ".."));
            Meant::Repo {
                url: repo.url.clone(),
                branch: repo.branch.clone(),
                path: path.clone(),
                repo: repo.publish_to.to_string(),
                is_git: repo.kind == RepoKind::Git,
            }
        }
    }
}

fn fetched() -> Result<Vec<Meant>> {
    let arch = "x86_64".parse().unwrap();
    let by = Deadline::after(Duration::from_secs(60));
    let list = fetch_once(&mut SERVER.0.lock().unwrap(), &arch, by)?;
    Ok(list.entries.iter().map(meaning).collect())
}

pub fn list(data: &[u8]) {
    let source = &mut Source(data);
    let is_newer = source.once_in(2);
    let most = if source.once_in(40) { 230 } else { 8 };
    let (entries, mut meant): (Vec<_>, Vec<_>) = source
        .many(most, |it| entry(it, is_newer))
        .into_iter()
        .unzip();
    meant.retain(|it| *it != Meant::Nothing);
    let page = move |entries: &[Value], first: usize| {
        let entries = entries.iter().enumerate();
        let entries = entries.map(|(n, it)| (first + n, it));
        let texts: Vec<String> = match is_newer {
            // Each has an id, so none is like another.
            true => entries
                .map(|(n, it)| {
                    it.as_object()
                        .map_or(json!([it, n]).to_string(), |it| with_id(it, n))
                })
                .collect(),
            false => entries
                .map(|(n, it)| format!("{}: {it}", json!(format!("{:x}", 99_999 - n))))
                .collect(),
        };
        let (open, close) = if is_newer { ("[", "]") } else { ("{", "}") };
        format!(
            "{{\"message\": \"\", \"data\": {open}{}{close}}}",
            texts.join(",")
        )
    };

    let whole = page(&entries, 0);
    let all = entries.clone();
    let one = Reply::framed(whole.as_bytes(), source);
    SERVER.1.set(
        move |line, _| match line.split_once("/api/v1/targets?limit=10001&offset=") {
            _ if line.starts_with("GET /api/repos ") && !is_newer => one.clone(),
            Some((_, offset)) if is_newer => {
                let offset: usize = offset.split(' ').next().unwrap().parse().unwrap();
                let rest = &all[offset.min(all.len())..];
                Reply::json(&page(&rest[..rest.len().min(100)], offset))
            }
            _ => Reply::not_found(),
        },
    );
    assert_eq!(fetched().unwrap(), meant);

    // Changed on its way, it is an error or a list of entries that can be believed.
    let changed = Reply::framed(&source.mutated(whole.into_bytes()), source);
    SERVER.1.set(move |_, _| changed.clone());
    if let Err(error) = fetched() {
        assert_one_line(&error.to_string());
    }
}

fn with_id(entry: &Map<String, Value>, id: usize) -> String {
    let mut entry = entry.clone();
    entry.insert("id".to_owned(), json!(id));
    Value::Object(entry).to_string()
}
