//! Packages as they are in the wild: what breaks other builders.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::util::{BASE_IMAGE, Run, World, docker, run, sh_in, trivial, unpack};

/// A PKGBUILD of a name and whatever else.
pub fn pkgbuild(name: &str, more: &str) -> String {
    format!(
        "pkgname={name}\npkgver=1\npkgrel=1\narch=(any)\n\
        package() {{ install -Dm644 /dev/stdin \"$pkgdir/usr/share/{name}/{name}\" <<< {name}; }}\n{more}\n"
    )
}

/// A base image with a change, for one run; removed again.
pub fn build_on(world: &World, change: &str) -> Run {
    on_changed(change, |image| world.build(&["--base-image", image]))
}

/// Does something with a base image that has a change, which is removed again.
pub fn on_changed<T>(change: &str, what: impl FnOnce(&str) -> T) -> T {
    let changed = docker(&["run", "-d", &BASE_IMAGE, "bash", "-ec", change]);
    assert_eq!(
        docker(&["wait", &changed]),
        "0",
        "{}",
        docker(&["logs", &changed])
    );
    let image = "127.0.0.1:1/vieter-test-changed:latest";
    docker(&["commit", &changed, image]);
    docker(&["rm", &changed]);
    let done = what(image);
    docker(&["rmi", image]);
    done
}

#[test]
fn a_chain_of_dependencies_listed_back_to_front_is_built_in_one_run() {
    let world = World::new();
    world.package(
        "top",
        &pkgbuild(
            "top",
            "depends=('middle>=1')\nbuild() { cat /usr/share/middle/middle; }",
        ),
    );
    world.package(
        "middle",
        &pkgbuild(
            "middle",
            "makedepends=(bottom)\nbuild() { cat /usr/share/bottom/bottom; }",
        ),
    );
    world.package("never", &pkgbuild("never", "depends=(no-such-package)"));
    world.package(
        "broken",
        &pkgbuild("broken", "build() { echo once; false; }"),
    );
    // Called as a package of the distribution: it must not take that one's place, and nobody said that it may.
    world.package("libgreet", &pkgbuild("libgreet", "pkgver=99"));
    world.package(
        "bottom",
        &pkgbuild(
            "bottom",
            "depends=(libgreet)\nbuild() { cat /usr/share/core/libgreet; }",
        ),
    );
    // A repository of the distribution's own name can't be added, and is none of pacman's then.
    let core = world.git(
        "core",
        &[("PKGBUILD", &pkgbuild("in-core", "depends=(greeting)"))],
    );
    world.list(
        &world.git("first", &[("PKGBUILD", &trivial("first"))]),
        "core",
    );
    world.list(&core, "core");
    let run = world
        .build(&[])
        .exits(1)
        .reports("built       bottom 1-1  ")
        .reports("built       middle 1-1  ")
        .reports("built       top 1-1  ")
        .reports("built       in-core 1-1  ")
        .reports("failed      never 1-1  at dependencies  ")
        .reports("failed      broken 1-1  at build  ")
        .reports("failed      libgreet 99-1  at check  ")
        .says("--replace")
        .says("pacman.conf has a repository core already");
    assert_eq!(run.stderr.matches("building broken 1-1").count(), 1);
    // Once in its turn, and once after each of those that were published since; why it failed is told once.
    let tried = run.stderr.matches("installing no-such-package").count();
    let told = run.stderr.matches("not found: no-such-package").count();
    assert_eq!((tried, told), (3, 1));
    assert_eq!(run.stdout.lines().count(), 9);
}

