//! Approved commits: what a person has read is what is built, and nothing else; what `vieter review` shows; and what is approved by
//! itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::http_git::HttpGit;
use crate::proxy::watched;
use crate::terminal::{Terminal, line_of};
use crate::util::*;
use crate::wild::on_changed;

/// A world with a Git server of HTTP, a file of approvals, and one for what is remembered.
struct Reviewed {
    world: World,
    git: HttpGit,
    file: PathBuf,
    base: String,
}

impl Reviewed {
    fn new() -> Reviewed {
        let world = World::new();
        let git = HttpGit::serve(&world.dir.path().join("git"));
        let file = world.dir.path().join("approved");
        let base = BASE_IMAGE.clone();
        Reviewed {
            world,
            git,
            file,
            base,
        }
    }

    /// Makes or changes a repository of these files, and puts it on the list if it is new.
    fn package(&self, name: &str, files: &[(&str, &str)]) {
        let is_new = !self.world.git_dir(name).exists();
        self.world.git(name, files);
        if is_new {
            self.world.list(&self.git.url(name), "bur");
        }
    }

    fn command(&self, what: &str, args: &[&str]) -> Command {
        let mut command = self.world.vieter_for(what);
        command.env("VIETER_BASE_IMAGE", &self.base);
        command.arg("--approved").arg(&self.file).args(args);
        command
    }

    fn build(&self, args: &[&str]) -> Run {
        run(&mut self.command("build", args))
    }

    fn review(&self, args: &[&str]) -> Run {
        run(&mut self.command("review", args))
    }

    /// A command of git's, in a repository.
    fn git_in(&self, name: &str, script: &str) -> String {
        let own = "git() { command git -c user.name=t -c user.email=t@t \"$@\"; }\n";
        sh_in(&self.world.git_dir(name), &format!("{own}{script}"))
    }

    fn head(&self, name: &str) -> String {
        self.git_in(name, "git rev-parse HEAD").trim().to_owned()
    }

