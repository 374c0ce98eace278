//! The cron image, as people run it: docker-compose, one-offs, and the binary in an image of nothing else.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::util::{
    BASE_IMAGE, KEY, Lines, World, assert_gone, assert_nothing_left, assert_swept_by_the_next_run,
    docker, left_behind, output_of, sh_in, trivial,
};

const IMAGE: &str = "vieter:dev";
/// The engine's socket, as a volume: one of tests/env/engine has it at a place of its own.
pub fn socket_volume() -> String {
    let own = std::env::var("VIETER_TEST_ENGINE").is_ok();
    let socket = if own {
        "/run/engine/engine.sock"
    } else {
        "/var/run/docker.sock"
    };
    format!("{socket}:/var/run/docker.sock")
}

fn static_binary() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/static/vieter");
    assert!(
        path.exists(),
        "there is no static binary: run `make test`, or `make image` before"
    );
    path
}

/// A project of docker-compose; taken down when dropped.
struct Compose {
    args: Vec<String>,
}

impl Compose {
    /// The documented compose file, or another, and what a test has to change of it; when it runs.
    fn up(world: &World, file: &Path, more: &str, when: &str) -> Compose {
        let more_file = world.dir.path().join("more.yml");
        let url = world.server.url();
        let text = format!(
            "{more}
    network_mode: host
    container_name: vieter-test-cron
    environment:
      - 'VIETER_API_KEY={KEY}'
      - 'VIETER_ADDRESS={url}'
      - 'VIETER_SCHEDULE={when}'
      - 'VIETER_BASE_IMAGE={base}'
      - 'VIETER_NETWORK=host'
",
            base = *BASE_IMAGE
        );
        std::fs::write(&more_file, text).unwrap();
        let files = [file, &more_file].map(|it| it.to_str().unwrap().to_owned());
        let [file, more_file] = files;
        let args = ["-p", "vieter-test", "-f", &file, "-f", &more_file].map(str::to_owned);
        let compose = Compose {
            args: args.to_vec(),
        };
        compose.run(&["up", "-d"]);
        compose
    }

    fn run(&self, args: &[&str]) {
        let output = output_of(Command::new("docker-compose").args(&self.args).args(args));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker-compose {args:?}: {stderr}");
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        let _ = Command::new("docker-compose")
            .args(&self.args)
            .args(["down", "-t", "0", "-v"])
            .output();
    }
}

