//! Trying again: what may have failed by chance is tried a few times, with growing pauses, as long as there is time. Not
//! here: what is tried, and whether it may be tried twice (`list`, `home`).

use std::thread;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::http::Deadline;

/// The pauses between tries, in seconds; whoever goes on longer waits as long as the last one.
const PAUSES: [u64; 6] = [1, 3, 9, 9, 9, 30];

/// How many tries a few are.
pub const A_FEW: usize = 4;

/// As many as there is time for.
pub const WHILE_THERE_IS_TIME: usize = usize::MAX;

/// How long before the end the last try of these is, where a server wants a longer pause.
const LAST: Duration = Duration::from_secs(60);

/// Does something until it succeeds, fails for good, or has failed too often.
///
/// # Errors
/// That of the last try, with the number of tries if another could have helped; each one before it was logged.
pub fn retry<T>(mut tries: Tries, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => tries.pause_after(error)?,
        }
    }
}

/// How often something was tried.
pub struct Tries {
    /// When there is to be none any more.
    pub by: Deadline,
    made: usize,
    most: usize,
}

impl Tries {
    /// None yet, of so many.
    pub fn new(most: usize, by: Deadline) -> Tries {
        Tries { by, made: 0, most }
    }

    /// Waits after a try that has failed, at least as long as the server wants.
    ///
    /// # Errors
    /// This one, if there is to be no other try.
    pub fn pause_after(&mut self, error: Error) -> Result<()> {
        self.made = self.made.saturating_add(1);
        if !may_be_chance(error.kind) {
            return Err(error);
        }
        let made = self.made;
        let [.., longest] = PAUSES;
        let usual = PAUSES.get(made.saturating_sub(1)).unwrap_or(&longest);
        let usual = Duration::from_secs(*usual);
        let mut pause = usual.max(error.retry_after);
        // A server that wants a longer pause than there is time is asked a last time before the end.
        if self.most == WHILE_THERE_IS_TIME && self.by.left() <= pause {
            pause = self.by.left().saturating_sub(LAST).max(usual);
            if error.retry_after > usual {
                self.most = made.saturating_add(1);
            }
        }
        if made >= self.most || self.by.left() <= pause {
            return Err(error.advise(&format!("given up after try {made}")));
        }
        log::warn!("{error} (try {made}; again in {} s)", pause.as_secs());
        thread::sleep(pause);
        Ok(())
    }
}

/// Whether the same request may be answered otherwise in a moment.
fn may_be_chance(kind: Kind) -> bool {
    matches!(kind, Kind::NoAnswer | Kind::Status(408 | 429 | 500..))
}
