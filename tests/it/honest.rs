//! Honest packages that a builder's shortcuts break, or make lie: sources prepared without what they need, histories
//! that were cut, keys that nobody has, a mirror that has moved on.

use std::fs;
use std::path::Path;

use serde_json::json;
use vieter::clock::since_1970;

use crate::util::{BASE_IMAGE, Background, Run, World, run, sh_in, trivial, unpack};
use crate::wild::{build_on, pkgbuild, signed};

/// How often a build() came by: each asks the server for a file of this name.
fn builds(world: &World, name: &str) -> usize {
    let asked = format!("GET /static/{name}");
    let requests = world.server.take_requests();
    requests.iter().filter(|it| **it == asked).count()
}

/// The number of the first line that is a warning and holds this piece.
fn warning(run: &Run, piece: &str) -> Option<usize> {
    let warns = |line: &str| line.contains(" WARN ") && line.contains(piece);
    run.stderr.lines().position(warns)
}

#[test]
fn sources_are_prepared_with_what_they_need_and_the_version_is_that_of_what_is_published() {
    let world = World::new();
    let url = world.server.url();
    // As a configure script or meson does: it takes what it finds.
    let configured = r#"
pkgname=configured
pkgver=0
pkgrel=1
arch=(any)
makedepends=(version-tool)
pkgver() { echo 2; }
# Fails in a tree that was prepared before.
prepare() { mkdir once; if command -v version-tool >&2; then echo with; else echo without; fi > feature; }
package() { install -D feature "$pkgdir/usr/share/configured/feature"; }
"#;
    world.package("configured", configured);
    // The same, as a split package, and with what another entry of the list brings.
    let split = r#"
pkgbase=late
pkgname=(late-a late-b)
pkgver=0
pkgrel=1
arch=(any)
makedepends=(brought)
pkgver() { if [[ -d /usr/share/brought ]]; then echo 5.with; else echo 9.without; fi; }
prepare() { mkdir once; if [[ -d /usr/share/brought ]]; then echo with; else echo without; fi > feature; }
package_late-a() { install -D feature "$pkgdir/usr/share/late/feature"; }
package_late-b() { :; }
"#;
    world.package("late", split);
    let shifty = format!(
        r#"
pkgname=shifty
pkgver=0
pkgrel=1
arch=(any)
makedepends=(version-tool)
pkgver() {{ if command -v version-tool >/dev/null; then echo 3; else echo 2; fi; }}
build() {{ curl -s {url}/static/shifty-builds; }}
package() {{ :; }}
"#
    );
    world.package("shifty", &shifty);
    world.package("brought", &trivial("brought"));
    // The same entry twice is no conflict.
    let twin = world.git("twin", &[("PKGBUILD", &trivial("twin"))]);
    world.list(&twin, "bur");
    world.list(&twin, "bur");

    let run = world
        .build(&[])
        .exits(0)
        .reports("built       configured 2-1  ")
        .reports("built       late 5.with-1  ")
        .reports("built       shifty 3-1  ")
        .reports("built       twin 1.0-1  ")
        .reports("up to date  twin 1.0-1  ");
    assert!(!run.stderr.contains("building late 9.without"));
    assert_eq!(
        world.server.published("bur"),
        [
            "brought-1.0-1-any.pkg.tar.zst",
            "configured-2-1-any.pkg.tar.zst",
            "late-a-5.with-1-any.pkg.tar.zst",
            "late-b-5.with-1-any.pkg.tar.zst",
            "shifty-3-1-any.pkg.tar.zst",
            "twin-1.0-1-any.pkg.tar.zst"
        ]
    );
    for (file, feature) in [
        ("configured-2-1", "usr/share/configured/feature"),
        ("late-a-5.with-1", "usr/share/late/feature"),
    ] {
        let archive = world.server.file("bur", &format!("{file}-any.pkg.tar.zst"));
        assert_eq!(unpack(&archive, feature), "with", "{file}");
    }
    assert_eq!(builds(&world, "shifty-builds"), 1);

    // The second night finds all of it there, and builds nothing.
    let run = world
        .build(&[])
        .exits(0)
        .reports("up to date  configured 2-1  ")
        .reports("up to date  late 5.with-1  ")
        .reports("up to date  shifty 3-1  ");
    assert!(!run.stderr.contains(" building "));
    assert_eq!(builds(&world, "shifty-builds"), 0);
}

