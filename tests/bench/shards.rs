//! Parts of a list beside each other on one engine: builds that mostly wait, and what the parts ask the server for.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use vieter::owners::Key;
use vieter::shard::Shard;

use crate::util::{World, run, trivial};

/// How many builds there are, and how long each waits, in seconds.
const BUILDS: usize = 16;
const WAITS: u32 = 20;

/// Into how many parts the list falls.
const PARTS: [usize; 4] = [1, 2, 4, 8];

/// Measures, and prints a table.
pub fn measure(world: &World) {
    world.server.clear_list();
    let names = names(world);
    for name in &names {
        let recipe = format!("{}build() {{ sleep {WAITS}; }}\n", trivial(name));
        let url = world.git(name, &[("PKGBUILD", &recipe)]);
        world.list(&url, "bur");
    }
    // The builder image is there, and of today.
    run(world.vieter().args(["--force", &names[0]])).exits(0);
    println!(
        "| {BUILDS} builds of {WAITS} s on one engine | time | of linear | target | requests to the server |"
    );
    println!("| --- | --- | --- | --- | --- |");
    let mut alone = 0.0;
    for parts in PARTS {
        let _ = fs::remove_dir_all(world.dir.path().join("server/bur"));
        world.server.take_requests();
        let start = Instant::now();
        let shards: Vec<Child> = (1..=parts).map(|it| begin(world, it, parts)).collect();
        for mut shard in shards {
            assert!(shard.wait().unwrap().success());
        }
        let time = start.elapsed().as_secs_f64();
        if parts == 1 {
            alone = time;
        }
        assert_eq!(world.server.published("bur").len(), BUILDS);
        let requests = world.server.take_requests().len();
        let target = if parts <= 4 { "at least 0.85" } else { "" };
        let linear = alone / time / parts as f64;
        println!("| {parts} parts | {time:.1} s | {linear:.2} | {target} | {requests} |");
    }
}

fn begin(world: &World, part: usize, parts: usize) -> Child {
    let mut vieter: Command = world.vieter();
    vieter.args(["--shard", &format!("{part}/{parts}")]);
    vieter.stdout(Stdio::null()).stderr(Stdio::null());
    vieter.spawn().unwrap()
}

/// As many names for each of the most parts.
fn names(world: &World) -> Vec<String> {
    let most = PARTS[PARTS.len() - 1];
    let mut names = vec![];
    for part in 1..=most {
        let shard: Shard = format!("{part}/{most}").parse().unwrap();
        let key = |name: &str| Key {
            url: world.url(name),
            branch: "main".to_owned(),
            path: String::new(),
        };
        let all = (0..).map(|it| format!("wait-{it}"));
        let own = all.filter(|it| shard.has(&key(it)));
        names.extend(own.take(BUILDS / most));
    }
    names
}
