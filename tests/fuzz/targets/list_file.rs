//! A list of ours, and what is chosen of one.

use vieter::error::{Kind, Result};
use vieter::list::{Entry, List, Settings, read_from};

use super::assert_one_line;
use super::list::{Meant, meaning};
use super::source::{Dribble, Source};

/// A line, and what it means.
fn line(source: &mut Source) -> (String, Meant) {
    if source.once_in(8) {
        let nothing = ["", " \t", "#", " # https://x", "#https://x repo=bur"];
        return (source.pick(&nothing).to_owned(), Meant::Nothing);
    }
    let urls = [
        "https://x/y.git",
        "git@h:y",
        "https://me:s3cret@h/x?a=b#c",
        "é\u{202e}x",
        "x",
        "-x",
    ];
    let url = source.pick(&urls);
    let mut words = vec![url.to_owned()];
    let mut is_line = true;
    let keys: [(&str, &[&str]); 4] = [
        ("branch", &["main", "-x", "é", "a#b", "a=b", ""]),
        (
            "path",
            &[
                "a", "a/b", "..", "a/../..", "/etc", "...", "..a/b..", "a/..", "",
            ],
        ),
        ("repo", &["bur", "a+b", "../etc", "local", "-S", ""]),
        (
            "arch",
            &[
                "x86_64",
                "aarch64",
                "aarch64,x86_64",
                "any",
                "a-b",
                ",,x86_64,",
                ",",
                "",
            ],
        ),
    ];
    let mut values = [None; 4];
    for _ in 0..source.below(6) {
        let at = source.below(keys.len());
        let (key, its) = keys[at];
        if source.once_in(12) {
            words.push(
                source
                    .pick(&["x", "=", "branch", "Repo=bur", "https://z"])
                    .to_owned(),
            );
            is_line = false;
        } else if values[at].is_none() || source.once_in(4) {
            let value = source.pick(its);
            words.push(format!("{key}={value}"));
            is_line &= values[at].replace(value).is_none();
        }
    }
    let [branch, path, repo, arch] = values.map(Option::unwrap_or_default);
    let repo = if repo.is_empty() { "usual" } else { repo };
    is_line &= arch != "a-b";
    let is_ours = ["x86_64", "any"].iter().any(|it| arch.contains(it));
    let is_ours = is_ours || arch.trim_matches(',').is_empty();
    let is_usable = !url.starts_with('-')
        && ["bur", "a+b", "usual"].contains(&repo)
        && !path.starts_with('/')
        && path.split('/').all(|it| it != "..");
    let meant = match () {
        () if !is_line => Meant::Unusable,
        () if !is_ours => Meant::Nothing,
        () if !is_usable => Meant::Unusable,
        () => Meant::Repo {
            url: url.to_owned(),
            branch: branch.to_owned(),
            path: path.to_owned(),
            repo: repo.to_owned(),
            is_git: true,
        },
    };
    let between = source.pick(&[" ", "\t ", "\u{a0}"]);
    let comment = source.pick(&["", "", " ", " # arch=no-architecture", "\t#"]);
    (words.join(between) + comment, meant)
}

fn read(text: &[u8], source: &mut Source) -> Result<List> {
    let (repo, arch) = ("usual".parse().unwrap(), "x86_64".parse().unwrap());
    read_from(Dribble::new(text, source), "L", &repo, &arch)
}

fn choose(list: List, what: Vec<String>) -> Result<Vec<Meant>> {
    let (repo, arch) = ("new".parse().unwrap(), "x86_64".parse().unwrap());
    let settings = Settings {
        file: None,
        repo,
        what,
    };
    let chosen = list.choose(&settings, &arch)?;
    Ok(chosen.iter().map(meaning).collect())
}

pub fn list_file(data: &[u8]) {
    let source = &mut Source(data);
    let lines = source.many(8, line);
    let end = source.pick(&["\n", "\r\n"]);
    let mut text = source.pick(&["", "\u{feff}"]).to_owned();
    for (line, _) in &lines {
        text += &format!("{line}{end}");
    }
    let list = read(text.as_bytes(), source).unwrap();
    let meant = lines.into_iter().map(|(_, meant)| meant);
    let meant: Vec<_> = meant.filter(|it| *it != Meant::Nothing).collect();
    let entries: Vec<_> = list.entries.iter().map(meaning).collect();
    assert_eq!(entries, meant, "{text:?}");
    for entry in &list.entries {
        let shown = match entry {
            Entry::Repo(repo) => repo.name(),
            Entry::Unusable { name, error } => format!("{name} {error}"),
        };
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    // Each is meant by its own URL, so all of them choose all that can be used, in the list's order.
    let what = list.entries.iter().filter_map(|entry| match entry {
        Entry::Repo(repo) => Some(repo.url.clone()),
        Entry::Unusable { .. } => None,
    });
    let mut what: Vec<_> = what.collect();
    what.reverse();
    if !what.is_empty() {
        let chosen = choose(list, what).unwrap();
        let usable = |them: Vec<Meant>| -> Vec<_> {
            let them = them.into_iter();
            them.filter(|it| *it != Meant::Unusable).collect()
        };
        assert_eq!(usable(chosen), usable(meant), "{text:?}");
    }

    // Whatever comes, it is an error or a list of entries that can be believed; and so is what is chosen of it.
    let changed = source.mutated(text.into_bytes());
    match read(&changed, source) {
        Ok(list) => {
            list.entries.iter().for_each(|it| drop(meaning(it)));
            let pieces = [
                "https://", "x", "y", "/", ".git", "bur", "é", "\u{202e}", "\n", ":",
            ];
            let what = source.many(3, |it| it.word(&pieces, 5));
            if let Err(error) = choose(list, what) {
                assert_eq!(error.kind, Kind::Usage);
                assert_one_line(&error.to_string());
            }
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}
