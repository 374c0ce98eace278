//! The main job: what is listed is built and published, and what is published is left alone.

use serde_json::json;

use crate::util::{BASE_IMAGE, World, assert_nothing_left, docker, run, sh_in, trivial, unpack};

const SPLIT: &str = r#"
pkgbase=split
pkgname=(libsplit++ split-docs)
epoch=2
pkgver=1.0
pkgrel=3
arch=(any)
package_libsplit++() { install -d "$pkgdir/usr/share/split"; echo lib > "$pkgdir/usr/share/split/lib"; }
package_split-docs() { install -d "$pkgdir/usr/share/split"; echo docs > "$pkgdir/usr/share/split/docs"; }
"#;

#[test]
fn all_kinds_of_packages_are_published_once_and_can_be_installed() {
    let world = World::new();
    // A source that comes over HTTP, so that it can be seen when it is downloaded.
    let source = "#include <stdio.h>\nint main(void) { return puts(\"hello, world\") < 0; }\n";
    world.server.put("sources", "files", "hello.c", source);
    let sum = "sha256sum server/sources/files/hello.c | cut -d' ' -f1";
    let sum = sh_in(world.dir.path(), sum);
    let url = world.server.url();
    let plain = format!(
        r#"
pkgname=hello
pkgver=1.0
pkgrel=1
arch=(x86_64)
depends=('greeting' 'libgreet>=2')
source=({url}/sources/files/hello.c)
sha256sums=({sum})
echo "this line is none of the fields"
build() {{ [[ $MAKEFLAGS == -j$(nproc) && $(ulimit -Sn) == 1024 ]]; gcc -o hello hello.c; }}
package() {{ install -D hello "$pkgdir/usr/bin/hello"; cat /usr/share/core/libgreet; }}
"#
    );
    world.package("hello", &plain);
    world.list(&world.git("split", &[("PKGBUILD", SPLIT)]), "other-repo");
    // No branch is named, and the default one is not called master.
    let any = world.git("any", &[("PKGBUILD", &trivial("any"))]);
    world
        .server
        .list(json!({"url": any, "branch": "", "arch": ["aarch64", "x86_64"], "repo": "bur"}));
    let upstream = world.git("upstream", &[("README", "one")]);
    let vcs = |upstream: &str| {
        format!(
            r#"
pkgname=thing-git
pkgver=0
pkgrel=1
arch=(any)
source=('thing::git+{upstream}')
sha256sums=(SKIP)
pkgver() {{ cd thing; printf 'r%s' "$(git rev-list --count HEAD)"; }}
prepare() {{ echo prepared >> ../prepared; }}
package() {{ install -D thing/README "$pkgdir/usr/share/thing/README"; install -D ../prepared "$pkgdir/usr/share/thing/prepared"; }}
"#
        )
    };
    world.package("thing-git", &vcs(&upstream));
    let foreign = world.git("foreign", &[("PKGBUILD", "exit 1")]);
    world
        .server
        .list(json!({"url": foreign, "branch": "main", "arch": ["aarch64"], "repo": "bur"}));

    let run = world
        .build(&[])
        .exits(0)
        .reports("built       hello 1.0-1  ")
        .reports("built       split 2:1.0-3  ")
        .reports("built       any 1.0-1  ")
        .reports("built       thing-git r1-1  ")
        .reports("4 built, 0 up to date, 0 failed");
    let order: Vec<_> = run
        .stdout
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(order[..4], ["hello", "split", "any", "thing-git"]);
    assert_eq!(
        world.server.published("bur"),
        [
            "any-1.0-1-any.pkg.tar.zst",
            "hello-1.0-1-x86_64.pkg.tar.zst",
            "thing-git-r1-1-any.pkg.tar.zst"
        ]
    );
    assert_eq!(
        world.server.published("other-repo"),
        [
            "libsplit++-2:1.0-3-any.pkg.tar.zst",
            "split-docs-2:1.0-3-any.pkg.tar.zst"
        ]
    );
    // The sources of a VCS package are prepared once, though makepkg is called twice.
    let archive = world.server.file("bur", "thing-git-r1-1-any.pkg.tar.zst");
    assert_eq!(unpack(&archive, "usr/share/thing/prepared"), "prepared");
    let requests = world.server.take_requests();
    assert!(requests.contains(&"GET /sources/files/hello.c".to_owned()));
    assert_nothing_left();

    // Whoever has the server in pacman.conf can install what was just built.
    let url = world.server.url();
    let script = format!(
        "printf '[bur]\\nServer = {url}/$repo/$arch\\n[other-repo]\\nServer = {url}/$repo/$arch\\n' >> /etc/pacman.conf
        pacman -Sy --noconfirm hello libsplit++ >&2 && hello && pacman -Q libsplit++"
    );
    let installed = docker(&[
        "run",
        "--rm",
        "--network",
        "host",
        "--security-opt=no-new-privileges",
        &BASE_IMAGE,
        "bash",
        "-ec",
        &script,
    ]);
    assert_eq!(installed, "hello, world\nlibsplit++ 2:1.0-3");

    // The second night: nothing new, so nothing is published, and no source downloaded.
    world.server.take_requests();
    world
        .build(&[])
        .exits(0)
        .reports("up to date  hello 1.0-1  ")
        .reports("up to date  split 2:1.0-3  ")
        .reports("up to date  thing-git r1-1  ")
        .reports("0 built, 4 up to date, 0 failed");
    let requests = world.server.take_requests();
    assert!(requests.contains(&"HEAD /other-repo/x86_64/libsplit++-2:1.0-3".to_owned()));
    assert!(requests.contains(&"HEAD /other-repo/x86_64/split-docs-2:1.0-3".to_owned()));
    assert!(
        !requests
            .iter()
            .any(|it| it.ends_with("/publish") || it.contains("sources")),
        "{requests:?}"
    );

    // The third: upstream has a new commit, and one name of the split package is gone.
    world.git("upstream", &[("README", "two")]);
    std::fs::remove_file(
        world
            .dir
            .path()
            .join("server/other-repo/x86_64/.names/split-docs"),
    )
    .unwrap();
    world
        .build(&[])
        .exits(0)
        .reports("up to date  hello 1.0-1  ")
        .reports("built       split 2:1.0-3  ")
        .reports("built       thing-git r2-1  ")
        .says("libsplit++ 2:1.0-3 is published already")
        .says("publishing split-docs 2:1.0-3");
    let published = world
        .server
        .take_requests()
        .iter()
        .filter(|it| it.ends_with("/publish"))
        .count();
    assert_eq!(published, 2);
}

