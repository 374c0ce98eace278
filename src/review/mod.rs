//! `vieter review`: shows what is new since a commit was approved, and approves it if a person says so. All is gathered first, in
//! containers in which nothing of the repositories is run; the engine is free again when the first question is asked. Not here:
//! what the file looks like (`approvals`).

mod gather;
mod look_at;
mod page;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use self::gather::{Found, gather};
use crate::approvals::{self, Approvals, By};
use crate::docker::Engine;
use crate::error::Result;
use crate::home::Home;
use crate::http::Deadline;
use crate::list::{Entry, Repo};
use crate::look::{Looker, PATIENCE};
use crate::owners::Key;
use crate::report::TO_REVIEW;
use crate::run::{Chosen, Settings, choose};
use crate::screen::{self, tell};
use crate::server::KEY_VARIABLES;

/// `O_NONBLOCK` of open(2), on the architectures of Arch's.
const O_NONBLOCK: i32 = 0o4000;

/// How it is asked.
pub struct Asking {
    /// Where approvals are kept.
    pub approvals: approvals::Settings,
    /// Whether all that is chosen is approved without a question.
    pub approve: bool,
    /// What texts are shown by; `None` if they are only printed.
    pub pager: Option<String>,
}

/// What became of an entry.
enum Answer {
    Yes,
    No,
    Quit,
}

/// Shows what is new of what is chosen. Gives the exit code: 0 if nothing is left to be reviewed, 1 if something couldn't be looked
/// at, 5 if something is left.
///
/// # Errors
/// What keeps it from being done; a file of approvals that can't be read or written.
pub fn review(settings: &Settings, asking: Asking, home: Option<Home>) -> Result<u8> {
    let approvals = Approvals::open(asking.approvals.clone())?;
    let engine = Engine::find(&settings.engines)?;
    log::info!("using {}", engine.name());
    let arch = settings.arch(&engine)?;
    let servers = home.map(|mut it| it.list(&arch)).transpose()?.flatten();
    let Chosen { entries, .. } = choose(&settings.list, servers, &arch)?;
    let mut failed = 0_usize;
    let (mut repos, looker) = (vec![], Looker::default());
    let mut keys = HashSet::new();
    for entry in entries {
        match entry {
            // The same for another pacman repository needs no approval of its own.
            Entry::Repo(repo) if !keys.insert(Key::of(&repo)) => (),
            Entry::Repo(repo) if is_approved(&repo, &approvals, &looker) => (),
            Entry::Repo(repo) => repos.push(repo),
            Entry::Unusable { name, error } => {
                log::error!("{name}: {error}");
                failed = failed.saturating_add(1);
            }
        }
    }
    let found = match repos.is_empty() {
        true => vec![],
        false => gather(settings, &engine, &arch, &approvals, &repos)?,
    };
    drop(engine);
    screen::end();
    let mut new = vec![];
    for (repo, found) in repos.iter().zip(found) {
        match found {
            Ok(found) => new.extend(found.map(|found| (repo, found))),
            Err(error) => {
                log::error!("{}: {error}", repo.name());
                failed = failed.saturating_add(1);
            }
        }
    }
    let mut left = new.len();
    for (repo, found) in &new {
        match answer(&asking, &repo.name(), found) {
            Answer::Yes => {
                approvals.approve(repo, &found.commit, found.version.as_ref(), By::Person)?;
                tell(format!("approved {} at {}\n", repo.name(), found.commit));
                left = left.saturating_sub(1);
            }
            Answer::No => (),
            Answer::Quit => break,
        }
    }
    if failed > 0 {
        tell(format!("{failed} couldn't be looked at\n"));
    }
    match left {
        0 if failed > 0 => (),
        0 => tell("nothing is left to review\n"),
        left => tell(format!("{left} left to review\n")),
    }
    if left > 0 && !is_there() {
        tell("to approve: from a terminal, or what --approve names\n");
    }
    Ok(match (failed, left) {
        (0, 0) => 0,
        (0, _) => TO_REVIEW,
        _ => 1,
    })
}

/// Whether an entry's newest commit is the approved one, as far as that can be seen without a container.
fn is_approved(repo: &Repo, approvals: &Approvals, looker: &Looker) -> bool {
    let (approved, by) = (approvals.find(repo), Deadline::after(PATIENCE));
    approved.is_some_and(|approved| looker.commit(repo, by) == Some(approved))
}

/// Whether somebody is there to be asked.
fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Shows what was found, and what somebody says of it; nobody does who isn't at a terminal.
fn answer(asking: &Asking, name: &str, found: &Found) -> Answer {
    let is_there = is_there();
    match &asking.pager {
        Some(pager) if is_there && !asking.approve => page(pager, &found.text),
        _ => tell(&found.text),
    }
    if asking.approve {
        return Answer::Yes;
    }
    if !is_there {
        return Answer::No;
    }
    loop {
        forget_what_was_typed();
        tell(format!("{name}: approve? [y]es [n]o [q]uit "));
        let mut line = String::new();
        // What can't be read is an end.
        let count = io::stdin().lock().read_line(&mut line).unwrap_or(0);
        match line.trim() {
            _ if count == 0 => return Answer::Quit,
            "y" | "yes" => return Answer::Yes,
            "n" | "no" => return Answer::No,
            "q" | "quit" => return Answer::Quit,
            _ => (),
        }
    }
}

/// Passes over the lines that were typed before a question is asked: they are no answer to it.
fn forget_what_was_typed() {
    let mut options = File::options();
    let terminal = options.read(true).custom_flags(O_NONBLOCK);
    let Ok(mut terminal) = terminal.open("/dev/tty") else {
        return;
    };
    let mut line = [0; 4096];
    while terminal.read(&mut line).is_ok_and(|count| count > 0) {}
}

/// Shows a text in a pager, which isn't let do more than that; it is printed if there is none.
fn page(pager: &str, text: &str) {
    let mut command = Command::new("sh");
    command.args(["-c", pager]).env("LESSSECURE", "1");
    for name in KEY_VARIABLES {
        command.env_remove(name);
    }
    let ended = command.stdin(Stdio::piped()).spawn().and_then(|mut pager| {
        if let Some(mut input) = pager.stdin.take() {
            // It may well be left before the end.
            let _ = input.write_all(text.as_bytes());
        }
        pager.wait()
    });
    // The shell's word for one that isn't there is 127.
    let is_shown = ended.is_ok_and(|it| it.success());
    if !is_shown {
        tell(text);
    }
}
