//! How packages come into a folder, and go. The order is what makes it safe to be killed at any moment: what the database names
//! is there, complete, before it does (but for what had vanished, whose new sum comes first), and what it doesn't name any more goes
//! afterwards.

use std::fs::File;
use std::io::Read;
use std::slice;
use std::time::Duration;

use super::change::{Change, KINDS, change, changed};
use super::database::{Database, Package};
use super::folder::Shelf;
use super::records::{FILE, Records};
use super::staging::{Staging, failed_to, signature_of};
use super::{Gone, Source};
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::http::Deadline;
use crate::owners::Key;
use crate::words::PackageName;

/// How long it may take to change a database.
const CHANGING: Duration = Duration::from_secs(600);

/// The most packages of one entry that a repository has, of those that it doesn't make any more, too: pacman's tools have bounds of their
/// own, and names may come new every night.
const MAX_OF_ENTRY: usize = 1000;

/// Publishes archives, all of them or none, but for those that are there already, unless that is forced. Gives those that it has.
///
/// # Errors
/// Names and files that are others'; those of the inbox, the file system, repo-add and the sign command.
pub fn publish<'a>(
    shelf: &Shelf,
    source: &Source,
    archives: &'a [Archive],
    by: Deadline,
) -> Result<Vec<&'a Archive>> {
    let _lock = shelf.folder.lock(by)?;
    let mut records = shelf.records()?;
    let before = Databases::read(shelf, by)?;
    records.must_match(&before.packages, &shelf.dir.join(shelf.file("db")))?;
    let mut missing = vec![];
    for archive in archives {
        let Archive { name, version, .. } = archive;
        records.must_not_be_anothers(source.repo, slice::from_ref(name), shelf.listed)?;
        // By another run, perhaps, on another engine, which has built the same, and been quicker.
        if !source.force && shelf.has_in(&before.packages, name, version) {
            log::info!("{name} {version} is published already");
            continue;
        }
        may_be_placed(shelf, source, archive, &records, &before.packages)?;
        missing.push(archive);
    }
    if missing.is_empty() {
        return Ok(missing);
    }
    let key = Key::of(source.repo);
    let is_missing = |name: &PackageName| missing.iter().any(|it| it.name == *name);
    let own = records.packages.iter();
    let own = own.filter(|(name, it)| it.entry == key && !is_missing(name));
    if own.count().saturating_add(missing.len()) > MAX_OF_ENTRY {
        let what = format!("what {} has in the folder", key.name());
        let why = format!("with these it would have over {MAX_OF_ENTRY} packages");
        let advice = "a run with --prune while it isn't on the list removes all of them";
        return Err(Error::unusable(what, why).advise(advice));
    }
    let staging = Staging::new(&shelf.dir, shelf.folder.settings.sign_command.as_deref())?;
    for archive in &missing {
        archive.announce(shelf.repo);
        let file = archive.filename();
        let written = staging.write(&file, shelf.inbox.open(&archive.path, by)?)?;
        if written != archive.size {
            let why = format!("it has {written} bytes, not {}", archive.size);
            return Err(Error::unusable(file, why));
        }
        staging.sign(&file, by)?;
    }
    let wanted: Vec<Package> = missing.iter().copied().map(Package::of).collect();
    let names: Vec<PackageName> = missing.iter().map(|it| it.name.clone()).collect();
    let added = Change::Add(&missing);
    let after = before.change(shelf, &staging, &added, (&names, &wanted), by)?;

    for archive in &missing {
        records.begin(archive, source);
    }
    save(&records, &staging)?;
    // Where the database names a file that is gone, it has to have the new one's checksum first.
    let is_named = |it: &&Package| {
        before
            .packages
            .packages()
            .any(|old| old.filename == it.filename)
    };
    let (vanished, new): (Vec<&Package>, Vec<&Package>) = wanted.iter().partition(is_named);
    new.iter()
        .try_for_each(|it| staging.place_archive(&it.filename))?;
    staging.sync()?;
    place_databases(shelf, &staging)?;
    vanished
        .iter()
        .try_for_each(|it| staging.place_archive(&it.filename))?;
    staging.sync()?;
    // What the database names is published, whatever stays beside it.
    if let Err(error) = tidy(&mut records, &after, &staging) {
        log::warn!("{error}");
    }
    Ok(missing)
}

/// Removes archives of ours that the database names no more, and remembers which it names.
///
/// # Errors
/// Those of the file system.
pub fn tidy(records: &mut Records, database: &Database, staging: &Staging) -> Result<()> {
    let mut old = records.settle(database).into_iter();
    old.try_for_each(|it| staging.remove(&it))?;
    save(records, staging)
}

/// Removes packages of one repository, with their archives as far as those are ours.
///
/// # Errors
/// Those of the file system, repo-remove and the sign command.
pub fn remove(shelf: &Shelf, gone: &[Gone], by: Deadline) -> Result<()> {
    let _lock = shelf.folder.lock(by)?;
    let mut records = shelf.records()?;
    // Another machine may have published one since.
    let is_gone_still = |it: &&Gone| {
        let record = records.packages.get(&it.name);
        record.is_some_and(|record| record.version == it.version)
    };
    let gone: Vec<Gone> = gone.iter().filter(is_gone_still).cloned().collect();
    let before = Databases::read(shelf, by)?;
    let staging = Staging::new(&shelf.dir, shelf.folder.settings.sign_command.as_deref())?;
    // One that was removed by hand is in the records alone, and what came in its place by hand is somebody else's.
    let is_there = |it: &&Gone| {
        let package = before.packages.find(&it.name);
        package.is_some_and(|package| records.files(&it.name).contains(&package.filename))
    };
    let there: Vec<PackageName> = gone
        .iter()
        .filter(is_there)
        .map(|it| it.name.clone())
        .collect();
    if !there.is_empty() {
        before.change(shelf, &staging, &Change::Remove(&there), (&there, &[]), by)?;
        // One that is empty then would be taken for one that is lost.
        gone.iter().for_each(|it| records.withdraw(&it.name));
        save(&records, &staging)?;
        place_databases(shelf, &staging)?;
    }
    for Gone { name, .. } in &gone {
        let mut files = records.files(name).iter();
        files.try_for_each(|it| staging.remove(it))?;
        records.packages.remove(name);
    }
    save(&records, &staging)
}