#[test]
fn a_server_that_containers_cannot_reach_is_said_once_and_no_obstacle() {
    let world = World::new();
    world.package("first", &trivial("first"));
    world.package("second", &pkgbuild("second", "depends=(greeting)"));
    world.package("third", &pkgbuild("third", "depends=(greeting)"));
    // The tests' servers are on loopback, so a network in which they can't be reached has no sources either. What
    // pacman says of such a server comes from a wrapper.
    let change = r#"
cat > /usr/local/bin/pacman <<'WRAPPER'
#!/bin/bash
if [[ $* == *vieter.conf* ]]; then
    echo "error: failed retrieving file 'bur.db' from vieter.example.com : Could not resolve host" >&2
    exit 1
fi
exec /usr/bin/pacman "$@"
WRAPPER
chmod +x /usr/local/bin/pacman
"#;
    // What it lacks may be there.
    world.package("lacking", &pkgbuild("lacking", "depends=(nowhere)"));
    let state = world.dir.path().join("state.json");
    let run = on_changed(change, |image| {
        let args = ["--base-image", image, "--state", state.to_str().unwrap()];
        let first = world.build(&args).exits(1);
        let again = world.build(&args).exits(1);
        again.reports("failed      lacking 1-1  at dependencies  ");
        first
    });
    let run = run.says("Could not resolve host");
    assert_eq!(
        run.stderr
            .matches("builds go on without what is published to bur")
            .count(),
        1
    );
    assert_eq!(world.server.published("bur").len(), 3);
    // Nor is it tried by each build: on a real network that is a time-out.
    let requests = world.server.take_requests();
    let looked_for = |it: &&String| it.starts_with("HEAD /bur/x86_64/bur.db");
    assert_eq!(requests.iter().filter(looked_for).count(), 2);
}

#[test]
fn of_a_split_package_only_what_is_missing_is_published_and_names_are_read_not_guessed() {
    let world = World::new();
    world.package(
        "odd",
        r#"
pkgbase=nobody
pkgname=(lib_a++ b.c+d e)
epoch=3
pkgver=1.0_beta+2
pkgrel=1
arch=(x86_64)
build() { date +%N > stamp; }
stamped() { install -D stamp "$pkgdir/usr/share/$1/stamp"; }
package_lib_a++() { stamped a; }
package_b.c+d() { arch=(any); stamped b; }
package_e() {
  stamped e
  # What an archive is called says nothing.
  mv "$PKGDEST"/lib_a++-*.pkg.tar.zst "$PKGDEST/thing-9-9-any.pkg.tar.zst"
}
"#,
    );
    world
        .build(&[])
        .exits(0)
        .reports("built       nobody 3:1.0_beta+2-1  ");
    let published = world.server.published("bur");
    assert_eq!(
        published,
        [
            "b.c+d-3:1.0_beta+2-1-any.pkg.tar.zst",
            "e-3:1.0_beta+2-1-x86_64.pkg.tar.zst",
            "lib_a++-3:1.0_beta+2-1-x86_64.pkg.tar.zst"
        ]
    );
    world
        .build(&[])
        .exits(0)
        .reports("up to date  nobody 3:1.0_beta+2-1  ");

    // One is lost, and built again; the others stay as they are, byte for byte.
    let read = |file: &str| fs::read(world.server.file("bur", file)).unwrap();
    let before: Vec<_> = published.iter().map(|it| read(it)).collect();
    fs::remove_file(world.server.file("bur", ".names/e")).unwrap();
    world
        .build(&[])
        .exits(0)
        .reports("built       nobody 3:1.0_beta+2-1  ");
    let after: Vec<_> = published.iter().map(|it| read(it)).collect();
    assert_eq!(
        [
            before[0] == after[0],
            before[1] == after[1],
            before[2] == after[2]
        ],
        [true, false, true]
    );
}