    fn approvals(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    /// What has asked the server for `<name>-was-run` since its requests were taken last: the names.
    fn were_run(&self) -> BTreeSet<String> {
        let requests = self.world.server.take_requests();
        let names = requests.iter().filter_map(|it| {
            let name = it.strip_prefix("GET /static/")?;
            Some(name.strip_suffix("-was-run")?.to_owned())
        });
        names.collect()
    }
}

fn version(name: &str, version: &str) -> String {
    trivial(name).replace("pkgver=1.0", &format!("pkgver={version}"))
}

/// A recipe that runs something as soon as it is read.
fn loud(name: &str, url: &str) -> String {
    format!("curl -fs {url}/static/{name}-was-run\n{}", trivial(name))
}

#[test]
fn what_is_built_at_night_is_what_was_read_by_day() {
    let own = Reviewed::new();
    let state = own.world.dir.path().join("state.json");
    let state = ["--state", state.to_str().unwrap()];
    let url = own.world.server.url();
    own.package(
        "x",
        &[
            ("PKGBUILD", &loud("x", &url)),
            (".SRCINFO", "\tpkgver = 1.0\n\tpkgrel = 1\n"),
        ],
    );
    let first = own.head("x");
    let asked = |what: &str| {
        own.world
            .server
            .take_requests()
            .iter()
            .any(|it| it.contains(what))
    };

    // Add: nothing of it is run, and it isn't even asked for.
    own.git.asked();
    own.build(&state)
        .exits(5)
        .reports(&format!(
            "held        {}  (no commit of it is approved;",
            own.git.url("x")
        ))
        .reports("0 built, 0 up to date, 0 failed, 1 held");
    assert_eq!(own.git.asked(), [""; 0]);
    // Review: nobody is there to say yes.
    own.review(&[])
        .exits(5)
        .reports(&format!(
            "==> {} branch=main for the repository bur",
            own.git.url("x")
        ))
        .reports("  +pkgname=x")
        .reports("1 left to review");
    assert!(!own.file.exists() && !asked("x-was-run"));
    own.review(&["x", "--approve"])
        .exits(0)
        .reports("nothing is left to review");
    assert!(!asked("x-was-run"));
    let today = sh_in(own.world.dir.path(), "date -u +%F");
    let line = format!(
        "{} branch=main {first}  # {} 1.0-1\n",
        own.git.url("x"),
        today.trim()
    );
    assert_eq!(own.approvals(), line);
    // Let it run.
    own.build(&state).exits(0).reports("built       x 1.0-1");
    assert!(asked("x-was-run"));

    // The branch moves on; what is built is what was approved, and how much there is to read is known from then on.
    for pkgver in ["1.1", "1.2", "1.3"] {
        own.package("x", &[("PKGBUILD", &version("x", pkgver))]);
    }
    for _ in 0..2 {
        own.build(&state)
            .exits(5)
            .reports("up to date  x 1.0-1  (3 commits to review)")
            .reports("0 built, 1 up to date, 0 failed, 1 to review");
    }
    let mut build = own.command("build", &state);
    let (night, asked_for) = watched(&own.world, &mut build);
    night
        .exits(5)
        .reports("up to date  x 1.0-1  (3 commits to review)");
    let created = asked_for
        .iter()
        .filter(|it| it.starts_with("POST") && it.contains("/containers/create"));
    assert_eq!(created.count(), 1, "{asked_for:#?}");

    // Without a list, and for a folder.
    let folder = own.world.dir.path().join("folder");
    let url = own.git.url("x");
    let mut by_hand = own.command("build", &["--into", folder.to_str().unwrap(), &url]);
    by_hand
        .env_remove("VIETER_ADDRESS")
        .env_remove("VIETER_API_KEY");
    run(&mut by_hand)
        .exits(5)
        .reports(&format!("held        {url}"));
    let mut review = own.command("review", &["--approve", &url]);
    review
        .env_remove("VIETER_ADDRESS")
        .env_remove("VIETER_API_KEY");
    run(&mut review).exits(0).reports("  +pkgver=1.3");
    run(&mut by_hand).exits(0).reports("built       x 1.3-1");
    assert_eq!(own.approvals().lines().count(), 2);

    // The newest one of the list's.
    own.review(&["--approve", "x"])
        .exits(0)
        .reports("  -pkgver=1.0")
        .reports("  +pkgver=1.3");
    own.build(&state).exits(0).reports("built       x 1.3-1");
    own.review(&[])
        .exits(0)
        .reports("nothing is left to review");
}

#[test]
fn a_tree_that_git_does_not_make_is_neither_shown_nor_built() {
    let own = Reviewed::new();
    let tools = r#"blob() { printf %s "$1" | git hash-object -w --stdin; }
        entry() { printf '%s %s\0' "$1" "$2"; printf "$(sed 's/../\\x&/g' <<<"$3")"; }
        file() { entry 100644 "$@"; }
        folder() { entry 40000 "$@"; }
        old=$(git rev-parse HEAD:PKGBUILD) new=$(blob "$(sed s/pkgver=1.0/pkgver=1.1/ PKGBUILD)") empty=$(git hash-object -t tree -w /dev/null)
    "#;
    for (name, tree) in [
        // Git shows the first one, and checks out the last.
        (
            "twice",
            r#"file PKGBUILD $old; file h.sh $(blob good); file y $(blob y); file h.sh $(blob evil)"#,
        ),
        // It doesn't look for a file behind those that come after it.
        (
            "behind",
            "file PKGBUILD $old; folder zz $empty; file h.sh $(blob evil)",
        ),
        // It takes the one folder for the other.
        (
            "moved",
            "file PKGBUILD $new; folder h/q $(git rev-parse HEAD:h)",
        ),
    ] {
        own.package(name, &[("PKGBUILD", &trivial(name))]);
        let beside = match name {
            "moved" => "mkdir h; echo file > h/f",
            _ => "echo good > h.sh",
        };
        own.git_in(name, &format!("{beside}; git add .; git commit -qm beside"));
        own.review(&[name, "--approve"]).exits(0);
        own.git_in(
            name,
            &format!(
                "{tools}{{ {tree}; }} >.git/tree
                tree=$(git hash-object -t tree -w --literally --stdin <.git/tree)
                git update-ref refs/heads/main \"$(git commit-tree -p HEAD -m made \"$tree\")\""
            ),
        );
        let (tip, why) = (own.head(name), "a name stands in it twice");
        own.review(&[name]).exits(1).says(why);
        own.review(&[name, "--approve"]).exits(1);
        let line = |how: &str| format!("{how}  {name} 1.0-1  (1 commit to review)");
        own.build(&[name]).exits(5).reports(&line("built     "));
        own.build(&[name, "--approve-updates"])
            .exits(5)
            .reports(&line("up to date"))
            .says("so no update");
        let told = own.build(&[name, "--approve-updates", "--json"]).exits(5);
        assert!(told.stdout.contains(&format!("\"tip\":\"{tip}\"")));
        // Nor if somebody has approved it.
        let url = own.git.url(name);
        fs::write(&own.file, format!("{url} branch=main {tip}\n")).unwrap();
        own.build(&[name])
            .exits(1)
            .says("failed at clone")
            .says(why);
    }
}

#[test]
fn a_tag_of_an_upstream_is_no_command() {
    let own = Reviewed::new();
    let tagged = "pkgname=tagged\npkgver=1.0\npkgrel=1\narch=(any)\n\
        pkgver() { cd \"$startdir\"; git describe --tags | sed 's/^v//;s/-/+/g'; }\n\
        package() { if [[ -e ~/wasrun ]]; then false; fi; }\n";
    own.package("tagged", &[("PKGBUILD", tagged)]);
    own.git_in("tagged", "git tag v1.0+a_B");
    own.review(&["tagged", "--approve"]).exits(0);
    own.build(&[])
        .exits(0)
        .reports("built       tagged 1.0+a_B-1");
    own.git_in(
        "tagged",
        "git tag -d v1.0+a_B; git tag 'v1.1$(cd;touch${IFS}wasrun)'",
    );
    own.build(&[])
        .exits(1)
        .says("failed at version")
        .says("pkgver() generated an invalid version: 1.1$(cd;touch${IFS}wasrun)");
}

#[test]
fn a_repository_without_a_commit_has_nothing_to_review() {
    let own = Reviewed::new();
    own.world.git("void", &[("PKGBUILD", &trivial("void"))]);
    own.git_in("void", "git update-ref -d refs/heads/main");
    // On no list, so that no branch is asked for.
    let review = own.review(&[&own.git.url("void")]).exits(1);
    review.says("there is no commit in it");
}

#[test]
fn the_recipe_is_shown_however_many_files_stand_before_it() {
    let own = Reviewed::new();
    own.package("many", &[("PKGBUILD", &trivial("many"))]);
    own.git_in(
        "many",
        "mkdir A; for n in {1..5000}; do echo > A/translation-of-page-number-$n-of-the-manual; done; git add A; git commit -qm A",
    );
    let review = own.review(&["many"]).exits(5);
    assert!(review.stdout.contains("+pkgname=many"), "{}", review.stdout);
}

#[test]
fn nothing_that_a_repository_does_to_its_commits_makes_another_one_of_the_approved() {
    let own = Reviewed::new();
    for name in [
        "forced", "named", "replaced", "encoded", "linked", "shadowed",
    ] {
        own.package(name, &[("PKGBUILD", &trivial(name))]);
    }
    // UTF-7 writes a backslash in another way, so that the line that follows isn't an argument any more.
    let url = own.world.server.url();
    let encoded = format!(": \\\n. ./other\n{}", trivial("encoded"));
    let other = format!("curl -fs {url}/static/was-run\n");
    own.package("encoded", &[("PKGBUILD", &encoded), ("other", &other)]);
    let attributes = "echo 'PKGBUILD working-tree-encoding=UTF-7' > .gitattributes";
    own.git_in(
        "encoded",
        &format!("{attributes}; git add .gitattributes; git commit -qm encoded"),
    );
    // A file that is another one.
    own.git_in(
        "linked",
        "mv PKGBUILD other; ln -s other PKGBUILD; git add -A; git commit -qm link",
    );
    own.review(&["bur/", "--approve"]).exits(0);

    let evil = |name: &str| own.package(name, &[("PKGBUILD", &version(name, "6.6"))]);
    let [forced, named, replaced] = ["forced", "named", "replaced"].map(|it| own.head(it));
    fs::write(
        own.world.git_dir("forced").join("PKGBUILD"),
        version("forced", "6.6"),
    )
    .unwrap();
    own.git_in("forced", "git commit -qa --amend -m another; git reflog expire --expire=now --all; git tag approved HEAD");
    assert_ne!(own.head("forced"), forced);
    evil("named");
    own.git_in(
        "named",
        &format!("git branch {named} main; git tag {named} main"),
    );
    evil("replaced");
    own.git_in(
        "replaced",
        &format!("git replace {replaced} main; git reset -q --hard main"),
    );
    evil("shadowed");
    own.git_in(
        "shadowed",
        "git tag v1 main~1; git tag -f v1 main; git tag main main",
    );

    let run = own.build(&[]).exits(1);
    let run = run.reports("built       forced 1.0-1  (1 commit to review)");
    let run = run.reports("built       named 1.0-1  (1 commit to review)");
    let run = run.reports("built       replaced 1.0-1  (1 commit to review)");
    let run = run.reports("built       shadowed 1.0-1  (1 commit to review)");
    run.reports("built       encoded 1.0-1")
        .says("failed at clone")
        .says("the PKGBUILD isn't the file that was approved")
        .reports("5 built, 0 up to date, 1 failed, 4 to review");
    let was_run = || {
        let requests = own.world.server.take_requests();
        requests.iter().any(|it| it.contains("was-run"))
    };
    assert!(!was_run());
    // Without approvals, each of them gets what it wants.
    let run = own.world.build(&[]).exits(1);
    let moved = ["forced", "named", "replaced", "shadowed"];
    let run = moved.iter().fold(run, |run, name| {
        run.reports(&format!("built       {name} 6.6-1"))
    });
    run.reports("built       linked 1.0-1");
    assert!(was_run());
}

#[test]
fn a_commit_that_is_gone_is_held_and_an_old_server_gives_it_by_its_history() {
    let own = Reviewed::new();
    let url = own.world.server.url();
    for name in ["gone", "older"] {
        own.package(name, &[("PKGBUILD", &trivial(name))]);
        own.git_in(
            name,
            "git checkout -q -b side; git commit -q --allow-empty -m side; git checkout -q main",
        );
    }
    own.review(&["bur/", "--approve"]).exits(0);
    own.git.speak_protocol_0();
    own.package("older", &[("PKGBUILD", &version("older", "6.6"))]);
    fs::write(
        own.world.git_dir("gone").join("PKGBUILD"),
        loud("gone", &url),
    )
    .unwrap();
    own.git_in(
        "gone",
        "git commit -qa --amend -m another; git branch -D side",
    );
    let run = own.build(&[]).exits(5);
    let gone = format!("held        {}  (the approved commit ", own.git.url("gone"));
    run.reports("built       older 1.0-1  (1 commit to review)")
        .reports(&gone)
        .reports("1 built, 0 up to date, 0 failed, 1 held, 1 to review");
    let requests = own.world.server.take_requests();
    assert!(
        !requests.iter().any(|it| it.contains("was-run")),
        "{requests:?}"
    );
    own.review(&["gone"])
        .exits(5)
        .reports("    what was approved is gone from there, so all of it is shown")
        .reports("  +pkgname=gone");
    own.world
        .build(&["gone"])
        .exits(0)
        .reports("built       gone 1.0-1");
    assert!(
        own.world
            .server
            .take_requests()
            .iter()
            .any(|it| it.contains("was-run"))
    );
}

#[test]
fn a_pkgbuild_that_is_downloaded_is_approved_by_its_sum() {
    let own = Reviewed::new();
    let file = own.world.dir.path().join("server/static/PKGBUILD");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, trivial("plain")).unwrap();
    let url = format!("{}/static/PKGBUILD", own.world.server.url());
    own.world
        .server
        .list(serde_json::json!({"url": url, "kind": "url", "arch": ["x86_64"], "repo": "bur"}));
    own.build(&[])
        .exits(5)
        .reports(&format!("held        {url}"));
    own.review(&["PKGBUILD", "--approve"])
        .exits(0)
        .reports("  +pkgname=plain");
    let sum = sh_in(file.parent().unwrap(), "sha256sum PKGBUILD");
    assert!(own.approvals().contains(sum.split(' ').next().unwrap()));
    own.build(&[]).exits(0).reports("built       plain 1.0-1");
    fs::write(&file, version("plain", "6.6")).unwrap();
    own.build(&[])
        .exits(5)
        .says("what is at its URL is another file than the approved one");
    own.world
        .build(&[])
        .exits(0)
        .reports("built       plain 6.6-1");
}

