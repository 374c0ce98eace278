//! What a person gets to see of an entry, gathered in a container of the builder image. Nothing of the repository is run there: no
//! hook, no filter, no textconv, and its PKGBUILD isn't read by bash. Not here: what is remarkable in it (`look_at`), and how it is
//! set (`page`).

use std::rc::Rc;

use super::look_at::look_at;
use super::page::page;
use crate::approvals::{Approvals, can_be_approved};
use crate::bring::{self, Brought, Wanted, path};
use crate::change::{Change, Changed, git};
use crate::docker::{Container, Engine};
use crate::error::{Error, Kind, Result};
use crate::http::Deadline;
use crate::image::kept_name;
use crate::list::{Repo, RepoKind};
use crate::lock;
use crate::run::{self, Settings, hold};
use crate::sandbox::{CLONE, SHOW, User, command};
use crate::screen;
use crate::words::{Arch, Commit, Version};

/// The history without files that `scripts/clone.sh` leaves if it had to count.
const HISTORY: &str = "/build/history";

/// How many files are shown, and how many commits are named.
const MAX_FILES: usize = 200;
const MAX_COMMITS: &str = "-n50";

/// An entry of which something isn't approved.
pub struct Found {
    /// What would be approved.
    pub commit: Commit,
    /// The version that it claims to be.
    pub version: Option<Version>,
    /// What a person reads.
    pub text: String,
}

/// A commit, in its author's words.
pub struct Authored {
    /// Who, with an address.
    pub who: String,
    /// When, who, and what for.
    pub text: String,
}

/// A file that differs, and how.
pub struct Shown {
    /// Which.
    pub file: Changed,
    /// What keeps it from being shown as it is, or nothing.
    pub hidden: String,
    /// The change (git-diff(1)).
    pub diff: String,
}

/// All that was found of an entry.
#[derive(Default)]
pub struct Gathered {
    /// How many commits there are between the approved one and the newest.
    pub count: Option<u64>,
    /// Those, the newest first; only that one if nothing is approved.
    pub commits: Vec<Authored>,
    /// The approved one.
    pub before: Option<Authored>,
    /// The texts of the PKGBUILD, before and after.
    pub pkgbuilds: [String; 2],
    /// What differs.
    pub files: Vec<Shown>,
    /// Whether there are more files.
    pub is_cut: bool,
    /// Whether it is an update, and nothing else.
    pub is_update: bool,
}

/// Looks at these, one after another; `None` for one that has nothing new.
///
/// # Errors
/// What keeps it from being done. What is wrong with one of them is in its place.
pub fn gather(
    settings: &Settings,
    engine: &Engine,
    arch: &Arch,
    approvals: &Approvals,
    repos: &[Rc<Repo>],
) -> Result<Vec<Result<Option<Found>>>> {
    lock::must_be_free(engine, settings.shard)?;
    hold(settings, engine, arch, |mut workshop, mut memory| {
        run::begin(&workshop)?;
        if workshop.builder.is_none() {
            workshop.bring_up_to_date(true, &mut memory)?;
            memory.save();
        }
        let look = |repo: &Rc<Repo>| {
            screen::begin("looking", &repo.name());
            let by = Deadline::after(settings.builds.timeout);
            let container = workshop.sandbox.start(None, &kept_name(), by)?;
            find(&container, repo, approvals.find(repo), by)
        };
        let mut found = vec![];
        for repo in repos {
            found.push(look(repo));
            lock::must_be_held(&workshop.lock)?;
        }
        Ok(found)
    })
}

fn find(
    container: &Container,
    repo: &Repo,
    approved: Option<Commit>,
    by: Deadline,
) -> Result<Option<Found>> {
    let mut exec = bring::begin(
        container,
        repo,
        Wanted::Objects,
        approved.as_ref(),
        None,
        by,
    )?;
    let brought = Brought::read(&mut exec)?;
    exec.rest()?;
    let Some(tip) = brought.tip else {
        let why = "there is no commit in it";
        return Err(Error::unusable("looking at the repository", why));
    };
    if approved.as_ref() == Some(&tip) {
        return Ok(None);
    }
    can_be_approved(repo, &tip)?;
    let (gathered, version) = match repo.kind {
        RepoKind::Git => {
            // One that has gone can't be compared with.
            let from = approved.as_ref().filter(|_| brought.commit.is_some());
            let change = Change::between(container, repo, from, &tip, by)?;
            let gathered = gathered(container, &change, from, brought.count, by)?;
            (gathered, change.claimed())
        }
        RepoKind::Pkgbuild => (downloaded(container, by)?, None),
    };
    let look_at = look_at(&path(repo, "PKGBUILD"), &gathered);
    Ok(Some(Found {
        text: page(repo, approved.as_ref(), &tip, &gathered, &look_at),
        commit: tip,
        version,
    }))
}

