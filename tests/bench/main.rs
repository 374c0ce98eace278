//! What `make bench` runs: the real binary against what a shell does with the same engine, in turn, on the real parts of
//! the tests, and a table of medians with the targets beside it. Ratios are taken pair by pair, so that they hold when
//! the machine's speed drifts.

// Tests may panic: that is how they fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

#[allow(dead_code)]
#[path = "../it/http_git.rs"]
mod http_git;
mod nights;
#[allow(dead_code)]
#[path = "../it/proxy.rs"]
mod proxy;
mod shards;
#[path = "../standin/server.rs"]
mod standin;
#[allow(dead_code)]
#[path = "../it/util.rs"]
mod util;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use util::{BASE_IMAGE, KEY, World, assert_nothing_left, docker, sh_in, trivial};

/// How often everything is measured, unless BENCH_ROUNDS says otherwise; with 0, nights and shards alone are, once.
const ROUNDS: usize = 5;

/// How many up-to-date repositories the shell's loop goes through each time.
const LOOP: usize = 5;

/// How many builds are measured each time.
const BUILDS: usize = 5;

/// The size of the large package, in bytes.
const LARGE: usize = 600_000_000;

/// The image of the shell's side, and the name of its container; and that of the one that is made anew for each build.
const SHELL: &str = "vieter-test-bench";
const SHELL_NEW: &str = "vieter-test-bench-new";

/// How the shell starts a container that goes on.
const RUN: [&str; 4] = ["run", "-d", "--network", "host"];

/// What a shell does with a repository, its URL being `$1`: the version goes to the standard output.
const CLONE: &str = r#"git clone --quiet --depth 1 -- "$1" repo && cd repo"#;
const MAKEPKG_NOBUILD: &str = "makepkg --nobuild --nodeps --noconfirm >/dev/null 2>&1";
const VERSION: &str = r#"source ./PKGBUILD && echo "$pkgname-$pkgver-$pkgrel""#;

const LOOPED: [&str; 3] = [CLONE, MAKEPKG_NOBUILD, VERSION];

/// A build in a container that is there already; prints how many microseconds makepkg took.
const MAKEPKG: [&str; 4] = [
    "bash",
    "-c",
    r#"
rm -rf repo packages
git clone --quiet --depth 1 -- "$1" repo
cd repo
ulimit -Sn 1024
start=$EPOCHREALTIME
MAKEFLAGS="-j$(nproc)" PKGDEST=/build/packages makepkg --noconfirm >/dev/null 2>&1 || exit
end=$EPOCHREALTIME
echo $(( ${end/./} - ${start/./} ))
"#,
    "bash",
];

fn main() {
    let rounds = std::env::var("BENCH_ROUNDS").map_or(ROUNDS, |it| it.parse().unwrap());
    let bench = Bench::new();
    let mut all = Samples::default();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        bench.round(&mut all);
    }
    match rounds {
        // Of nights alone, what they are compared with.
        0 => all.docker_run.push(bench.docker_run(&LOOPED)),
        rounds => all.print(rounds),
    }
    println!();
    let nights = nights::Nights::new(&bench.world);
    nights.measure(rounds.max(1), median(&all.docker_run));
    println!();
    shards::measure(&bench.world);
    assert_nothing_left();
}

/// A world with a hundred repositories that are up to date, and the shell's side.
struct Bench {
    world: World,
    urls: Vec<String>,
    build: String,
    large: String,
    conf: PathBuf,
}

/// All figures in seconds, one a round (five for builds), but for the memory, which is in KiB.
#[derive(Default)]
struct Samples {
    repo: Vec<f64>,
    repo_of_10: Vec<f64>,
    docker_run: Vec<f64>,
    docker_run_without_makepkg: Vec<f64>,
    build: Vec<f64>,
    makepkg: Vec<f64>,
    makepkg_again: Vec<f64>,
    upload: Vec<f64>,
    docker_cp: Vec<f64>,
    runs: [Vec<f64>; 3],
    memory: Vec<f64>,
}

/// A run that has ended: its log with the time of each line.
struct Timed {
    lines: Vec<(Instant, String)>,
    total: f64,
    /// In KiB.
    memory: f64,
}

