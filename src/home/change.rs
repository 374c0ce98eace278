//! How a database is changed: by repo-add and repo-remove, in the place where archives are looked at, because they run what they
//! find, and hosts rarely have them; and how one that is compressed is read. What comes back is believed by nobody (`database`).

use std::fs::File;
use std::io::{self, Read};

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::http::Deadline;
use crate::inbox::Inbox;
use crate::sandbox::{DATABASE, PLAIN};
use crate::tar::{Own, own};
use crate::words::PackageName;

/// Where the checker makes new ones, in the workshop's container.
const FOLDER: &str = "/tmp/vieter";
const UNPACKED: &str = "/tmp/vieter.tar";

/// The two databases of a repository, in the order in which they are replaced.
pub const KINDS: [&str; 2] = ["files", "db"];

/// What is to become of a database.
pub enum Change<'a> {
    /// These archives come in.
    Add(&'a [&'a Archive]),
    /// These packages go.
    Remove(&'a [PackageName]),
}

/// What is in a database that is compressed, of so many bytes.
///
/// # Errors
/// One that can't be read; those of the engine.
pub fn plain(
    inbox: &Inbox,
    compressed: &mut dyn Read,
    size: u64,
    by: Deadline,
) -> Result<impl Read + use<>> {
    let own: Own = ("database".to_owned(), size, Box::new(compressed));
    inbox.put(vec![own], by)?;
    let database = inbox.path("database");
    inbox.ask(&PLAIN, &[&database, UNPACKED], by)?;
    inbox.open(UNPACKED, by)
}

/// Changes a database and its list of files, as far as they are there, in whatever compression. [`changed`] gives the new ones.
///
/// # Errors
/// What repo-add or repo-remove says; those of the engine.
pub fn change(inbox: &Inbox, old: [Option<File>; 2], change: &Change, by: Deadline) -> Result<()> {
    let [files, database] = old;
    // Empty ones for those that aren't there, as another repository's may be called so in there.
    let or_empty = |name: &str, file: Option<File>| -> Result<Own> {
        match file {
            Some(file) => own(name, file).map_err(|error| Error::unusable(name, error)),
            None => Ok((name.to_owned(), 0, Box::new(io::empty()))),
        }
    };
    let old = [or_empty("files", files)?, or_empty("database", database)?];
    inbox.put(old.into(), by)?;
    let mut args = vec![inbox.path(""), FOLDER.to_owned()];
    match change {
        Change::Add(archives) => {
            args.push("add".to_owned());
            let args_of = |it: &&Archive| [it.path.clone(), it.filename()];
            args.extend(archives.iter().flat_map(args_of));
        }
        Change::Remove(names) => {
            args.push("remove".to_owned());
            args.extend(names.iter().map(PackageName::to_string));
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let changed = inbox.ask(&DATABASE, &args, by);
    changed.map_err(|error| error.during("changing the database"))?;
    Ok(())
}

/// A database that was changed, of one of the [`KINDS`]. It has to be read to its end before anything else is asked of the
/// container: engines lock that for as long as they send a file, and what is larger than a socket's buffers waits for its reader.
///
/// # Errors
/// Those of the engine.
pub fn changed(inbox: &Inbox, kind: &str, by: Deadline) -> Result<impl Read + use<>> {
    inbox.open(&format!("{FOLDER}/repo.{kind}.tar"), by)
}