#[test]
fn histories_are_there_for_those_who_count_them_and_dumb_servers_will_do() {
    let world = World::new();
    // As a project that keeps its PKGBUILD beside its source.
    let counts = |name: &str| {
        let more = r#"pkgver() { cd "$startdir"; printf 'r%s' "$(git rev-list --count HEAD)"; }"#;
        let more = format!("{more}\nbuild() {{ cd \"$startdir\"; git log -1 --format=%s; }}");
        let url = world.git(name, &[("PKGBUILD", &pkgbuild(name, &more))]);
        sh_in(
            &world.git_dir(name),
            "head -c 20000000 /dev/urandom > large",
        );
        world.git(name, &[]);
        sh_in(&world.git_dir(name), "rm large");
        world.git(name, &[]);
        url
    };
    world.list(&counts("counted"), "bur");
    // Of a server that can filter, a history comes without its files.
    let url = counts("filtered");
    let filtered = world.git_dir("filtered");
    let pkgbuild_file = fs::read_to_string(filtered.join("PKGBUILD")).unwrap();
    let small = "(( $(du -s .git | cut -f1) < 5000 ))";
    let pkgbuild_file = pkgbuild_file.replace("printf", &format!("{small} || exit 1; printf"));
    world.git("filtered", &[("PKGBUILD", &pkgbuild_file)]);
    sh_in(&filtered, "git config uploadpack.allowFilter true");
    world.list(&url, "bur");
    // Who has no pkgver() pays for no history.
    let more = "build() { cd \"$startdir\"; [[ $(git rev-list --count HEAD) == 1 ]]; }";
    let url = world.git("shallow", &[("PKGBUILD", &pkgbuild("shallow", more))]);
    world.git("shallow", &[]);
    world.list(&url, "bur");
    // The dumb HTTP protocol: files. Once with a branch, once with the default one, which is not called master.
    counts("dumb");
    world.git("plain", &[("PKGBUILD", &trivial("plain"))]);
    let http = world.dir.path().join("server/static");
    fs::create_dir_all(&http).unwrap();
    for (name, branch) in [("dumb", "main"), ("plain", "")] {
        let from = world.git_dir(name);
        let script = format!(
            "git clone -q --bare '{}' {name}.git; cd {name}.git; git update-server-info",
            from.display()
        );
        sh_in(&http, &script);
        let url = format!("{}/static/{name}.git", world.server.url());
        world
            .server
            .list(json!({"url": url, "branch": branch, "arch": ["x86_64"], "repo": "bur"}));
    }
    let none = format!("{}/static/none.git", world.server.url());
    world.list(&none, "bur");
    world
        .build(&[])
        .exits(1)
        .reports("built       counted r3-1  ")
        .reports("built       filtered r4-1  ")
        .reports("built       shallow 1-1  ")
        .reports("built       dumb r3-1  ")
        .reports("built       plain 1.0-1  ")
        .reports(&format!("failed      {none}  at clone"));
}

