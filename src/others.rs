//! Waiting for what other shards publish: an entry whose dependencies can't be installed is tried again when a database has changed.
//! Not here: what waits (`queue`), and which entries are whose (`shard`).

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::home::Sink;
use crate::http::Deadline;
use crate::list::Repo;
use crate::screen;
use crate::words::RepoName;

/// How long nothing may change until all that wait are given up, unless a repository may take less time than that; and how often is
/// looked at most.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const PAUSE: Duration = Duration::from_secs(30);

/// How long a database may take.
const LOOK: Duration = Duration::from_secs(120);

/// How many of those that wait are named.
const NAMED: usize = 5;

/// The pacman repositories that the others publish to, as they were when they were looked at last.
pub struct Others {
    patience: Duration,
    databases: HashMap<RepoName, u64>,
}

impl Others {
    /// For entries that may take this long each.
    pub fn new(timeout: Duration) -> Others {
        Others {
            patience: PATIENCE.min(timeout),
            databases: HashMap::new(),
        }
    }

    /// Looks at where an entry publishes to, if nobody has yet: only what changes from now on is a reason to try it.
    pub fn look(&mut self, repo: &Repo, sink: &Sink) {
        let place = &repo.publish_to;
        if !self.databases.contains_key(place) {
            let database = |repo: &_| sink.database(repo, Deadline::after(LOOK));
            self.has_changed(&HashSet::from([place.clone()]), &database);
        }
    }

    /// Waits until the others have published something to where one of these entries publishes to, which may be what it lacks.
    ///
    /// # Errors
    /// Those of `may_go_on`.
    pub fn publish_for(
        &mut self,
        lacking: &[&Repo],
        sink: &Sink,
        may_go_on: impl Fn() -> Result<()>,
    ) -> Result<bool> {
        let (count, minutes) = (lacking.len(), self.patience.as_secs().div_ceil(60));
        let names: Vec<String> = lacking.iter().take(NAMED).map(|it| it.name()).collect();
        let names = names.join(", ");
        log::info!(
            "waiting for what other shards publish: {count} lack dependencies, which fail after {minutes} minutes without a change: {names}"
        );
        let database = |repo: &_| sink.database(repo, Deadline::after(LOOK));
        self.wait(&places(lacking), database, may_go_on)
    }

    /// Whether the others have published something to where one of these entries publishes to, since somebody has looked.
    pub fn have_published(&mut self, lacking: &[&Repo], sink: &Sink) -> bool {
        let database = |repo: &_| sink.database(repo, Deadline::after(LOOK));
        let seen = lacking.iter().copied();
        let seen: Vec<_> = seen
            .filter(|it| self.databases.contains_key(&it.publish_to))
            .collect();
        self.has_changed(&places(&seen), &database)
    }

    /// Waits until the database of one of these repositories is another one than when it was looked at last, and tells whether it is
    /// worth trying what waits. If nobody has looked yet, it is: something may have come since that was tried.
    ///
    /// # Errors
    /// Those of `may_go_on`, which is asked before each look.
    fn wait(
        &mut self,
        repos: &HashSet<RepoName>,
        database: impl Fn(&RepoName) -> Result<Option<Vec<u8>>>,
        may_go_on: impl Fn() -> Result<()>,
    ) -> Result<bool> {
        screen::begin("waiting", "for what other shards publish");
        let pause = PAUSE.min(self.patience.checked_div(20).unwrap_or(PAUSE));
        let began = Instant::now();
        loop {
            may_go_on()?;
            if self.has_changed(repos, &database) {
                return Ok(true);
            }
            if began.elapsed() >= self.patience {
                return Ok(false);
            }
            thread::sleep(pause);
        }
    }

    fn has_changed(
        &mut self,
        repos: &HashSet<RepoName>,
        database: &impl Fn(&RepoName) -> Result<Option<Vec<u8>>>,
    ) -> bool {
        let mut has_changed = false;
        for repo in repos {
            // One that can't be had for the moment is taken to be the same.
            let Ok(bytes) = database(repo).inspect_err(|error| log::debug!("{error}")) else {
                continue;
            };
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            let number = hasher.finish();
            has_changed |= self.databases.insert(repo.clone(), number) != Some(number);
        }
        has_changed
    }
}

/// Where entries publish to.
fn places(repos: &[&Repo]) -> HashSet<RepoName> {
    repos.iter().map(|it| it.publish_to.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::{Error, Kind};

    #[test]
    fn what_waits_is_tried_at_first_and_when_a_database_has_changed() {
        let repos = HashSet::from(["a".parse().unwrap()]);
        let looks = Cell::new(0_u8);
        let database = |_: &RepoName| {
            looks.set(looks.get() + 1);
            match looks.get() {
                1 | 3 => Ok(None),
                2 => Err(Error::new(Kind::NoAnswer, "down")),
                _ => Ok(Some(vec![1])),
            }
        };
        let mut others = Others::new(Duration::from_millis(50));
        assert!(others.wait(&repos, database, || Ok(())).unwrap());
        assert_eq!(looks.get(), 1);
        assert!(others.wait(&repos, database, || Ok(())).unwrap());
        assert_eq!(looks.get(), 4);
        assert!(!others.wait(&repos, database, || Ok(())).unwrap());
        // What was looked at before is a change only if it has changed since.
        let mut others = Others::new(Duration::from_millis(50));
        let same = |_: &RepoName| Ok(None);
        assert!(others.has_changed(&repos, &same));
        assert!(!others.wait(&repos, same, || Ok(())).unwrap());
        let lost = || Err(Error::new(Kind::Lost, "gone"));
        assert!(others.wait(&repos, database, lost).is_err());
    }
}
