//! Nights on which little or nothing has changed: the builder image that is kept, what is known without a container, and what waits
//! after a failure.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::http_git::HttpGit;
use crate::proxy::{Act, Proxy, watched};
use crate::util::*;
use crate::wild::pkgbuild;

/// A world with a Git server of HTTP, and a file for what is remembered.
struct Nights {
    world: World,
    git: HttpGit,
    state: PathBuf,
}

impl Nights {
    fn new() -> Nights {
        let world = World::new();
        let git = HttpGit::serve(&world.dir.path().join("git"));
        let state = world.dir.path().join("state.json");
        Nights { world, git, state }
    }

    /// Makes or changes a repository, and puts it on the list if it is new.
    fn package(&self, name: &str, pkgbuild: &str) {
        let is_new = !self.world.git_dir(name).exists();
        self.world.git(name, &[("PKGBUILD", pkgbuild)]);
        if is_new {
            self.world.list(&self.git.url(name), "bur");
        }
    }

    fn night(&self, args: &[&str]) -> Run {
        let mut vieter = self.world.vieter();
        run(vieter.arg("--state").arg(&self.state).args(args))
    }

    /// The same behind a proxy; gives the lines of the requests that the engine got, too.
    fn watched(&self, args: &[&str]) -> (Run, Vec<String>) {
        let mut vieter = self.world.vieter();
        self.watch(vieter.arg("--state").arg(&self.state).args(args))
    }

    /// Such a night of any command.
    fn watch(&self, command: &mut Command) -> (Run, Vec<String>) {
        let (night, asked) = watched(&self.world, command);
        let line = |text: &String| text.lines().next().unwrap().to_owned();
        (night, asked.iter().map(line).collect())
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.state).unwrap()).unwrap()
    }

    /// Changes what is remembered of all entries.
    fn forge(&self, change: impl Fn(&mut Value)) {
        let mut state = self.state();
        let entries = state["entries"].as_object_mut().unwrap();
        entries.values_mut().for_each(change);
        fs::write(&self.state, state.to_string()).unwrap();
    }
}

/// How many of the requests are like this.
fn count(asked: &[String], needles: &[&str]) -> usize {
    let is_one = |line: &&String| needles.iter().all(|it| line.contains(it));
    asked.iter().filter(is_one).count()
}

/// The time so many days ago, as the state has it.
fn ago(days: u64) -> Value {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    json!(now - days * 86_400)
}

const CREATE: &[&str] = &["POST", "/containers/create"];