impl Bench {
    fn new() -> Bench {
        let world = World::new();
        let package = |name: String| {
            world
                .server
                .put("bur", std::env::consts::ARCH, &format!("{name}-1.0-1"), "");
            world.git(&name, &[("PKGBUILD", &trivial(&name))])
        };
        let urls = (0..100)
            .map(|it| package(format!("package-{it}")))
            .collect();
        let build = world.git("build", &[("PKGBUILD", &trivial("build"))]);
        let data = format!("head -c {LARGE} /dev/urandom");
        let large = format!(
            "pkgname=large\npkgver=1.0\npkgrel=1\narch=(any)\noptions=(!strip)\n\
             package() {{ install -d \"$pkgdir/usr/share\"; {data} > \"$pkgdir/usr/share/large\"; }}\n"
        );
        let large = world.git("large", &[("PKGBUILD", &large)]);
        let conf = world.dir.path().join("makepkg.conf");
        fs::write(&conf, "PKGEXT=.pkg.tar\n").unwrap();

        // What the shell's containers are made of, and one that is running already.
        let _ = Command::new("docker").args(["rmi", "-f", SHELL]).output();
        let set_up = "useradd --home-dir /build --create-home builder; echo PKGEXT=.pkg.tar >> /etc/makepkg.conf";
        docker(&["run", "--name", SHELL, &BASE_IMAGE, "bash", "-c", set_up]);
        // In Arch's locale and with the archives uncompressed, as what is measured has them too.
        let changes = ["USER builder", "WORKDIR /build", "ENV LANG=C.UTF-8"];
        let changes = changes.map(|it| format!("--change={it}"));
        let [user, workdir, lang] = changes.each_ref().map(String::as_str);
        docker(&["commit", user, workdir, lang, SHELL, SHELL]);
        docker(&["rm", SHELL]);
        docker(&[&RUN[..], &["--name", SHELL, SHELL, "sleep", "infinity"]].concat());
        docker(&[
            "exec",
            SHELL,
            "bash",
            "-c",
            &format!("{data} > large.pkg.tar"),
        ]);
        Bench {
            world,
            urls,
            build,
            large,
            conf,
        }
    }

    fn round(&self, all: &mut Samples) {
        for (row, count) in all.runs.iter_mut().zip([1, 10, 100]) {
            let run = self.vieter(&self.urls[..count], "bur");
            row.push(run.total);
            all.memory.push(run.memory);
            let each = run.repos();
            let mean = each.iter().sum::<f64>() / each.len() as f64;
            match count {
                10 => all.repo_of_10.push(mean),
                100 => all.repo.push(mean),
                _ => (),
            }
        }
        all.docker_run.push(self.docker_run(&LOOPED));
        let steps = [CLONE, VERSION];
        all.docker_run_without_makepkg.push(self.docker_run(&steps));

        // The server keeps nothing of what is published to this one, so all is built each time. Before each makepkg the
        // run is halted, and the shell has its turn.
        let mut urls = vec![self.build.clone(); 1 + BUILDS + 1];
        urls[0].clone_from(&self.urls[0]);
        urls[1 + BUILDS].clone_from(&self.large);
        let run = self.vieter_with(&urls, "discard", Some("building build"), &mut || {
            let name = ["--name", SHELL_NEW, SHELL, "sleep", "infinity"];
            docker(&[&RUN[..], &name].concat());
            for row in [&mut all.makepkg, &mut all.makepkg_again] {
                let exec = [&["exec", SHELL_NEW], &MAKEPKG[..], &[&self.build]].concat();
                row.push(docker(&exec).parse::<f64>().unwrap() / 1e6);
            }
            docker(&["rm", "-f", SHELL_NEW]);
        });
        all.memory.push(run.memory);
        all.build.extend(run.repos());
        let took = run.at("built       large") - run.at("publishing large");
        all.upload.push(took.as_secs_f64());
        all.docker_cp.push(self.docker_cp());
    }

    /// Runs `vieter build` with these repositories on the list.
    fn vieter(&self, urls: &[String], repo: &str) -> Timed {
        self.vieter_with(urls, repo, None, &mut || ())
    }