const SUM: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// What is changed for an update; the one with a checksum isn't built.
fn recipe(name: &str) -> String {
    format!(
        "pkgname={name}\npkgver=1.0\npkgrel=1\narch=(any)\nurl=http://127.0.0.1:1\nsource=()\n\
         sha256sums=()\n# sums\npackage() {{ install -d \"$pkgdir/usr/share/$pkgname\"; }}\n"
    )
}

#[test]
fn only_what_is_an_update_and_nothing_else_is_approved_by_itself() {
    let own = Reviewed::new();
    let url = own.world.server.url();
    let run_it = |name: &str| format!("curl -fs {url}/static/{name}-was-run");
    let (dollar, semicolon) = (
        format!("pkgver=1.1$({})", run_it("dollar")),
        format!("pkgver=1.1; {}", run_it("semicolon")),
    );
    let dressed: [(&str, &str, &str); 12] = [
        ("dollar", "pkgver=1.0", &dollar),
        ("semicolon", "pkgver=1.0", &semicolon),
        ("second", "pkgver=1.0\n", "pkgver=1.1\npkgver=1.2\n"),
        ("comment", "pkgver=1.0\n", "pkgver=1.1 # \\\n"),
        (
            "swallowed",
            "pkgver=1.0\npkgrel=1\n",
            "pkgver=1.1\n#pkgrel=1\n",
        ),
        ("escaped", "pkgver=1.0", "pkgver=1.1%2F..%2Fevil"),
        ("fragment", "pkgver=1.0", "pkgver=1.1#evil"),
        ("query", "pkgver=1.0", "pkgver=1.1?evil"),
        ("lower", "pkgver=1.0", "pkgver=0.9"),
        ("quoted", "pkgver=1.0", "pkgver='1.1'\"$(id)\""),
        ("source", "url=http://127.0.0.1:1", "url=http://127.0.0.1:2"),
        ("epoch", "pkgver=1.0\n", "epoch=1\npkgver=0.9\n"),
    ];
    own.package(
        "true",
        &[
            ("PKGBUILD", &recipe("true")),
            (".SRCINFO", "\tpkgver = 1.0\n\tpkgrel = 1\n"),
        ],
    );
    let summed = |sum: &str| {
        let recipe = recipe("skipped").replace("source=()", "source=(data)");
        recipe.replace("sha256sums=()", &format!("sha256sums=('{sum}')"))
    };
    let sum = sh_in(own.world.dir.path(), "echo 1 | sha256sum | cut -d' ' -f1");
    own.package(
        "skipped",
        &[("PKGBUILD", &summed(sum.trim())), ("data", "1\n")],
    );
    for name in ["mode", "file", "forged", "hidden", "sub", "ended"] {
        own.package(
            name,
            &[
                ("PKGBUILD", &recipe(name)),
                (".SRCINFO", "\tpkgver = 1.0\n\tpkgrel = 1\n"),
            ],
        );
    }
    for (name, _, _) in dressed {
        own.package(name, &[("PKGBUILD", &recipe(name))]);
    }
    // A submodule that git is asked not to speak of.
    let submodule = |digit: &str| {
        format!(
            "git update-index --add --cacheinfo 160000,{},s; git commit -qm s",
            digit.repeat(40)
        )
    };
    let ignored = "[submodule \"s\"]\n path = s\n url = http://127.0.0.1:1/s\n ignore = all\n";
    own.package("sub", &[(".gitmodules", ignored)]);
    own.git_in("sub", &submodule("1"));
    own.review(&["bur/", "--approve"]).exits(0);
    let before = own.approvals();

    let raised = |name: &str| recipe(name).replace("pkgver=1.0", "pkgver=1.1");
    own.package(
        "true",
        &[
            ("PKGBUILD", &raised("true")),
            (".SRCINFO", "\tpkgver = 1.1\n\tpkgrel = 1\n"),
        ],
    );
    own.package(
        "skipped",
        &[(
            "PKGBUILD",
            &summed("SKIP").replace("pkgver=1.0", "pkgver=1.1"),
        )],
    );
    own.package(
        "file",
        &[
            ("PKGBUILD", &raised("file")),
            ("file.install", "post_install() { :; }\n"),
        ],
    );
    own.package(
        "forged",
        &[
            ("PKGBUILD", &raised("forged")),
            (
                ".SRCINFO",
                "\tpkgver = 1.1\n\tpkgrel = 1\n\tsource = http://evil\n",
            ),
        ],
    );
    own.package(
        "hidden",
        &[
            ("PKGBUILD", &raised("hidden")),
            (".gitattributes", "PKGBUILD -diff\n"),
        ],
    );
    // Longer than what is read, with what stands behind what was read to its end, but no bash minds.
    let ended = raised("ended") + "\0that was all\0\n" + &run_it("ended") + "; return 0\n";
    let padding = "#".repeat(1_348_570 - ended.len());
    own.package("ended", &[("PKGBUILD", &(ended + &padding))]);
    own.package("mode", &[("PKGBUILD", &raised("mode"))]);
    fs::write(own.world.git_dir("sub").join("PKGBUILD"), raised("sub")).unwrap();
    own.git_in("sub", &format!("git add PKGBUILD; {}", submodule("2")));
    own.git_in("mode", "chmod +x PKGBUILD; git commit -qam mode");
    for (name, from, to) in dressed {
        own.package(name, &[("PKGBUILD", &recipe(name).replace(from, to))]);
    }

    // What is approved of them is published, so that whatever is built is something else.
    let others = [
        "skipped", "mode", "file", "forged", "hidden", "sub", "ended",
    ];
    let others: Vec<&str> = others.into_iter().chain(dressed.map(|it| it.0)).collect();
    for name in &others {
        let version = format!("{name}-1.0-1");
        own.world.server.put("bur", "x86_64", &version, "");
    }
    let run = own.build(&["--approve-updates"]).exits(5);
    let run = run.reports("built       true 1.1-1  (an update)");
    let run = others.iter().fold(run, |run, name| {
        run.reports(&format!("up to date  {name} 1.0-1  ("))
    });
    run.reports("1 built, 19 up to date, 0 failed, 19 to review");
    assert_eq!(own.were_run(), BTreeSet::new());
    let after = own.approvals();
    let differs = |(before, after): (&str, &str)| (before != after).then(|| after.to_owned());
    let changed: Vec<_> = before
        .lines()
        .zip(after.lines())
        .filter_map(differs)
        .collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(
        changed[0].contains(&own.head("true")) && changed[0].contains("  # update 20"),
        "{changed:?}"
    );
    assert!(changed[0].ends_with(" 1.1-1"), "{changed:?}");
    // Without approvals, each gets what it wants.
    let loud = ["dollar", "ended", "semicolon"];
    let quiet = ["mode", "file", "forged", "hidden", "sub"];
    let run = own.world.build(&loud);
    loud.iter().fold(run, |run, name| {
        run.reports(&format!("built       {name} 1.1-1  "))
    });
    let run = own.world.build(&[&["--dry-run"], &quiet[..]].concat());
    quiet.iter().fold(run, |run, name| {
        run.reports(&format!("would build  {name} 1.1-1  "))
    });
    assert_eq!(own.were_run(), loud.map(str::to_owned).into());
}

