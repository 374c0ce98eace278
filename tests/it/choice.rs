//! What is built: a list of ours in place of the server's, and what is chosen of a list.

use std::fs::{self, File};

use crate::util::{World, run, trivial};

#[test]
fn a_list_of_ours_takes_the_place_of_the_servers() {
    let world = World::new();
    world.package("theirs", "exit 1");
    let one = world.git("one", &[("PKGBUILD", &trivial("one"))]);
    let many = world.git("many", &[("PKGBUILD", "exit 1")]);
    fs::create_dir(world.git_dir("many").join("two")).unwrap();
    world.git("many", &[("two/PKGBUILD", &trivial("two"))]);
    let list = world.dir.path().join("vieter.list");
    let text = format!(
        "\u{feff}# ours\r\n\
        {one}\r\n\
        \r\n\
        {one} branch=main branch=main\r\n\
        {many}/ repo=mine path=two branch=main  # with all there is\r\n\
        {many} arch=aarch64\r\n\
        {many}/.. path=a/../..\r\n\
        --upload-pack=touch repo=mine\r\n\
        repo=mine"
    );
    fs::write(&list, text).unwrap();
    let path = list.to_str().unwrap();
    let built = world
        .build(&["--list", path, "--repo", "ours"])
        .exits(1)
        .reports("built       one 1.0-1  ")
        .reports("built       two 1.0-1  ")
        .reports(&format!("failed      {one}  at list  "))
        .reports(&format!("failed      {many}/..  at list  "))
        .reports("failed      --upload-pack=touch  at list  ")
        .reports("2 built, 0 up to date, 4 failed")
        .says(&format!("at list: line 4 of the list {path}: "))
        .says(&format!("at list: line 7 of the list {path}: the path "))
        .says(&format!("at list: line 8 of the list {path}: "))
        .says(&format!("at list: line 9 of the list {path}: has no URL"));
    assert!(!built.stdout.contains("theirs"), "{}", built.stdout);
    let published = |repo| world.server.published(repo);
    assert_eq!(published("ours"), ["one-1.0-1-any.pkg.tar.zst"]);
    assert_eq!(published("mine"), ["two-1.0-1-any.pkg.tar.zst"]);

    // From the standard input, and a part of it: lines that can't be used are no matter then.
    let from_stdin = |args: &[&str]| {
        let mut command = world.vieter();
        command.args(["--list", "-"]).args(args);
        command.env("VIETER_REPO", "ours");
        run(command.stdin(File::open(&list).unwrap()))
    };
    from_stdin(&["mine/"])
        .exits(0)
        .reports("up to date  two 1.0-1  ")
        .reports("0 built, 1 up to date, 0 failed");
    from_stdin(&["--upload-pack"]).exits(2);
    from_stdin(&["--", "--upload-pack=touch"])
        .exits(1)
        .reports("0 built, 0 up to date, 1 failed")
        .says("line 8 of the list on the standard input: ");
    from_stdin(&["many/two"]).exits(2).says("many");

    // The key is tried all the same, before anything is built.
    world.server.set_key("another");
    from_stdin(&[])
        .exits(3)
        .says("does VIETER_API_KEY hold this server's key?");
}

#[test]
fn what_is_chosen_is_built_and_nothing_else() {
    let world = World::new();
    let git = |name: &str| world.git(name, &[("PKGBUILD", &trivial(name))]);
    world.package("alpha", &trivial("alpha"));
    world.list("git://127.0.0.1/x", "../mine");
    let beta = git("beta");
    world.list(&format!("{beta}/"), "mine");
    world.list(&git("gamma"), "mine");
    let delta = git("delta");

    // Nothing of it is touched: an image that can't be had would be an error if it were asked for.
    let base = ["--base-image", "127.0.0.1:1/nothing/here"];
    world
        .build(&[&base[..], &["gamma", "alhpa", "mime/"]].concat())
        .exits(2)
        .says("the list has no \"alhpa\" for x86_64; what comes nearest: alpha, ")
        .says("the list has no \"mime/\" for x86_64; what comes nearest: mine/, ");
    world
        .build(&[&base[..], &["--arch", "armv7h", "alpha"]].concat())
        .exits(2)
        .says("\"alpha\" for x86_64 only, not for armv7h");
    world.build(&[""]).exits(2);

    // By URL, by name, and what is on no list, in the list's order, each once; what can't be used isn't told.
    let what = ["--repo", "new", &delta, &beta, "beta", "alpha", &delta];
    let run = world
        .build(&what)
        .exits(0)
        .reports("3 built, 0 up to date, 0 failed");
    let names = run.stdout.lines().take(3);
    let names: Vec<_> = names
        .filter_map(|it| it.split_whitespace().nth(1))
        .collect();
    assert_eq!(names, ["alpha", "beta", "delta"]);
    let published = |repo| world.server.published(repo);
    assert_eq!(published("bur"), ["alpha-1.0-1-any.pkg.tar.zst"]);
    assert_eq!(published("mine"), ["beta-1.0-1-any.pkg.tar.zst"]);
    assert_eq!(published("new"), ["delta-1.0-1-any.pkg.tar.zst"]);
    world
        .build(&["mine/"])
        .exits(0)
        .reports("up to date  beta 1.0-1  ")
        .reports("built       gamma 1.0-1  ")
        .reports("1 built, 1 up to date, 0 failed");
}

#[test]
fn what_is_no_list_of_ours_ends_the_run_at_its_start() {
    let world = World::new();
    let list = world.dir.path().join("list");
    let path = list.to_str().unwrap();
    let build = |text: &[u8]| {
        fs::write(&list, text).unwrap();
        world.build(&["--list", path])
    };
    let url = world.git("foreign", &[("PKGBUILD", "exit 1")]);
    let lines = format!("{url} arch=aarch64\n").repeat(10_000);
    build(lines.as_bytes())
        .exits(0)
        .says("none of the list's 10000 repositories is for x86_64, but for aarch64")
        .says("the list has no repositories for x86_64")
        .reports("0 built, 0 up to date, 0 failed");
    let reading = format!("reading the list {path}: ");
    build((lines + &url).as_bytes())
        .exits(3)
        .says(&format!("{reading}the list has more than 10000 entries"));
    build("#".repeat((4 << 20) + 1).as_bytes())
        .exits(3)
        .says(&format!("{reading}it is larger than 4 MiB"));
    for text in [&b"https://x\n\xff\xfe\n"[..], b"https://x\0\n"] {
        let run = build(text).exits(3);
        run.says(&format!("{reading}it is no text"));
    }
    fs::remove_file(&list).unwrap();
    for args in [["build", path], ["check", path], ["build", "/"]] {
        let mut command = world.vieter_for(args[0]);
        let run = run(command.args(["--list", args[1]])).exits(3);
        let said = run.stdout + &run.stderr;
        let reading = format!("reading the list {}: ", args[1]);
        assert!(said.contains(&reading), "{said}");
    }

    // An empty one is nothing to do, and a check counts what is on it.
    build(b"").exits(0).says("the list has no repositories");
    fs::write(&list, format!("{url}\n{url} arch=aarch64\n")).unwrap();
    run(world.vieter_for("check").env("VIETER_LIST", path))
        .exits(0)
        .reports("server        ok      ")
        .reports("repositories  ok      1 for the architecture x86_64");
    run(world.vieter_for("check").arg("foreign"))
        .exits(2)
        .says("foreign");
}
