//! What a person at a terminal sees, in a real one (tmux).

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::util::World;
use crate::wild::pkgbuild;

/// A terminal of tmux's, on a server of its own.
pub struct Terminal {
    socket: String,
    _dir: TempDir,
}

impl Terminal {
    /// Runs a command line in one of so many columns; it stays when that has ended.
    pub fn start(columns: u32, line: &str) -> Terminal {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("tmux").display().to_string();
        let terminal = Terminal { socket, _dir: dir };
        let script = format!("{line}; echo \"the end: $?\"; exec sleep 1000");
        terminal.tmux(&[
            "new-session",
            "-d",
            "-x",
            &columns.to_string(),
            "-y",
            "30",
            "bash",
            "-c",
            &script,
        ]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        let tmux = tmux
            .args(["-S", &self.socket, "-f", "/dev/null"])
            .args(args);
        let output = tmux.env("LC_ALL", "C.UTF-8").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until its lines are so; gives them.
    pub fn wait_until(&self, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let began = Instant::now();
        loop {
            let seen = self.tmux(&["capture-pane", "-p"]);
            let lines = seen.lines().filter(|it| !it.is_empty());
            let lines: Vec<String> = lines.map(str::to_owned).collect();
            if is_so(&lines) {
                return lines;
            }
            assert!(
                began.elapsed() < Duration::from_secs(300),
                "waited for something else:\n{seen}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// All that it has, with what makes it coloured, or otherwise than plain.
    fn seen_with_colours(&self) -> String {
        self.tmux(&["capture-pane", "-e", "-p", "-S", "-"])
    }

    /// Waits until a line that starts so is seen.
    pub fn wait_for(&self, start: &str) -> Vec<String> {
        self.wait_until(|lines| lines.iter().any(|it| it.starts_with(start)))
    }
}

impl Terminal {
    /// Types these keys.
    pub fn send(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }
}

/// A command as a line for a shell, with its own environment alone, the terminal's and what `more` adds.
pub fn line_of(command: &Command, more: &str) -> String {
    let pair = |(name, value): (&OsStr, Option<&OsStr>)| {
        let (name, value) = (name.to_string_lossy(), value?.to_string_lossy());
        Some(format!("{name}={value}"))
    };
    let env: Vec<String> = command.get_envs().filter_map(pair).collect();
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    format!(
        "env -i TERM=$TERM {more} {} {}",
        env.join(" "),
        words.join(" ")
    )
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-S", &self.socket, "kill-server"])
            .output();
    }
}

#[test]
fn one_line_at_the_bottom_says_what_is_done_and_the_rest_stands_above() {
    let world = World::new();
    let url = world.server.url();
    let go = world.dir.path().join("server/static/go");
    fs::create_dir_all(go.parent().unwrap()).unwrap();
    // It prints what would break a terminal, and then waits.
    let chatty = format!(
        "build() {{ printf '\\e[2J\\e[31m%0500000d\\r\\n' 0; echo waiting now; \\
        until curl -fso /dev/null {url}/static/go; do sleep 0.1; done; }}"
    );
    let broken = "build() { printf '\\e[31mred\\n'; false; }";
    world.package("broken", &pkgbuild("broken", broken));
    world.package("chatty", &pkgbuild("chatty", &chatty));
    let line = line_of(&world.vieter(), "");
    // What is coloured would be seen.
    let coloured = "printf '\\e[32mcoloured\\e[m\\n'";
    let terminal = Terminal::start(100, &format!("{coloured}; {line}"));
    let assert_plain = |terminal: &Terminal| {
        let seen = terminal.seen_with_colours();
        assert!(seen.starts_with("\u{1b}[32mcoloured\n\u{1b}[39m"), "{seen}");
        assert_eq!(seen.matches('\u{1b}').count(), 2, "{seen}");
    };
    let drawn = |lines: &[String]| lines.iter().filter(|it| it.starts_with("[2/2]")).count();
    let lines = terminal.wait_until(|lines| lines.iter().any(|it| it.contains("waiting now")));
    assert_eq!(drawn(&lines), 1, "{lines:?}");
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("[2/2] ") && last.contains("/chatty  makepkg  0:"),
        "{last}"
    );
    assert!(
        lines
            .iter()
            .any(|it| it.starts_with("failed      broken 1-1  at build  "))
    );
    assert!(!lines.iter().any(|it| it.contains(" INFO ")));
    assert_plain(&terminal);
    // Wherever it was broken, it is one line again, cut at the edge, as soon as it is drawn.
    for columns in ["9", "40", "120", "20"] {
        terminal.tmux(&["resize-window", "-x", columns]);
        let is_drawn = |lines: &[String]| lines.last().is_some_and(|it| it.starts_with("[2/2]"));
        let lines = terminal.wait_until(is_drawn);
        assert_eq!(drawn(&lines), 1, "{lines:?}");
    }
    terminal.tmux(&["resize-window", "-x", "100"]);
    fs::write(&go, "").unwrap();
    let lines = terminal.wait_for("the end: 1");
    assert_eq!(drawn(&lines), 0, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|it| it.starts_with("built       chatty 1-1  "))
    );
    assert!(
        lines
            .iter()
            .any(|it| it == "1 built, 0 up to date, 1 failed")
    );
    drop(terminal);

    // A terminal that can do nothing gets lines, as a file does; so does who wants all that is printed.
    let dumb = line.replace("TERM=$TERM", "TERM=dumb");
    let terminal = Terminal::start(200, &format!("{dumb} chatty"));
    let lines = terminal.wait_for("the end: 0");
    assert!(
        lines
            .iter()
            .any(|it| it.contains(" INFO  using the engine at "))
    );
    assert!(
        lines
            .iter()
            .any(|it| it.starts_with("up to date  chatty 1-1  "))
    );
    drop(terminal);
    let terminal = Terminal::start(200, &format!("{coloured}; {line} -v broken"));
    let lines = terminal.wait_for("the end: 1");
    for said in ["==> Starting build()", "\\u{1b}[31mred"] {
        assert!(lines.iter().any(|it| it.starts_with(said)), "{lines:?}");
    }
    assert_plain(&terminal);
}
