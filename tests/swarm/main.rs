//! Parts of a list on a real Docker Swarm: two engines, each in a network namespace of its own, of which one dies in the middle.
//! It is run by `make test-engines`, as root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use standin::Standin;
use vieter::owners::Key;
use vieter::shard::Shard;

#[path = "../standin/server.rs"]
mod standin;

/// What the engines call this machine.
const HOST: &str = "10.77.0.254";

/// How many packages there are, and how many of them make a chain of needs.
const PACKAGES: usize = 16;
const CHAIN: usize = 4;

/// Nothing takes longer, even on a slow machine.
const BOUND: Duration = Duration::from_secs(600);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Runs a script of bash's in the tests' settings; gives what it prints.
fn sh(script: &str) -> String {
    let mut bash = Command::new("bash");
    let bash = bash.args(["-euo", "pipefail", "-c", &format!(". ./settings\n{script}")]);
    let output = bash.current_dir(root().join("tests/env")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An engine of the swarm; it ends when dropped.
struct Engine {
    name: &'static str,
    address: String,
}

impl Engine {
    fn start(name: &'static str) -> Engine {
        let address = sh(&format!("./engine start {name}"));
        sh(&format!(
            "docker save vieter:dev \"$BASE_IMAGE\" | DOCKER_HOST={address} docker load --quiet"
        ));
        Engine { name, address }
    }

    fn docker(&self, args: &str) -> String {
        sh(&format!("DOCKER_HOST={} docker {args}", self.address))
    }

    fn kill(&self) {
        sh(&format!("./engine stop {}", self.name));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let stop = root().join("tests/env/engine");
        let _ = Command::new(stop).args(["stop", self.name]).output();
    }
}

/// A server for the engines; it ends when dropped.
struct Server(Child);

impl Server {
    fn start(command: &str) -> Server {
        let mut bash = Command::new("bash");
        let bash = bash.args(["-c", &format!(". ./settings; exec {command}")]);
        let bash = bash.current_dir(root().join("tests/env"));
        Server(
            bash.stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is so, with what there is to be told if it never is.
fn wait_until(what: &str, tell: impl Fn() -> String, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < BOUND, "{what}, in vain:\n{}", tell());
        thread::sleep(Duration::from_millis(200));
    }
}

/// What a package's entry is known by.
fn key(name: &str) -> Key {
    Key {
        url: format!("git://{HOST}/{name}"),
        branch: "main".to_owned(),
        path: String::new(),
    }
}

/// Makes the packages, each of which takes a moment, and needs the next one of its chain.
fn make_packages(git: &Path, server: &Standin) {
    for number in 0..PACKAGES {
        let name = format!("p{number:02}");
        let needs = match number % CHAIN {
            0 => String::new(),
            _ => format!("p{:02}", number - 1),
        };
        make_package(git, server, &name, &needs, "sleep 2");
    }
}

/// Makes a package, and an entry of the list.
fn make_package(git: &Path, server: &Standin, name: &str, needs: &str, build: &str) {
    let dir = git.join(name);
    fs::create_dir_all(&dir).unwrap();
    let recipe = format!(
        "pkgname={name}\npkgver=1\npkgrel=1\narch=(any)\ndepends=({needs})\nbuild() {{ {build}; }}\n\
         package() {{ install -d \"$pkgdir/usr/share/{name}\"; }}\n"
    );
    fs::write(dir.join("PKGBUILD"), recipe).unwrap();
    let commit =
        "git init -q -b main . && git add -A && git -c user.name=t -c user.email=t@t commit -qm it";
    sh(&format!("cd '{}' && {commit}", dir.display()));
    let url = format!("git://{HOST}/{name}");
    server.list(json!({"url": url, "branch": "main", "arch": ["x86_64"], "repo": "bur"}));
}

/// Asserts that the same part on two machines at once publishes nothing twice: who comes second finds it there.
fn build_one_part_on_two_machines(dir: &Path, git: &Path, engines: &[Engine; 2]) {
    let server = Standin::start(&format!("{HOST}:0"), &dir.join("other"), "s3cret").unwrap();
    let url = server.url();
    let waits = format!(
        "curl -s {url}/static/began-$WHO; until curl -fso /dev/null {url}/static/go-$WHO; do sleep 0.1; done"
    );
    make_package(git, &server, "twice", "", &waits);
    let go = dir.join("other/static");
    fs::create_dir_all(&go).unwrap();
    let base = sh("echo \"$BASE_IMAGE\"");
    let mirror = format!("http://{HOST}:5079/{base}");
    let runs: Vec<Child> = engines
        .iter()
        .map(|engine| {
            Command::new(root().join("target/static/vieter"))
                .args(["build", "--shard", "1/1", "--network", "host"])
                .args(["--base-image", &base, "--mirror", &mirror])
                .args(["--env", &format!("WHO={}", engine.name)])
                .env_clear()
                .envs([
                    ("VIETER_ADDRESS", url.as_str()),
                    ("VIETER_API_KEY", "s3cret"),
                ])
                .env("DOCKER_HOST", &engine.address)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for engine in engines {
        server.wait_for(&format!("GET /static/began-{}", engine.name));
    }
    let counts = [
        "1 built, 0 up to date, 0 failed",
        "0 built, 1 up to date, 0 failed",
    ];
    for ((engine, run), counts) in engines.iter().zip(runs).zip(counts) {
        fs::write(go.join(format!("go-{}", engine.name)), "").unwrap();
        let output = run.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(counts), "{text}");
    }
    assert_eq!(server.accepted(), ["twice 1-1"]);
}

#[test]
fn what_a_dead_machine_leaves_is_done_elsewhere_and_each_version_is_published_once() {
    let dir = TempDir::new().unwrap();
    let engines = ["swarm1", "swarm2"].map(Engine::start);
    let [manager, worker] = &engines;
    manager.docker("swarm init --advertise-addr 10.77.0.1");
    let token = manager.docker("swarm join-token -q worker");
    worker.docker(&format!("swarm join --token {token} 10.77.0.1:2377"));

    let server =
        Standin::start(&format!("{HOST}:0"), &dir.path().join("server"), "s3cret").unwrap();
    let git = dir.path().join("git");
    make_packages(&git, &server);
    let _git = Server::start(&format!(
        "git daemon --listen={HOST} --reuseaddr --export-all --base-path='{}'",
        git.display()
    ));
    let _core = Server::start(&format!(
        "python3 -m http.server --bind {HOST} --directory \"$STATE/core\" 5079"
    ));

    let answers =
        format!("git ls-remote git://{HOST}/p00 && curl -fsS -o /dev/null http://{HOST}:5079/");
    wait_until("waiting for the servers", String::new, || {
        Command::new("bash")
            .args(["-c", &answers])
            .output()
            .unwrap()
            .status
            .success()
    });

    build_one_part_on_two_machines(dir.path(), &git, &engines);

    // The documented file, and what these engines have at another place.
    let base = sh("echo \"$BASE_IMAGE\"");
    let more = dir.path().join("more.yml");
    let text = format!(
        "version: '3.8'\nservices:\n  shard:\n    networks: [outside]\n    environment:\n      \
         - 'VIETER_ADDRESS={}'\n      - 'VIETER_BASE_IMAGE={base}'\n      - 'VIETER_MIRROR=http://{HOST}:5079/{base}'\n      \
         - 'VIETER_NETWORK=host'\n      - 'VIETER_TIMEOUT=600'\n    volumes:\n      \
         - '/run/engine/engine.sock:/var/run/docker.sock'\nnetworks:\n  outside: {{external: true, name: host}}\n",
        server.url()
    );
    fs::write(&more, text).unwrap();
    manager.docker("secret create vieter_key - <<< s3cret");
    let stack = root().join("cron/stack.yml");
    manager.docker(&format!(
        "stack deploy --resolve-image never -c '{}' -c '{}' vieter",
        stack.display(),
        more.display()
    ));

    let tasks = || {
        manager.docker("service ps --no-trunc vieter_shard")
            + &manager.docker("service logs vieter_shard 2>&1 | tail -n 100")
    };
    wait_until("waiting for the first packages", tasks, || {
        server.accepted().len() >= 3
    });
    let on_worker = || worker.docker("ps --quiet --filter label=vieter.run");
    wait_until("waiting for a build on the worker", tasks, || {
        !on_worker().is_empty()
    });
    let nodes = manager
        .docker("service ps --filter desired-state=running --format '{{.Node}}' vieter_shard");
    for node in ["swarm1", "swarm2"] {
        assert!(nodes.lines().any(|it| it == node), "{nodes}");
    }
    // A part of the worker's isn't done, so that it has to be done elsewhere.
    let parts = manager.docker(
        "service ps --filter desired-state=running --filter node=swarm2 --format '{{.Name}}' vieter_shard",
    );
    let shards = parts.lines().map(|it| {
        let (_, slot) = it.rsplit_once('.').unwrap();
        format!("{slot}/4").parse::<Shard>().unwrap()
    });
    let shards: Vec<Shard> = shards.collect();
    let accepted = server.accepted();
    let mut missing = (0..PACKAGES).map(|it| format!("p{it:02}"));
    let is_missing = |name: &String| !accepted.contains(&format!("{name} 1-1"));
    assert!(
        missing.any(|it| is_missing(&it) && shards.iter().any(|shard| shard.has(&key(&it)))),
        "{parts}\n{accepted:?}"
    );
    worker.kill();

    wait_until("waiting for all packages", tasks, || {
        server.published("bur").len() == PACKAGES
    });
    let mut accepted = server.accepted();
    accepted.sort();
    let expected: Vec<String> = (0..PACKAGES).map(|it| format!("p{it:02} 1-1")).collect();
    assert_eq!(accepted, expected);
    // All four are where there is room still.
    let slots = || {
        let names =
            "ps --filter label=com.docker.swarm.service.name=vieter_shard --format '{{.Names}}'";
        let names = manager.docker(names);
        let mut slots: Vec<String> = names
            .lines()
            .filter_map(|it| it.split('.').nth(1))
            .map(str::to_owned)
            .collect();
        slots.sort_unstable();
        slots
    };
    wait_until("waiting for all four", tasks, || {
        slots() == ["1", "2", "3", "4"]
    });
    // When their runs have ended, nothing is left, whatever its labels are, but the stack's own and images with names.
    let left = || {
        let all = [
            "ps --all --format 'the container {{.Names}}'",
            "volume ls --format 'the volume {{.Name}}'",
            "images --filter dangling=true --format 'the image {{.ID}}'",
            "images --format '{{.Repository}}:{{.Tag}}'",
        ];
        let is_left = |it: &&str| {
            let own = ["the container vieter_shard.", "the volume vieter-state-"];
            let known = ["", &base, "vieter:dev", "vieter-build:kept"];
            !known.contains(it) && !own.iter().any(|own| it.starts_with(own))
        };
        let all = all.map(|it| manager.docker(it)).join("\n");
        let left = all.lines().filter(is_left).map(|it| format!("{it}\n"));
        left.collect::<String>()
    };
    let tell = || left() + &tasks();
    wait_until("waiting for nothing to be left", tell, || left().is_empty());
}