    /// As [`Bench::vieter`], but halts it, and the clock, whenever it says `piece`, to do something else.
    fn vieter_with(
        &self,
        urls: &[String],
        repo: &str,
        piece: Option<&str>,
        meanwhile: &mut dyn FnMut(),
    ) -> Timed {
        self.world.server.clear_list();
        urls.iter().for_each(|url| self.world.list(url, repo));
        let mut vieter = self.world.vieter();
        vieter.arg("--makepkg-conf").arg(&self.conf);
        // All is built then anyway, and the builder image is brought up to date before the first one.
        if piece.is_some() {
            vieter.arg("--force");
        }
        vieter.stdout(Stdio::null()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = vieter.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let status_file = format!("/proc/{}/status", child.id());
        let (mut lines, mut memory, mut halted) = (vec![], 0.0, Duration::ZERO);
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let (now, line) = (Instant::now(), line.unwrap());
            let is_to_halt = piece.is_some_and(|piece| line.contains(piece));
            lines.push((now - halted, line));
            if is_to_halt {
                let halt = Halt::new(pid);
                meanwhile();
                halted += now.elapsed();
                drop(halt);
            }
            // The most that it ever had; the last time it can be asked is when it cleans up.
            let status = fs::read_to_string(&status_file).unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|it| it.trim().strip_suffix(" kB")?.parse().ok());
            memory = peak.unwrap_or(memory);
        }
        let status = child.wait().unwrap();
        let total = (start.elapsed() - halted).as_secs_f64();
        assert!(status.success(), "{lines:#?}");
        Timed {
            lines,
            total,
            memory,
        }
    }

    /// A shell loop with the same steps; gives seconds a repository.
    fn docker_run(&self, steps: &[&str]) -> f64 {
        let steps = steps.join(" && ");
        let url = self.world.server.url();
        let script = format!(
            "for repo in {}; do\n\
             version=$(docker run --rm --network host {SHELL} bash -c '{steps}' bash \"$repo\")\n\
             curl --silent --fail --head --output /dev/null \"{url}/bur/$(uname -m)/$version\"\n\
             done",
            self.urls[..LOOP].join(" ")
        );
        timed(&script) / LOOP as f64
    }

    /// The large file out of the running container and to the server, as a shell does it; in seconds.
    fn docker_cp(&self) -> f64 {
        let out = format!("docker cp {SHELL}:/build/large.pkg.tar -");
        // The server wants to be told the size, of the tar that `docker cp` makes.
        let size = sh(&format!("{out} | wc -c"));
        let url = self.world.server.url();
        let script = format!(
            "{out} | curl --silent --show-error --fail --upload-file - --request POST \
             --header 'X-Api-Key: {KEY}' --header 'Expect:' --header 'Transfer-Encoding:' \
             --header 'Content-Length: {size}' {url}/discard/publish"
        );
        timed(&script)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for args in [
            ["rm", "-f", SHELL],
            ["rm", "-f", SHELL_NEW],
            ["rmi", "-f", SHELL],
        ] {
            let _ = Command::new("docker").args(args).output();
        }
    }
}

/// A process that is halted until this is dropped.
struct Halt(Pid);

impl Halt {
    fn new(pid: Pid) -> Halt {
        kill_process(pid, Signal::STOP).unwrap();
        Halt(pid)
    }
}

impl Drop for Halt {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }
}

impl Timed {
    /// How long each repository took, in seconds, but for the last, and for the first, which has no container that was
    /// started while another was cloned.
    fn repos(&self) -> Vec<f64> {
        let starts = self
            .lines
            .iter()
            .filter(|it| it.1.contains(" for the repository "));
        let starts: Vec<Instant> = starts.map(|it| it.0).collect();
        let pairs = starts.windows(2).skip(1);
        pairs.map(|it| (it[1] - it[0]).as_secs_f64()).collect()
    }

    /// When the log said this.
    fn at(&self, piece: &str) -> Instant {
        let found = self.lines.iter().find(|(_, line)| line.contains(piece));
        found
            .unwrap_or_else(|| panic!("no {piece:?} in {:#?}", self.lines))
            .0
    }
}

