//! Parts of a list, built beside each other.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use vieter::owners::Key;
use vieter::shard::Shard;

use crate::engine_faults::{LABELLED, is};
use crate::proxy::{Act, Proxy};
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

/// A part of a list of these, for a folder that all parts share.
fn shard_of_folder(world: &World, part: &str, entries: &[String]) -> Command {
    let of_world = |it: &str| world.dir.path().join(it);
    let lines = entries.iter().map(|it| world.url(it) + " branch=main\n");
    let list = lines.collect::<String>();
    fs::write(of_world("list"), list).unwrap();
    let mut command = shard(world, part, &[]);
    command
        .env_remove("VIETER_ADDRESS")
        .env_remove("VIETER_API_KEY");
    command.arg("--into").arg(of_world("repo"));
    command.arg("--list").arg(of_world("list"));
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
        let report = world.dir.path().join("report");
        run(world.vieter().args(args).arg("--report").arg(&report))
            .exits(4)
            .says(&format!("the container vieter-build-{name}"));
        // It may be the other's.
        assert!(!report.exists());
    }
    for (part, said) in [
        (
            third.as_str(),
            "another is on, which this can't be beside: ",
        ),
        ("2/2", "others are on: "),
    ] {
        run(world.vieter_for("check").args(["--shard", part]))
            .exits(0)
            .reports(&format!("run           ok      {said}vieter-build-1-of-2"));
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

/// Halts a run when it has its lock, and hasn't looked who else has one; meanwhile the other one begins.
#[test]
fn of_two_that_begin_at_once_and_cannot_be_beside_each_other_one_gives_way() {
    let world = World::new();
    let name = named(&world, "wanted", 1);
    world.package(&name, &trivial(&name));
    let (whole, part): (&[&str], _) = (&[], &["--shard", "1/2"][..]);
    for (halted, other, lock) in [
        (whole, part, "vieter-build"),
        (part, whole, "vieter-build-1-of-2"),
    ] {
        let (has_its_lock, wait_for_its_lock) = channel();
        let (go, wait_for_go) = channel::<()>();
        let mut looks = 0;
        let proxy = Proxy::start(&world, move |text| {
            let is_look = is(text, LABELLED);
            looks += u32::from(is_look);
            // The first was before it had one.
            if is_look && looks == 2 {
                has_its_lock.send(()).unwrap();
                wait_for_go.recv().unwrap();
            }
            Act::Pass
        });
        let behind = ["--force", "--docker-host", &proxy.host];
        let halted = Background::start(world.vieter().args(halted).args(behind));
        wait_for_its_lock.recv_timeout(BOUND).unwrap();
        let why = format!("is using this engine: the container {lock} (");
        world.build(other).exits(4).says(&why);
        go.send(()).unwrap();
        let (code, log) = halted.wait_for_end();
        assert_eq!(code, Some(0), "{log}");
        assert_nothing_left();
    }
    let twice = format!("{name} 1.0-1");
    assert_eq!(world.server.accepted(), [twice.clone(), twice]);
}

#[test]
fn what_no_part_makes_fails_when_nothing_changes_any_more() {
    let world = World::new();
    let name = named(&world, "lost", 1);
    let state = world.dir.path().join("state");
    let state = state.to_str().unwrap();
    world.package(
        &name,
        &trivial(&name).replace("pkgrel=1", "pkgrel=1\ndepends=(misspelt)"),
    );
    world
        .build(&["--shard", "1/2", "--timeout", "25", "--state", state])
        .exits(1)
        .reports(&format!("failed      {name} 1.0-1  at dependencies"))
        .says("waiting for what other shards publish: 1 lack dependencies")
        .says("misspelt");
    // The next night it waits for its next try, and nobody waits for it.
    let run = world.build(&["--shard", "1/2", "--state", state]).exits(1);
    assert!(!run.stderr.contains("waiting for what other shards publish"));
    run.reports(&format!("failed      {name} 1.0-1  at dependencies, "));
    // The other part has nothing to do.
    world
        .build(&["--shard", "2/2"])
        .exits(0)
        .reports("0 built, 0 up to date, 0 failed")
        .says("nothing on the list falls to shard 2/2");
}

#[test]
fn a_part_that_is_killed_with_the_builder_image_gives_it_free() {
    let world = World::new();
    let (one, two) = (named(&world, "one", 1), named(&world, "two", 2));
    for name in [&one, &two] {
        world.package(name, &trivial(name));
    }
    let proxy = Proxy::start(&world, |text| {
        match text.starts_with("POST") && text.contains("/commit?") {
            true => Act::Hold,
            false => Act::Pass,
        }
    });
    let at_commit = ["--fresh", "--docker-host", &proxy.host];
    let killed = Background::start(world.vieter().args(["--shard", "1/2"]).args(at_commit));
    proxy.wait();
    let mut waiting = Background::start(world.vieter().args(["--shard", "2/2", "--fresh"]));
    waiting.wait_for("waiting for the container vieter-build-image of another run to go");
    killed.kill();
    let (code, log) = waiting.wait_for_end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(world.server.accepted(), [format!("{two} 1.0-1")]);
    assert_swept_by_the_next_run(&world);
}

/// What isn't safe, as it stands in the README: nobody knows what other parts make, and each sends it in its own time.
#[test]
fn one_name_that_two_parts_publish_at_once_is_what_an_old_server_hangs_over() {
    let world = World::new();
    // No run sweeps after those that are killed here, so they mustn't replace the builder image that an earlier test has kept.
    world.package("quick", &trivial("quick"));
    world.build(&[]).exits(0);
    world.server.clear_list();
    world.server.take_requests();
    for entry in [named(&world, "first", 1), named(&world, "second", 2)] {
        world.package(&entry, &trivial("same"));
    }
    // The first isn't filed yet when the second comes.
    let held = world.server.hold();
    let start = |it| Background::start(world.vieter().args(["--shard", it]));
    let parts = ["1/2", "2/2"].map(start);
    world.server.wait_until_wedged();
    let (containers, _) = left_behind();
    parts.into_iter().for_each(Background::kill);
    drop(held);
    assert_eq!(world.server.accepted(), ["quick 1.0-1"]);
    let posts = world.server.take_requests();
    let posts = posts.iter().filter(|it| it.starts_with("POST"));
    // And nobody has sent it again to a server that doesn't answer.
    assert_eq!(posts.count(), 2);
    assert_gone(&containers);
}

#[test]
fn one_name_that_two_parts_publish_at_once_is_one_entrys_in_a_folder() {
    let world = World::new();
    let entries = [named(&world, "first", 1), named(&world, "second", 2)];
    for entry in &entries {
        world.package(entry, &trivial("same"));
    }
    let part = |it: &str| shard_of_folder(&world, it, &entries).spawn();
    let ended = ["1/2", "2/2"].map(part).map(end_of);
    for output in &ended {
        let text = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        eprintln!("{text}{log}");
        match output.status.code() {
            Some(0) => assert!(text.contains("built       same 1.0-1"), "{text}{log}"),
            _ => assert!(log.contains("it belongs to "), "{text}{log}"),
        }
    }
    let mut codes = ended.each_ref().map(|it| it.status.code());
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(1)]);
    assert_nothing_left();
}

