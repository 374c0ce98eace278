//! Which commits a person has approved, in the text that `--approved` names: an entry a line, its URL, `branch=` and `path=` if it has
//! them, and the commit, or the SHA-256 of a PKGBUILD that is downloaded; behind `#`, `update` if no person did it, when it was
//! approved, and the version that it claims to be. It is made to live in Git: sorted, and one approval changes one line. Not here: who
//! approves (`review`, `job`).

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::{since_1970, utc};
use crate::error::{Error, Result};
use crate::http::Deadline;
use crate::list::{Repo, named};
use crate::owners::Key;
use crate::replace::{lock, replace};
use crate::text::{masked, one_line};
use crate::words::{Commit, Version};

/// Where they are, and who makes them.
#[derive(Clone)]
pub struct Settings {
    /// The file.
    pub file: PathBuf,
    /// Whether changes are approved by themselves that are updates, and nothing else (`update`).
    pub updates: bool,
}

/// The approved commits.
pub struct Approvals {
    /// Where they are, and who makes them.
    pub settings: Settings,
    lines: RefCell<Lines>,
    /// What was approved as an update, since it was opened.
    updated: RefCell<HashSet<Key>>,
}

/// How long somebody else may change it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why an entry is held that isn't in the file.
pub const NOT_APPROVED: &str = "no commit of it is approved; vieter review shows what there is";

/// How somebody has approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A person has read it.
    Person,
    /// It is an update, and nothing else.
    Update,
}

impl Approvals {
    /// Reads the file. One that isn't there has no approvals.
    ///
    /// # Errors
    /// Those of the file, and a line that can't be read.
    pub fn open(settings: Settings) -> Result<Approvals> {
        let lines = Lines::read(&settings.file)?;
        if !folder_of(&settings.file).is_dir() {
            let what = format!("the approvals {}", settings.file.display());
            let advice = "does --approved (VIETER_APPROVED) name the right one?";
            return Err(Error::unusable(what, "there is no such folder").advise(advice));
        }
        Ok(Approvals {
            lines: RefCell::new(lines),
            updated: RefCell::default(),
            settings,
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lines.borrow().begins.len()
    }

    /// The approved commit of an entry.
    pub fn find(&self, repo: &Repo) -> Option<Commit> {
        self.lines.borrow().find(&Key::of(repo))
    }

    /// Notes that the newest commit of an entry is an update, and nothing else.
    pub fn note_update(&self, repo: &Repo) {
        self.updated.borrow_mut().insert(Key::of(repo));
    }

    /// Whether that was noted.
    pub fn was_updated(&self, repo: &Repo) -> bool {
        self.updated.borrow().contains(&Key::of(repo))
    }

    /// Approves a commit of an entry, in the file as well, which may have been changed by somebody else meanwhile. `version` is what
    /// it claims to be.
    ///
    /// # Errors
    /// Those of the file; an entry that can't stand in it.
    pub fn approve(
        &self,
        repo: &Repo,
        commit: &Commit,
        version: Option<&Version>,
        by: By,
    ) -> Result<()> {
        let (key, file) = (Key::of(repo), &self.settings.file);
        let what = format!("approving {} in {}", key.name(), file.display());
        let today = utc(since_1970());
        let today = today.split('T').next().unwrap_or_default();
        let update = if by == By::Update { "update " } else { "" };
        let version = version.map_or(String::new(), |it| format!(" {it}"));
        let line = format!("{key} {commit}  # {update}{today}{version}");
        can_be_approved(repo, commit)?;

        let failed = |error: io::Error| Error::unusable(&what, error);
        // A link is followed, so that what it leads to is replaced, or made.
        let linked = || fs::read_link(file).map(|it| file.with_file_name("").join(it));
        let file = fs::canonicalize(file).or_else(|_| linked());
        let file = file.unwrap_or_else(|_| self.settings.file.clone());
        let folder = File::open(folder_of(&file)).map_err(failed)?;
        let waiting = format!("{what}: waiting for who has locked its folder");
        lock(&folder, &waiting, Deadline::after(PATIENCE)).map_err(failed)?;
        let lines = Lines::read(&file)?;
        let now = lines.find(&key);
        let is_as_judged = now == self.find(repo) || now.as_ref() == Some(commit);
        if by == By::Update && !is_as_judged {
            let why = "somebody has changed its line since this run began";
            return Err(Error::unusable(what, why));
        }
        let text = lines.with(&key, &line);
        replace(&file, |file| file.write_all(text.as_bytes())).map_err(failed)?;
        // What somebody has changed of others meanwhile is for the next run.
        let own = self.lines.borrow().with(&key, &line);
        let own = Lines::of(own).map_err(|(_, why)| Error::unusable(&what, why))?;
        self.lines.replace(own);
        Ok(())
    }
}

/// Whether an entry can stand in the file.
///
/// # Errors
/// A URL, branch or path that would be read as something else.
pub fn can_be_approved(repo: &Repo, commit: &Commit) -> Result<()> {
    let key = Key::of(repo);
    if parse(&format!("{key} {commit}")) != Ok(Some((key.clone(), commit.clone()))) {
        let why = "its URL, branch or path can't stand in a line of the approvals";
        return Err(Error::unusable(format!("approving {}", key.name()), why));
    }
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    let dir = file.parent().filter(|it| !it.as_os_str().is_empty());
    dir.unwrap_or(Path::new("."))
}

/// The file, line by line. What isn't an entry's stays as it is. It is kept as text, in which a line is read when it is asked for: there may be
/// thousands, and apart they would take three times as much memory.
struct Lines {
    text: String,
    hasher: RandomState,
    /// Where an entry's line begins, by the number that its key has.
    begins: HashMap<u64, usize>,
}

impl Lines {
    fn read(file: &Path) -> Result<Lines> {
        let name = one_line(&file.display().to_string(), 200);
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| Error::unusable(format!("reading {name}"), error))?,
        };
        Lines::of(text).map_err(|(number, why)| {
            let what = format!("line {number} of the approvals {name}");
            let advice = "a line is a URL, branch= and path= if it has them, and a commit";
            Error::unusable(what, why).advise(advice)
        })
    }

