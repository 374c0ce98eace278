//! What is remarkable in a change, in the order of its danger. It is found in the text alone, so what is said is a hint, and what
//! isn't said is no promise: whoever approves reads the change.

use std::collections::BTreeSet;

use super::gather::{Gathered, Shown};
use crate::text::escaped;

/// What fetches something, or decodes it.
const WORDS: [&str; 12] = [
    "curl", "wget", "base64", "eval", "npm", "npx", "pip", "pip3", "bun", "bunx", "nc", "xxd",
];

/// How many of each kind are named, and how much of each, in characters.
const MOST: usize = 8;
const LONGEST: usize = 200;

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
    let own_added = own.map_or(String::new(), added);

    if !old.is_empty() {
        let all: String = files.iter().map(added).collect();
        let others = places(&all).difference(&places(old)).cloned().collect();
        tell(&mut found, "another host or owner", others);
        let (before, after) = (sums(old), sums(new));
        let skipped = |sums: &[&str]| sums.iter().filter(|it| **it == "SKIP").count();
        let is_skipped = |(before, after): (&&str, &&str)| *before != "SKIP" && *after == "SKIP";
        let is_swapped = before.len() == after.len() && before.iter().zip(&after).any(is_skipped);
        if skipped(&after) > skipped(&before) || is_swapped {
            found.push("checksums that became SKIP".to_owned());
        }
        let counted = |sums: &[&str]| sums.len().saturating_sub(skipped(sums));
        if counted(&after) < counted(&before) {
            found.push("checksums that went".to_owned());
        }
    }
    let paths = |is_one: &dyn Fn(&Shown) -> bool| -> Vec<String> {
        let those = files.iter().filter(|it| is_one(it));
        those.map(|it| it.file.path.clone()).collect()
    };
    let named: Vec<&str> = new.lines().filter_map(install).collect();
    let is_script = |it: &Shown| {
        let name = file_name(it);
        it.file.status != "D" && (name.ends_with(".install") || named.contains(&name))
    };
    let mut scripts = paths(&is_script);
    let names_one = |line: &&str| install(line).is_some();
    scripts.extend(own_added.lines().filter(names_one).map(str::to_owned));
    // What a variable stands for isn't known: any other may be one.
    if named.iter().any(|it| it.contains('$')) {
        let is_recipe = |it: &Shown| ["PKGBUILD", ".SRCINFO"].contains(&file_name(it));
        let may_be_one = |it: &Shown| it.file.status != "D" && !is_script(it) && !is_recipe(it);
        scripts.extend(paths(&may_be_one));
    }
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
        let others = commits.iter().filter(|it| it.who != before.who);
        let others: BTreeSet<String> = others.map(|it| it.who.clone()).collect();
        let kind = "another author than the approved commit's";
        tell(&mut found, kind, others.into_iter().collect());
    }
    let links = paths(&|it| matches!(it.file.modes[1].as_str(), "120000" | "160000"));
    let kind = "links, and submodules, whose contents are elsewhere";
    tell(&mut found, kind, links);
    let binary = paths(&|it| it.hidden == "binary");
    tell(&mut found, "binary files", binary);
    let hidden = files
        .iter()
        .filter(|it| !matches!(it.hidden.as_str(), "" | "binary"));
    let hidden = hidden.map(|it| format!("{} ({})", it.file.path, it.hidden));
    let more = gathered.is_cut.then(|| "more files".to_owned());
    let hidden = hidden.chain(more).collect();
    tell(&mut found, "what isn't shown, or not as a whole", hidden);
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
    let shown = |it: &String| escaped(it).chars().take(LONGEST).collect::<String>();
    let named = what.iter().take(MOST).map(shown);
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

/// A file's name, without its folders.
fn file_name(shown: &Shown) -> &str {
    shown.file.path.rsplit('/').next().unwrap_or_default()
}