#[test]
fn parts_that_share_a_folder_have_what_they_need_from_each_other() {
    let world = World::new();
    // Each needs the next one, which is the other part's.
    let entries = [("top", 1), ("middle", 2), ("bottom", 1)];
    let entries = entries.map(|(start, part)| named(&world, start, part));
    for (place, name) in entries.iter().enumerate() {
        let needs = entries.get(place + 1).map_or("", |it| it);
        let recipe = trivial(name).replace("pkgrel=1", &format!("pkgrel=1\ndepends=({needs})"));
        world.package(name, &recipe);
    }
    let part = |it: &str| {
        let mut command = shard_of_folder(&world, it, &entries);
        command.args(["--timeout", "120"]);
        command
    };
    let mut first = Background::start(&mut part("1/2"));
    first.wait_for("waiting for what other shards publish: 1 lack dependencies");
    let [top, middle, bottom] = &entries;
    run(&mut part("2/2"))
        .exits(0)
        .reports(&format!("built       {middle} 1.0-1"))
        .reports("1 built, 0 up to date, 0 failed");
    let (code, log) = first.wait_for_end();
    assert_eq!(code, Some(0), "{log}");
    let has_built = |name: &str| log.contains(&format!("built       {name} 1.0-1"));
    assert!(has_built(top), "{log}");
    // That was before it waited.
    assert!(!has_built(bottom), "{log}");
    for name in &entries {
        let archive = format!("repo/vieter/x86_64/{name}-1.0-1-any.pkg.tar.zst");
        assert!(world.dir.path().join(archive).exists(), "{name}");
    }
}
