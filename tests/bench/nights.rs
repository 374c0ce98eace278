//! Nights on which nothing has changed, with a builder image that is kept and a state that is remembered, against the same with
//! `--fresh` and against a `docker run` loop on an image that is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value};

use crate::http_git::HttpGit;
use crate::proxy::watched;
use crate::util::{BASE_IMAGE, World, docker, run, sh_in, trivial};
use crate::{median, spread};

/// How many entries there are.
const COUNTS: [usize; 4] = [1, 10, 100, 1000];

/// A base-devel as Arch's is: that many bytes to download and to unpack.
const PACKED: usize = 126_000_000;
const UNPACKED: usize = 300_000_000;

pub struct Nights<'w> {
    world: &'w World,
    git: HttpGit,
    state: PathBuf,
    mirror: String,
}

impl<'w> Nights<'w> {
    pub fn new(world: &'w World) -> Nights<'w> {
        let git = HttpGit::serve(&world.dir.path().join("git"));
        let arch = std::env::consts::ARCH;
        // The base image's own repository, and a package in base-devel that is as large as all of Arch's.
        let core = world.dir.path().join("server/core").join(arch);
        fs::create_dir_all(&core).unwrap();
        let build = format!(
            "mkdir -p /tmp/b && cd /tmp/b && printf '%s\\n' pkgname=bulk pkgver=1 pkgrel=1 'arch=(any)' 'groups=(base-devel)' \
             'options=(!strip)' 'package() {{ install -d \"$pkgdir/usr/share/bulk\"; head -c {PACKED} /dev/urandom >\"$pkgdir/usr/share/bulk/a\"; \
             head -c {} /dev/zero >\"$pkgdir/usr/share/bulk/b\"; }}' >PKGBUILD && chown -R nobody . && chown nobody /srv/core && \
             setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/tmp/b PKGDEST=/srv/core makepkg --nodeps && \
             repo-add -q /srv/core/core.db.tar.gz /srv/core/bulk*",
            UNPACKED - PACKED
        );
        let name = "vieter-test-bulk";
        docker(&["run", "--name", name, &BASE_IMAGE, "bash", "-c", &build]);
        docker(&["cp", &format!("{name}:/srv/core/."), core.to_str().unwrap()]);
        docker(&["rm", name]);
        Nights {
            world,
            state: world.dir.path().join("state.json"),
            mirror: format!("{}/core/{arch}", world.server.url()),
            git,
        }
    }

    fn vieter(&self, args: &[&str]) -> std::process::Command {
        let mut vieter = self.world.vieter();
        vieter.args(["--mirror", &self.mirror]);
        vieter.arg("--state").arg(&self.state).args(args);
        vieter
    }

    /// Seconds of a run that ends with this exit code.
    fn timed(&self, args: &[&str], code: i32) -> f64 {
        let start = Instant::now();
        run(&mut self.vieter(args)).exits(code);
        start.elapsed().as_secs_f64()
    }

    /// Puts so many entries on the list that are alike, but for their names and URLs, and have been looked at.
    fn fill(&self, name: &str, pkgbuild: &str, count: usize) {
        let one = format!("{name}-0");
        let world = self.world;
        world.git(&one, &[("PKGBUILD", &pkgbuild.replace(name, &one))]);
        let listed = |name: &str| world.list(&self.git.url(name), "bur");
        let before: Map<_, _> = match fs::read(&self.state) {
            Ok(bytes) => serde_json::from_slice::<Value>(&bytes).unwrap()["entries"]
                .as_object()
                .unwrap()
                .clone(),
            Err(_) => Map::new(),
        };
        listed(&one);
        run(&mut self.vieter(&[]));
        let mut state: Value = serde_json::from_slice(&fs::read(&self.state).unwrap()).unwrap();
        let entries = state["entries"].as_object_mut().unwrap();
        let (key, seen) = entries
            .iter()
            .find(|(key, _)| !before.contains_key(*key))
            .unwrap();
        let (key, seen) = (key.clone(), seen.to_string());
        let version = serde_json::from_str::<Value>(&seen).unwrap()["version"]
            .as_str()
            .unwrap()
            .to_owned();
        for n in 1..count {
            let its = format!("{name}-{n}");
            let _ = std::os::unix::fs::symlink(world.git_dir(&one), world.git_dir(&its));
            let of_it = |text: &str| text.replace(&one, &its);
            entries.insert(of_it(&key), serde_json::from_str(&of_it(&seen)).unwrap());
            world.server.put(
                "bur",
                std::env::consts::ARCH,
                &format!("{its}-{version}"),
                "",
            );
            listed(&its);
        }
        fs::write(&self.state, state.to_string()).unwrap();
    }

    /// Writes a file that approves so many plain entries as they are.
    fn approved(&self, count: usize) -> String {
        let commit = sh_in(&self.world.git_dir("plain-0"), "git rev-parse HEAD");
        let line = |n| {
            format!(
                "{} branch=main {commit}\n",
                self.git.url(&format!("plain-{n}"))
            )
        };
        let lines: String = (0..count).map(line).collect();
        let path = self.world.dir.path().join("approved");
        fs::write(&path, lines).unwrap();
        path.display().to_string()
    }

    /// Forgets the list, and all that is remembered.
    fn empty(&self) {
        self.world.server.clear_list();
        let _ = fs::remove_file(&self.state);
    }

    /// Measures, and prints a table; `looped` is what a `docker run` loop takes for a repository, in seconds.
    pub fn measure(&self, rounds: usize, looped: f64) {
        let plain = trivial("plain");
        self.world.git("upstream", &[("file", "1")]);
        let source = format!("git+{}", self.git.url("upstream"));
        let vcs = format!(
            "pkgname=vcs\npkgver=1\npkgrel=1\narch=(any)\nsource=('src::{source}')\nsha256sums=(SKIP)\n\
             pkgver() {{ echo 1; }}\npackage() {{ :; }}\n"
        );
        let bad =
            "pkgname=bad\npkgver=1\npkgrel=1\narch=(any)\nbuild() { false; }\npackage() { :; }\n";

        println!("| a night without a change | vieter | compared with | ratio | target |");
        println!("| --- | --- | --- | --- | --- |");
        let row = |what: &str, vieter: String, other: String, ratio: String, target: &str| {
            println!("| {what} | {vieter} | {other} | {ratio} | {target} |");
        };

        self.empty();
        self.fill("plain", &plain, 1);
        let (mut kept, mut fresh) = (vec![], vec![]);
        for _ in 0..rounds {
            fresh.push(self.timed(&["--fresh", "--force"], 0));
            kept.push(self.timed(&[], 0));
        }
        let fresh_only = {
            let mut runs = vec![];
            for _ in 0..rounds {
                runs.push(self.timed(&["--fresh"], 0));
            }
            runs
        };
        let ratio = median(&kept) / median(&fresh_only);
        row(
            "1 entry",
            spread(&kept, 2),
            format!(
                "with `--fresh`, 126 MB to download: {}",
                spread(&fresh_only, 2)
            ),
            format!("{ratio:.2}"),
            "at most 0.15",
        );
        row(
            "1 entry that is built",
            spread(&self.built(rounds), 2),
            format!("with `--fresh`: {}", spread(&fresh, 2)),
            String::new(),
            "",
        );
        let mut last: Option<(usize, f64)> = None;
        for count in COUNTS {
            self.empty();
            self.fill("plain", &plain, count);
            let times: Vec<f64> = (0..rounds).map(|_| self.timed(&[], 0)).collect();
            let each = median(&times) / count as f64;
            let line = last.map_or(String::new(), |(than, before)| {
                let more = (median(&times) - before) / (count - than) as f64;
                format!("{:.1} ms more for each", more * 1000.0)
            });
            let loops = format!(
                "a `docker run` loop: {:.1} s; {line}",
                looped * count as f64
            );
            let target = if count == 100 {
                "at most 3 s and 0.04"
            } else {
                ""
            };
            row(
                &format!("{count} plain"),
                spread(&times, 2),
                loops,
                format!("{:.3}", each / looped),
                target,
            );
            last = Some((count, median(&times)));
            if count == 100 {
                let approved = self.approved(count);
                let times: Vec<f64> = (0..rounds)
                    .map(|_| self.timed(&["--approved", &approved], 0))
                    .collect();
                row(
                    "the same, approved",
                    spread(&times, 2),
                    String::new(),
                    String::new(),
                    "no more",
                );
            }
        }
        for (name, pkgbuild, code) in [("vcs", vcs.as_str(), 0), ("bad", bad, 1)] {
            self.empty();
            let (own, what) = match code {
                0 => (100, "100 with `pkgver()`"),
                _ => (10, "90 plain, and 10 that failed"),
            };
            self.fill(name, pkgbuild, own);
            if own < 100 {
                self.fill("plain", &plain, 100 - own);
            }
            let times: Vec<f64> = (0..rounds).map(|_| self.timed(&[], code)).collect();
            let loops = format!("a `docker run` loop: {:.1} s", looped * 100.0);
            row(
                what,
                spread(&times, 2),
                loops,
                format!("{:.3}", median(&times) / 100.0 / looped),
                "",
            );
        }
        self.cost(&plain);
    }

    /// Seconds of runs that build one entry, on the kept image.
    fn built(&self, rounds: usize) -> Vec<f64> {
        (0..rounds).map(|_| self.timed(&["--force"], 0)).collect()
    }

    /// What a night costs beside time.
    fn cost(&self, plain: &str) {
        self.empty();
        self.fill("plain", plain, 100);
        for (what, args) in [
            ("a night without a change, 100 entries", &[][..]),
            ("the same with `--fresh`", &["--fresh"]),
        ] {
            let before = (moved(), written());
            let (night, asked) = watched(self.world, &mut self.vieter(args));
            night.exits(0);
            let (moved, written) = (moved() - before.0, written() - before.1);
            println!(
                "\n{what}: {} requests to the engine, {:.1} MB over the network (loopback: Git, the server, the mirror), \
                 {:.1} MB written to the disk.",
                asked.len(),
                moved as f64 / 1e6,
                written as f64 / 1e6
            );
        }
    }
}

/// Bytes over the loopback interface so far.
fn moved() -> u64 {
    let bytes = fs::read_to_string("/sys/class/net/lo/statistics/rx_bytes");
    bytes.unwrap().trim().parse().unwrap()
}

/// Bytes written to all disks so far.
fn written() -> u64 {
    let script = "sync; awk '$3 !~ /^(loop|ram)/ && $3 !~ /[0-9]p?[0-9]$/ { sum += $10 } END { printf \"%.0f\", sum * 512 }' /proc/diskstats";
    sh_in(Path::new("/"), script).parse().unwrap()
}
