//! What fails: each repository on its own, with its step and its output; and the run, with its exit code.

use serde_json::json;

use crate::util::{
    BASE_IMAGE, KEY, World, assert_nothing_left, docker, hold_the_lock, run, trivial, vieter,
};

#[test]
fn each_failure_is_named_and_the_others_are_built() {
    let world = World::new();
    let gone = format!("{}-gone", world.git("here", &[("PKGBUILD", "")]));
    world.list(&gone, "bur");
    let head = |name: &str| format!("pkgname={name}\npkgver=1\npkgrel=1\narch=(any)\n");
    world.package("syntax", "pkgname=syntax\npkgver=1\nif then\n");
    world.package("early", "echo leaving early >&2\nexit 7\n");
    world.list(&world.git("empty", &[("README", "no PKGBUILD")]), "bur");
    world.package(
        "needy",
        &(head("needy") + "depends=(no-such-package)\npackage() { :; }\n"),
    );
    world.package(
        "broken",
        &(head("broken") + "build() { echo the compiler says no; false; }\npackage() { :; }\n"),
    );
    let source = head("forged")
        + &format!(
            "source=(file)\nsha256sums=({})\npackage() {{ :; }}\n",
            "0".repeat(64)
        );
    world.list(
        &world.git("forged", &[("PKGBUILD", &source), ("file", "text")]),
        "bur",
    );
    world.package(
        "foreign",
        &(head("foreign").replace("any", "aarch64") + "package() { :; }\n"),
    );
    world.list(
        &world.git("unlucky", &[("PKGBUILD", &trivial("unlucky"))]),
        "full",
    );
    world.list(
        &world.git("unknown", &[("PKGBUILD", &trivial("unknown"))]),
        "odd",
    );
    world.list("git://127.0.0.1/x", "../bur");
    world
        .server
        .list(json!({"url": "", "branch": "main", "arch": ["x86_64"], "repo": "bur"}));
    let url = world.git("branchless", &[("PKGBUILD", &trivial("branchless"))]);
    world
        .server
        .list(json!({"url": url, "branch": "gone", "arch": ["x86_64"], "repo": "bur"}));
    world.package("good", &trivial("good"));
    let refusal = format!(
        "HTTP/1.1 500 -\r\nConnection: close\r\n\r\n{{\"message\":\"disk full, you sent {KEY}\"}}"
    );
    world.server.fault("POST /full/publish", &refusal);
    world.server.fault(
        "HEAD /odd/",
        "HTTP/1.1 302 -\r\nLocation: http://elsewhere/\r\nConnection: close\r\n\r\n",
    );

    // The key is in none of it.
    world
        .build(&["--log-level", "trace"])
        .exits(1)
        .reports(&format!("failed      {gone}  at clone"))
        .reports("failed      git://127.0.0.1:")
        .reports("failed      needy 1-1  at dependencies")
        .reports("failed      broken 1-1  at build")
        .reports("failed      forged 1-1  at build")
        .reports("failed      foreign 1-1  at build")
        .reports("failed      unlucky 1.0-1  at publish")
        .reports("failed      unknown 1.0-1  at check")
        .reports("failed      git://127.0.0.1/x  at list")
        .reports("built       good 1.0-1  ")
        .reports("1 built, 0 up to date, 13 failed")
        .says("syntax: failed at version: reading the PKGBUILD: ended with exit code 1\n    | ")
        .says("syntax error near unexpected token")
        .says("leaving early")
        .says("there is no PKGBUILD")
        .says("target not found: no-such-package")
        .says("the compiler says no")
        .says("One or more files did not pass the validity check!")
        .says("not available for the 'x86_64' architecture")
        .says("answered 500: disk full, you sent ***")
        .says("answered 302: http://elsewhere/")
        .says("\"../bur\" is not a name for a pacman repository")
        .says("has no URL")
        .says("Remote branch gone not found");
    assert_eq!(
        world.server.published("bur"),
        ["good-1.0-1-any.pkg.tar.zst"]
    );
    assert_nothing_left();
}

#[test]
fn a_build_that_hangs_is_stopped_and_its_log_kept() {
    let world = World::new();
    world.package(
        "endless",
        "pkgname=endless\npkgver=1\npkgrel=1\narch=(any)\nbuild() { echo last words; sleep 1000; }\npackage() { :; }\n",
    );
    world.list(&world.git("missing", &[("README", "")]), "bur");
    world
        .build(&["--timeout", "25", "--log-level", "debug"])
        .exits(1)
        .reports("failed      endless 1-1  at build")
        .says("stopped at the time limit")
        .says("    | last words")
        .says("there is no PKGBUILD");
    assert_nothing_left();
}