/// A PKGBUILD that was downloaded, as a change that adds it: what was approved isn't there any more.
fn downloaded(container: &Container, by: Deadline) -> Result<Gathered> {
    let file = format!("{CLONE}/PKGBUILD");
    let show = command(User::Builder, "cat", vec!["cat", &file]);
    let text = container.read(&show, by)?;
    let lines = text.trim_end_matches('\n').split('\n');
    let diff: String = lines.map(|line| format!("+{line}\n")).collect();
    let file = Changed {
        modes: ["000000".to_owned(), "100644".to_owned()],
        status: "A".to_owned(),
        path: "PKGBUILD".to_owned(),
    };
    let shown = Shown {
        file,
        hidden: String::new(),
        diff: format!("@@\n{diff}"),
    };
    Ok(Gathered {
        pkgbuilds: [String::new(), text],
        files: vec![shown],
        ..Gathered::default()
    })
}

fn gathered(
    container: &Container,
    change: &Change,
    from: Option<&Commit>,
    count: Option<u64>,
    by: Deadline,
) -> Result<Gathered> {
    let tip = change.to.as_str();
    let authored = |range: &str, most: &str| {
        let format = "--format=%as%x00%<(100,trunc)%an%x00%<(100,trunc)%ae%x00%<(300,trunc)%s%x00";
        let args = ["log", most, "--no-show-signature", format, range, "--"];
        // What was counted for has all commits. Without it, what is in the clone is all of them only if they were counted there.
        let is_in_clone = count.is_some() || !range.contains("..");
        let printed = match git(container, HISTORY, args, by) {
            Err(error) if matches!(error.kind, Kind::Exit(_)) && is_in_clone => {
                git(container, CLONE, args, by)
            }
            printed => printed,
        };
        match printed {
            Ok(printed) => parse(&printed),
            // They may be too long. What they change is shown all the same.
            Err(error) => vec![Authored {
                who: "somebody".to_owned(),
                text: format!("the commits can't be shown: {error}"),
            }],
        }
    };
    let (commits, before) = match from {
        Some(from) => {
            let commits = authored(&format!("{from}..{tip}"), MAX_COMMITS);
            (commits, authored(from.as_str(), "-n1").pop())
        }
        None => (authored(tip, "-n1"), None),
    };
    let text = |at: &str| change.text(at, "PKGBUILD");
    let old = from.map_or(String::new(), |it| text(it.as_str()));
    Ok(Gathered {
        count,
        commits,
        before,
        pkgbuilds: [old, text(tip)],
        files: shown(container, change, by)?,
        is_cut: change.is_cut,
        is_update: from.is_some() && change.as_update().is_some_and(|it| it.is_usual()),
    })
}

fn parse(printed: &str) -> Vec<Authored> {
    let fields: Vec<&str> = printed.split('\0').map(str::trim).collect();
    let mut commits = vec![];
    for commit in fields.chunks_exact(4) {
        if let [date, name, mail, subject] = commit {
            let who = format!("{name} <{mail}>");
            let text = format!("{date} {who} {subject}");
            commits.push(Authored { who, text });
        }
    }
    commits
}

/// The files, the PKGBUILD first and what repeats it last, each with its change.
fn shown(container: &Container, change: &Change, by: Deadline) -> Result<Vec<Shown>> {
    let (first, last) = (change.path_of("PKGBUILD"), change.path_of(".SRCINFO"));
    let mut files = change.files.clone();
    files.sort_by_key(|it| (it.path != first, it.path == last));
    // A name that is no text may be shown as another file's is.
    let is_asked = |it: &&Changed| !it.path.contains('\u{fffd}');
    let asked = files.iter().filter(is_asked).map(|it| it.path.as_str());
    let paths: Vec<&str> = asked.take(MAX_FILES).collect();
    let ends = [change.from.as_str(), change.to.as_str()];
    let show = SHOW.with(ends.into_iter().chain(paths));
    let printed = container.read(&show, by)?;
    let mut fields = printed.split('\0');
    let shown = files.into_iter().map(|file| {
        let (hidden, diff) = match is_asked(&&file) {
            false => ("its name is no text", ""),
            true => match (fields.next(), fields.next()) {
                (Some(""), Some("")) => ("nothing can be shown of it", ""),
                (Some(hidden), Some(diff)) => (hidden, diff),
                _ => ("there is too much", ""),
            },
        };
        let (hidden, diff) = (hidden.to_owned(), diff.to_owned());
        Shown { file, hidden, diff }
    });
    Ok(shown.collect())
}