#[test]
fn a_night_without_a_change_takes_the_lock_and_nothing_else() {
    let nights = Nights::new();
    nights.package("plain", &trivial("plain"));
    // Of a repository that a PKGBUILD with a pkgver() follows.
    nights.world.git("upstream", &[("file", "1")]);
    let source = format!("git+{}", nights.git.url("upstream"));
    let vcs = format!(
        "pkgname=vcs-git\npkgver=1\npkgrel=1\narch=(any)\nsource=('src::{source}')\nsha256sums=(SKIP)\n\
         pkgver() {{ cd src; git rev-list --count HEAD; }}\npackage() {{ :; }}\n"
    );
    nights.package("vcs-git", &vcs);
    nights
        .night(&[])
        .exits(0)
        .reports("built       plain 1.0-1")
        .reports("built       vcs-git 1-1");
    nights.git.asked();
    let (night, asked) = nights.watched(&[]);
    night
        .exits(0)
        .reports("up to date  plain 1.0-1")
        .reports("up to date  vcs-git 1-1");
    assert_eq!(count(&asked, CREATE), 1, "{asked:#?}");
    for nothing in ["/images/create", "/commit"] {
        assert_eq!(count(&asked, &[nothing]), 0, "{asked:#?}");
    }
    // Of each entry, and of each Git source, its references are asked for once, and nothing else.
    let mut requests = nights.git.asked();
    requests.sort();
    let refs = |name| format!("GET /{name}/info/refs?service=git-upload-pack");
    assert_eq!(requests, ["plain", "upstream", "vcs-git"].map(refs));

    // What has changed is built, and nothing else is looked at in a container.
    nights.world.git("upstream", &[("file", "2")]);
    let (night, asked) = nights.watched(&[]);
    night
        .exits(0)
        .reports("up to date  plain 1.0-1")
        .reports("built       vcs-git 2-1");
    assert_eq!(count(&asked, CREATE), 2, "{asked:#?}");
    let raised = trivial("plain").replace("pkgrel=1", "pkgrel=2");
    nights.package("plain", &raised);
    nights
        .night(&[])
        .exits(0)
        .reports("built       plain 1.0-2");

    // It is the server that knows what is published.
    fs::remove_dir_all(nights.world.dir.path().join("server/bur")).unwrap();
    nights
        .night(&[])
        .exits(0)
        .reports("built       plain 1.0-2")
        .reports("built       vcs-git 2-1");

    // As does a folder: of what is there, and is as it was, nothing is looked at again.
    let of_world = |it: &str| nights.world.dir.path().join(it);
    let (into, list, state) = (of_world("into"), of_world("list"), of_world("other.json"));
    let lines = ["plain", "vcs-git"].map(|it| format!("{} branch=main\n", nights.git.url(it)));
    fs::write(&list, lines.concat()).unwrap();
    let night = || {
        let mut vieter = nights.world.vieter();
        vieter
            .env_remove("VIETER_ADDRESS")
            .env_remove("VIETER_API_KEY");
        let paths = [("--into", &into), ("--list", &list), ("--state", &state)];
        for (flag, path) in paths {
            vieter.arg(flag).arg(path);
        }
        nights.watch(&mut vieter)
    };
    let (first, _) = night();
    first
        .exits(0)
        .reports("built       plain 1.0-2")
        .reports("built       vcs-git 2-1");
    let (unchanged, asked) = night();
    let unchanged = unchanged
        .exits(0)
        .reports("up to date  plain 1.0-2")
        .reports("up to date  vcs-git 2-1")
        .reports("0 built, 2 up to date, 0 failed");
    assert!(!unchanged.stdout.contains("gone"), "{}", unchanged.stdout);
    assert_eq!(count(&asked, CREATE), 1, "{asked:#?}");
    let archive = into.join("vieter/x86_64/plain-1.0-2-any.pkg.tar.zst");
    fs::remove_file(&archive).unwrap();
    nights.git.asked();
    let (missing, _) = night();
    let missing = missing
        .exits(0)
        .reports("built       plain 1.0-2")
        .reports("up to date  vcs-git 2-1")
        .reports("1 built, 1 up to date, 0 failed");
    assert!(!missing.stdout.contains("gone"), "{}", missing.stdout);
    assert!(archive.exists());
    // Only that one is cloned.
    let requests = nights.git.asked();
    for (name, is_cloned) in [("plain", true), ("vcs-git", false)] {
        let clones = count(&requests, &["POST", &format!("/{name}/")]);
        assert_eq!(clones > 0, is_cloned, "{requests:#?}");
    }
}