/// A base image whose git has commands for what attributes name, as Git LFS brings some.
#[test]
fn what_attributes_and_submodules_ask_for_is_not_done_where_commits_are_approved() {
    let mut own = Reviewed::new();
    own.world.git("part", &[("file", "elsewhere")]);
    let url = own.git.url("part");
    let part = format!("[submodule \"s\"]\n path = s\n url = {url}\n");
    own.package(
        "x",
        &[
            ("PKGBUILD", &trivial("x")),
            (".gitattributes", "* diff=evil filter=evil\n"),
            (".gitmodules", &part),
        ],
    );
    let link = format!(
        "git update-index --add --cacheinfo 160000,{},s; git commit -qm s",
        own.head("part")
    );
    own.git_in("x", &link);
    let was_asked = |own: &Reviewed| own.git.asked().iter().any(|it| it.contains("/part/"));
    let asks = |name: &str| {
        let url = own.world.server.url();
        format!("curl -so /dev/null {url}/static/{name}-was-run; cat")
    };
    let change = format!(
        "git config --system diff.evil.textconv '{}'; git config --system filter.evil.smudge '{}'",
        asks("textconv"),
        asks("smudge")
    );
    on_changed(&change, |image| {
        own.base = image.to_owned();
        own.review(&["x", "--approve"])
            .exits(0)
            .reports("  - links, and submodules, whose contents are elsewhere: s")
            .reports("  +pkgname=x");
        own.build(&[]).exits(0).reports("built       x 1.0-1");
        assert_eq!(own.were_run(), BTreeSet::new());
        assert!(!was_asked(&own));
        // Without approvals, what is built is what the filter makes of it.
        own.world
            .build(&["--base-image", image])
            .exits(0)
            .reports("up to date  x 1.0-1");
        assert_eq!(own.were_run(), BTreeSet::from(["smudge".to_owned()]));
        // And git alone does all of it.
        let url = own.git.url("x");
        let git = format!("git clone -q --recurse-submodules {url} /x; git -C /x log -p");
        docker(&["run", "--rm", "--network=host", image, "bash", "-ec", &git]);
        let both = ["smudge", "textconv"].map(str::to_owned);
        assert_eq!(own.were_run(), both.into());
        assert!(was_asked(&own));
    });
}