#[test]
fn makepkg_is_set_up_by_one_file_and_makes_no_debug_packages() {
    let world = World::new();
    let c = r#"
pkgname=tool
pkgver=1
pkgrel=1
arch=(x86_64)
options=(OPTIONS)
source=(tool.c)
sha256sums=(SKIP)
build() { gcc $CFLAGS -g -o tool tool.c; }
package() { install -D tool "$pkgdir/usr/bin/tool"; echo "$SETTING" > "$pkgdir/usr/setting"; }
"#;
    let main = "int main(void) { return 0; }\n";
    // Debian has debug packages off; Arch has them on.
    let arch_like = "echo 'OPTIONS+=(debug strip)' >> /etc/makepkg.conf";
    let url = world.git(
        "tool",
        &[("PKGBUILD", &c.replace("OPTIONS", "")), ("tool.c", main)],
    );
    world.list(&url, "bur");
    build_on(&world, arch_like)
        .exits(0)
        .reports("built       tool 1-1  ");
    assert_eq!(
        world.server.published("bur"),
        ["tool-1-1-x86_64.pkg.tar.zst"]
    );

    let conf = world.dir.path().join("makepkg.conf");
    fs::write(
        &conf,
        "PACKAGER='Nobody <nobody@example.com>'\nSETTING=\"it's $((40 + 2))\"\nOPTIONS+=(debug)\n",
    )
    .unwrap();
    let conf = conf.to_str().unwrap();
    world
        .build(&["--force", "--makepkg-conf", conf])
        .exits(0)
        .reports("built       tool 1-1  ");
    let archive = world.server.file("bur", "tool-1-1-x86_64.pkg.tar.zst");
    assert!(unpack(&archive, ".PKGINFO").contains("\npackager = Nobody <nobody@example.com>\n"));
    assert_eq!(unpack(&archive, "usr/setting"), "it's 42");
    // Who wants them gets them.
    assert!(
        world
            .server
            .published("bur")
            .contains(&"tool-debug-1-1-x86_64.pkg.tar.zst".to_owned())
    );
    world
        .build(&["--makepkg-conf", "/no/such/file"])
        .exits(2)
        .says("/no/such/file");
}

/// A key of its own, and a signed file: its fingerprint and the public key.
pub fn signed(dir: &Path, file: &str) -> (String, String) {
    let script = format!(
        "export GNUPGHOME=$(mktemp -d)
        gpg --batch -q --passphrase '' --quick-gen-key 'Test <t@example.com>' ed25519 sign never
        gpg --batch -q --yes --detach-sign {file} >&2
        gpg --list-keys --with-colons | awk -F: '/^fpr/ {{print $10; exit}}'
        gpg --armor --export
        gpgconf --kill all; rm -rf \"$GNUPGHOME\""
    );
    let output = sh_in(dir, &script);
    let (fingerprint, key) = output.split_once('\n').unwrap();
    (fingerprint.to_owned(), key.to_owned())
}

#[test]
fn signed_sources_are_checked_with_keys_from_the_repository_or_a_keyserver() {
    let world = World::new();
    let signed_repo = |name: &str, pkgver: &str| {
        world.git(name, &[("source.txt", "signed text\n")]);
        let dir = world.git_dir(name);
        let (fingerprint, key) = signed(&dir, "source.txt");
        let more = format!(
            "source=(source.txt source.txt.sig)\nsha256sums=(SKIP SKIP)\nvalidpgpkeys=({fingerprint})\n{pkgver}"
        );
        let url = world.git(name, &[("PKGBUILD", &pkgbuild(name, &more))]);
        world.list(&url, "bur");
        (fingerprint, key)
    };
    let (_, key) = signed_repo("brought", "");
    fs::create_dir_all(world.git_dir("brought").join("keys/pgp")).unwrap();
    world.git("brought", &[("keys/pgp/it.asc", &key)]);
    let (fingerprint, key) = signed_repo("fetched", "pkgver() { echo 2; }");
    let keyserver = world.dir.path().join("server/pks");
    fs::create_dir_all(&keyserver).unwrap();
    fs::write(keyserver.join(format!("0x{fingerprint}")), key).unwrap();
    let (unknown, _) = signed_repo("unknown", "");
    let (_, key) = signed_repo("forged", "");
    fs::create_dir_all(world.git_dir("forged").join("keys/pgp")).unwrap();
    world.git(
        "forged",
        &[("keys/pgp/it.asc", &key), ("source.txt", "another text\n")],
    );

    let keyserver = world.server.url().replace("http://", "hkp://");
    let run = run(world.vieter().env(
        "VIETER_KEYSERVER",
        format!("hkp://keyserver.invalid {keyserver}"),
    ))
    .exits(1)
    .reports("built       brought 1-1  ")
    .reports("built       fetched 2-1  ")
    .reports("failed      unknown 1-1  at build  ")
    .reports("failed      forged 1-1  at build  ");
    let warns = |line: &str| line.contains(" WARN ") && line.contains(&unknown);
    assert!(run.stderr.lines().any(warns));
}