#[test]
fn a_key_that_nobody_has_stops_only_those_whose_sources_are_signed_with_it() {
    let world = World::new();
    let nobodys = "0123456789ABCDEF0123456789ABCDEF01234567";
    let of = format!("validpgpkeys=({nobodys})\n");
    let sources = "source=(source.txt)\nsha256sums=(SKIP)\n";
    let text = ("source.txt", "text\n");
    let list = |name: &str, more: &str, files: &[(&str, &str)]| {
        let pkgbuild = pkgbuild(name, more);
        let files = [&[("PKGBUILD", pkgbuild.as_str())], files].concat();
        world.list(&world.git(name, &files), "bur");
    };
    list("unsigned", &format!("{of}{sources}"), &[text]);
    // With pkgver(), makepkg is called twice; the second one takes the sources as the first has left them.
    let pkgver = "pkgver() { echo 2; }\n";
    list("versioned", &format!("{of}{sources}{pkgver}"), &[text]);
    // Signed by somebody that the PKGBUILD doesn't name, with and without pkgver(), whose key nobody has, or is there.
    let is_signed = "source=(source.txt source.txt.sig)\nsha256sums=(SKIP SKIP)\n";
    let signed_by = |name: &str, pkgver: &str, is_brought: bool| {
        world.git(name, &[text]);
        let (_, key) = signed(&world.git_dir(name), "source.txt");
        if is_brought {
            fs::create_dir_all(world.git_dir(name).join("keys/pgp")).unwrap();
            world.git(name, &[("keys/pgp/it.asc", &key)]);
        }
        list(name, &format!("{of}{is_signed}{pkgver}"), &[]);
    };
    signed_by("signed", "", false);
    signed_by("signed-versioned", pkgver, false);
    signed_by("another", "", true);
    signed_by("another-versioned", pkgver, true);
    // A commit that isn't signed, of a source that says it has to be.
    let upstream = world.git("upstream", &[("file.txt", "text")]);
    let commit = format!(
        "{of}source=('up::git+{upstream}?signed')\nsha256sums=(SKIP)\npkgver() {{ cd up; git rev-list --count HEAD; }}"
    );
    list("commit", &commit, &[]);
    let with_keyserver = || {
        let keyserver = world.server.url().replace("http://", "hkp://");
        run(world.vieter().env("VIETER_KEYSERVER", keyserver))
    };
    let run = with_keyserver()
        .exits(1)
        .reports("built       unsigned 1-1  ")
        .reports("built       versioned 2-1  ")
        .reports("failed      signed 1-1  at build  ")
        .reports("failed      another 1-1  at build  ")
        .reports("2 built, 0 up to date, 5 failed");
    assert!(warning(&run, nobodys).is_some());
    assert_eq!(
        world.server.published("bur"),
        [
            "unsigned-1-1-any.pkg.tar.zst",
            "versioned-2-1-any.pkg.tar.zst"
        ]
    );

    // A VCS package whose keys can be had, and whose sources have no need of them.
    world.server.clear_list();
    let vcs = commit.replace("?signed", "");
    list("vcs", &vcs, &[]);
    list("versioned", &format!("{of}{sources}{pkgver}"), &[]);
    with_keyserver().exits(0).reports("built       vcs 1-1  ");
    world.server.take_requests();
    with_keyserver()
        .exits(0)
        .reports("up to date  vcs 1-1  ")
        .reports("up to date  versioned 2-1  ");
    let requests = world.server.take_requests();
    assert!(
        !requests.iter().any(|it| it.contains("/pks/")),
        "{requests:?}"
    );
}

#[test]
fn a_base_image_for_another_architecture_is_said_before_the_first_build() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let run = build_on(
        &world,
        "sed -i '/^CARCH=/d' /etc/makepkg.conf; echo 'CARCH=\"armv7h\"' >> /etc/makepkg.conf",
    );
    let warned = warning(&run, "makepkg builds for armv7h").expect("no warning");
    let is_build = |line: &str| line.contains(" for the repository bur");
    let built = run.stderr.lines().position(is_build).unwrap();
    assert!(warned < built);
    // The usual one is none.
    let usual = world.build(&[]).exits(0);
    assert_eq!(warning(&usual, "makepkg builds for"), None);
}

/// Puts a package into the repository `core` in this folder, made by hand.
fn add_to_core(core: &Path, name: &str, version: &str) {
    let script = format!(
        "work=$(mktemp -d)
        mkdir -p $work/usr/share/core; echo {version} > $work/usr/share/core/{name}
        printf '%s\\n' 'pkgname = {name}' 'pkgbase = {name}' 'pkgver = {version}' 'pkgdesc = x' 'builddate = 1' \
            'packager = x' 'size = 4096' 'arch = any' > $work/.PKGINFO
        bsdtar -C $work -cf - .PKGINFO usr | zstd -q > {name}-{version}-any.pkg.tar.zst
        rm -r $work
        repo-add -q core.db.tar.gz {name}-{version}-any.pkg.tar.zst"
    );
    sh_in(core, &script);
}