impl Samples {
    fn print(&self, rounds: usize) {
        let ratios = |a: &[f64], b: &[f64]| median(&pairs(a, b, |a, b| a / b));
        let overhead = |makepkg: &[f64]| {
            let overhead = median(&pairs(&self.build, makepkg, |a, b| a - b));
            format!("{overhead:+.2} s")
        };
        let rate = |seconds: f64| LARGE as f64 / 1e6 / seconds;
        let rows = [
            [
                "an up-to-date repository, of 100".to_owned(),
                spread(&self.repo, 2),
                format!("a `docker run` loop: {}", spread(&self.docker_run, 2)),
                format!("{:.2}", ratios(&self.repo, &self.docker_run)),
                "at most 0.30".to_owned(),
            ],
            [
                "the same".to_owned(),
                String::new(),
                format!(
                    "that loop without makepkg: {}",
                    spread(&self.docker_run_without_makepkg, 2)
                ),
                format!(
                    "{:.2}",
                    ratios(&self.repo, &self.docker_run_without_makepkg)
                ),
                String::new(),
            ],
            [
                "a build, all steps".to_owned(),
                spread(&self.build, 2),
                format!(
                    "makepkg, in a new container that is running already: {}",
                    spread(&self.makepkg, 2)
                ),
                overhead(&self.makepkg),
                "at most +0.8 s".to_owned(),
            ],
            [
                "the same".to_owned(),
                String::new(),
                format!(
                    "makepkg once more in that container: {}",
                    spread(&self.makepkg_again, 2)
                ),
                overhead(&self.makepkg_again),
                String::new(),
            ],
            [
                "a package of 600 MB, out and up".to_owned(),
                format!("{:.0} MB/s", rate(median(&self.upload))),
                format!(
                    "`docker cp \\| curl`: {:.0} MB/s",
                    rate(median(&self.docker_cp))
                ),
                format!("{:.2}", ratios(&self.docker_cp, &self.upload)),
                "at least 0.5".to_owned(),
            ],
            [
                "a whole run, 1 repository".to_owned(),
                spread(&self.runs[0], 1),
                String::new(),
                String::new(),
                String::new(),
            ],
            [
                "10 repositories".to_owned(),
                spread(&self.runs[1], 1),
                format!("each: {}", spread(&self.repo_of_10, 2)),
                String::new(),
                String::new(),
            ],
            [
                "100 repositories".to_owned(),
                spread(&self.runs[2], 1),
                format!(
                    "each: {}; {:.2} s by what the run takes longer",
                    spread(&self.repo, 2),
                    median(&pairs(&self.runs[2], &self.runs[1], |a, b| (a - b) / 90.0))
                ),
                format!("{:.2}", ratios(&self.repo, &self.repo_of_10)),
                "a straight line: 1".to_owned(),
            ],
            [
                "peak memory, the most of all runs".to_owned(),
                format!(
                    "{:.1} MiB",
                    self.memory.iter().copied().fold(0.0, f64::max) / 1024.0
                ),
                String::new(),
                String::new(),
                "under 12 MiB".to_owned(),
            ],
        ];
        let engine = docker(&["info", "--format", "{{.ServerVersion}} on {{.Driver}}"]);
        println!("Engine {engine}: medians of {rounds} rounds (and the least to the most).\n");
        println!("| what | vieter | compared with | ratio | target |");
        println!("| --- | --- | --- | --- | --- |");
        rows.iter()
            .for_each(|row| println!("| {} |", row.join(" | ")));
    }
}

/// How long a script takes, in seconds.
fn timed(script: &str) -> f64 {
    let start = Instant::now();
    sh(script);
    start.elapsed().as_secs_f64()
}

fn sh(script: &str) -> String {
    sh_in(Path::new("/"), script)
}

fn pairs(a: &[f64], b: &[f64], compare: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| compare(*a, *b)).collect()
}

fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    match samples.len() % 2 {
        0 => (samples[middle - 1] + samples[middle]) / 2.0,
        _ => samples[middle],
    }
}

/// The median, and the least to the most, in seconds.
fn spread(samples: &[f64], digits: usize) -> String {
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let most = samples.iter().copied().fold(0.0, f64::max);
    let median = median(samples);
    format!("{median:.digits$} s ({least:.digits$} to {most:.digits$})")
}