#[test]
fn base_images_with_their_own_ideas_do_as_well() {
    let world = World::new();
    world.package("any", &trivial("any"));
    // Somebody has the uid 1000, the build user's name and its home; there is no sudo, no keyring, and pacman's sandbox is
    // refused, as pacman 7 words it.
    let change = r#"
useradd --uid 1000 somebody; groupadd builder; useradd --gid builder builder
mkdir /build; touch /build/repo
rm -f /usr/bin/sudo; rm -rf /usr/share/pacman/keyrings; rm -rf /var/lib/pacman/local/archlinux-keyring-*
cat > /usr/local/bin/pacman <<'WRAPPER'
#!/bin/bash
if [[ $* == *-S* ]] && ! grep -q ^DisableSandbox /etc/pacman.conf; then
    echo "error: restricting filesystem access failed because Landlock is not supported by the kernel!" >&2
    echo "error: switching to sandbox user 'alpm' failed!" >&2
    exit 1
fi
exec /usr/bin/pacman "$@"
WRAPPER
chmod +x /usr/local/bin/pacman
"#;
    // And makepkg says to be one that reads makepkg.conf.d itself.
    let change = &format!(
        "{change}\nprintf '%s\\n' '#!/bin/bash' '[[ $1 != --version ]] || {{ echo \"makepkg (pacman) 6.1.0\"; exit; }}' \
        'exec /usr/bin/makepkg \"$@\"' > /usr/local/bin/makepkg; chmod +x /usr/local/bin/makepkg"
    );
    let more = "depends=(greeting)\nbuild() { [[ -f /etc/makepkg.conf.d/vieter.conf ]]; ! grep vieter /etc/makepkg.conf; }";
    world.package("second", &pkgbuild("second", more));
    build_on(&world, change)
        .exits(0)
        .reports("built       any 1.0-1  ")
        .reports("built       second 1-1  ")
        .says("this engine refuses pacman's sandbox, so it is turned off (DisableSandbox)");
}

#[test]
fn git_sources_in_all_their_forms() {
    let world = World::new();
    let sub = world.git("sub", &[("sub.txt", "submodule")]);
    world.git("upstream", &[("file.txt", "tagged")]);
    let upstream = world.git_dir("upstream");
    sh_in(
        &upstream,
        &format!("git tag v1; git -c protocol.file.allow=always submodule add -q '{sub}' mod"),
    );
    let url = world.git("upstream", &[("file.txt", "newest")]);
    sh_in(
        &upstream,
        "git branch side; git checkout -q side; echo side > file.txt; git -c user.name=t -c user.email=t@t commit -qam side; git checkout -q main",
    );
    // The dumb HTTP protocol: files.
    let http = world.dir.path().join("server/static");
    fs::create_dir_all(&http).unwrap();
    sh_in(
        &http,
        &format!(
            "git clone -q --bare '{}' up.git; cd up.git; git update-server-info",
            upstream.display()
        ),
    );
    let server = world.server.url();
    let source = |name: &str, source: &str, expected: &str| {
        let more = format!(
            "source=('up::{source}')\nsha256sums=(SKIP)\n\
            pkgver() {{ cd up; [[ $(< file.txt) == {expected} ]]; git rev-list --count HEAD; }}"
        );
        world.package(name, &pkgbuild(name, &more));
    };
    source(
        "by-tag",
        &format!("git+{server}/static/up.git#tag=v1"),
        "tagged",
    );
    source("by-branch", &format!("git+{url}#branch=side"), "side");
    let more = format!(
        "source=('up::git+{url}' 'mod::git+{sub}')\nsha256sums=(SKIP SKIP)\n\
        prepare() {{ cd up; git submodule init; git config submodule.mod.url \"$srcdir/mod\"; git -c protocol.file.allow=always submodule update; }}\n\
        pkgver() {{ cd up; cat mod/sub.txt >&2; git rev-list --count HEAD; }}\nbuild() {{ [[ -f up/mod/sub.txt ]]; }}"
    );
    world.package("with-submodule", &pkgbuild("with-submodule", &more));
    // A repository within the repository.
    let more = "source=(\"up::git+file://$startdir/inner\")\nsha256sums=(SKIP)\npkgver() { cd up; git rev-list --count HEAD; }";
    world.git("by-file", &[("PKGBUILD", &pkgbuild("by-file", more))]);
    sh_in(
        &world.git_dir("by-file"),
        &format!(
            "git clone -q --bare '{}' inner; touch inner/refs/.keep",
            upstream.display()
        ),
    );
    let by_file = world.git("by-file", &[]);
    world.list(&by_file, "bur");
    world
        .build(&[])
        .exits(0)
        .reports("built       by-tag 1-1  ")
        .reports("built       by-branch 3-1  ")
        .reports("built       with-submodule 2-1  ")
        .reports("built       by-file 2-1  ");
}

