//! What is remarkable in a change, in the order of its danger. It is found in the text alone, so what is said is a hint, and what
//! isn't said is no promise: whoever approves reads the change.

use std::collections::BTreeSet;

use super::gather::{Gathered, Shown};
use crate::text::one_line;

/// What fetches something, or decodes it.
const WORDS: [&str; 12] = [
    "curl", "wget", "base64", "eval", "npm", "npx", "pip", "pip3", "bun", "bunx", "nc", "xxd",
];

/// How many of each kind are named.
const MOST: usize = 8;

/// What to look at, a line each. `pkgbuild` is where the PKGBUILD is.
pub fn look_at(pkgbuild: &str, gathered: &Gathered) -> Vec<String> {
    let Gathered {
        files,
        before,
        commits,
        pkgbuilds: [old, new],
        ..
    } = gathered;
    let mut found = vec![];
    let own = files.iter().find(|it| it.file.path == pkgbuild);
    let own_added = own.map_or(String::new(), |it| added(it));

    if !old.is_empty() {
        let all: String = files.iter().map(added).collect();
        let others = places(&all).difference(&places(old)).cloned().collect();
        tell(&mut found, "another host or owner", others);
        let (before, after) = (sums(old), sums(new));
        let is_skipped = |(before, after): (&&str, &&str)| *before != "SKIP" && *after == "SKIP";
        if before.iter().zip(&after).any(is_skipped) {
            found.push("checksums that became SKIP".to_owned());
        }
        if after.len() < before.len() {
            found.push("checksums that went".to_owned());
        }
    }
    let is_script = |it: &&Shown| it.file.path.ends_with(".install") && it.file.status != "D";
    let mut scripts: Vec<String> = files
        .iter()
        .filter(is_script)
        .map(|it| it.file.path.clone())
        .collect();
    let names_one = |line: &&str| line.trim_start().starts_with("install=");
    scripts.extend(own_added.lines().filter(names_one).map(str::to_owned));
    tell(&mut found, "a new or changed install script", scripts);

    let is_run = |it: &&Shown| !it.file.path.ends_with(".SRCINFO");
    let lines = files.iter().filter(is_run).flat_map(|it| {
        let fetching = added(it);
        let fetching = fetching.lines().filter(|line| fetches(line));
        let told = fetching.map(|line| format!("{}: {}", it.file.path, line.trim()));
        told.collect::<Vec<_>>()
    });
    tell(&mut found, "lines that fetch or decode", lines.collect());

    if let Some(before) = before {
        let others = commits.iter().filter(|it| it.mail != before.mail);
        let others: BTreeSet<String> = others
            .map(|it| format!("{} <{}>", it.name, it.mail))
            .collect();
        tell(
            &mut found,
            "another author than the approved commit's",
            others.into_iter().collect(),
        );
    }
    let binary = files.iter().filter(|it| it.hidden == "binary");
    tell(
        &mut found,
        "binary files",
        binary.map(|it| it.file.path.clone()).collect(),
    );
    let hidden = files
        .iter()
        .filter(|it| !matches!(it.hidden.as_str(), "" | "binary"));
    let hidden = hidden.map(|it| format!("{} ({})", it.file.path, it.hidden));
    tell(
        &mut found,
        "what isn't shown, or not as a whole",
        hidden.collect(),
    );
    if gathered.is_update {
        found.push("only pkgver, pkgrel and checksums changed".to_owned());
    }
    found
}

/// Says what was found of a kind, if anything was.
fn tell(found: &mut Vec<String>, kind: &str, what: Vec<String>) {
    if what.is_empty() {
        return;
    }
    let named = what.iter().take(MOST).map(|it| one_line(it, 200));
    let mut line = format!("{kind}: {}", named.collect::<Vec<_>>().join("; "));
    let more = what.len().saturating_sub(MOST);
    if more > 0 {
        line += &format!("; and {more} more");
    }
    found.push(line);
}

/// The lines that a change adds.
fn added(shown: &Shown) -> String {
    // What comes before the first hunk is about the file.
    let hunks = shown
        .diff
        .split('\n')
        .skip_while(|line| !line.starts_with("@@"));
    let lines = hunks.filter_map(|line| line.strip_prefix('+'));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The hosts and owners of all URLs in a text: `github.com/owner`.
fn places(text: &str) -> BTreeSet<String> {
    let place = |rest: &str| {
        let is_end = |c: char| c.is_whitespace() || "'\"()<>`#?".contains(c);
        let url = rest.split(is_end).next().unwrap_or_default();
        let mut parts = url.split('/').map(str::to_ascii_lowercase);
        let (host, owner) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        (!host.is_empty()).then(|| format!("{host}/{owner}"))
    };
    text.split("://").skip(1).filter_map(place).collect()
}

/// The checksums of a text, in their order; `SKIP` is one.
fn sums(text: &str) -> Vec<&str> {
    let is_sum = |word: &&str| {
        *word == "SKIP" || word.len() >= 32 && word.bytes().all(|it| it.is_ascii_hexdigit())
    };
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(is_sum).collect()
}

/// Whether a line has a word that fetches or decodes.
fn fetches(line: &str) -> bool {
    let is_between = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    line.contains("/dev/tcp") || line.split(is_between).any(|word| WORDS.contains(&word))
}