/// Waits until the container's health has become this. It is named by its id: events of an earlier test's container
/// of the same name are replayed, too.
fn wait_for_health(health: &str) {
    let id = docker(&["inspect", "-f", "{{.Id}}", "vieter-test-cron"]);
    let mut events = Command::new("docker")
        .args([
            "events",
            "--since",
            "1",
            "--filter",
            &format!("container={id}"),
        ])
        .args(["--filter", "event=health_status", "--format", "{{.Status}}"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let wanted = format!("health_status: {health}");
    assert!(Lines::of(events.stdout.take().unwrap()).any(|line| line == wanted));
    events.kill().unwrap();
    events.wait().unwrap();
}

#[test]
fn the_compose_file_builds_and_tells_its_health() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cron/docker-compose.yml");
    let healthcheck = "services:\n  cron:\n    healthcheck:\n      test: ['CMD', 'vieter', 'check']\n      \
        interval: 1s\n      retries: 2";
    let compose = Compose::up(&world, &file, healthcheck, "* * * * *");
    wait_for_health("healthy");
    world.server.wait_for("POST /bur/publish");
    world.server.set_key("another");
    wait_for_health("unhealthy");
    world.server.set_key(KEY);
    // The run may be on still; its end is what the log shows last.
    let mut logs = Command::new("docker")
        .args(["logs", "-f", "vieter-test-cron"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = vec![];
    for line in Lines::of(logs.stdout.take().unwrap()) {
        seen.push(line);
        if seen.last().unwrap().starts_with("1 built, ") {
            break;
        }
    }
    logs.kill().unwrap();
    logs.wait().unwrap();
    assert_eq!(seen[0], "vieter build, at: * * * * * (UTC)");
    assert!(
        seen.iter()
            .any(|line| line.starts_with("built       any 1.0-1  ")),
        "{seen:?}"
    );
    // What was done is remembered in the volume, for the next container.
    let volume = "vieter-test_state:/state";
    let state = docker(&[
        "run",
        "--rm",
        "-v",
        volume,
        IMAGE,
        "cat",
        "/state/state.json",
    ]);
    let state: Value = serde_json::from_str(&state).unwrap();
    let entries = state["entries"].as_object().unwrap();
    let (_, entry) = entries
        .iter()
        .find(|(called, _)| called.contains(&world.url("any")))
        .unwrap();
    assert_eq!(entry["version"], "1.0-1", "{state}");
    drop(compose);
    assert_eq!(left_behind().0, Vec::<String>::new());
    assert_eq!(world.server.published("bur"), ["any-1.0-1-any.pkg.tar.zst"]);
}

#[test]
fn a_container_stopped_in_the_middle_of_a_run_leaves_only_what_the_next_run_sweeps() {
    let world = World::new();
    let url = world.server.url();
    world.package(
        "endless",
        &format!(
            "pkgname=endless\npkgver=1\npkgrel=1\narch=(any)\nbuild() {{ curl -sf {url}/it/builds/now; sleep 1000; }}\npackage() {{ :; }}\n"
        ),
    );
    // What waits a minute before it tries again waits a second.
    let entrypoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("cron/entrypoint");
    let text = std::fs::read_to_string(entrypoint).unwrap();
    assert!(text.contains("sleep 60"));
    let entrypoint = world.dir.path().join("entrypoint");
    std::fs::write(&entrypoint, text.replace("sleep 60", "sleep 1")).unwrap();
    std::fs::set_permissions(&entrypoint, Permissions::from_mode(0o755)).unwrap();
    // As older documentation has it.
    let file = world.dir.path().join("old.yml");
    let text = format!(
        "version: '3'\nservices:\n  cron:\n    image: 'vieter:dev'\n    command: crond -f\n    user: root\n    \
        healthcheck:\n      disable: true\n    volumes:\n      - '/var/run/docker.sock:/var/run/docker.sock'\n      \
        - '{}:/usr/local/bin/entrypoint:ro'\n",
        entrypoint.display()
    );
    std::fs::write(&file, text).unwrap();
    // At its start, as crond never does; and once more, as the first run can't be done.
    world.server.set_key("another");
    let more = "version: '3'\nservices:\n  cron:";
    let when = "0 0 30 2 *'\n      - 'VIETER_AT_START=yes";
    let compose = Compose::up(&world, &file, more, when);
    world.server.wait_for("GET /api/repos");
    world.server.set_key(KEY);
    world.server.wait_for("GET /it/builds/now");
    let requests = world.server.take_requests();
    let runs = requests.iter().filter(|it| *it == "GET /api/repos");
    assert_eq!(runs.count(), 2, "{requests:?}");
    // A builder image that was replaced waits for its sweep, too: which test was the last one decides whether there is one.
    let (containers, _) = left_behind();
    assert_eq!(containers.len(), 2);
    compose.run(&["stop"]);
    assert_gone(&containers);
    drop(compose);
    assert_swept_by_the_next_run(&world);
}

#[test]
fn one_offs_work() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let env = [
        format!("VIETER_API_KEY={KEY}"),
        format!("VIETER_ADDRESS={}", world.server.url()),
        format!("VIETER_BASE_IMAGE={}", *BASE_IMAGE),
        "VIETER_NETWORK=host".to_owned(),
    ];
    let volume = socket_volume();
    let one_off = |args: &[&str]| {
        let mut all = vec!["run", "--rm", "--network", "host", "-v", &volume];
        env.iter().for_each(|it| all.extend(["-e", it]));
        docker(&[&all, args].concat())
    };
    assert!(one_off(&[IMAGE, "vieter", "build"]).contains("built       any 1.0-1  "));
    let check = one_off(&[IMAGE, "vieter", "check"]);
    assert!(check.contains("repositories  ok      1 for "), "{check}");

    // Into a folder that the container has, and no build's does.
    let url = world.git("any", &[]);
    docker(&["volume", "rm", "-f", "vieter-test-repo"]);
    let volume = "vieter-test-repo:/repo";
    let folder = [
        "-v",
        volume,
        "-e",
        "VIETER_ADDRESS=",
        "-e",
        "VIETER_INTO=/repo",
    ];
    let build = [&folder[..], &[IMAGE, "vieter", "build", &url]].concat();
    assert!(one_off(&build).contains("built       any 1.0-1  "));
    // With approvals, in a volume as well.
    let approved = [&folder[..], &["-e", "VIETER_APPROVED=/repo/approved"]].concat();
    let review = [IMAGE, "vieter", "review", "--approve", &url];
    let reviewed = one_off(&[&approved[..], &review].concat());
    assert!(reviewed.contains("nothing is left to review"), "{reviewed}");
    let again = one_off(&[&approved[..], &[IMAGE, "vieter", "build", &url]].concat());
    assert!(again.contains("up to date  any 1.0-1  "), "{again}");
    let list = [
        "run",
        "--rm",
        "-v",
        volume,
        IMAGE,
        "ls",
        "/repo/vieter/x86_64",
    ];
    let files = "any-1.0-1-any.pkg.tar.zst\nvieter.db\nvieter.files\nvieter.json";
    assert_eq!(docker(&list), files);
    docker(&["volume", "rm", "vieter-test-repo"]);
    assert_nothing_left();
}

#[test]
fn a_schedule_that_crond_could_not_read_is_refused() {
    let _world = World::new();
    let with = |variable: &str| {
        let args = ["run", "--rm", "-e", variable, IMAGE, "crond", "--help"];
        let output = output_of(Command::new("docker").args(args));
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let entrypoint = |schedule: &str| with(&format!("VIETER_SCHEDULE={schedule}"));
    for schedule in [
        "",
        "0 3 * * *",
        "*/5 0-4,6 1 jan-mar mon",
        "5-59/10 3 * * SUN,fri",
    ] {
        let (_, text) = entrypoint(schedule);
        assert!(text.starts_with("vieter build, at: "), "{schedule}: {text}");
    }
    for schedule in [
        "0 3 * *",
        "0 3 * * * *",
        "@daily",
        "61 3 * * *",
        "0 24 * * *",
        "0 3 0 * *",
        "0 3 * 13 *",
        "0 3 * * 7",
        "a b c d e",
        "*/0 * * * *",
        "1- * * * *",
        "0/15 * * * *",
        "0 3 * * mon/2",
        ", * * * *",
        "0 3 * * *\n* * * * *",
        "0 3 * * $(id)",
    ] {
        let (code, text) = entrypoint(schedule);
        assert_eq!(code, Some(2), "{schedule}: {text}");
        assert!(
            text.contains("is not five cron fields"),
            "{schedule}: {text}"
        );
    }
    for (value, code) in [("maybe", 2), ("YES", 2), ("", 0), ("no", 0)] {
        let (ended, text) = with(&format!("VIETER_AT_START={value}"));
        let is_refused = text.contains(&format!(
            "VIETER_AT_START is \"{value}\", and takes yes or no"
        ));
        assert_eq!((ended, is_refused), (Some(code), code == 2), "{text}");
    }
    // Wherever a command says that crond is.
    for command in ["crond", "/usr/sbin/crond", "/bin/crond"] {
        let text = docker(&["run", "--rm", IMAGE, command, "--help"]);
        assert!(text.starts_with("vieter build, at: "), "{command}: {text}");
    }
}

#[test]
fn the_static_binary_is_small_and_needs_nothing_around_it() {
    let world = World::new();
    let size = std::fs::metadata(static_binary()).unwrap().len();
    assert!(size <= 9 * 256 * 1024, "{size} bytes");
    let image_size: u64 = docker(&["image", "inspect", "--format", "{{.Size}}", IMAGE])
        .parse()
        .unwrap();
    assert!(image_size < 8_000_000, "{image_size} bytes");

    // An image with the binary, and a server that is to be found by its name only.
    let dir = world.dir.path();
    std::fs::copy(static_binary(), dir.join("vieter")).unwrap();
    std::fs::write(
        dir.join("Dockerfile"),
        "FROM scratch\nCOPY vieter /vieter\nENTRYPOINT [\"/vieter\"]\n",
    )
    .unwrap();
    sh_in(
        dir,
        "DOCKER_BUILDKIT=0 docker build -q -t vieter-test-scratch .",
    );
    std::fs::create_dir_all(dir.join("www/api")).unwrap();
    std::fs::write(dir.join("www/api/repos"), "{\"message\":\"\",\"data\":{}}").unwrap();
    let _ = Command::new("docker")
        .args(["network", "rm", "vieter-test"])
        .output();
    docker(&["network", "create", "vieter-test"]);
    let www = format!("{}:/www", dir.join("www").display());
    docker(&[
        "run",
        "-d",
        "--name",
        "vieter-test-www",
        "--network",
        "vieter-test",
        "-v",
        &www,
        IMAGE,
        "httpd",
        "-f",
        "-h",
        "/www",
    ]);
    let check = Command::new("docker")
        .args([
            "run",
            "--rm",
            "--network",
            "vieter-test",
            "-v",
            &socket_volume(),
        ])
        .args([
            "-e",
            "VIETER_API_KEY=any",
            "-e",
            "VIETER_ADDRESS=http://vieter-test-www",
        ])
        .args(["vieter-test-scratch", "check"])
        .output()
        .unwrap();
    docker(&["rm", "-f", "vieter-test-www"]);
    docker(&["network", "rm", "vieter-test"]);
    docker(&["rmi", "vieter-test-scratch"]);
    let text = String::from_utf8([check.stdout, check.stderr].concat()).unwrap();
    assert!(check.status.success(), "{text}");
    assert!(
        text.contains("server        ok      http://vieter-test-www answers"),
        "{text}"
    );
}