#[test]
fn a_review_shows_what_is_dangerous_and_runs_nothing_of_it() {
    let own = Reviewed::new();
    let url = own.world.server.url();
    let good = format!(
        "pkgname=x\npkgver=1.0\npkgrel=1\narch=(any)\nsource=(https://good.example/owner/x.tar.gz)\nsha256sums=('{SUM}')\n"
    );
    own.package(
        "x",
        &[
            ("PKGBUILD", &good),
            ("plain", "1\n"),
            (".gitattributes", "* diff=evil filter=evil\n"),
        ],
    );
    own.review(&["x", "--approve"]).exits(0);
    let bad = good
        .replace("good.example/owner", "evil.example/owner")
        .replace(&format!("'{SUM}'"), "SKIP")
        + "install=x.install\nprepare() { npm install atomic; \u{1b}[2J\u{202e} x='https://$(curl evil)@host'; }\n";
    let long = "y".repeat(1 << 20);
    own.package(
        "x",
        &[
            ("PKGBUILD", &bad),
            ("x.install", "post_install() { :; }\n"),
            ("blob", "a\0b"),
            ("long", &long),
            ("mine", "overwrite\rme\n"),
            (".gitattributes", "* -diff\n"),
            (".gitmodules", &format!("[submodule \"s\"]\n path = s\n url = file:///etc\n[diff \"evil\"]\n textconv = curl {url}/static/was-run\n")),
        ],
    );
    own.git_in("x", "git commit -q --amend --no-edit --date=2026-01-02T12:00:00Z; export GIT_AUTHOR_DATE=2026-01-03T12:00:00Z; git config user.email other@t; ln -s .git/config link; echo evil > $'\\xffplain'; git add -A; head -c 1073741824 /dev/zero | tr '\\0' z > huge; command git add huge; command git -c user.name=Other commit -qm \"$(printf 'a\\033[31msubject')\"; rm huge");
    let run = own.review(&[]).exits(5);
    let between = |start: &str, end: &str| {
        let lines = run.stdout.lines().skip_while(|it| *it != start);
        lines
            .skip(1)
            .take_while(|it| *it != end)
            .collect::<Vec<_>>()
    };
    // In the order of their danger.
    let found = between("look at", "commits");
    let expected = [
        "another host or owner: $/; 127.0.0.1",
        "checksums that became SKIP",
        "checksums that went",
        "a new or changed install script: x.install; install=x.install",
        "lines that fetch or decode: PKGBUILD: prepare() { npm install atomic;",
        "another author than the approved commit's: Other <other@t>",
        "links, and submodules, whose contents are elsewhere: link",
        "binary files: blob",
        "what isn't shown, or not as a whole: huge (large); long (cut); \u{fffd}plain (its name is no text)",
    ];
    let is_so = |(found, expected): (&&str, &&str)| found[4..].starts_with(expected);
    assert!(found.len() == expected.len(), "{found:#?}");
    assert!(found.iter().zip(&expected).all(is_so), "{found:#?}");
    // The newest first.
    assert_eq!(
        between("commits", ""),
        [
            "  2026-01-03 Other <other@t> a\\u{1b}[31msubject",
            "  2026-01-02 t <t@t> change"
        ]
    );
    for line in [
        "    commits since then: 2",
        "  +prepare() { npm install atomic; \\u{1b}[2J\\u{202e} x='https://$(curl evil)@host'; }",
        "  +overwrite\\u{d}me",
        "  +* -diff",
    ] {
        assert!(run.stdout.lines().any(|it| it.starts_with(line)), "{line}");
    }
    assert!(!run.stdout.contains('\u{1b}') && !run.stdout.contains('\r'));
    // What is shown has an end: that of `long` is cut.
    assert!(run.stdout.len() < 600_000);
    assert!(run.stdout.contains("; evil.example/owner\n"));
    let requests = own.world.server.take_requests();
    assert!(
        !requests.iter().any(|it| it.contains("was-run")),
        "{requests:?}"
    );

    // What calms.
    own.package("calm", &[("PKGBUILD", &recipe("calm"))]);
    own.review(&["calm", "--approve"]).exits(0);
    own.package(
        "calm",
        &[(
            "PKGBUILD",
            &recipe("calm").replace("pkgver=1.0", "pkgver=1.1"),
        )],
    );
    own.review(&["calm"])
        .exits(5)
        .reports("  - only pkgver, pkgrel and checksums changed");
    assert_nothing_left();
}

