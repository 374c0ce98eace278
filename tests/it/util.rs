//! What every test needs: a world of its own (a Git server, a Vieter server, a folder), the binary, and the engine.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{self, Timeout};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use vieter::docker::{Engine, Host};
use vieter::http::Deadline;

use crate::standin::Standin;

/// The key that must never be seen anywhere. The tests' PKGBUILDs look for it, so they hold it back to front.
pub const KEY: &str = "k3y-that-nobody-may-see";

/// An engine has one run at a time, so it has one test at a time.
static ENGINE: Mutex<()> = Mutex::new(());

/// The stand-in base image, as the tests' registry has it.
pub static BASE_IMAGE: LazyLock<String> = LazyLock::new(|| pulled("BASE_REF"));

/// The same with the oldest pacman and makepkg that are promised.
pub static OLD_BASE_IMAGE: LazyLock<String> = LazyLock::new(|| pulled("OLD_BASE_REF"));

/// Pulls the image that this setting of the tests names.
fn pulled(setting: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/env");
    let reference = sh_in(&dir, &format!(". ./settings && echo ${setting}:latest"));
    let pull = output_of(Command::new("docker").args(["pull", "-q", &reference]));
    assert!(
        pull.status.success(),
        "the real parts are not there: run `make test`, or tests/env/setup before `cargo test`"
    );
    reference
}

/// Where the engine listens that the tests run on: the machine's, or the one that DOCKER_HOST names.
pub fn engine_socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let path = host
        .strip_prefix("unix://")
        .unwrap_or("/var/run/docker.sock");
    path.into()
}

/// Whether the engine can limit what a container takes: without control groups of version 2 that are its user's, a rootless
/// one can't.
pub fn limits_can_be_set() -> bool {
    let is_rootless = std::env::var("VIETER_TEST_ENGINE").is_ok_and(|it| it == "rootless");
    !is_rootless || Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

pub struct World {
    pub server: Standin,
    pub dir: TempDir,
    git_port: u16,
    _engine: MutexGuard<'static, ()>,
}

/// How a run of the binary ended.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> World {
        let engine = ENGINE.lock().unwrap_or_else(|broken| broken.into_inner());
        clean_up();
        let dir = TempDir::new().unwrap();
        let server = Standin::start("127.0.0.1:0", &dir.path().join("server"), KEY).unwrap();
        let git_port = serve_git(&dir.path().join("git"));
        World {
            server,
            dir,
            git_port,
            _engine: engine,
        }
    }

    /// Makes (or changes) a Git repository of these files and gives its URL.
    pub fn git(&self, name: &str, files: &[(&str, &str)]) -> String {
        let dir = self.git_dir(name);
        fs::create_dir_all(&dir).unwrap();
        if !dir.join(".git").exists() {
            sh_in(&dir, "git init -q -b main .");
        }
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
        sh_in(
            &dir,
            "git add -A && git -c user.name=t -c user.email=t@t commit -q --allow-empty -m change",
        );
        self.url(name)
    }

    /// The URL of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.git_port)
    }

    pub fn git_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join("git").join(name)
    }

    /// Makes a Git repository with this PKGBUILD and puts it on the server's list, for the repository `bur`.
    pub fn package(&self, name: &str, pkgbuild: &str) {
        let url = self.git(name, &[("PKGBUILD", pkgbuild)]);
        self.list(&url, "bur");
    }

    pub fn list(&self, url: &str, repo: &str) {
        self.server
            .list(json!({"url": url, "branch": "main", "arch": ["x86_64"], "repo": repo}));
    }

    /// `vieter build`, set up for this world, with nothing else in its environment.
    pub fn vieter(&self) -> Command {
        self.vieter_for("build")
    }

    /// The same for another command.
    pub fn vieter_for(&self, what: &str) -> Command {
        let mut command = vieter();
        command
            .arg(what)
            .env("VIETER_ADDRESS", self.server.url())
            .env("VIETER_API_KEY", KEY)
            .env("VIETER_BASE_IMAGE", &*BASE_IMAGE)
            .env("VIETER_NETWORK", "host")
            .env(
                "DOCKER_HOST",
                format!("unix://{}", engine_socket().display()),
            );
        command
    }

    /// Runs `vieter build` with these further arguments.
    pub fn build(&self, args: &[&str]) -> Run {
        run(self.vieter().args(args))
    }
}

/// What a PKGBUILD of nothing but a name looks like.
pub fn trivial(name: &str) -> String {
    format!(
        "pkgname={name}\npkgver=1.0\npkgrel=1\narch=(any)\npackage() {{ install -d \"$pkgdir/usr/share/{name}\"; }}\n"
    )
}