#[test]
fn a_mirror_that_has_moved_on_is_asked_again() {
    let world = World::new();
    // The base image's own packages, on a mirror.
    let core = world.dir.path().join("server/static/core");
    fs::create_dir_all(&core).unwrap();
    let copy = format!(
        "docker run --rm {} tar -C /srv/core -c . | tar -x",
        &*BASE_IMAGE
    );
    sh_in(&core, &copy);
    add_to_core(&core, "old-tool", "1-1");
    add_to_core(&core, "phantom", "1-1");
    fs::remove_file(core.join("phantom-1-1-any.pkg.tar.zst")).unwrap();

    let url = world.server.url();
    // It builds for as long as the mirror takes to move on.
    let slow =
        format!("build() {{ until curl -fso /dev/null {url}/static/moved; do sleep 0.1; done; }}");
    world.package("slow", &pkgbuild("slow", &slow));
    world.package(
        "needy",
        &pkgbuild(
            "needy",
            "makedepends=(old-tool)\nbuild() { cat /usr/share/core/old-tool; }",
        ),
    );
    // With pkgver(), they are installed at another step.
    let early = "makedepends=(old-tool)\npkgver() { cat /usr/share/core/old-tool | tr - .; }";
    world.package("early", &pkgbuild("early", early));
    // What is not there for good is a failure, after one more try.
    world.package("never", &pkgbuild("never", "depends=(phantom)"));
    let mut command = world.vieter();
    command.args([
        "--mirror",
        &format!("{url}/static/$repo"),
        "--log-level",
        "debug",
    ]);
    let mut run = Background::start(&mut command);
    run.wait_for("building slow");
    world.server.wait_for("GET /static/moved");
    fs::remove_file(core.join("old-tool-1-1-any.pkg.tar.zst")).unwrap();
    add_to_core(&core, "old-tool", "2-1");
    world.server.take_requests();
    fs::write(core.with_file_name("moved"), "").unwrap();
    let ended = run.wait_for_end();
    assert_eq!(ended.0, Some(1), "{}", ended.1);
    assert_eq!(
        world.server.published("bur"),
        [
            "early-2.1-1-any.pkg.tar.zst",
            "needy-1-1-any.pkg.tar.zst",
            "slow-1-1-any.pkg.tar.zst"
        ]
    );
    assert!(ended.1.contains(": failed at dependencies"));
    let requests = world.server.take_requests();
    let asked = |file: &str| requests.iter().filter(|it| it.contains(file)).count();
    // By an image whose databases are old, three containers had to look again; the slow one had no need to.
    assert_eq!(asked("/core.db"), 3, "{requests:?}");
    assert!((2..=4).contains(&asked("/phantom-")), "{requests:?}");
}

#[test]
fn the_same_commit_gives_the_same_archive_and_the_given_environment_is_there() {
    let world = World::new();
    let same = "build() { [[ $GREETING == 'hello there' && $NAME == x ]]; }\n\
        package() { mkdir -p \"$pkgdir/usr/share\"; touch \"$pkgdir/usr/share/$SOURCE_DATE_EPOCH\"; }";
    world.package("same", &pkgbuild("same", same));
    // The commit's time is told, unless that is yet to come; a PKGBUILD that was downloaded has none.
    world.server.become_newer();
    let told = "package() { install -Dm644 /dev/stdin \"$pkgdir/usr/share/time\" <<< $SOURCE_DATE_EPOCH; }";
    for (name, time) in [("past", PAST), ("future", FUTURE)] {
        world.package(name, &pkgbuild(name, told));
        let commit = "git -c user.name=t -c user.email=t@t commit -q --amend --no-edit";
        let commit = format!("GIT_COMMITTER_DATE='@{time} +0000' {commit}");
        sh_in(&world.git_dir(name), &commit);
    }
    let none = pkgbuild("none", told);
    world.server.put("static", "x", "PKGBUILD", &none);
    let url = format!("{}/static/x/PKGBUILD", world.server.url());
    world
        .server
        .list(json!({"url": url, "kind": "url", "branch": "", "arch": ["x86_64"], "repo": "bur"}));
    let build = |what: &[&str]| {
        let given = ["--env", "GREETING=hello there", "--env", "NAME=x"];
        let run = world.build(&[&given, what].concat()).exits(0);
        run.reports("built       same 1-1  ");
        fs::read(world.server.file("bur", "same-1-1-any.pkg.tar.zst")).unwrap()
    };
    let began = since_1970();
    let first = build(&[]);
    let ended = since_1970();
    for (name, is_meant) in [
        ("past-1", PAST..PAST + 1),
        ("future-1", began..ended + 1),
        ("none-1", began..ended + 1),
    ] {
        let file = world
            .server
            .file("bur", &format!("{name}-1-any.pkg.tar.zst"));
        let time = unpack(&file, "usr/share/time");
        assert!(is_meant.contains(&time.parse().unwrap()), "{name}: {time}");
        let info = unpack(&file, ".PKGINFO");
        assert!(info.contains(&format!("\nbuilddate = {time}\n")), "{info}");
    }
    // Seconds lie between them.
    assert!(first == build(&["--force", "same"]));
}

/// When commits are said to be from, in seconds since 1970: in 2009 and in 2100.
const PAST: u64 = 1_234_567_890;
const FUTURE: u64 = 4_102_444_800;
