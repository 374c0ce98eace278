//! `kill -9` and other signals, and what is left of them.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::engine_faults::{CLONE, MAKEPKG, is};
use crate::proxy::{Act, Proxy};
use crate::util::{
    BASE_IMAGE, Background, World, assert_gone, assert_nothing_left, docker, end_of, hold_the_lock,
    left_behind, run, trivial,
};

/// How a run ended that got a signal.
pub struct Ended {
    pub signal: Option<i32>,
    pub stdout: String,
}

/// Runs `vieter build` until the engine is at the request that has all of these in it, whose answer never comes, and sends
/// a signal: within five seconds (thirty where other tests run beside it) there is no container.
pub fn kill_at(
    world: &World,
    needles: &'static [&'static str],
    args: &[&str],
    signal: Signal,
) -> Ended {
    let proxy = Proxy::start(world, move |text| match is(text, needles) {
        true => Act::Hold,
        false => Act::Pass,
    });
    let mut vieter = world.vieter();
    vieter.args(["--docker-host", &proxy.host]).args(args);
    // Tests that a shell has put into the background would hand on that SIGINT is to be ignored.
    let mut command = Command::new("/usr/bin/env");
    let environment = vieter
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(environment).stdin(Stdio::null());
    command
        .arg("--default-signal=INT,TERM")
        .arg(vieter.get_program())
        .args(vieter.get_args());
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    proxy.wait();
    let (containers, _) = left_behind();
    // Images go when the last container has gone.
    assert!(!containers.is_empty() || needles.contains(&"DELETE"));
    kill_process(Pid::from_child(&child), signal).unwrap();
    let output = end_of(Ok(child));
    assert_gone(&containers);
    assert_eq!(left_behind().0, Vec::<String>::new());
    Ended {
        signal: output.status.signal(),
        stdout: String::from_utf8(output.stdout).unwrap(),
    }
}

#[test]
fn whatever_signal_comes_at_whatever_step_nothing_stays_and_what_was_done_is_told() {
    let world = World::new();
    world.package("first", &trivial("first"));
    world.package("second", &trivial("second"));
    for (needles, has_built_first) in [
        (&["POST", "/exec/", "/start", "base-devel"][..], false),
        (&["POST", "/commit?"], false),
        (&["POST", "/exec/", "/start", CLONE, "/second"], true),
        (&["POST", "/exec/", "/start", MAKEPKG], true),
        (&["GET", "/archive?path=%2Ftmp%2Fvieter-packed%2F0"], true),
    ] {
        // The first makepkg and the first upload are those of the second package, but in the first run.
        for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
            eprintln!("--- {needles:?}: {signal:?}");
            if has_built_first && world.server.published("bur").is_empty() {
                world.server.clear_list();
                world.package("first", &trivial("first"));
                world.build(&[]).exits(0);
                world.package("second", &trivial("second"));
            }
            // Until then it is the builder image that is made.
            let args: &[&str] = if has_built_first { &[] } else { &["--fresh"] };
            let ended = kill_at(&world, needles, args, signal);
            assert_eq!(ended.signal, Some(signal.as_raw()));
            let told = match has_built_first {
                true => "up to date  first 1.0-1  ",
                false => "",
            };
            assert!(ended.stdout.starts_with(told), "{}", ended.stdout);
            assert_eq!(ended.stdout.lines().count(), usize::from(has_built_first));
        }
    }
    // The next one comes while the containers of the last are just going, and reads nothing from whoever reads its lines no
    // more; SIGPIPE, at every request, is no signal to it.
    let mut dying = Background::start(world.vieter().arg("--force"));
    dying.wait_for("building second 1.0-1");
    dying.kill();
    let pid = Arc::new(AtomicI32::new(0));
    let of_request = Arc::clone(&pid);
    let proxy = Proxy::start(&world, move |_| {
        if let Some(pid) = Pid::from_raw(of_request.load(Ordering::Relaxed)) {
            kill_process(pid, Signal::PIPE).unwrap();
        }
        Act::Pass
    });
    let mut vieter = world.vieter();
    vieter.args(["--docker-host", &proxy.host]);
    let mut child = vieter.stdout(Stdio::piped()).spawn().unwrap();
    pid.store(child.id().try_into().unwrap(), Ordering::Relaxed);
    drop(child.stdout.take());
    assert_eq!(end_of(Ok(child)).status.code(), Some(0));
    assert_eq!(world.server.published("bur").len(), 2);
    assert_nothing_left();
}