#[test]
fn dependencies_of_all_kinds_are_installed() {
    let world = World::new();
    // The variables are there to be in the way.
    world.package(
        "needy",
        r#"
set -- some arguments
list=(a list)
_list=(another)
pkgname=needy
pkgver=1
pkgrel=1
arch=(x86_64)
depends_x86_64=(libgreet)
depends_aarch64=(nothing-is-called-so)
checkdepends=('version-tool>=1')
build() { cat /usr/share/core/libgreet; }
check() { version-tool; }
package() { install -d "$pkgdir/usr/share/needy"; }
"#,
    );
    let needy = "needy-1-1-x86_64.pkg.tar.zst";
    world.build(&[]).exits(0).reports("built       needy 1-1  ");
    assert_eq!(world.server.published("bur"), [needy]);
}

#[test]
fn a_pkgver_that_needs_a_makedepend_gets_it() {
    let world = World::new();
    world.package(
        "tooled",
        r#"
pkgname=tooled
pkgver=0
pkgrel=1
arch=(any)
makedepends=(version-tool)
# Fails in a tree in which it has come half-way before.
prepare() { mkdir half-way; version-tool; }
pkgver() { version-tool; }
package() { install -d "$pkgdir/usr/share/tooled"; }
"#,
    );
    world
        .build(&[])
        .exits(0)
        .reports("built       tooled 3.0.r7-1  ");
    assert_eq!(
        world.server.published("bur"),
        ["tooled-3.0.r7-1-any.pkg.tar.zst"]
    );
}

#[test]
fn force_builds_and_publishes_what_is_there() {
    let world = World::new();
    world.package("any", &trivial("any"));
    world.build(&[]).exits(0).reports("built       any 1.0-1  ");
    world.server.take_requests();
    world
        .build(&["--force"])
        .exits(0)
        .reports("built       any 1.0-1  ");
    assert!(
        world
            .server
            .take_requests()
            .contains(&"POST /bur/publish".to_owned())
    );
}

#[test]
fn nothing_to_do_touches_nothing() {
    let world = World::new();
    let url = world.git("foreign", &[("PKGBUILD", "exit 1")]);
    world
        .server
        .list(json!({"url": url, "branch": "main", "arch": ["aarch64"], "repo": "bur"}));
    // An image that can't be had would be an error if it were asked for.
    let run = run(world
        .vieter()
        .args(["--base-image", "127.0.0.1:1/nothing/here"]));
    run.exits(0)
        .says("the list has no repositories for x86_64")
        .reports("0 built, 0 up to date, 0 failed");
    world.server.clear_list();
    world
        .build(&["--arch", "riscv64"])
        .exits(0)
        .says("the list has no repositories for riscv64");
}

#[test]
fn a_large_archive_is_streamed_whole() {
    let world = World::new();
    world.package(
        "large",
        r#"
pkgname=large
pkgver=1.0
pkgrel=1
arch=(any)
options=(!strip)
package() { install -d "$pkgdir/usr/share/large"; head -c 50000000 /dev/urandom > "$pkgdir/usr/share/large/noise"; sha256sum < "$pkgdir/usr/share/large/noise" > "$pkgdir/usr/share/large/sum"; }
"#,
    );
    world
        .build(&[])
        .exits(0)
        .reports("built       large 1.0-1  ");
    let archive = world.server.file("bur", "large-1.0-1-any.pkg.tar.zst");
    let sum = unpack(&archive, "usr/share/large/sum");
    let script = format!(
        "bsdtar -xOf '{}' usr/share/large/noise | sha256sum",
        archive.display()
    );
    assert_eq!(sh_in(world.dir.path(), &script), sum);
}