#[test]
fn a_line_that_cannot_be_read_ends_the_run_and_approves_nothing() {
    let own = Reviewed::new();
    own.package("x", &[("PKGBUILD", &trivial("x"))]);
    own.review(&["x", "--approve"]).exits(0);
    let whole = own.approvals();
    let cut = whole.find("  #").unwrap() - 1;
    fs::write(&own.file, format!("# ours\n{}\n", &whole[..cut])).unwrap();
    for run in [own.build(&[]), own.review(&[])] {
        run.exits(3)
            .says("line 2 of the approvals ")
            .says("is not a commit's id");
    }
    assert_eq!(own.world.server.published("bur"), [""; 0]);
}

#[test]
fn a_kill_at_any_step_of_an_approval_leaves_the_old_file_or_the_new_one() {
    let own = Reviewed::new();
    own.package("x", &[("PKGBUILD", &trivial("x"))]);
    own.review(&["x", "--approve"]).exits(0);
    let old = own.approvals();
    own.package("x", &[("PKGBUILD", &version("x", "1.1"))]);
    let new = old.replace(old.split(' ').nth(2).unwrap(), &own.head("x"));
    let beside = own.file.with_extension("new");
    // At each system call that opens, writes or renames the file, or what takes its place.
    let mut kills = 0;
    for calls in ["?open,?openat", "write", "?rename,?renameat,?renameat2"] {
        for step in 1.. {
            fs::write(&own.file, &old).unwrap();
            let review = own.command("review", &["x", "--approve"]);
            let kill = format!("inject={calls}:signal=KILL:when={step}");
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &kill]);
            for path in [&own.file, &beside] {
                traced.arg("-P").arg(path);
            }
            let env = review.get_envs();
            traced.arg(review.get_program()).args(review.get_args());
            traced
                .env_clear()
                .envs(env.filter_map(|(name, value)| Some((name, value?))));
            traced.env("PATH", std::env::var("PATH").unwrap());
            let output = end_of(traced.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn());
            let now = own.approvals();
            assert!(now == old || now == new, "{calls}, the {step}th: {now}");
            if output.status.success() {
                assert_eq!(now, new);
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 5, "{kills} kills");
}