#[test]
fn leftovers_of_another_run_go_and_nothing_else() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let base = BASE_IMAGE.as_str();
    // Left by a run: a container that was never started, one that runs, an image, an image without a name.
    docker(&["create", "--label", "vieter.run=dead", base, "true"]);
    docker(&[
        "run",
        "-d",
        "--label",
        "vieter.run=dead",
        base,
        "sleep",
        "1000",
    ]);
    let source = docker(&[
        "create",
        "--name",
        "vieter-test-source",
        "--label",
        "vieter.run=dead",
        base,
    ]);
    docker(&["commit", &source, "vieter-build:dead"]);
    docker(&["commit", &source]);
    // Somebody's own: a container without the label, and an image that was made from ours but bears another name.
    docker(&["commit", &source, "vieter-test-mine:1"]);
    let mine = docker(&["create", "--label", "other=1", base, "true"]);

    world.build(&[]).exits(0).says("of an earlier run");

    let (containers, images) = left_behind();
    let kept = docker(&["images", "-q", "--no-trunc", "vieter-test-mine:1"]);
    docker(&["rmi", "vieter-test-mine:1"]);
    docker(&["rm", &mine]);
    assert_eq!(containers, Vec::<String>::new());
    assert_eq!(images, [kept]);
}

#[test]
fn a_lock_that_nobody_holds_is_cleared_away() {
    let world = World::new();
    world.package("any", &trivial("any"));
    // Killed between create and start: one like this, and one that makes the builder image.
    let part: &[&str] = &["--shard", "1/1"];
    for (args, own) in [(&[][..], "vieter-build"), (part, "vieter-build-1-of-1")] {
        for name in [own, "vieter-build-image"] {
            let label = "vieter.run=dead";
            docker(&["create", "--name", name, "--label", label, &BASE_IMAGE]);
        }
        world.build(args).exits(0);
        assert_nothing_left();
    }
    // One of another whole is nobody's who is on.
    let of_another = "vieter-build-2-of-5";
    docker(&[
        "create",
        "--name",
        of_another,
        "--label",
        "vieter.run=dead",
        &BASE_IMAGE,
    ]);
    let mut check = world.vieter_for("check");
    run(&mut check)
        .exits(0)
        .reports("run           ok      none is on");
    docker(&["rm", of_another]);
}

#[test]
fn a_lock_that_is_held_ends_the_run_and_changes_nothing() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let held = hold_the_lock();
    let run = world.build(&[]);
    let still = docker(&["inspect", "-f", "{{.State.Running}}", &held]);
    docker(&["rm", "-f", &held]);
    run.exits(4).says(&held[..12]).says("vieter-build");
    assert_eq!(still, "true");
    assert_nothing_left();
    assert_eq!(world.server.published("bur"), Vec::<String>::new());
}

#[test]
fn a_container_of_somebody_elses_under_our_name_is_left_alone() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let theirs = docker(&["create", "--name", "vieter-build", &BASE_IMAGE]);
    let run = world.build(&[]);
    docker(&["rm", &theirs]);
    run.exits(3).says("was not made by this program");
}

/// Runs three packages, the first of which goes on building until `meanwhile`, which is given the builder image, is done;
/// gives the exit code and all that was said.
fn run_with_bystanders(world: &World, meanwhile: impl FnOnce(&str)) -> (Option<i32>, String) {
    let url = world.server.url();
    let patient = format!(
        "pkgname=patient\npkgver=1\npkgrel=1\narch=(any)\n\
        build() {{ until curl -sf {url}/go/on/now; do sleep 0.1; done; }}\npackage() {{ :; }}\n"
    );
    world.package("patient", &patient);
    world.package("any", &trivial("any"));
    world.package("last", &trivial("last"));
    let mut vieter = world.vieter();
    let vieter = vieter.stdout(Stdio::piped()).stderr(Stdio::piped());
    let vieter = vieter.spawn();
    world.server.wait_for("GET /go/on/now");
    let images = docker(&[
        "images",
        "vieter-build",
        "--format",
        "{{.Repository}}:{{.Tag}}",
    ]);
    meanwhile(&images);
    world.server.put("go", "on", "now", "");
    let output = end_of(vieter);
    let log = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
    (output.status.code(), log)
}

/// The same, and nothing is left.
fn run_and_meanwhile(world: &World, meanwhile: impl FnOnce()) -> (Option<i32>, String) {
    let ended = run_with_bystanders(world, |_| meanwhile());
    assert_nothing_left();
    ended
}