#[test]
fn newer_servers_with_paths_and_plain_pkgbuilds() {
    let world = World::new();
    world.server.become_newer();
    let nested = "a/deep/folder";
    world.git("many", &[("README", "no PKGBUILD here")]);
    fs::create_dir_all(world.git_dir("many").join(nested)).unwrap();
    std::os::unix::fs::symlink("/etc", world.git_dir("many").join("out")).unwrap();
    let install = pkgbuild(
        "nested",
        "install=nested.install\nsource=(fix.patch)\nsha256sums=(SKIP)",
    );
    let url = world.git(
        "many",
        &[
            ("a/deep/folder/PKGBUILD", &install),
            (
                "a/deep/folder/nested.install",
                "post_install() { echo installed; }\n",
            ),
            ("a/deep/folder/fix.patch", "--- a\n+++ b\n"),
        ],
    );
    world
        .server
        .put("static", "files", "PKGBUILD", &trivial("plain"));
    let arch = [" x86_64", "aarch64"];
    let list = |url: &str, kind: &str, path: &str| {
        world
            .server
            .list(json!({"url": url, "kind": kind, "path": path, "arch": arch, "repo": "bur"}));
    };
    list(&url, "git", nested);
    list(&url, "git", "../other");
    list(&url, "git", "out");
    list(&url, "git", "missing");
    list(
        &format!("{}/static/files/PKGBUILD", world.server.url()),
        "url",
        "",
    );
    list(
        &format!("{}/static/files/gone", world.server.url()),
        "url",
        "",
    );
    // More than a page of them.
    for n in 0..120 {
        world
            .server
            .list(json!({"url": format!("git://x/{n}"), "arch": ["aarch64"], "repo": "bur"}));
    }
    world.list(&world.git("last", &[("PKGBUILD", &trivial("last"))]), "bur");
    let run = world
        .build(&[])
        .exits(1)
        .reports("built       nested 1-1  ")
        .reports("built       plain 1.0-1  ")
        .reports("built       last 1.0-1  ")
        .reports("3 built, 0 up to date, 4 failed")
        .says("the path \"../other\" leads out of the repository")
        .says("the path leads out of the repository");
    assert_eq!(run.stderr.matches("failed at clone").count(), 1);
    let archive = world.server.file("bur", "nested-1-1-any.pkg.tar.zst");
    assert!(unpack(&archive, ".INSTALL").contains("echo installed"));
    world.server.set_key("another");
    world
        .build(&[])
        .exits(3)
        .says("answered 401: 401 Unauthorized");
}