#[test]
fn bad_usage_is_exit_code_2() {
    let usage = |args: &[&str], env: &[(&str, &str)], piece: &str| {
        run(vieter().args(args).envs(env.iter().copied()))
            .exits(2)
            .says(piece);
    };
    let key = ("VIETER_API_KEY", KEY);
    let address = ("VIETER_ADDRESS", "http://127.0.0.1:1");
    usage(&[], &[key, address], "what to do?");
    usage(&["biuld"], &[key, address], "is no command");
    usage(&["build", "--frobnicate"], &[key, address], "--frobnicate");
    usage(
        &["build", "--timeout", "soon"],
        &[key, address],
        "--timeout (VIETER_TIMEOUT) takes",
    );
    usage(&["build"], &[key], "--address, VIETER_ADDRESS");
    usage(&["build"], &[address], "set VIETER_API_KEY");
    usage(
        &["build"],
        &[address, ("VIETER_API_KEY_FILE", "/no/such/file")],
        "VIETER_API_KEY_FILE names",
    );
    usage(&["build", "--api-key", "x"], &[key, address], "--api-key");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = run(vieter().arg("--help")).exits(0);
    assert!(help.stdout.contains("Usage: vieter build"));
    let version = run(vieter().arg("--version")).exits(0);
    assert_eq!(
        version.stdout,
        concat!("vieter ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_run_that_cannot_be_done_is_exit_code_3() {
    let world = World::new();
    world.package("any", &trivial("any"));
    world
        .build(&["--docker-host", "unix:///no/such.sock"])
        .exits(3)
        .says("GET /version at the engine at /no/such.sock");
    world
        .build(&["--address", "http://127.0.0.1:1"])
        .exits(3)
        .says("GET /api/repos at http://127.0.0.1:1");
    world
        .build(&["--base-image", &BASE_IMAGE.replace("archlinux", "nothing")])
        .exits(3)
        .says("pulling");
    world
        .build(&["--network", "no-such-network"])
        .exits(3)
        .says("no-such-network");
    run(world.vieter().env("VIETER_API_KEY", "wrong"))
        .exits(3)
        .says("answered 401: Unauthorized. (does VIETER_API_KEY hold this server's key?)");
    world.server.fault(
        "GET /api/repos",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>",
    );
    world.build(&[]).exits(3).says("not a list of repositories");
    assert_nothing_left();
}

#[test]
fn a_preparation_that_fails_shows_why_and_leaves_nothing() {
    let world = World::new();
    world.package("any", &trivial("any"));
    // An image whose mirror is gone, and that no registry has: it is used as it is there.
    let broken = docker(&[
        "run",
        "-d",
        &BASE_IMAGE,
        "sed",
        "-i",
        "s|^Server = .*|Server = http://127.0.0.1:1|",
        "/etc/pacman.d/mirrorlist",
    ]);
    docker(&["wait", &broken]);
    docker(&["commit", &broken, "127.0.0.1:1/vieter-test-broken:latest"]);
    docker(&["rm", &broken]);
    let run = world.build(&["--base-image", "127.0.0.1:1/vieter-test-broken"]);
    docker(&["rmi", "127.0.0.1:1/vieter-test-broken:latest"]);
    run.exits(3)
        .says("going on with the image 127.0.0.1:1/vieter-test-broken that is there")
        .says("update of the keyring: ended with exit code 1\n    | ")
        .says("failed to synchronize all databases");
    assert_nothing_left();
}

#[test]
fn the_key_may_come_from_a_file() {
    let world = World::new();
    let file = world.dir.path().join("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    run(world
        .vieter()
        .env_remove("VIETER_API_KEY")
        .env("VIETER_API_KEY_FILE", file))
    .exits(0)
    .says("the list has no repositories");
}

#[test]
fn a_check_says_what_is_well_and_what_is_not() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let check = |name: &str, value: &str| {
        let mut command = vieter();
        command
            .arg("check")
            .env("VIETER_ADDRESS", world.server.url())
            .env("VIETER_API_KEY", KEY)
            .env(name, value);
        run(&mut command)
    };
    check("VIETER_LOG", "info")
        .exits(0)
        .reports("engine        ok      the engine at /var/run/docker.sock (version ")
        .reports("server        ok      http://127.0.0.1:")
        .reports("repositories  ok      1 for the architecture ")
        .reports("run           ok      none is on");
    check("VIETER_API_KEY", "wrong")
        .exits(3)
        .reports("engine        ok      ")
        .reports("server        FAILED  GET /api/repos at ");
    let run = check("DOCKER_HOST", "unix:///no/such.sock")
        .exits(3)
        .reports("engine        FAILED  GET /version at the engine")
        .reports("server        ok      ")
        .reports("repositories  ok      ");
    assert!(!run.stderr.contains("WARN"), "{}", run.stderr);
    let held = hold_the_lock();
    let run = check("VIETER_LOG", "info");
    docker(&["rm", "-f", &held]);
    run.exits(0)
        .reports("run           ok      another run (other) is using this engine");
}