#[test]
fn somebody_at_a_terminal_is_asked_and_sees_it_by_a_pager() {
    let own = Reviewed::new();
    for name in ["a", "b", "c"] {
        own.package(name, &[("PKGBUILD", &trivial(name))]);
    }
    let review = own.command("review", &[]);
    let sed = "sed \"s/^/paged$LESSSECURE$VIETER_API_KEY:/\"";
    let line = line_of(&review, &format!("VIETER_API_KEY=s3cret PAGER='{sed}'"));
    let terminal = Terminal::start(150, &line);
    // What is typed before a question is no answer to it.
    terminal.send(&["y", "Enter", "y", "Enter"]);
    for (name, answer) in [("a", "what"), ("a", "y"), ("b", "n"), ("c", "q")] {
        let question = format!("{}: approve? [y]es [n]o [q]uit", own.git.url(name));
        terminal.wait_until(|lines| lines.last().is_some_and(|it| it.trim_end() == question));
        terminal.send(&[answer, "Enter"]);
    }
    let lines = terminal.wait_for("the end: 5");
    assert!(
        lines.iter().any(|it| it.contains("paged1:  +pkgname=c")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|it| it == "2 left to review"),
        "{lines:#?}"
    );
    let approvals = own.approvals();
    assert_eq!(approvals.lines().count(), 1);
    assert!(approvals.contains(&own.head("a")));
}