/// The binary, in an empty environment: the one that cargo has built, or the one that VIETER_TEST_BINARY names.
pub fn vieter() -> Command {
    let built = env!("CARGO_BIN_EXE_vieter");
    let mut command = Command::new(
        std::env::var("VIETER_TEST_BINARY")
            .as_deref()
            .unwrap_or(built),
    );
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs a command to its end. The key may be in nothing that it prints.
pub fn run(command: &mut Command) -> Run {
    let output = end_of(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn(),
    );
    let run = Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    // Shown by the harness when the test fails.
    eprintln!("--- exit code {}\n{}\n{}", run.code, run.stdout, run.stderr);
    assert!(!run.stdout.contains(KEY) && !run.stderr.contains(KEY));
    assert!(!run.stderr.contains("panicked"));
    run
}

/// Nothing here takes longer, even on a slow machine: what does hangs.
pub const BOUND: Duration = Duration::from_secs(900);

/// How a command ended, and what it has printed; one that hangs is killed.
#[track_caller]
pub fn end_of(child: io::Result<Child>) -> Output {
    let child = child.unwrap();
    let pid = Pid::from_child(&child);
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    ended
        .recv_timeout(BOUND)
        .unwrap_or_else(|_| {
            kill_process(pid, Signal::KILL).unwrap();
            // What it has started may live on.
            let output = ended.recv_timeout(Duration::from_secs(10));
            panic!("a command hangs: {output:?}");
        })
        .unwrap()
}

/// The most memory that a process has had, in KiB; `None` if it has ended.
pub fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The same of one that is given nothing to read, with all that it has printed.
#[track_caller]
pub fn output_of(command: &mut Command) -> Output {
    command.stdin(Stdio::null());
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    end_of(piped.spawn())
}

/// The call that somebody makes; one that doesn't come is a failure.
#[track_caller]
pub fn call_of(listener: &TcpListener) -> TcpStream {
    sockopt::set_socket_timeout(listener, Timeout::Recv, Some(BOUND)).unwrap();
    listener.accept().unwrap().0
}

/// The lines of a stream, as they come.
pub struct Lines(Receiver<String>);

impl Lines {
    pub fn of(stream: impl Read + Send + 'static) -> Lines {
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(stream).lines();
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Lines(lines)
    }
}

impl Iterator for Lines {
    type Item = String;

    /// The next line; one that doesn't come is a failure.
    fn next(&mut self) -> Option<String> {
        match self.0.recv_timeout(BOUND) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more is said"),
        }
    }
}

impl Run {
    /// Asserts on the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Run {
        assert_eq!(self.code, code, "stderr:\n{}", self.stderr);
        self
    }

    /// Asserts that a line of the summary starts like this.
    #[track_caller]
    pub fn reports(self, start: &str) -> Run {
        let found = self.stdout.lines().any(|line| line.starts_with(start));
        assert!(found, "no line {start:?} in\n{}", self.stdout);
        self
    }

    /// Asserts on a piece of the log.
    #[track_caller]
    pub fn says(self, piece: &str) -> Run {
        assert!(
            self.stderr.contains(piece),
            "no {piece:?} in\n{}",
            self.stderr
        );
        self
    }
}

/// A run that goes on in the background.
pub struct Background {
    child: Child,
    lines: Lines,
}

impl Background {
    pub fn start(command: &mut Command) -> Background {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Lines::of(child.stderr.take().unwrap());
        Background { child, lines }
    }

    /// Waits until its log says this.
    pub fn wait_for(&mut self, piece: &str) {
        let seen = self.lines.by_ref().any(|line| {
            eprintln!("{line}");
            line.contains(piece)
        });
        assert!(seen, "ended without saying {piece:?}");
    }

    /// Waits until it has ended; gives its exit code and the rest of its log.
    pub fn wait_for_end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        for line in self.lines.by_ref() {
            log += &line;
            log.push('\n');
        }
        eprintln!("{log}");
        (self.child.wait().unwrap().code(), log)
    }

    /// `kill -9`, and nothing else.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Runs `docker`, gives what it prints, and fails with it.
#[track_caller]
pub fn docker(args: &[&str]) -> String {
    let output = output_of(Command::new("docker").args(args));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Drop for World {
    /// What a test leaves is a failure of its own, not something for the next one to clean up.
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_nothing_left();
        }
    }
}

