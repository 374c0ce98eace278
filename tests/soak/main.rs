//! What `make soak` runs: the real binary, over and over, with a server and an engine behind faults, killed at random
//! moments; then once undisturbed. At its end nothing is left on the engine, nothing that the server has filed is missing,
//! and each repository that was finished has its line.
//!
//! `VIETER_SOAK_MINUTES` says how long (60), `VIETER_SOAK_SEED` which faults; when they strike is up to the machine, too.

// Tests may panic: that is how they fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

mod proxy;
mod random;
#[path = "../standin/server.rs"]
mod standin;
#[allow(dead_code)]
#[path = "../it/util.rs"]
mod util;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proxy::{Faults, before_engine, before_server};
use random::Random;
use rustix::process::{Pid, Signal, kill_process};
use util::{KEPT, KEY, World, docker, left_behind};

/// The pkgbases, each of a repository of its own.
const PACKAGES: [&str; 5] = ["one", "pair", "large", "needs", "last"];

/// No run takes longer, whatever happens: what it waits for has bounds.
const LONGEST: Duration = Duration::from_secs(20 * 60);

fn main() {
    let set = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|it| it.parse::<u64>().unwrap())
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = set("VIETER_SOAK_SEED").unwrap_or(now.as_nanos() as u64);
    let minutes = set("VIETER_SOAK_MINUTES").unwrap_or(60);
    println!("soak: {minutes} minutes, VIETER_SOAK_SEED={seed}");
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut soak = Soak::new(Random(seed));
    let mut usual = soak.run(Disturbed::Not);
    while Instant::now() < end {
        let disturbed = match soak.random.below(4) {
            0 => Disturbed::ByFaults,
            1 => Disturbed::Killed(Signal::KILL, usual.mul_f64(soak.part())),
            _ => Disturbed::Killed(Signal::TERM, usual.mul_f64(soak.part())),
        };
        soak.run(disturbed);
        // A machine that is slow for a while has slow runs.
        if soak.runs.is_multiple_of(10) {
            usual = soak.run(Disturbed::Not);
        }
    }
    soak.run(Disturbed::Not);
    soak.report();
}

/// What is done to a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Disturbed {
    Not,
    ByFaults,
    /// After so long; by faults, too.
    Killed(Signal, Duration),
}

struct Soak {
    world: World,
    random: Random,
    of_server: Faults,
    of_engine: Faults,
    address: String,
    /// What the server has filed: the newest version of each package.
    filed: BTreeMap<String, u64>,
    /// The version of each PKGBUILD.
    wanted: BTreeMap<&'static str, u64>,
    runs: u64,
    kills: BTreeMap<String, u64>,
    ends: BTreeMap<String, u64>,
    archives: usize,
    lines: usize,
    /// Repositories whose run was killed between the filing of an archive and their line.
    at_work: usize,
    losses: Vec<String>,
}

impl Soak {
    fn new(mut random: Random) -> Soak {
        let world = World::new();
        let (of_server, of_engine) = (Faults::new(random.split()), Faults::new(random.split()));
        let address = format!("http://{}", before_server(world.server.address, &of_server));
        before_engine(&world.dir.path().join("engine.sock"), &of_engine);
        let mut soak = Soak {
            world,
            random,
            of_server,
            of_engine,
            address,
            filed: BTreeMap::new(),
            wanted: BTreeMap::new(),
            runs: 0,
            kills: BTreeMap::new(),
            ends: BTreeMap::new(),
            archives: 0,
            lines: 0,
            at_work: 0,
            losses: vec![],
        };
        for name in PACKAGES {
            let url = soak.change(name);
            soak.world.list(&url, "bur");
        }
        soak
    }

    /// A part of a whole.
    fn part(&mut self) -> f64 {
        self.random.below(1000) as f64 / 1000.0
    }

