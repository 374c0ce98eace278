//! What real engines do once a year: one is restarted, or its disk gets full. The engine is a test's own, `tests/env/engine start small`;
//! these are run by `make test-engines`, as root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::util::*;

#[path = "../standin/server.rs"]
mod standin;
#[path = "../it/util.rs"]
#[allow(dead_code)]
mod util;

/// Restarts the engine, which is nobody else's.
fn restart() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/env/engine");
    let restart = Command::new(engine).args(["restart", "small"]).output();
    let restart = restart.unwrap();
    assert!(restart.status.success(), "{restart:?}");
}

/// A world on the engine that may be filled and restarted.
fn world() -> World {
    let engine = std::env::var("VIETER_TEST_ENGINE").unwrap_or_default();
    assert_eq!(engine, "small", "make test-engines runs this");
    World::new()
}

#[test]
fn an_engine_that_is_restarted_ends_the_run_and_the_next_one_is_whole() {
    let world = world();
    let url = world.server.url();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let cloned = format!("git://{}/slow", silent.local_addr().unwrap());
    let slow = format!(
        "pkgname=slow\npkgver=1\npkgrel=1\narch=(any)\nbuild() {{ curl -sf {url}/it/builds/now; sleep 1000; }}\npackage() {{ :; }}\n"
    );
    let built = world.git("slow", &[("PKGBUILD", &slow)]);
    for (step, slow) in [("clone", &cloned), ("build", &built)] {
        world.server.clear_list();
        world.package(&format!("first-{step}"), &trivial(&format!("first-{step}")));
        world.list(slow, "bur");
        world.package("third", &trivial("third"));
        world.server.take_requests();
        let run = thread::scope(|scope| {
            scope.spawn(|| {
                // The call is held until the engine has gone.
                let _call = (step == "clone").then(|| call_of(&silent));
                if step == "build" {
                    world.server.wait_for("GET /it/builds/now");
                }
                restart();
            });
            world.build(&[]).exits(3)
        });
        let lines: Vec<_> = run.stdout.lines().collect();
        assert!(lines[0].starts_with(&format!("built       first-{step} 1.0-1  ")));
        assert!(
            lines[1].starts_with("not built   ") && lines[1].contains(&format!("  at {step}  "))
        );
        assert!(lines[2].starts_with("not built   git://") && lines[2].contains("/third"));
        assert_eq!(lines[3], "1 built, 0 up to date, 0 failed, 2 not built");
        assert_eq!(left_behind().0, Vec::<String>::new());
        assert_swept_by_the_next_run(&world);
    }

    // While an upload waits for its answer: what was sent needs no engine.
    world.server.clear_list();
    world.package("sent", &trivial("sent"));
    world.package("third", &trivial("third"));
    world.server.take_requests();
    let held = world.server.hold();
    let run = Background::start(&mut world.vieter());
    world.server.wait_for("POST /bur/publish");
    restart();
    drop(held);
    let (code, log) = run.wait_for_end();
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("INFO  built       sent 1.0-1  "), "{log}");
    assert!(
        log.contains("the engine doesn't answer") || log.contains("the lock container: "),
        "{log}"
    );
    assert_swept_by_the_next_run(&world);
}

#[test]
fn a_build_that_fills_the_engines_disk_is_its_own_failure() {
    let world = world();
    let fill = "head -c 10G /dev/zero >fill";
    for (name, build) in [
        ("fills", fill.to_owned()),
        // It goes on as if nothing were, and its archive doesn't fit.
        ("hides", format!("{fill} || true")),
    ] {
        world.package(
            name,
            &(trivial(name) + &format!("build() {{ {build}; }}\n")),
        );
    }
    world.package("next", &trivial("next"));
    let run = world.build(&[]).exits(1).says("No space left on device");
    let lines: Vec<_> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("failed      fills 1.0-1  at build  "));
    assert!(lines[1].starts_with("failed      hides 1.0-1  at build  "));
    assert!(lines[2].starts_with("built       next 1.0-1  "));
    assert_eq!(
        world.server.published("bur"),
        ["next-1.0-1-any.pkg.tar.zst"]
    );
    assert_nothing_left();
}