#[test]
fn a_run_whose_lock_was_removed_ends() {
    let world = World::new();
    let (code, log) = run_and_meanwhile(&world, || {
        docker(&["rm", "-f", "vieter-build"]);
    });
    assert_eq!(code, Some(3), "{log}");
    // What was being built had its archives looked at in there.
    let is_told =
        |line: &str| line.contains("patient 1-1 of ") && line.contains("failed at publish");
    assert!(log.lines().any(is_told), "{log}");
    let why = "the lock container: it is gone";
    assert!(log.contains(why), "{log}");
    for told in [
        "not built   patient 1-1  at publish  ",
        "not built   git://127.0.0.1",
    ] {
        assert!(log.contains(told), "{log}");
    }
}

#[test]
fn a_container_that_was_removed_while_it_waited_for_its_repository_is_replaced() {
    let world = World::new();
    let (code, log) = run_and_meanwhile(&world, || {
        let newest = docker(&["ps", "-lq", "--filter", "label=vieter.run"]);
        docker(&["rm", "-f", &newest]);
    });
    assert_eq!(code, Some(0), "{log}");
    for name in ["patient 1-1", "any 1.0-1"] {
        assert!(log.contains(&format!("built       {name}")), "{log}");
    }
}

#[test]
fn somebody_elses_containers_of_our_images_stay_and_their_volumes() {
    let world = World::new();
    // A volume for the containers, which are told by it.
    let stays = |image: &str| docker(&["run", "-d", "-v", "/mine", image, "sleep", "1000"]);
    let (mut theirs, mut nameless) = (vec![], String::new());
    let (code, log) = run_with_bystanders(&world, |image| {
        theirs.push(stays(image));
        let id = docker(&["commit", &theirs[0]]);
        nameless = id.trim_start_matches("sha256:")[..12].to_owned();
        docker(&["commit", &theirs[0], "vieter-test-derived"]);
        theirs.push(stays("vieter-test-derived"));
        // One that has ended, and one of an image of an older version, which bears the run itself.
        theirs.push(docker(&["create", "-v", "/mine", image, "true"]));
        let label = "LABEL vieter.run=old";
        docker(&["commit", "-c", label, &theirs[0], "vieter-build:old"]);
        theirs.push(stays("vieter-build:old"));
    });
    assert_eq!(code, Some(0), "{log}");
    world.build(&[]).exits(0);
    let all = docker(&["ps", "-aq", "--no-trunc"]);
    let volumes = docker(&["volume", "ls", "-q"]);
    for id in &theirs {
        assert!(all.contains(id), "{id} is gone: {log}");
        let volume = "{{range .Mounts}}{{.Name}}{{end}}";
        let volume = docker(&["inspect", "-f", volume, id]);
        assert!(!volume.is_empty() && volumes.contains(&volume));
    }
    // An image that somebody has made of ours, and not named, stays as well.
    docker(&["image", "inspect", &nameless]);
    docker(&["rmi", &nameless]);
    // One that has the name of the lock is not taken for it.
    docker(&["rename", &theirs[0], "vieter-build"]);
    let run = world.build(&[]);
    let theirs: Vec<_> = theirs.iter().map(String::as_str).collect();
    docker(&[&["rm", "-fv"], &theirs[..]].concat());
    docker(&["rmi", "vieter-test-derived"]);
    run.exits(3).says("was not made by this program");
    // With its last container goes the builder image that was still needed.
    world.build(&[]).exits(0);
    assert_nothing_left();
}

#[test]
fn a_container_that_is_killed_under_us_costs_a_repository_and_no_more() {
    let world = World::new();
    let (code, log) = run_and_meanwhile(&world, || {
        // The newest waits for the next repository.
        let ours = docker(&["ps", "-q", "--filter", "label=vieter.run"]);
        docker(&["kill", ours.lines().nth(1).unwrap()]);
    });
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("failed at build: makepkg: "), "{log}");
    assert!(log.contains("built       any 1.0-1"), "{log}");
    assert!(log.contains("built       last 1.0-1"), "{log}");
}

#[test]
fn a_builder_image_that_is_removed_under_us_fails_what_has_no_container_yet() {
    let world = World::new();
    let (code, log) = run_with_bystanders(&world, |image| {
        docker(&["tag", image, "vieter-test-kept"]);
        docker(&["rmi", image]);
    });
    docker(&["rmi", "vieter-test-kept"]);
    assert_nothing_left();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("built       any 1.0-1"), "{log}");
    let why = "last: failed at container: POST /containers/create";
    assert!(log.contains(why) && log.contains("No such image"), "{log}");
}