    fn of(text: String) -> Result<Lines, (usize, String)> {
        let (hasher, mut begins) = (RandomState::new(), HashMap::new());
        let mut begin = 0_usize;
        for (line, number) in text.split_inclusive('\n').zip(1..) {
            if let Some((key, _)) = parse(line).map_err(|why| (number, why))?
                && begins.insert(hasher.hash_one(&key), begin).is_some()
            {
                return Err((number, "its entry stands in another line, too".to_owned()));
            }
            begin = begin.saturating_add(line.len());
        }
        Ok(Lines {
            text,
            hasher,
            begins,
        })
    }

    /// What an entry's line approves.
    fn find(&self, key: &Key) -> Option<Commit> {
        let begin = self.begins.get(&self.hasher.hash_one(key))?;
        let line = self.text.get(*begin..)?.split('\n').next()?;
        let (its, commit) = parse(line).ok()??;
        (its == *key).then_some(commit)
    }

    /// The text with an entry's line in the place of its last one, or where it is sorted.
    fn with(&self, key: &Key, line: &str) -> String {
        // A carriage return at a line's end stays, too.
        let mut lines: Vec<&str> = self.text.split_terminator('\n').collect();
        let key_of = |line: &str| parse(line).ok().flatten().map(|(its, _)| its);
        if self.find(key).is_some() {
            let own = lines
                .iter_mut()
                .filter(|it| key_of(it).as_ref() == Some(key));
            own.for_each(|own| *own = line);
        } else {
            // What is no entry's (`None`) is behind none.
            let behind = lines.iter().position(|it| key_of(it).as_ref() > Some(key));
            lines.insert(behind.unwrap_or(lines.len()), line);
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// What a line approves; nothing if it is empty, or a comment.
fn parse(line: &str) -> Result<Option<(Key, Commit)>, String> {
    // Some editors begin a file with a mark.
    let words = line.trim_start_matches('\u{feff}').split_whitespace();
    let words: Vec<&str> = words.take_while(|it| !it.starts_with('#')).collect();
    let (url, rest, commit) = match words.as_slice() {
        [] => return Ok(None),
        [url, rest @ .., commit] => (*url, rest, *commit),
        [_] => return Err("it names no commit".to_owned()),
    };
    let commit: Result<Commit> = commit.to_ascii_lowercase().parse();
    let commit = commit.map_err(|error| error.to_string())?;
    let [branch, path] = named(rest, ["branch", "path"])?.map(Option::unwrap_or_default);
    let key = Key {
        url: masked(url),
        branch: branch.to_owned(),
        path: path.to_owned(),
    };
    Ok(Some((key, commit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::RepoKind;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn key(url: &str) -> Key {
        let (url, branch, path) = (url.to_owned(), String::new(), String::new());
        Key { url, branch, path }
    }

    #[test]
    fn a_line_is_an_entry_and_its_commit() {
        let sum = "b".repeat(64);
        let text = format!(
            "\u{feff}# ours\n\nhttps://a/x.git {}  # 2026-11-20 1.2-1\nhttps://b#c path=p/q branch=b#1=2 {sum} #\n",
            A.to_uppercase()
        );
        let lines = Lines::of(text).unwrap();
        let approved = |key: &Key| lines.find(key).unwrap().to_string();
        assert_eq!(approved(&key("https://a/x.git")), A);
        let other = Key {
            branch: "b#1=2".to_owned(),
            path: "p/q".to_owned(),
            ..key("https://b#c")
        };
        assert_eq!(approved(&other), sum);
        assert_eq!(lines.find(&key("https://b#c")), None);
        assert_eq!(lines.begins.len(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_number_and_no_approval() {
        let short = "a".repeat(39);
        for (line, why) in [
            (format!("https://x {short}"), "is not a commit's id"),
            ("https://x".to_owned(), "names no commit"),
            (A.to_owned(), "names no commit"),
            (format!("https://x {A} {A}"), "is none of branch=, path="),
            (format!("https://x repo=y {A}"), "is none of branch=, path="),
            (format!("https://x branch=y branch=y {A}"), "once more"),
            (format!("https://x {A} branch=y"), "is not a commit's id"),
            ("<<<<<<< HEAD".to_owned(), "is not a commit's id"),
            (format!("https://good {A}"), "another line"),
        ] {
            let text = format!("https://good {A}\n#\n{line}\nhttps://better {A}\n");
            let (number, said) = Lines::of(text).err().unwrap();
            assert_eq!(number, 3, "{line}");
            assert!(said.contains(why), "{line}: {said}");
        }
    }

    #[test]
    fn an_approval_changes_one_line_and_keeps_the_order() {
        let line = |url: &str| format!("https://{url} {A}");
        let mut text = format!("\u{feff}# ours\n{}\n\n# rest\n{}\n", line("b"), line("d"));
        for (url, comment) in [("c", "C"), ("b", "B"), ("e", "E"), ("a", "A")] {
            let lines = Lines::of(text).unwrap();
            text = lines.with(
                &key(&format!("https://{url}")),
                &format!("{} # {comment}", line(url)),
            );
        }
        let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(line);
        let expected =
            format!("\u{feff}# ours\n{a} # A\n{b} # B\n\n# rest\n{c} # C\n{d}\n{e} # E\n");
        assert_eq!(text, expected);
        let lines = Lines::of(format!("#\r\n{a}\r\n{b}")).unwrap();
        let text = lines.with(&key("https://b"), "B");
        assert_eq!(text, format!("#\r\n{a}\r\nB\n"));
    }

    fn repo(url: &str, branch: &str, path: &str) -> Repo {
        Repo {
            url: url.to_owned(),
            kind: RepoKind::Git,
            branch: branch.to_owned(),
            path: path.to_owned(),
            publish_to: "mine".parse().unwrap(),
            target: None,
        }
    }

    #[test]
    fn an_update_takes_the_place_of_what_it_was_judged_against_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (file, updates) = (dir.path().join("approved"), true);
        let repo = repo("https://a", "", "");
        let [b, c] = ["b", "c"].map(|it| it.repeat(40));
        for (now, is_taken) in [
            (A, true),
            (c.as_str(), true),
            (b.as_str(), false),
            ("", false),
        ] {
            fs::write(&file, format!("https://a {A}\n")).unwrap();
            let settings = Settings {
                file: file.clone(),
                updates,
            };
            let approvals = Approvals::open(settings).unwrap();
            let line = match now {
                "" => String::new(),
                now => format!("https://a {now}\n"),
            };
            fs::write(&file, &line).unwrap();
            let approved = approvals.approve(&repo, &c.parse().unwrap(), None, By::Update);
            assert_eq!(approved.is_ok(), is_taken, "{now}");
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                if is_taken {
                    text.contains(&c)
                } else {
                    text == line
                },
                "{text}"
            );
        }
    }

    #[test]
    fn none_is_lost_of_those_that_approve_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("approved");
        let approve = |url: String| {
            let (file, updates) = (file.clone(), false);
            let approvals = Approvals::open(Settings { file, updates }).unwrap();
            let repo = repo(&url, "", "");
            let approved = approvals.approve(&repo, &A.parse().unwrap(), None, By::Person);
            approved.unwrap();
        };
        let approve = &approve;
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || approve(format!("https://x/{number}")));
            }
        });
        assert_eq!(Lines::read(&file).unwrap().begins.len(), 8);
    }

    #[test]
    fn what_would_be_read_as_something_else_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("approved");
        let settings = Settings {
            file: file.clone(),
            updates: false,
        };
        let approvals = Approvals::open(settings).unwrap();
        let approve = |url: &str, branch: &str, path: &str| {
            let repo = repo(url, branch, path);
            approvals.approve(&repo, &A.parse().unwrap(), None, By::Person)
        };
        for url in [
            "",
            "#x",
            "https://a b",
            "https://a\nhttps://b",
            "https://a\u{a0}b",
        ] {
            assert!(approve(url, "", "").is_err(), "{url:?}");
        }
        assert!(approve("https://x", "a b", "").is_err());
        assert!(approve("https://x", "", "p\n").is_err());
        assert!(!file.exists());
        approve("https://me:pw@x", "b", "p").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let expected = format!("https://***@x branch=b path=p {A}  # ");
        assert!(text.starts_with(&expected), "{text}");
    }
}
