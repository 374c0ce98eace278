//! The builder image that is kept from run to run: when it is used as it is, when it is brought up to date, when it is made anew, and
//! what a kill leaves of it.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use vieter::http::encode;

use crate::killed::kill_at;
use crate::proxy::{Act, Proxy, watched};
use crate::util::*;
use crate::wild::on_changed;

/// What `docker image inspect` says of the kept image; nothing if there is none.
fn kept(format: &str) -> String {
    let inspect = ["image", "inspect", "--format", format, KEPT];
    let output = Command::new("docker").args(inspect).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn id() -> String {
    kept("{{.Id}}")
}

/// Builds an image of these lines of a Dockerfile, under this name.
fn image(world: &World, name: &str, dockerfile: &str) {
    let dir = world.dir.path().join("image");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    fs::write(dir.join("file"), dockerfile).unwrap();
    sh_in(
        &dir,
        &format!("DOCKER_BUILDKIT=0 docker build -q -t {name} ."),
    );
}

fn has(asked: &[String], piece: &str) -> bool {
    asked.iter().any(|it| it.contains(piece))
}

#[test]
fn it_is_used_as_it_is_until_there_is_a_reason_to_make_it_anew() {
    let world = World::new();
    world.package("any", &trivial("any"));
    world
        .build(&["--fresh"])
        .exits(0)
        .says("commit to vieter-build:kept");
    let base = docker(&["image", "inspect", "--format", "{{.Id}}", &BASE_IMAGE]);
    assert_eq!(kept(r#"{{index .Config.Labels "vieter.base"}}"#), base);
    assert_eq!(kept(r#"{{index .Config.Labels "vieter.run"}}"#), KEPT);
    // What is downloaded to be installed isn't kept, and what containers are given is none of its own.
    let cache = docker(&[
        "run",
        "--rm",
        "--entrypoint",
        "ls",
        KEPT,
        "/var/cache/pacman/pkg",
    ]);
    assert_eq!(cache, "");

    // Nothing is to be built: nothing is pulled, updated or committed.
    let first = id();
    let (night, asked) = watched(&world, &mut world.vieter());
    night.exits(0).reports("up to date  any 1.0-1  ");
    for piece in ["/images/create", "/commit", "pacman\",\"-S"] {
        assert!(!has(&asked, piece), "{piece}");
    }
    // Something is: it is brought up to date before, and committed only if that has brought something.
    let (night, asked) = watched(&world, world.vieter().arg("--force"));
    night
        .exits(0)
        .reports("built       any 1.0-1  ")
        .says("nothing is new");
    assert!(has(&asked, "/images/create") && has(&asked, "pacman\",\"-Syu"));
    assert!(!has(&asked, "/commit"));
    assert_eq!(id(), first);

    let conf = world.dir.path().join("makepkg.conf");
    fs::write(&conf, "PACKAGER='A <a@b>'").unwrap();
    let layers = (0..20).map(|n| format!("COPY file /file-{n}\n"));
    let layers: String = layers.collect();
    let of_kept = |lines: &str| image(&world, KEPT, &format!("FROM {KEPT}\n{lines}"));
    type Change<'c> = (&'c str, &'c dyn Fn(&mut Command));
    let reasons: [Change; 8] = [
        ("commit to", &|it| {
            it.arg("--fresh");
        }),
        ("commit to", &|it| {
            it.env("VIETER_FRESH", "yes");
        }),
        ("it was made with other settings", &|it| {
            it.arg("--makepkg-conf").arg(&conf);
        }),
        ("it was made with other settings", &|_| ()),
        ("it has more than 20 layers", &|_| of_kept(&layers)),
        ("its age can't be read", &|_| {
            of_kept("LABEL vieter.made=soon")
        }),
        ("the base image is another one", &|_| {
            of_kept("LABEL vieter.base=sha256:1")
        }),
        // Nothing in it can be started.
        ("it is made anew", &|_| {
            of_kept("RUN rm -f /usr/bin/setpriv /bin/setpriv")
        }),
    ];
    for (why, change) in reasons {
        eprintln!("--- {why}");
        let mut vieter = world.vieter();
        change(&mut vieter);
        let before = id();
        run(&mut vieter)
            .exits(0)
            .says(why)
            .reports("up to date  any 1.0-1  ");
        assert_ne!(id(), before);
        // What was made of it, by somebody else, stays without its name.
        let _ = Command::new("docker").args(["rmi", &before]).output();
        assert_nothing_left();
    }
    // An image that is somebody else's, under that name, isn't used, and isn't ours to remove.
    docker(&["rmi", KEPT]);
    image(
        &world,
        KEPT,
        &format!("FROM {}\nLABEL own=yes", *BASE_IMAGE),
    );
    let theirs = id();
    world.build(&[]).exits(0).says("its labels are not ours");
    docker(&["rmi", &theirs]);
    // Without one, it is made.
    docker(&["rmi", KEPT]);
    world
        .build(&[])
        .exits(0)
        .says("commit to vieter-build:kept");
}

/// A mirror of the base image's own repository, on the stand-in server; gives its URL.
fn mirror(world: &World) -> String {
    let core = world.dir.path().join("server/mirror/core");
    fs::create_dir_all(&core).unwrap();
    let from = docker(&["create", &BASE_IMAGE]);
    docker(&["cp", &format!("{from}:/srv/core/."), core.to_str().unwrap()]);
    docker(&["rm", &from]);
    format!("{}/mirror/core", world.server.url())
}

/// Publishes a newer version of git there.
fn publish_newer_git(world: &World, version: &str) {
    let core = world.dir.path().join("server/mirror/core");
    let script = format!(
        "mkdir -p /tmp/b && cd /tmp/b && printf '%s\\n' pkgname=git pkgver={version} pkgrel=1 'arch=(any)' \
         'package() {{ install -d \"$pkgdir/usr/share/core\"; echo {version} >\"$pkgdir/usr/share/core/git\"; }}' >PKGBUILD && \
         chown -R nobody . /srv/core && \
         setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/tmp/b PKGDEST=/srv/core makepkg --nodeps && \
         cd /srv/core && repo-add -q core.db.tar.gz git-{version}-1-any.pkg.tar.zst"
    );
    // Not all engines see the host's folders.
    let container = docker(&["create", &BASE_IMAGE, "bash", "-c", &script]);
    let (inside, outside) = (format!("{container}:/srv/core/"), core.to_str().unwrap());
    docker(&["cp", &format!("{outside}/."), &inside]);
    docker(&["start", "-a", &container]);
    docker(&["cp", &format!("{inside}."), outside]);
    docker(&["rm", &container]);
}

#[test]
fn what_is_new_on_the_mirror_is_added_to_it() {
    let world = World::new();
    let mirror = ["--mirror", &mirror(&world)];
    let state = world.dir.path().join("state.json");
    let with_state = [&mirror[..], &["--state", state.to_str().unwrap()]].concat();
    // It says which git it was built with.
    let pkgbuild = "pkgname=any\npkgver=1\npkgrel=1\narch=(any)\npackage() { install -D /usr/share/core/git \"$pkgdir/usr/share/any/git\"; }\n";
    world.package("any", pkgbuild);
    world
        .build(&with_state)
        .exits(0)
        .reports("built       any 1-1  ");
    let (first, layers) = (id(), kept("{{len .RootFS.Layers}}"));
    publish_newer_git(&world, "1.1");
    // Nothing is to be built, and no day has passed.
    world
        .build(&with_state)
        .exits(0)
        .reports("up to date  any 1-1  ");
    assert_eq!(id(), first);
    // A day has.
    let text = fs::read_to_string(&state).unwrap();
    let mut remembered: serde_json::Value = serde_json::from_str(&text).unwrap();
    let time = remembered["refreshed"][1].as_u64().unwrap();
    remembered["refreshed"][1] = (time - 86_400).into();
    fs::write(&state, remembered.to_string()).unwrap();
    // Neither the base image can be had, nor has anything to be built.
    let base = format!("/images/{}/json", encode(&BASE_IMAGE));
    let proxy = Proxy::start(&world, move |text| match text {
        it if it.contains("/images/create") => Act::Answer(500),
        it if it.contains(&base) => Act::Answer(404),
        _ => Act::Pass,
    });
    run(world
        .vieter()
        .args(["--docker-host", &proxy.host])
        .args(&with_state))
    .exits(0)
    .says("WARN  pulling ")
    .reports("up to date  any 1-1  ");
    drop(proxy);
    assert_eq!(id(), first);
    world
        .build(&with_state)
        .exits(0)
        .reports("up to date  any 1-1  ");
    let second = id();
    assert_ne!(second, first);
    let more: usize = layers.parse().unwrap();
    assert_eq!(kept("{{len .RootFS.Layers}}"), (more + 1).to_string());
    assert_nothing_left();
    // Something is to be built: with what is newest.
    publish_newer_git(&world, "1.2");
    world.package("any", &pkgbuild.replace("pkgrel=1", "pkgrel=2"));
    world
        .build(&mirror)
        .exits(0)
        .reports("built       any 1-2  ");
    assert_ne!(id(), second);
    let archive = world.server.file("bur", "any-1-2-any.pkg.tar.zst");
    assert_eq!(unpack(&archive, "usr/share/any/git"), "1.2");
    assert_nothing_left();
    // Made anew, nothing of the old ones stays.
    world.build(&["--fresh", mirror[0], mirror[1]]).exits(0);
    assert_nothing_left();
}

#[test]
fn another_base_image_makes_it_anew_even_in_the_middle_of_a_run() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let of = |what: &str| {
        let (registry, _) = BASE_IMAGE.split_once('/').unwrap();
        format!("{registry}/moving/archlinux:{what}")
    };
    let name = of("latest");
    let push = |lines: &str| {
        image(&world, &name, &format!("FROM {}\n{lines}", *BASE_IMAGE));
        docker(&["push", "-q", &name]);
        docker(&["image", "inspect", "--format", "{{.Id}}", &name])
    };
    let old = push("LABEL number=1");
    let base = ["--base-image", name.as_str()];
    world
        .build(&base)
        .exits(0)
        .reports("built       any 1.0-1  ");
    let new = push("LABEL number=2");
    // The engine has the old one still, and hears of the new one when it pulls.
    docker(&["tag", &old, &name]);
    world
        .build(&base)
        .exits(0)
        .reports("up to date  any 1.0-1  ");
    assert_eq!(kept(r#"{{index .Config.Labels "vieter.base"}}"#), old);
    world
        .build(&[&base[..], &["--force"]].concat())
        .exits(0)
        .says("there is a new base image: the builder image is made anew")
        .reports("built       any 1.0-1  ");
    assert_eq!(kept(r#"{{index .Config.Labels "vieter.base"}}"#), new);
    assert_nothing_left();
    // It is heard of at the start, too, if somebody else has pulled it.
    docker(&["tag", &old, &name]);
    world
        .build(&base)
        .exits(0)
        .says("the base image is another one");
    assert_nothing_left();
    docker(&["rmi", "-f", KEPT, &old, &new]);
}

#[test]
fn a_kill_leaves_the_old_one_or_the_new_one_whole() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let mirror = mirror(&world);
    let mirror = ["--mirror", mirror.as_str()];
    let fresh = [&mirror[..], &["--fresh"]].concat();
    let force = [&mirror[..], &["--force"]].concat();
    world.build(&mirror).exits(0);
    let places: [(&[&str], &'static [&'static str]); 8] = [
        (&fresh, &["POST", "/containers/", "/start"]),
        (&fresh, &["POST", "/exec/", "/start", "base-devel"]),
        (&fresh, &["POST", "/exec/", "/start", "useradd"]),
        (&fresh, &["POST", "/commit?"]),
        (&fresh, &["DELETE", "/images/"]),
        (&force, &["POST", "/images/create"]),
        (&force, &["POST", "/exec/", "/start", "base-devel"]),
        (&force, &["POST", "/commit?"]),
    ];
    for (n, (args, needles)) in places.into_iter().enumerate() {
        eprintln!("--- {args:?} {needles:?}");
        publish_newer_git(&world, &format!("2.{n}"));
        let before = id();
        kill_at(&world, needles, args, Signal::KILL);
        let is_committed = needles.contains(&"/commit?") || needles.contains(&"DELETE");
        assert!(is_committed || id() == before);
        // Whichever it is, it can be started, and the next run is content with it.
        let whole = ["run", "--rm", "--entrypoint", "id", KEPT, "-u", "builder"];
        assert_eq!(docker(&whole), "41771");
        world
            .build(&mirror)
            .exits(0)
            .reports("up to date  any 1.0-1  ");
        assert_nothing_left();
    }
}

#[test]
fn what_containers_are_given_stays_out_of_it() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let secret = "only-for-builds";
    // The preparation has it: there pacman is root's, and nothing is installed later.
    let wrapper = format!(
        "cat > /usr/local/bin/pacman <<'X'\n#!/bin/bash\n\
        curl -so /dev/null {}/static/$(id -u)-$TOKEN\nexec /usr/bin/pacman \"$@\"\nX\nchmod +x /usr/local/bin/pacman",
        world.server.url()
    );
    on_changed(&wrapper, |image| {
        let given = ["--env", &format!("TOKEN={secret}"), "--base-image", image];
        world
            .build(&given)
            .exits(0)
            .says("commit to vieter-build:kept");
    });
    let asked = world.server.asked_for(&format!("GET /static/0-{secret}"));
    assert!(!asked.is_empty());
    assert!(!kept("{{json .}}").contains(secret));
    let history = docker(&["history", "--no-trunc", KEPT]);
    assert!(!history.contains(secret));
    let look = "grep -rls -D skip \"$0\" /etc /build /root /run /tmp /usr/local /var || true; env | grep \"$0\" || true";
    let look = ["run", "--rm", "--entrypoint", "bash", KEPT, "-c", look];
    assert_eq!(docker(&[&look[..], &[secret]].concat()), "");
    // It finds what is there.
    assert!(
        docker(&[&look[..], &["exec /usr/bin/pacman"]].concat()).contains("/usr/local/bin/pacman")
    );
}