/// Refuses what would take somebody else's name, or another file's place.
fn may_be_placed(
    shelf: &Shelf,
    source: &Source,
    archive: &Archive,
    records: &Records,
    database: &Database,
) -> Result<()> {
    let (name, filename) = (&archive.name, archive.filename());
    let theirs = database.find(name);
    let theirs = theirs.filter(|it| !records.files(name).contains(&it.filename));
    if theirs.is_some() && !source.replace.contains(name) {
        let what = format!("the package {name} in {}", shelf.file("db"));
        let advice = format!("to give its name to this entry, say --replace {name}, once");
        let why = "somebody else has put it there, or the database is an older copy";
        return Err(Error::unusable(what, why).advise(&advice));
    }
    if let Some(it) = database.find(name)
        && it.version == archive.version.to_string()
        && it.filename != filename
        && shelf.has_whole(it)
    {
        let why = "this version of it is published, and is never replaced by another archive";
        let what = shelf.dir.join(&it.filename);
        return Err(Error::unusable(what.display(), why).advise("raise pkgrel"));
    }
    let path = shelf.dir.join(&filename);
    let is_there = |name: &str| shelf.dir.join(name).symlink_metadata().is_ok();
    if !is_there(&filename) && !is_there(&signature_of(&filename)) {
        return Ok(());
    }
    let bad = |why: &str, advice: &str| Err(Error::unusable(path.display(), why).advise(advice));
    if let Some(named) = database.packages().find(|it| it.filename == filename) {
        // What isn't there, or not as it was published, is of no use to anybody.
        if named.name == name.as_str() && !shelf.has_whole(named) {
            return Ok(());
        }
        let why = "it is published, and is never replaced by other bytes under the same name";
        return bad(why, "raise pkgrel");
    }
    let record = records.packages.get(name);
    let version = record.and_then(|it| it.version.as_ref());
    if version == Some(&archive.version.to_string()) {
        let why = "it was published, and somebody has taken it out of the database";
        let repo = shelf.repo;
        let advice = format!(
            "raise pkgrel, or put it back: cp {repo}.db {repo}.db.tar; cp {repo}.files {repo}.files.tar; repo-add {repo}.db.tar FILE"
        );
        return bad(why, &advice);
    }
    match records.files(name).contains(&filename) {
        // A publish that was killed has left it.
        true => Ok(()),
        false => bad(
            "there is such a file, or a signature of one, and it isn't ours",
            "remove it, or raise pkgrel",
        ),
    }
}

/// The two databases of a repository, before a change.
struct Databases {
    files: Database,
    packages: Database,
}

impl Databases {
    fn read(shelf: &Shelf, by: Deadline) -> Result<Databases> {
        let [mut files, packages] = [shelf.read("files", by)?, shelf.read("db", by)?];
        // What a publish that was killed between the two has left.
        files.retain_folders_of(&packages);
        Ok(Databases { files, packages })
    }

    /// Makes the new ones, signed, in the staging folder, if they have what is `wanted` of these names and else nothing new. Gives
    /// what the database has then.
    fn change(
        &self,
        shelf: &Shelf,
        staging: &Staging,
        what: &Change,
        (names, wanted): (&[PackageName], &[Package]),
        by: Deadline,
    ) -> Result<Database> {
        let [files, database] = KINDS;
        let old = [shelf.open(files)?, shelf.open(database)?];
        // repo-add may take hours for what a stranger has written, and whoever shares the folder waits.
        change(shelf.inbox, old, what, by.within(CHANGING))?;
        // Of the kinds, the database comes last.
        let mut after = Database::default();
        for (kind, before) in KINDS.iter().zip([&self.files, &self.packages]) {
            let file = shelf.file(kind);
            let new = changed(shelf.inbox, kind, by)?;
            let most = before.most_after_publish();
            if staging.write(&file, new.take(most))? == most {
                let why = format!("with these packages it would have over {most} bytes");
                return Err(Error::unusable(file, why));
            }
            let path = staging.path(&file);
            let opened = File::open(&path).map_err(failed_to("opening", &path))?;
            after = Database::read(opened, &shelf.seed)?;
            if !after.has_become(before, names, wanted) {
                let why = "it isn't what it was with these packages changed alone";
                return Err(Error::unusable(format!("the new database {file}"), why));
            }
            staging.sign(&file, by)?;
        }
        Ok(after)
    }
}

fn place_databases(shelf: &Shelf, staging: &Staging) -> Result<()> {
    let mut files = KINDS.iter().map(|kind| shelf.file(kind));
    files.try_for_each(|it| staging.place(&it))?;
    staging.sync()
}

fn save(records: &Records, staging: &Staging) -> Result<()> {
    staging.write(FILE, records.text()?.as_slice())?;
    staging.place_alone(FILE)?;
    staging.sync()
}