#[test]
fn what_failed_waits_until_something_has_changed() {
    let nights = Nights::new();
    let bad = "pkgname=bad\npkgver=1\npkgrel=1\narch=(any)\nbuild() { false; }\npackage() { :; }\n";
    nights.package("bad", bad);
    // Its commit is known only once it is cloned.
    let url = nights
        .world
        .git("slow", &[("PKGBUILD", &bad.replace("bad", "slow"))]);
    nights.world.list(&url, "bur");
    let logs = nights.world.dir.path().join("logs");
    let logs = ["--log-dir", logs.to_str().unwrap()];
    let first = nights.night(&logs).exits(1);
    let log = first
        .stdout
        .lines()
        .find(|it| it.contains(" bad 1-1"))
        .unwrap();
    let (_, log) = log.split_once("; log: ").unwrap();
    let log = log.split("  ").next().unwrap().to_owned();

    let second = nights.night(&logs).exits(1);
    let line = second
        .stdout
        .lines()
        .find(|it| it.contains(" bad 1-1"))
        .unwrap();
    assert!(
        line.starts_with("failed      bad 1-1  at build, less than an hour ago, next try on "),
        "{line}"
    );
    assert!(line.contains(&format!("; log: {log}")), "{line}");
    assert!(PathBuf::from(&log).exists());
    second
        .reports("failed      slow 1-1  at build, less than an hour ago, next try on ")
        .reports("0 built, 0 up to date, 2 failed");

    // Whoever names it wants it now, as does --force; each time that it fails, it waits longer.
    let now = |args: &[&str]| {
        nights
            .night(args)
            .exits(1)
            .reports("failed      bad 1-1  at build  ")
    };
    now(&["bad"]);
    now(&["--force"]);
    let tries: Vec<_> = nights.state()["entries"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(|it| it["waiting"]["tries"].as_u64())
        .collect();
    // What is forced doesn't count.
    assert_eq!(tries.iter().max(), Some(&2));

    // The wait is over after its days, at the latest after a week, and it is never longer, whatever the file says.
    for (tries, days, is_over) in [
        (1, 1, true),
        (2, 1, false),
        (2, 2, true),
        (3, 3, false),
        (3, 4, true),
        (9, 6, false),
        (9, 7, true),
    ] {
        nights.forge(|seen| {
            if seen["waiting"].is_object() {
                seen["waiting"]["tries"] = json!(tries);
                seen["waiting"]["failed"]["time"] = ago(days);
            }
        });
        let waits = format!("failed      bad 1-1  at build, {days} day");
        let tried = "failed      bad 1-1  at build  ";
        nights
            .night(&[])
            .exits(1)
            .reports(if is_over { tried } else { &waits });
    }
    nights.forge(|seen| {
        if seen["waiting"].is_object() {
            seen["waiting"]["failed"]["time"] = json!(99_999_999_999_u64);
        }
    });
    now(&[]);

    // Another base image ends it.
    nights.forge(|seen| {
        if seen["waiting"].is_object() {
            seen["waiting"]["base"] = json!("sha256:another");
        }
    });
    now(&[]);

    // A new commit ends it.
    nights.package("bad", &bad.replace("false", "true"));
    nights.night(&[]).exits(1).reports("built       bad 1-1  ");
}

/// What can't be had is the network's fault, or a server's.
#[test]
fn what_could_not_be_downloaded_does_not_wait() {
    let nights = Nights::new();
    let busy = "HTTP/1.1 503 -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    nights.world.server.fault("GET /static/x", busy);
    let of_git = |url: &str| format!("prepare() {{ git ls-remote {url}/x; }}");
    let at_server = format!("{}/static", nights.world.server.url());
    let lost = [
        (
            "lost",
            "source=(http://127.0.0.1:1/x)\nsha256sums=(SKIP)".to_owned(),
        ),
        ("refused", of_git("http://127.0.0.1:1")),
        ("busy", of_git(&at_server)),
    ];
    for (name, fetch) in &lost {
        let start = format!("pkgname={name}\npkgver=1\npkgrel=1\narch=(any)\n");
        nights.package(name, &format!("{start}{fetch}\npackage() {{ :; }}\n"));
    }
    for _ in 0..2 {
        let night = nights.night(&[]).exits(1);
        lost.iter().fold(night, |night, (name, _)| {
            night.reports(&format!("failed      {name} 1-1  at build  "))
        });
    }
}

#[test]
fn what_lacked_a_dependency_on_another_night_is_tried_when_that_has_come_earlier_in_the_run() {
    let nights = Nights::new();
    let library = trivial("library");
    nights.package("library", &format!("{library}build() {{ false; }}\n"));
    // Its commit is known only once it is cloned, by when the other is built.
    let needy = trivial("needy").replace("pkgrel=1", "pkgrel=1\ndepends=(library)");
    let url = nights.world.git("needy", &[("PKGBUILD", &needy)]);
    nights.world.list(&url, "bur");
    nights
        .night(&[])
        .exits(1)
        .reports("failed      needy 1.0-1  at dependencies  ");
    nights
        .night(&[])
        .exits(1)
        .reports("failed      needy 1.0-1  at dependencies, ");
    nights.package("library", &library);
    nights
        .night(&[])
        .exits(0)
        .reports("built       library 1.0-1  ")
        .reports("built       needy 1.0-1  ");
}

#[test]
fn what_failed_waits_no_longer_than_until_another_run_has_published_it() {
    let nights = Nights::new();
    let url = nights.world.server.url();
    let needy = pkgbuild("needy", &format!("build() {{ curl -sf {url}/go/on/now; }}"));
    nights.package("needy", &needy);
    let failed = "failed      needy 1-1  at build";
    nights.night(&[]).exits(1).reports(&format!("{failed}  "));
    nights
        .night(&[])
        .exits(1)
        .reports(&format!("{failed}, less"));
    // It remembers for itself, or nothing.
    nights.world.server.put("go", "on", "now", "");
    nights
        .world
        .build(&[])
        .exits(0)
        .reports("built       needy 1-1  ");
    nights
        .night(&[])
        .exits(0)
        .reports("up to date  needy 1-1  ");
    // Which is known from now on.
    let (night, asked) = nights.watched(&[]);
    night.exits(0).reports("up to date  needy 1-1  ");
    assert_eq!(count(&asked, CREATE), 1, "{asked:#?}");
}

#[test]
fn a_state_that_is_lost_forged_or_of_another_list_does_no_harm() {
    let nights = Nights::new();
    nights.package("plain", &trivial("plain"));
    nights
        .night(&[])
        .exits(0)
        .reports("built       plain 1.0-1");
    let good = fs::read(&nights.state).unwrap();
    for bad in [&b""[..], b"{", b"[]", b"\xff\x00", br#"{"entries": 7}"#] {
        fs::write(&nights.state, bad).unwrap();
        nights
            .night(&[])
            .exits(0)
            .says("going on without what it remembers")
            .reports("up to date  plain 1.0-1");
        // It is written anew.
        let entries = nights.state()["entries"].as_object().unwrap().len();
        assert_eq!(entries, 1);
    }
    // Versions and names that were never built are asked for where packages are, and looked at in a container then.
    for (field, value) in [
        ("version", json!("9-9")),
        ("version", json!("../../x")),
        ("names", json!(["other"])),
        ("names", json!(["../x"])),
        ("names", json!([])),
        ("commit", json!("1111111111111111111111111111111111111111")),
        ("looked", json!(0)),
        ("looked", json!(99_999_999_999_u64)),
    ] {
        fs::write(&nights.state, &good).unwrap();
        nights.forge(|seen| seen[field] = value.clone());
        let (night, asked) = nights.watched(&[]);
        night.exits(0).reports("up to date  plain 1.0-1");
        assert_eq!(count(&asked, CREATE), 2, "{field} {value}");
    }
    // A look counts for a week.
    for (days, containers) in [(6, 1), (8, 2)] {
        fs::write(&nights.state, &good).unwrap();
        nights.forge(|seen| seen["looked"] = ago(days));
        let (night, asked) = nights.watched(&[]);
        night.exits(0).reports("up to date  plain 1.0-1");
        assert_eq!(count(&asked, CREATE), containers, "{days} days ago");
    }
    // Another list's is nobody's here.
    fs::write(&nights.state, &good).unwrap();
    nights.world.server.clear_list();
    nights.package("else", &trivial("else"));
    nights.night(&[]).exits(0).reports("built       else 1.0-1");
    // One that can't be written costs a warning.
    fs::remove_file(&nights.state).unwrap();
    fs::create_dir(&nights.state).unwrap();
    nights
        .night(&[])
        .exits(0)
        .says("writing the state")
        .reports("up to date  else 1.0-1");
}

#[test]
fn ten_thousand_entries_that_are_remembered_take_less_than_twelve_mebibytes() {
    let nights = Nights::new();
    nights.package("plain", &trivial("plain"));
    nights.night(&[]).exits(0);
    let remembered = nights.state();
    let (called, seen) = remembered["entries"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    // All have that commit, and are published.
    let server = &nights.world.server;
    let refs = format!("{} refs/heads/main\n", seen["commit"].as_str().unwrap());
    let packet = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let refs = packet("# service=git-upload-pack\n") + "0000" + &packet(&refs) + "0000";
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    server.fault("GET /git/", &format!("{head}\r\n{refs}"));
    server.fault("HEAD /", &format!("{head}Content-Length: 1\r\n\r\n"));
    let peak_of = |entries: usize| {
        server.clear_list();
        let mut state = json!({"refreshed": remembered["refreshed"], "entries": {}});
        let mut approved = String::new();
        for n in 0..entries {
            let url = format!("{}/git/some-package-{n:05}", server.url());
            nights.world.list(&url, "bur");
            let mut seen = seen.clone();
            seen["names"] = json!([format!("some-package-{n:05}")]);
            seen["pkgbase"] = seen["names"][0].clone();
            let commit = seen["commit"].as_str().unwrap();
            approved += &format!("{url} branch=main {commit}  # 2026-11-28 1.0-1\n");
            state["entries"][called.replace(&nights.git.url("plain"), &url)] = seen;
        }
        fs::write(&nights.state, state.to_string()).unwrap();
        let approvals = nights.state.with_extension("approved");
        fs::write(&approvals, approved).unwrap();
        let (pid, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
        let (its, highest) = (pid.clone(), most.clone());
        // The last requests come at the end.
        let proxy = Proxy::start(&nights.world, move |_| {
            let now = peak(its.load(Ordering::Relaxed)).unwrap_or(0);
            highest.fetch_max(now, Ordering::Relaxed);
            Act::Pass
        });
        let mut vieter = nights.world.vieter();
        vieter
            .args(["--docker-host", &proxy.host, "--state"])
            .arg(&nights.state);
        vieter
            .arg("--report")
            .arg(nights.state.with_extension("report"));
        vieter.arg("--approved").arg(&approvals);
        let child = vieter
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        pid.store(child.id(), Ordering::Relaxed);
        let output = end_of(Ok(child));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(
            told.ends_with(&format!("0 built, {entries} up to date, 0 failed\n")),
            "{told}"
        );
        most.load(Ordering::Relaxed)
    };
    // The static binary takes 2 MiB without any, the one with debug information 8.
    let (base, most) = (peak_of(1), peak_of(10_000));
    eprintln!("{most} KiB, of one entry {base} KiB");
    assert!(base > 0 && most - base < 10 * 1024, "{most} KiB");
}

#[test]
fn nobody_gets_a_name_on_the_night_on_which_its_owner_cannot_be_cloned() {
    let nights = Nights::new();
    nights.package("owner", &trivial("wanted"));
    nights
        .night(&[])
        .exits(0)
        .reports("built       wanted 1.0-1");
    let thief = trivial("wanted").replace("pkgver=1.0", "pkgver=6.6");
    nights.package("thief", &thief);
    fs::rename(nights.world.git_dir("owner"), nights.world.git_dir("away")).unwrap();
    nights
        .night(&[])
        .exits(1)
        .says("it belongs to")
        .reports("failed      wanted 6.6-1  at version");
    assert_eq!(
        nights.world.server.published("bur"),
        ["wanted-1.0-1-any.pkg.tar.zst"]
    );
    // Who was refused has not become its owner.
    fs::rename(nights.world.git_dir("away"), nights.world.git_dir("owner")).unwrap();
    let newer = trivial("wanted").replace("pkgrel=1", "pkgrel=2");
    nights.world.git("owner", &[("PKGBUILD", &newer)]);
    nights
        .night(&[])
        .exits(1)
        .reports("built       wanted 1.0-2")
        .reports("failed      wanted 6.6-1  at version");
    // It is free once its owner makes another, which is known when that was read.
    nights
        .world
        .git("owner", &[("PKGBUILD", &trivial("another"))]);
    nights
        .night(&[])
        .exits(0)
        .reports("built       another 1.0-1")
        .reports("built       wanted 6.6-1");
}

#[test]
fn what_is_asked_of_git_servers_goes_no_further() {
    let nights = Nights::new();
    nights.package("plain", &trivial("plain"));
    nights.night(&[]).exits(0);
    let elsewhere = HttpGit::serve(&nights.world.dir.path().join("git"));
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}/info/refs\r\nContent-Length: 0\r\n\r\n",
        elsewhere.url("plain")
    );
    for odd in [
        redirect.as_bytes(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfff0",
        b"HTTP/1.1 500 -\r\nContent-Length: 0\r\n\r\n",
    ] {
        nights.git.answer_instead(Some(odd));
        // The container's way fails then, too, as it asks the same server.
        nights
            .night(&[])
            .exits(1)
            .reports("failed      http://127.0.0.1");
        nights.git.answer_instead(None);
        assert_eq!(
            elsewhere.asked().len(),
            usize::from(odd == redirect.as_bytes()),
            "git itself follows the redirect"
        );
        nights
            .night(&[])
            .exits(0)
            .reports("up to date  plain 1.0-1");
    }

    // One that never ends is read up to its bound, and left; what sockets hold comes on top of that. git takes none of it.
    let head = b"HTTP/1.1 200 OK\r\n\r\n001e# service=git-upload-pack\n0000";
    let piece = b"0008abcd".repeat(1 << 13);
    nights.git.answer_without_end(head, &piece);
    nights
        .night(&[])
        .exits(1)
        .reports("failed      http://127.0.0.1");
    let taken = nights.git.taken();
    assert!((4 << 20..32 << 20).contains(&taken), "{taken} bytes");
    nights.git.answer_instead(None);

    // One with a password is asked by git alone, in a container.
    nights.world.server.clear_list();
    let url = nights.git.url("plain").replace("://", "://u:p@");
    nights.world.list(&url, "bur");
    for _ in 0..2 {
        nights.git.asked();
        let (night, asked) = nights.watched(&[]);
        night.exits(0).reports("up to date  plain 1.0-1");
        assert_eq!(count(&asked, CREATE), 2, "{asked:#?}");
        let requests = nights.git.asked();
        assert_eq!(count(&requests, &["info/refs"]), 1, "{requests:#?}");
    }
}
