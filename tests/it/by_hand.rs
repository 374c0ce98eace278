//! What a person, or a program of theirs, is told before, while and after something is built: `--dry-run`, `--json`, `--report`.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use vieter::inbox::FOLDER;

use crate::standin::Then;
use crate::util::{
    Background, KEY, World, assert_nothing_left, docker, run, sh_in, trivial, vieter,
};
use crate::wild::pkgbuild;

/// The objects that a run has printed, a line each.
fn objects(stdout: &str) -> Vec<Value> {
    let object = |line| serde_json::from_str(line).unwrap();
    stdout.lines().map(object).collect()
}

/// What a report says.
fn report(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing_of_it() {
    let world = World::new();
    world.package("done", &trivial("done"));
    world.package("newer", &pkgbuild("newer", ""));
    world.build(&[]).exits(0);
    world.server.clear_list();
    // Back to front: what would be built counts as if it were there.
    world.package("chain", &pkgbuild("chain", "depends=('link>=1' libgreet)"));
    world.package("link", &pkgbuild("link", ""));
    world.package("done", &trivial("done"));
    world.package("newer", &pkgbuild("newer", "pkgver() { echo 2; }"));
    world.package("needy", &pkgbuild("needy", "depends=(nosuch link)"));
    world.package("gcc", &pkgbuild("gcc", ""));
    let gone = format!("{}-gone", world.git("newer", &[]));
    world.list(&gone, "bur");
    world.server.take_requests();

    let address = world.server.url();
    let command =
        format!("vieter build --address {address} --repo bur https://aur.archlinux.org/nosuch.git");
    let told = world.build(&["--dry-run"]);
    told.exits(1)
        .reports("up to date  done 1.0-1  ")
        .reports("would build  newer 2-1  (1-1 is published)  ")
        .reports("would build  link 1-1  (nothing is published)  ")
        .reports("would build  chain 1-1  (nothing is published)  ")
        .reports("failed      needy 1-1  at dependencies  ")
        .reports("failed      gcc 1-1  at check  ")
        .reports(&format!("failed      {gone}  at clone  "))
        .reports("0 built, 1 up to date, 3 failed, 3 would be built")
        .says(&format!(
            "nosuch is in no repository; if the AUR has it: {command}"
        ));
    let requests = world.server.take_requests();
    assert!(!requests.iter().any(|it| it.starts_with("POST ")));

    let told = world.build(&["--dry-run", "--json", "newer", "needy"]);
    let objects = objects(&told.exits(1).stdout);
    assert_eq!(objects.len(), 2);
    let newer = &objects[0];
    for (field, value) in [
        ("outcome", "would build"),
        ("pkgbase", "newer"),
        ("version", "2-1"),
        ("published", "1-1"),
        ("repo", "bur"),
        ("branch", "main"),
    ] {
        assert_eq!(newer[field], value, "{field}");
    }
    assert!(newer["url"].as_str().unwrap().ends_with("/newer"));
    assert_eq!(newer["commit"].as_str().unwrap().len(), 40);
    assert!(newer["step"].is_null() && newer["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(objects[1]["step"], "dependencies");
    assert!(objects[1]["error"].as_str().unwrap().contains(&command));
    assert_nothing_left();

    // What stops a build is named in the same way.
    let built = world.build(&["needy"]);
    built.exits(1).says(&command);
}

#[test]
fn a_report_is_whole_at_any_time_and_each_build_has_its_log() {
    let world = World::new();
    let path = world.dir.path().join("report.json");
    let logs = world.dir.path().join("logs");
    // What it is told may be anything.
    let hostile = "build() { printf '%0500000d\\n<script>\"]]>\\\\\\e[2J\\n' 0; false; }";
    world.package("hostile", &pkgbuild("hostile", hostile));
    world.package("built", &pkgbuild("built", "depends=(libgreet)"));
    world.package(
        "endless",
        &pkgbuild("endless", "build() { echo now; sleep 1000; }"),
    );
    let mut command = world.vieter();
    command
        .env("VIETER_REPORT", &path)
        .env("VIETER_LOG_DIR", &logs)
        .args(["--log-level", "debug"]);
    let mut killed = Background::start(&mut command);
    killed.wait_for("INFO  repositories for");
    assert!(report(&path)["entries"].as_array().unwrap().is_empty());
    killed.wait_for("| now");
    // Nothing is left where the archives of the one before were looked at.
    assert_eq!(docker(&["exec", "vieter-build", "ls", "-A", FOLDER]), "");
    killed.kill();
    let told = report(&path);
    assert!(told["ended"].is_null() && told["started"].as_str().unwrap().ends_with('Z'));
    let entries = told["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(
        (&entries[0]["outcome"], &entries[0]["step"]),
        (&"failed".into(), &"build".into())
    );
    let error = entries[0]["error"].as_str().unwrap();
    assert!(error.contains("<script>\"]]>\\") && !error.contains('\u{1b}') && error.len() < 20_000);
    let log = fs::read_to_string(entries[0]["log"].as_str().unwrap()).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines[0].starts_with("entry: git://")
            && lines[0].ends_with("/hostile branch=main repo=bur")
    );
    let image = lines[1].strip_prefix("image: ").unwrap();
    assert!(image.contains("@sha256:") && image.contains("Pacman v") && image.contains("makepkg"));
    assert!(lines.iter().any(|it| it.starts_with("commit: ")));
    assert!(
        log.contains("=== makepkg\n") && log.contains("<script>\"]]>\\") && log.len() > 500_000
    );
    assert!(
        log.contains("\n=== failed at build: makepkg: ended with exit code ")
            && !log.contains('\u{1b}')
    );
    let archive = &entries[1]["archives"][0];
    let file = world.server.file("bur", archive["file"].as_str().unwrap());
    assert_eq!(archive["size"], fs::metadata(&file).unwrap().len());
    let sum = sh_in(
        Path::new("/"),
        &format!("sha256sum {} | cut -c 1-64", file.display()),
    );
    assert_eq!(archive["sha256"], sum);
    let log = fs::read_to_string(entries[1]["log"].as_str().unwrap()).unwrap();
    let size = fs::metadata(&file).unwrap().len();
    let file = archive["file"].as_str().unwrap();
    assert!(log.ends_with(&format!("\n=== published\n{sum}  {size} bytes  {file}\n")));
    let installed = log.find("\ninstalling libgreet...\n").unwrap();
    assert!(installed < log.find("\n=== makepkg\n").unwrap());
    // That of the build that was killed was written as it happened.
    let names = || -> Vec<String> {
        let name =
            |it: std::io::Result<fs::DirEntry>| it.unwrap().file_name().into_string().unwrap();
        fs::read_dir(&logs).unwrap().map(name).collect()
    };
    let endless = names()
        .into_iter()
        .find(|it| it.starts_with("endless-1-1-"))
        .unwrap();
    assert!(
        fs::read_to_string(logs.join(endless))
            .unwrap()
            .contains("\nnow\n")
    );
    assert_eq!(names().len(), 3);

    world.server.clear_list();
    world.package("quick", &trivial("quick"));
    for _ in 0..2 {
        run(world
            .vieter()
            .env("VIETER_REPORT", &path)
            .env("VIETER_LOG_DIR", &logs))
        .exits(0);
    }
    // Newer servers keep them as well; that one doesn't take it is no failure.
    world.server.clear_list();
    world.server.become_newer();
    world.package("kept", &trivial("kept"));
    world.package("refused", &pkgbuild("refused", "build() { false; }"));
    let refusal = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let logs_of = "POST /api/v1/logs";
    world.server.fault_for(logs_of, refusal, Then::Close, 1, 1);
    let sent = logs.with_file_name("sent");
    run(world.vieter().env("VIETER_LOG_DIR", &sent))
        .exits(1)
        .says("sending the log of git://");
    let own = fs::read_dir(&sent).unwrap().map(|it| it.unwrap().path());
    let own = own
        .into_iter()
        .find(|it| it.to_str().unwrap().contains("/kept-1.0-1-"))
        .unwrap();
    let kept = world.dir.path().join("server/logs/1-x86_64-0");
    assert!(fs::read(kept).unwrap() == fs::read(own).unwrap());
    // What came of an entry is told before its log is sent, which may take long.
    world.server.clear_list();
    world.package("told", &trivial("told"));
    world.server.take_requests();
    world.server.fault_for(logs_of, "", Then::Hang, 0, 1);
    let mut sending = world.vieter();
    sending.env("VIETER_LOG_DIR", &sent).stdout(Stdio::piped());
    let mut sending = sending.spawn().unwrap();
    world.server.wait_for(logs_of);
    sending.kill().unwrap();
    let output = sending.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.starts_with("built       told 1.0-1  "), "{told}");
    run(&mut world.vieter()).exits(0);
    // What is up to date leaves none.
    assert_eq!(names().len(), 4);
    let told = report(&path);
    assert!(told["ended"].is_string());
    assert_eq!(told["entries"][0]["outcome"], "up to date");

    let nowhere = run(vieter()
        .args([
            "build",
            "--docker-host",
            "unix:///no/such.sock",
            "--report",
            "/no/such/report",
        ])
        .env("VIETER_ADDRESS", "http://127.0.0.1:1")
        .env("VIETER_API_KEY", KEY));
    nowhere
        .exits(3)
        .says("writing the report /no/such/report: No such file");
}

#[test]
fn a_folder_has_a_page_on_which_nothing_from_outside_is_more_than_text() {
    let world = World::new();
    let dir = world.dir.path().join("<b>&'");
    let url = world.git("good", &[("PKGBUILD", &pkgbuild("good", ""))]);
    let evil = "pkgname=evil\npkgver='1<script>\"'\npkgrel=1\narch=(any)\n\
        build() { echo '<script>alert(1)</script>\"]]>'; false; }\npackage() { :; }\n";
    let evil = world.git("evil", &[("PKGBUILD", evil)]);
    let list = world.dir.path().join("list");
    // Names, versions and messages that are too long, and would move a cursor.
    let long = |letter: &str| format!("\\e[2J<img>{}", letter.repeat(500_000));
    let head = "arch=(any)\npkgrel=1\npackage() { :; }\n";
    let named = format!("pkgname=$'{}'\npkgver=1\n{head}", long("n"));
    let versioned = format!("pkgname=versioned\npkgver=$'{}'\n{head}", long("v"));
    let babble =
        "build() { printf '%0500000d\\n' 0 | tr 0 o; printf '\\e[2J<img>%s\\n' {1..50}; false; }\n";
    let babbler = pkgbuild("babbler", babble);
    let [named, versioned, babbler] = [
        ("named", named),
        ("versioned", versioned),
        ("babbler", babbler),
    ]
    .map(|(name, text)| world.git(name, &[("PKGBUILD", &text)]));
    let lines = [
        &url,
        &format!("{evil} branch=main"),
        "https://me:s3cret@127.0.0.1:1/<x>.git",
        &named,
        &versioned,
        &babbler,
    ];
    fs::write(&list, lines.join("\n")).unwrap();
    let told = world.dir.path().join("report.json");
    let build = |what: &[&str]| {
        let mut command = world.vieter();
        command
            .env_remove("VIETER_ADDRESS")
            .env_remove("VIETER_API_KEY");
        command.arg("--into").arg(&dir).arg("--list").arg(&list);
        command.arg("--log-dir").arg(dir.join("logs")).args(what);
        command.arg("--report").arg(&told);
        run(&mut command)
    };
    let page = || fs::read_to_string(dir.join("index.html")).unwrap();
    let run = build(&["--log-level", "debug"])
        .exits(1)
        .reports("failed      https://***@127.0.0.1:1/<x>.git  at clone  ")
        .reports(&format!("failed      {named}  at version  "))
        .reports(&format!("failed      {versioned}  at version  "))
        .reports("failed      babbler 1-1  at build  ");
    let whole = page();
    // The password is nowhere, and neither is anything else as it was said.
    assert!(!run.stdout.contains("s3cret") && !run.stderr.contains("s3cret"));
    let files = sh_in(&dir, "find . -type f");
    for file in files.lines() {
        let text = fs::read(dir.join(file)).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("s3cret"), "{file}");
    }
    assert!(files.contains("/logs/babbler-1-1-") && files.contains("/vieter.json"));
    let report_text = fs::read_to_string(&told).unwrap();
    assert!(!report_text.contains("s3cret"));
    for text in [&whole, &report_text] {
        assert!(!text.contains('\u{1b}') && text.len() < 100_000);
        for letter in ["n", "v", "o"] {
            assert!(!text.contains(&letter.repeat(1000)), "{letter}");
        }
    }
    let entries = report(&told)["entries"].clone();
    for name in ["named", "versioned", "babbler"] {
        let its = |it: &&Value| it["url"] == world.url(name);
        let entry = entries.as_array().unwrap().iter().find(its).unwrap();
        let error = entry["error"].as_str().unwrap();
        assert!(error.contains("\\u{1b}[2J<img>"), "{error}");
    }
    // Of each at least once.
    assert!(whole.matches("\\u{1b}[2J&lt;img&gt;").count() >= 3);
    assert!(!whole.contains("<img"));
    // What is ours has no script, and no link but these.
    assert!(!whole.contains("<script") && !whole.contains("s3cret"));
    assert!(
        whole.contains("1&lt;script&gt;&quot;-1")
            && whole.contains("alert(1)&lt;/script&gt;&quot;]]&gt;")
    );
    // As pacman and curl take it.
    assert!(whole.contains("/%3Cb%3E%26%27/$repo/$arch\nSigLevel = Optional TrustAll"));
    for link in whole.split("href=\"").skip(1) {
        let log = link.starts_with("logs/") && link.contains(".log\"");
        assert!(
            log || link.starts_with("https://***@127.0.0.1:1/&lt;x&gt;.git\""),
            "{link}"
        );
    }
    let log = whole
        .split("href=\"")
        .find(|it| it.starts_with("logs/evil"))
        .unwrap();
    let log = log
        .split('"')
        .next()
        .unwrap()
        .replace("%3C", "<")
        .replace("%22", "\"");
    assert!(
        fs::read_to_string(dir.join(log))
            .unwrap()
            .contains("<script>alert(1)")
    );
    assert!(whole.contains("<td class=\"name\">good</td><td data-what=\"version\">1-1</td>"));
    let commit = sh_in(&world.git_dir("good"), "git rev-parse --short=12 HEAD");
    assert!(whole.contains(&commit));

    // A part of the list changes its own rows.
    world.git("evil", &[("PKGBUILD", &pkgbuild("evil", ""))]);
    build(&["evil"]).exits(0);
    let part = page();
    assert!(!part.contains("&lt;script") && part.contains("at clone, "));
    assert!(part.contains("<td class=\"name\">evil</td><td data-what=\"version\">1-1</td>"));

    fs::write(dir.join("index.html"), "mine").unwrap();
    build(&["good"])
        .exits(0)
        .says("index.html isn't ours, so it stays as it is");
    assert_eq!(page(), "mine");
}