/// Removes what an earlier test left because it failed.
fn clean_up() {
    let (mut containers, mut images) = left_behind();
    let ours = docker(&["ps", "-aq", "--no-trunc", "--filter", "name=^/vieter-"]);
    containers.extend(ours.lines().map(str::to_owned));
    for things in [&mut containers, &mut images] {
        things.sort();
        things.dedup();
    }
    for (remove, things) in [("rm", containers), ("rmi", images)] {
        if !things.is_empty() {
            let things = things.iter().map(String::as_str);
            docker(&[remove, "-f"].into_iter().chain(things).collect::<Vec<_>>());
        }
    }
}

/// The containers and the images that bear our label, but for the builder image that is kept, and what that is made of.
pub fn left_behind() -> (Vec<String>, Vec<String>) {
    let list = |args: &[&str]| {
        let ids = docker(args);
        ids.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let filter = "label=vieter.run";
    (
        list(&["ps", "-aq", "--no-trunc", "--filter", filter]),
        list(&["images", "-aq", "--no-trunc", "--filter", filter])
            .into_iter()
            .filter(|id| !kept_layers().contains(id))
            .collect(),
    )
}

/// The name of the builder image that is kept.
pub const KEPT: &str = "vieter-build:kept";

/// The kept image, and those that it was made of; nothing if there is none.
fn kept_layers() -> Vec<String> {
    let args = ["history", "-q", "--no-trunc", KEPT];
    let history = output_of(Command::new("docker").args(args));
    let history = String::from_utf8(history.stdout).unwrap();
    history.lines().map(str::to_owned).collect()
}

/// A lock container as another run would hold it; gives its id.
pub fn hold_the_lock() -> String {
    let name = ["--name", "vieter-build", "--label", "vieter.run=other"];
    docker(&[&["run", "-d"], &name[..], &[&BASE_IMAGE, "sleep", "1000"]].concat())
}

/// Asserts that the containers of a run that was killed are gone within five seconds; where other tests run beside this one on the
/// machine, as in `make test`, within thirty.
#[track_caller]
pub fn assert_gone(containers: &[String]) {
    let engine = Engine::open(&Host::Unix(engine_socket())).unwrap();
    let is_alone = std::env::var_os("VIETER_TEST_ALONE").is_some();
    let deadline = Deadline::after(Duration::from_secs(if is_alone { 5 } else { 30 }));
    for container in containers {
        engine.wait_removed(container, deadline).unwrap();
    }
}

/// Asserts that the next run, of something that is quick, leaves nothing, of killed runs neither.
#[track_caller]
pub fn assert_swept_by_the_next_run(world: &World) {
    world.server.clear_list();
    world.package("quick", &trivial("quick"));
    world.build(&[]).exits(0);
    assert_nothing_left();
}

#[track_caller]
pub fn assert_nothing_left() {
    assert_eq!(left_behind(), (vec![], vec![]));
}

#[track_caller]
pub fn sh_in(dir: &Path, script: &str) -> String {
    let mut bash = Command::new("bash");
    let output = output_of(bash.args(["-euc", script]).current_dir(dir));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// One file out of a package archive.
#[track_caller]
pub fn unpack(archive: &Path, file: &str) -> String {
    let script = format!("bsdtar -xOf '{}' '{file}'", archive.display());
    sh_in(Path::new("/"), &script)
}

/// A Git server for all that is, or will be, in `dir`, on a port of its own.
fn serve_git(dir: &Path) -> u16 {
    fs::create_dir_all(dir).unwrap();
    let dir = dir.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut daemon = Command::new("git")
                .args(["daemon", "--inetd", "--export-all"])
                .arg(format!("--base-path={}", dir.display()))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut replies = stream.try_clone().unwrap();
            let mut output = daemon.stdout.take().unwrap();
            let input = daemon.stdin.take().unwrap();
            thread::spawn(move || {
                let _ = io::copy(&mut output, &mut replies);
                let _ = replies.shutdown(Shutdown::Write);
                daemon.wait()
            });
            thread::spawn(move || pass_on(stream, input));
        }
    });
    port
}

/// Passes on what a Git client sends. Each packet is acknowledged at once: the client sends a request in several, and
/// waits with the next for that, which would cost 40 ms twice a clone (and nothing over https, as lists have it).
fn pass_on(mut stream: TcpStream, mut input: impl Write) {
    let mut buffer = [0; 8192];
    loop {
        sockopt::set_tcp_quickack(&stream, true).unwrap();
        match stream.read(&mut buffer) {
            Ok(n @ 1..) if input.write_all(&buffer[..n]).is_ok() => (),
            _ => return,
        }
    }
}
