//! What a person at a terminal sees: one line at the bottom that says what is being done, and all else above it. Elsewhere it does
//! nothing. It needs neither the terminal's width nor a signal: lines don't wrap while it is drawn, the cursor stays in the
//! first column, and what is below it is cleared before the next drawing.

use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::text::one_line;

/// How often it is drawn, beside what is printed above it: whatever comes faster than that can't be read.
const TICK: Duration = Duration::from_millis(100);

/// The most of each part that is shown, in characters.
const LONGEST: usize = 200;

/// Clears what was drawn.
const CLEAR: &str = "\r\x1b[J";

static SCREEN: LazyLock<Mutex<Screen>> = LazyLock::new(Mutex::default);

/// What is shown.
#[derive(Default)]
struct Screen {
    is_on: bool,
    is_verbose: bool,
    /// Which repository, of how many.
    place: String,
    doing: String,
    /// The last line that was printed.
    said: String,
    /// When the repository was begun.
    since: Option<Instant>,
    /// What stands there.
    drawn: String,
}

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there is somebody to look: the log goes to a terminal that can do more than print, and no other program prints there what we
/// have told it, whenever it likes.
pub fn can_be_seen(term: Option<&str>) -> bool {
    let told = fs::metadata("/proc/self/fd/1");
    let is_passed_on = told.is_ok_and(|it| it.file_type().is_fifo());
    let can_draw = term.is_some_and(|it| !it.is_empty() && it != "dumb");
    io::stderr().is_terminal() && can_draw && !is_passed_on
}

/// Whether anything is shown.
pub fn is_wanted() -> bool {
    let screen = screen();
    screen.is_on || screen.is_verbose
}

/// Begins to draw, if it can be seen; with `is_verbose`, all that commands print is shown, whether or not.
pub fn start(can_be_seen: bool, is_verbose: bool) {
    let mut screen = screen();
    (screen.is_on, screen.is_verbose) = (can_be_seen, is_verbose);
    if can_be_seen {
        thread::spawn(|| {
            loop {
                thread::sleep(TICK);
                self::screen().draw();
            }
        });
    }
}

/// Says which repository is being built: the how-maniest of how many, and its name.
pub fn begin(place: impl Display, name: &str) {
    let mut screen = screen();
    screen.place = format!("[{place}] {name}");
    screen.since = Some(Instant::now());
    screen.doing.clear();
    screen.said.clear();
}

/// Says what is being done.
pub fn doing(what: &str) {
    let mut screen = screen();
    screen.doing = one_line(what, LONGEST);
    screen.said.clear();
}

/// Shows a line that a command has printed, or how far something is. It is escaped already.
pub fn said(line: &str) {
    let mut screen = screen();
    if screen.is_verbose {
        screen.above(&format!("{line}\n"));
    }
    screen.said = line.chars().take(LONGEST).collect();
}

/// Prints to the standard output, above what is drawn. What can't be printed is no reason to fail, and said in the log, unless its reader
/// has gone away.
pub fn tell(line: impl Display) {
    let mut screen = screen();
    screen.erase();
    let mut out = io::stdout();
    let told = write!(out, "{line}").and_then(|()| out.flush());
    screen.draw();
    // The log is drawn above the same line.
    drop(screen);
    match told {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            log::warn!("writing to the standard output: {error}");
        }
        _ => (),
    }
}

/// Draws no more.
pub fn end() {
    let mut screen = screen();
    screen.erase();
    screen.is_on = false;
}

impl Screen {
    fn draw(&mut self) {
        if !self.is_on {
            return;
        }
        let time = self.since.map_or(String::new(), |since| {
            let seconds = since.elapsed().as_secs();
            format!("{}:{:02}", seconds / 60, seconds % 60)
        });
        let parts = [self.place.as_str(), &self.doing, &time, &self.said];
        let parts = parts.iter().filter(|it| !it.is_empty());
        let line = parts.copied().collect::<Vec<_>>().join("  ");
        if line == self.drawn {
            return;
        }
        // In one piece, so that a program that is killed leaves a terminal in which lines wrap.
        self.write(&format!("{CLEAR}\x1b[?7l{line}\x1b[?7h\r"));
        self.drawn = line;
    }

    fn erase(&mut self) {
        if self.is_on {
            self.write(CLEAR);
            self.drawn.clear();
        }
    }

    /// Writes to the standard error, above what is drawn.
    fn above(&mut self, text: &str) {
        self.erase();
        self.write(text);
        self.draw();
    }

    fn write(&self, text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Where the log goes: above what is drawn.
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        screen().above(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