/// Whatever an entry of a list file names: a folder of a repository, or a tag, which somebody moves.
#[test]
fn a_folder_and_a_tag_are_approved_as_a_branch_is() {
    let own = Reviewed::new();
    own.world.git("mono", &[("README", "two folders")]);
    fs::create_dir(own.world.git_dir("mono").join("p")).unwrap();
    let mono = |text: &str| own.world.git("mono", &[("p/PKGBUILD", text)]);
    mono(&trivial("mono"));
    own.world.git("tagged", &[("PKGBUILD", &trivial("tagged"))]);
    own.git_in("tagged", "git tag v1");
    let urls = [own.git.url("mono"), own.git.url("tagged")];
    let list = own.world.dir.path().join("list");
    let lines = format!("{} path=p branch=main\n{} branch=v1\n", urls[0], urls[1]);
    fs::write(&list, lines).unwrap();
    let list = ["--list", list.to_str().unwrap(), "--repo", "bur"];

    let all = [&["--approve", &urls[0], &urls[1]], &list[..]].concat();
    own.review(&all).exits(0);
    let approved = own.approvals();
    for line in ["/mono branch=main path=p ", "/tagged branch=v1 "] {
        assert!(approved.contains(line), "{approved}");
    }
    own.build(&list).exits(0).reports("2 built");

    // One is updated, beside something else that isn't its own; the other's tag is moved.
    mono(&version("mono", "1.1"));
    let other = version("tagged", "6.6") + "url=https://other\n";
    own.world.git("tagged", &[("PKGBUILD", &other)]);
    own.git_in("tagged", "git tag -f v1");
    own.build(&[&["--approve-updates"], &list[..]].concat())
        .exits(5)
        .reports("built       mono 1.1-1  (an update)")
        .reports("up to date  tagged 1.0-1  (1 commit to review)");
    // What is in another folder isn't its own, and all the same a commit to be read.
    own.world.git("mono", &[("README", "three folders")]);
    own.build(&[&["--approve-updates"], &list[..]].concat())
        .exits(5)
        .reports("up to date  mono 1.1-1  (1 commit to review)");
    let seen = own.review(&list).exits(5);
    assert!(seen.stdout.contains("+three folders"), "{}", seen.stdout);
    assert!(seen.stdout.contains("+pkgver=6.6"), "{}", seen.stdout);
    // Without the lock, the tag that was moved is built.
    run(own.world.vieter().args(list))
        .exits(0)
        .reports("built       tagged 6.6-1");
}