    /// Gives a package a new version.
    fn change(&mut self, name: &'static str) -> String {
        let version = self.wanted.entry(name).or_insert(0);
        *version += 1;
        let names = if name == "pair" {
            "pair-x pair-y"
        } else {
            name
        };
        let depends = if name == "needs" { "one" } else { "" };
        let mut pkgbuild = format!(
            "pkgbase={name}\npkgname=({names})\npkgver={version}\npkgrel=1\narch=(any)\ndepends=({depends})\n"
        );
        for name in names.split(' ') {
            let function = if names.contains(' ') {
                format!("package_{name}")
            } else {
                "package".to_owned()
            };
            let size = if name == "large" { 8_000_000 } else { 1000 };
            pkgbuild +=
                &format!("{function}() {{ head -c {size} /dev/urandom >\"$pkgdir/{name}\"; }}\n");
        }
        self.world.git(name, &[("PKGBUILD", &pkgbuild)])
    }

    /// One run: some packages have changed, some things go wrong. Gives how long it took.
    fn run(&mut self, disturbed: Disturbed) -> Duration {
        for name in PACKAGES {
            if self.random.below(2) == 0 {
                self.change(name);
            }
        }
        if disturbed != Disturbed::Not {
            let (server, engine) = (self.random.below(4), self.random.below(3));
            self.of_server
                .happen_once_in([0, 30, 8, 3][server as usize]);
            self.of_engine.happen_once_in([0, 20, 8][engine as usize]);
        }
        let dir = self.world.dir.path();
        let (stdout, log) = (dir.join("stdout"), dir.join("log"));
        let started = Instant::now();
        // The builder image is made anew now and then, so that that is killed, too.
        let is_fresh = self.random.below(3) == 0;
        let mut child = self
            .world
            .vieter()
            .env("VIETER_FRESH", if is_fresh { "yes" } else { "no" })
            .env("VIETER_ADDRESS", &self.address)
            .env(
                "DOCKER_HOST",
                format!("unix://{}", dir.join("engine.sock").display()),
            )
            .env("VIETER_TIMEOUT", "120")
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let (ended, end) = channel();
        let killer = thread::spawn(move || {
            if let Disturbed::Killed(signal, after) = disturbed {
                if end.recv_timeout(after).is_err() {
                    let _ = kill_process(pid, signal);
                }
            } else if end.recv_timeout(LONGEST).is_err() {
                let _ = kill_process(pid, Signal::ABORT);
            }
        });
        let status = child.wait().unwrap();
        let took = started.elapsed();
        let _ = ended.send(());
        killer.join().unwrap();
        self.of_server.happen_once_in(0);
        self.of_engine.happen_once_in(0);
        self.of_server.wait_until_idle();
        self.runs += 1;
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (_, Some(9)) => "SIGKILL".to_owned(),
            (_, Some(15)) => "SIGTERM".to_owned(),
            (_, signal) => format!("signal {signal:?}"),
        };
        let ends = if status.code().is_some() {
            &mut self.ends
        } else {
            &mut self.kills
        };
        *ends.entry(how.clone()).or_default() += 1;
        let (stdout, log) = (
            fs::read_to_string(stdout).unwrap(),
            fs::read_to_string(log).unwrap(),
        );
        let losses = self.losses.len();
        self.look(&stdout, &log, status.code(), disturbed == Disturbed::Not);
        println!(
            "run {}: {disturbed:?}: {how} after {:.1} s",
            self.runs,
            took.as_secs_f64()
        );
        let is_odd = |line: &&str| !line.starts_with("built") && !line.starts_with("up to date");
        stdout
            .lines()
            .filter(is_odd)
            .for_each(|it| println!("    {it}"));
        if !matches!(status.code(), Some(0 | 1)) {
            println!("    {}", log.lines().next_back().unwrap_or(""));
        }
        if self.losses.len() > losses {
            println!(
                "{}\n--- stdout\n{stdout}--- log\n{log}---",
                self.losses[losses..].join("\n")
            );
        }
        took
    }

    /// Looks at what a run has said and done. Only if it was killed may one repository lack its line: that at work.
    fn look(&mut self, stdout: &str, log: &str, code: Option<i32>, is_undisturbed: bool) {
        let run = self.runs;
        let mut losses = vec![];
        let mut lose = |what: String| losses.push(format!("LOSS in run {run}: {what}"));
        if stdout.contains(KEY) || log.contains(KEY) {
            lose("the key was shown".to_owned());
        }
        if log.contains("panicked") || !matches!(code, None | Some(0 | 1 | 3 | 4)) {
            lose(format!("it ended with {code:?}"));
        }
        // What the server had is still there, and what came is told.
        let before = std::mem::take(&mut self.filed);
        let now = self.world.server.published("bur");
        for file in &now {
            let mut parts = file.rsplitn(4, '-').skip(2);
            let (version, name) = (parts.next().unwrap(), parts.next().unwrap());
            let double = self.filed.insert(name.to_owned(), version.parse().unwrap());
            if double.is_some() {
                lose(format!("{name} is there twice: {now:?}"));
            }
        }
        for (name, version) in &before {
            if self.filed.get(name).is_none_or(|it| it < version) {
                lose(format!("{name} {version} is gone: {now:?}"));
            }
        }
        let has_line = |base: &str, starts: &[&str]| {
            let is_it = |line: &str| {
                let mut words = line.trim_start_matches("up to date").split_whitespace();
                let is_of_it =
                    line.contains(&format!("/{base} ")) || line.ends_with(&format!("/{base}"));
                starts.iter().any(|it| line.starts_with(it))
                    && (is_of_it || words.any(|it| it == base))
            };
            stdout.lines().any(is_it)
        };
        let came: Vec<_> = self
            .filed
            .iter()
            .filter(|(name, version)| before.get(*name) != Some(version))
            .collect();
        self.archives += came.len();
        let bases: BTreeSet<&str> = came
            .iter()
            .map(|(name, _)| name.split('-').next().unwrap())
            .collect();
        let untold: Vec<_> = bases
            .iter()
            .filter(|it| !has_line(it, &["built", "failed", "not built"]))
            .collect();
        match untold.as_slice() {
            [] => (),
            [_] if code.is_none() => self.at_work += 1,
            untold => lose(format!(
                "the server has {came:?}, and {untold:?} have no line"
            )),
        }
        // What is told is there.
        for line in stdout.lines().filter(|it| it.starts_with("built ")) {
            self.lines += 1;
            let base = line.split_whitespace().nth(1).unwrap();
            if !bases.contains(base) {
                lose(format!(
                    "the server has nothing new of {base}, and {line:?} was said"
                ));
            }
        }
        if matches!(code, Some(0 | 1)) {
            let all = ["built", "up to date", "failed"];
            let untold: Vec<_> = PACKAGES.iter().filter(|it| !has_line(it, &all)).collect();
            if !untold.is_empty() {
                lose(format!("{untold:?} have no line"));
            }
        }
        if is_undisturbed {
            let (containers, images) = left_behind();
            let lacks = |(name, version): &(&&str, &u64)| {
                let archives: &[&str] = if **name == "pair" {
                    &["pair-x", "pair-y"]
                } else {
                    &[**name]
                };
                archives
                    .iter()
                    .any(|it| self.filed.get(*it) != Some(*version))
            };
            let lacking: Vec<_> = self.wanted.iter().filter(lacks).collect();
            if code != Some(0) || !lacking.is_empty() {
                lose(format!(
                    "undisturbed, it ended with {code:?}, and {lacking:?} weren't published"
                ));
            }
            // The one that is kept is whole.
            docker(&["run", "--rm", "--entrypoint", "makepkg", KEPT, "--version"]);
            if !(containers.is_empty() && images.is_empty()) {
                lose(format!(
                    "on the engine are left {containers:?} and {images:?}"
                ));
            }
        }
        self.losses.extend(losses);
    }

    fn report(&self) {
        let list = |all: &BTreeMap<_, _>| {
            all.iter()
                .map(|(what, count)| format!("{count} {what}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let of = |faults: &Faults| {
            let seen = faults
                .seen()
                .into_iter()
                .map(|(what, count)| (what.to_owned(), count as u64));
            list(&seen.collect())
        };
        println!("\nruns: {} ({})", self.runs, list(&self.ends));
        println!("kills: {}", list(&self.kills));
        println!("faults: {}; {}", of(&self.of_server), of(&self.of_engine));
        println!(
            "published: {} archives, {} lines of `built`; killed between an archive and its line: {}",
            self.archives, self.lines, self.at_work
        );
        println!("losses: {}", self.losses.len());
        for loss in &self.losses {
            println!("{loss}");
        }
        assert!(self.losses.is_empty());
    }
}