/// The hosts and owners of all URLs in a text: `github.com/owner`.
fn places(text: &str) -> BTreeSet<String> {
    let place = |rest: &str| {
        let is_end = |c: char| c.is_whitespace() || "'\"()<>`#?".contains(c);
        let url = rest.split(is_end).next().unwrap_or_default();
        let mut parts = url.split('/').map(str::to_ascii_lowercase);
        let (host, owner) = (parts.next()?, parts.next().unwrap_or_default());
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

/// The script that a line names as a package's.
fn install(line: &str) -> Option<&str> {
    let value = line.trim_start().strip_prefix("install=")?;
    let word = value.split([' ', '\t', '#', ';']).next()?;
    Some(word.trim_matches(['\'', '"']))
}

/// Whether a line has a word that fetches or decodes.
fn fetches(line: &str) -> bool {
    let is_between = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    line.contains("/dev/tcp") || line.split(is_between).any(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::super::gather::Authored;
    use super::*;
    use crate::change::Changed;

    fn shown(path: &str, status: &str, diff: &str) -> Shown {
        let modes = ["100644".to_owned(), "100644".to_owned()];
        let (status, path) = (status.to_owned(), path.to_owned());
        Shown {
            file: Changed {
                modes,
                status,
                path,
            },
            hidden: String::new(),
            diff: diff.to_owned(),
        }
    }

    fn found(old: &str, new: &str, files: Vec<Shown>) -> Vec<String> {
        let same = || Authored {
            who: "A <same@t>".to_owned(),
            text: String::new(),
        };
        let gathered = Gathered {
            commits: vec![same()],
            before: Some(same()),
            pkgbuilds: [old.to_owned(), new.to_owned()],
            files,
            ..Gathered::default()
        };
        look_at("PKGBUILD", &gathered)
    }

    #[test]
    fn hosts_and_owners_are_compared_with_those_of_the_old_recipe() {
        let old = "url=https://GitHub.com/good/x\nsource=(git+https://github.com/good/x)\n";
        let diff = "--- a/x\n+++ https://header/\n@@\n+https://github.com/good/y\n+'https://github.com/evil/x'\n-https://gone/\n";
        let found = found(old, old, vec![shown("PKGBUILD", "M", diff)]);
        assert_eq!(found, ["another host or owner: github.com/evil"]);
    }

    #[test]
    fn a_checksum_that_became_skip_is_seen_wherever_it_stands() {
        let sum = "a".repeat(64);
        let text = |one: &str, other: &str| format!("sha256sums=('{one}'\n '{other}')\n");
        let became = |old: &str, new: &str| found(old, new, vec![]);
        assert_eq!(became(&text(&sum, "SKIP"), &text(&sum, "SKIP")), [""; 0]);
        let swapped = became(&text(&sum, "SKIP"), &text("SKIP", &sum));
        assert_eq!(swapped, ["checksums that became SKIP"]);
        let gone = became(&text(&sum, &sum), &text(&sum, ""));
        assert_eq!(gone, ["checksums that went"]);
        let added = became(&format!("'{sum}'"), &format!("'{sum}' 'SKIP'"));
        assert_eq!(added, ["checksums that became SKIP"]);
        let fewer = became(&format!("'{sum}'"), "'SKIP'");
        assert_eq!(fewer, ["checksums that became SKIP", "checksums that went"]);
    }

    #[test]
    fn what_a_variable_may_stand_for_comes_behind_the_install_scripts_that_are_known() {
        let recipe = "install=\"$_x\"\ninstall=named\n";
        let own = shown("PKGBUILD", "M", "@@\n+install=\"$_x\"\n");
        let files = [
            ("a", "M"),
            ("gone", "D"),
            ("b/x.install", "A"),
            ("b/named", "M"),
        ];
        let files = files.map(|(path, status)| shown(path, status, ""));
        let files = [own].into_iter().chain(files).collect();
        let expected = "b/x.install; b/named; install=\"$_x\"; a";
        let expected = format!("a new or changed install script: {expected}");
        assert_eq!(found("x", recipe, files), [expected]);
    }

    #[test]
    fn words_that_fetch_are_seen_in_all_that_is_run() {
        for line in [
            "x=$(curl y)",
            "\tbase64 -d",
            "exec 3<>/dev/tcp/x/1",
            "bun add y",
        ] {
            assert!(fetches(line), "{line}");
        }
        for line in ["curly", "my_curl x", "evaluate", "bundle", "pipe"] {
            assert!(!fetches(line), "{line}");
        }
        let diff = "@@\n+curl x\n";
        let files = vec![shown(".SRCINFO", "M", diff), shown("a/b.sh", "A", diff)];
        assert_eq!(
            found("x", "x", files),
            ["lines that fetch or decode: a/b.sh: curl x"]
        );
    }
}
