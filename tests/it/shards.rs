//! Parts of a list, built beside each other.

use std::fs;
use std::process::{Command, Stdio};

use vieter::owners::Key;
use vieter::shard::Shard;

use crate::util::*;

/// The part of so many that an entry of this name falls to.
fn part(world: &World, name: &str, count: usize) -> usize {
    let key = Key {
        url: world.url(name),
        branch: "main".to_owned(),
        path: String::new(),
    };
    let has = |it: &usize| format!("{it}/{count}").parse::<Shard>().unwrap().has(&key);
    (1..=count).find(has).unwrap()
}

/// A name that falls to this part, and begins so.
fn named(world: &World, start: &str, wanted: usize) -> String {
    let names = (0..).map(|it| format!("{start}{it}"));
    names
        .into_iter()
        .find(|it| part(world, it, 2) == wanted)
        .unwrap()
}

fn shard(world: &World, shard: &str, args: &[&str]) -> Command {
    let mut command = world.vieter();
    command.args(["--shard", shard]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn parts_that_need_each_other_are_built_beside_each_other() {
    let world = World::new();
    // Each needs the next one, which is another part's.
    let names: Vec<String> = (0..4)
        .map(|it| named(&world, &format!("p{it}-"), it % 2 + 1))
        .collect();
    for (place, name) in names.iter().enumerate() {
        let needs = names.get(place + 1).map_or("", |it| it);
        let recipe = trivial(name).replace("pkgrel=1", &format!("pkgrel=1\ndepends=({needs})"));
        world.package(name, &recipe);
    }
    // Both make the builder image, one after the other.
    let _ = Command::new("docker")
        .args(["rmi", "-f", "vieter-build:kept"])
        .output();
    let parts = ["1/2", "2/2"].map(|it| shard(&world, it, &["--timeout", "120"]).spawn());
    let ended = parts.map(end_of);
    for (place, output) in ended.iter().enumerate() {
        let text = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{text}{log}");
        assert!(
            text.ends_with("2 built, 0 up to date, 0 failed\n"),
            "{text}{log}"
        );
        assert!(
            log.contains(&format!("shard {}/2: 2 of the list's 4 entries", place + 1)),
            "{log}"
        );
    }
    let mut files: Vec<String> = names
        .iter()
        .map(|it| format!("{it}-1.0-1-any.pkg.tar.zst"))
        .collect();
    files.sort();
    assert_eq!(world.server.published("bur"), files);
    let requests = world.server.take_requests();
    let posts = requests
        .iter()
        .filter(|it| it.starts_with("POST /bur/publish"));
    assert_eq!(posts.count(), 4, "{requests:#?}");
    assert_nothing_left();
    // All of it is there, by whoever looks.
    world
        .build(&[])
        .exits(0)
        .reports("0 built, 4 up to date, 0 failed");
}

#[test]
fn a_part_shares_an_engine_with_the_others_of_its_whole_alone() {
    let world = World::new();
    let url = world.server.url();
    let go = world.dir.path().join("server/static/go");
    fs::create_dir_all(go.parent().unwrap()).unwrap();
    let (slow, quick) = (named(&world, "slow", 1), named(&world, "quick", 2));
    let waits = format!(
        "build() {{ curl -s {url}/static/began; until curl -fso /dev/null {url}/static/go; do sleep 0.1; done; }}\n"
    );
    world.package(&slow, &(trivial(&slow) + &waits));
    world.package(&quick, &trivial(&quick));
    // Beside a run of the whole list there is no part.
    let mut whole = world.vieter();
    let whole = whole.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    world.server.wait_for("GET /static/began");
    world
        .build(&["--shard", "2/2"])
        .exits(4)
        .says("is using this engine: the container vieter-build");
    fs::write(&go, "").unwrap();
    assert_eq!(end_of(whole).status.code(), Some(0));
    fs::remove_file(&go).unwrap();
    world.package(
        &slow,
        &(trivial(&slow) + &waits).replace("pkgrel=1", "pkgrel=2"),
    );
    world.package(&quick, &trivial(&quick).replace("pkgrel=1", "pkgrel=2"));
    world.server.clear_list();
    for name in [&slow, &quick] {
        world.list(&world.url(name), "bur");
    }
    world.server.take_requests();

    let first = shard(&world, "1/2", &[]).spawn();
    world.server.wait_for("GET /static/began");
    let third = format!("{}/3", part(&world, &slow, 3));
    for (args, name) in [
        (&["--shard", "1/2"][..], "1-of-2"),
        (&[], "1-of-2"),
        (&["--shard", &third], "1-of-2"),
    ] {
        world
            .build(args)
            .exits(4)
            .says(&format!("the container vieter-build-{name}"));
    }
    world
        .build(&["--shard", "2/2"])
        .exits(0)
        .reports(&format!("built       {quick} 1.0-2"));
    fs::write(&go, "").unwrap();
    let output = end_of(first);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(&format!("built       {slow} 1.0-2")),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(0));
    assert_nothing_left();
}

#[test]
fn what_no_part_makes_fails_when_nothing_changes_any_more() {
    let world = World::new();
    let name = named(&world, "lost", 1);
    world.package(
        &name,
        &trivial(&name).replace("pkgrel=1", "pkgrel=1\ndepends=(misspelt)"),
    );
    world
        .build(&["--shard", "1/2", "--timeout", "15"])
        .exits(1)
        .reports(&format!("failed      {name} 1.0-1  at dependencies"))
        .says("waiting for what other shards publish: 1 lack dependencies")
        .says("misspelt");
    // The other part has nothing to do.
    world
        .build(&["--shard", "2/2"])
        .exits(0)
        .reports("0 built, 0 up to date, 0 failed")
        .says("nothing on the list falls to shard 2/2");
}
