//! `kill -9`, and what is left of it.

use std::process::Stdio;

use crate::util::{
    BASE_IMAGE, Background, World, assert_gone, assert_nothing_left, assert_swept_by_the_next_run,
    docker, hold_the_lock, left_behind, trivial,
};

/// All that the acceptance of a killed run asks: within five seconds no container, after the next run no image.
fn kill_and_look(world: &World, run: Background) {
    let (containers, _) = left_behind();
    assert!(!containers.is_empty());
    run.kill();
    assert_gone(&containers);
    assert_eq!(left_behind().0, Vec::<String>::new());
    assert_swept_by_the_next_run(world);
}

#[test]
fn killed_during_the_preparation() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let mut run = Background::start(&mut world.vieter());
    run.wait_for("builder image: pacman -Syu");
    kill_and_look(&world, run);
}

#[test]
fn killed_during_the_commit() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let mut run = Background::start(&mut world.vieter());
    run.wait_for("builder image: commit");
    kill_and_look(&world, run);
}

#[test]
fn killed_during_a_build() {
    let world = World::new();
    world.package(
        "endless",
        "pkgname=endless\npkgver=1\npkgrel=1\narch=(any)\nbuild() { echo now it builds; sleep 1000; }\npackage() { :; }\n",
    );
    world.package("any", &trivial("any"));
    let mut run = Background::start(world.vieter().args(["--log-level", "debug"]));
    run.wait_for("| now it builds");
    // The lock, the build's, and the one that waits for the next repository; the builder image.
    let (containers, images) = left_behind();
    assert_eq!((containers.len(), images.len()), (3, 1));
    kill_and_look(&world, run);
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

    world.build(&[]).exits(0).says("of a killed run");

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
    // Killed between create and start.
    docker(&[
        "create",
        "--name",
        "vieter-build",
        "--label",
        "vieter.run=dead",
        &BASE_IMAGE,
    ]);
    world.build(&[]).exits(0);
    assert_nothing_left();
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

/// Runs two packages, the first of which goes on building until `meanwhile` is done.
fn run_and_meanwhile(world: &World, meanwhile: impl FnOnce()) -> (Option<i32>, String) {
    let url = world.server.url();
    let patient = format!(
        "pkgname=patient\npkgver=1\npkgrel=1\narch=(any)\n\
        build() {{ until curl -sf {url}/go/on/now; do sleep 0.1; done; }}\npackage() {{ :; }}\n"
    );
    world.package("patient", &patient);
    world.package("any", &trivial("any"));
    let vieter = world.vieter().stderr(Stdio::piped()).spawn().unwrap();
    world.server.wait_for("GET /go/on/now");
    meanwhile();
    world.server.put("go", "on", "now", "");
    let output = vieter.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_nothing_left();
    (output.status.code(), log)
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
    let why = "the lock container vieter-build: it is gone";
    assert!(log.contains(why), "{log}");
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
