//! The engine's faults, in front of the real one: each is told, ends what it has to and nothing else, and leaves nothing.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use vieter::http::encode;

use crate::cron::socket_volume;
use crate::engine::proxy_of;
use crate::proxy::{Act, Proxy};
use crate::standin::Then;
use crate::util::{
    BASE_IMAGE, Background, Lines, Run, World, assert_gone, assert_nothing_left,
    assert_swept_by_the_next_run, call_of, end_of, left_behind, peak, run, trivial,
};
use crate::wild::pkgbuild;

/// Of the exec that runs makepkg, in `scripts/makepkg.sh`.
pub const MAKEPKG: &str = "makepkg \\\"$@\\\"";

/// Of the exec that clones, in `scripts/clone.sh`.
pub const CLONE: &str = "clone() {";

/// Runs `vieter build` with these arguments behind a proxy.
fn build_behind(proxy: &Proxy, world: &World, args: &[&str]) -> Run {
    run(world
        .vieter()
        .args(["--docker-host", &proxy.host])
        .args(args))
}

/// Whether a request is the one that has all of these in it.
pub fn is(text: &str, needles: &[&str]) -> bool {
    needles.iter().all(|it| text.contains(it))
}

/// Whether there is a container of a name; and which bear our label.
pub const NAMED: &[&str] = &["GET", "/containers/json?", "%22name%22"];
pub const LABELLED: &[&str] = &["GET", "/containers/json?", "%22label%22"];

#[test]
fn what_the_engine_refuses_before_the_first_repository_ends_the_run() {
    let world = World::new();
    world.package("any", &trivial("any"));
    for needles in [
        &["GET", "/version"][..],
        &["GET", "/info"],
        &["/images/"],
        NAMED,
        LABELLED,
        &["POST", "/containers/create"],
        &["POST", "/attach?"],
        &["POST", "/containers/", "/start"],
        &["POST", "/exec HTTP"],
        &["POST", "/exec/", "/start"],
        &["GET", "/exec/", "/json"],
        &["POST", "/commit?"],
    ] {
        for status in [404, 409, 500] {
            eprintln!("--- {needles:?}: {status}");
            // All the commits are the same.
            if is("POST /commit?", needles) && status != 409 {
                continue;
            }
            let proxy = Proxy::start(&world, move |text| match is(text, needles) {
                true => Act::Answer(status),
                false => Act::Pass,
            });
            // Then a name is taken.
            let is_busy = is("POST /containers/create", needles) && status == 409;
            let run = build_behind(&proxy, &world, &["--fresh"])
                .exits(if is_busy { 4 } else { 3 })
                .says(&format!("answered {status}: as the proxy says"));
            // Once the list is known, what isn't reached is told.
            let first = [&["GET", "/version"][..], &["GET", "/info"], NAMED, LABELLED];
            let is_before_the_list = first.contains(&needles);
            if !is_busy && !is_before_the_list {
                run.reports("not built   git://")
                    .reports("0 built, 0 up to date, 0 failed, 1 not built");
            }
            assert_nothing_left();
        }
    }
    assert_eq!(world.server.published("bur"), Vec::<String>::new());
}

#[test]
fn what_the_engine_refuses_a_repository_fails_that_one() {
    let world = World::new();
    for n in 1..=11 {
        let name = format!("p{n}");
        world.package(&name, &trivial(&name));
    }
    // Each is answered so when it first comes, in this order.
    let mut refusals = vec![
        (&["POST", "/exec HTTP", MAKEPKG][..], 404),
        (&["POST", "/exec/", "/start", MAKEPKG], 409),
        (&["GET", "/exec/", "/json", MAKEPKG], 500),
        (&["GET", "/archive?path=%2Fbuild%2Fpackages"], 404),
        (&["PUT", "/archive?"], 409),
        (&["GET", "/archive?path=%2Ftmp%2Fvieter-packed%2F0"], 500),
        // While p7 is cloned: p8 gets another try, when it is due.
        (&["POST", "/containers/create", "p7"], 500),
        (&["POST", "/containers/create"], 409),
        (&["POST", "/attach?"], 404),
        (&["POST", "/containers/", "/start"], 500),
    ];
    let proxy = Proxy::start(&world, move |text| match refusals.first() {
        Some((needles, status)) if is(text, needles) => {
            let status = *status;
            refusals.remove(0);
            Act::Answer(status)
        }
        _ => Act::Pass,
    });
    let mut run = build_behind(&proxy, &world, &[]).exits(1);
    for (n, step) in ["build", "build", "build", "publish", "publish", "publish"]
        .iter()
        .enumerate()
    {
        run = run.reports(&format!("failed      p{} 1.0-1  at {step}", n + 1));
    }
    assert_eq!(run.stdout.matches("  at container  ").count(), 3);
    run.reports("built       p7 1.0-1  ")
        .reports("built       p11 1.0-1  ")
        .reports("2 built, 0 up to date, 9 failed");
    assert_eq!(
        world.server.published("bur"),
        ["p11-1.0-1-any.pkg.tar.zst", "p7-1.0-1-any.pkg.tar.zst"]
    );
    assert_nothing_left();
}

#[test]
fn what_cannot_be_cleaned_up_is_a_warning_and_left_to_the_next_run() {
    let world = World::new();
    world.package("any", &trivial("any"));
    for status in [404, 409, 500] {
        // Who else is on has to be known at the start, and with the lock; and whether that is held, if the engine is asked once more.
        let (mut lists, mut looks) = (0, 0);
        let proxy = Proxy::start(&world, move |text| {
            let line = text.lines().next().unwrap();
            let is_list = is(line, LABELLED);
            let is_look = is(line, &["GET", "/containers/", "/json HTTP"]);
            lists += u32::from(is_list);
            looks += u32::from(is_look);
            let is_it = line.starts_with("DELETE")
                || is(line, &["/wait?"])
                || is(line, &["GET", "/images/json?all="])
                || is_list && lists > 2
                || is_look && looks == 1 && status == 500;
            match is_it {
                true => Act::Answer(status),
                false => Act::Pass,
            }
        });
        let run = build_behind(&proxy, &world, &["--force"])
            .exits(0)
            .reports("built       any 1.0-1  ")
            .says(&format!("answered {status}: as the proxy says"))
            .says("(the next run tries again)");
        assert_eq!(run.stderr.contains("asking once more"), status == 500);
        assert_gone(&left_behind().0);
    }
    // The wait for a container's removal may end with a word of its own. The proxy's blanks come after it, on a
    // connection that nobody may use again.
    let said = r#"{"StatusCode":0,"Error":{"Message":"device is busy now"}}"#;
    let said = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{said}",
        said.len()
    );
    let proxy = Proxy::start(&world, move |text| {
        let line = text.lines().next().unwrap();
        match line.starts_with("DELETE") {
            true => Act::Answer(409),
            false if is(line, &["/wait?"]) => Act::Endless(said.clone().into_bytes(), vec![b' ']),
            false => Act::Pass,
        }
    });
    build_behind(&proxy, &world, &["--force"])
        .exits(0)
        .says("device is busy now");
    assert_gone(&left_behind().0);
    assert_swept_by_the_next_run(&world);
}

/// What the summary is of a run that has built the first of three, and whose engine went away at the second.
#[track_caller]
fn assert_told(run: &Run, second: &str) {
    let lines: Vec<_> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("built       first 1.0-1  "));
    assert!(lines[1].starts_with(&format!("not built   {second}")));
    assert!(lines[2].starts_with("not built   git://") && lines[2].ends_with("/third"));
    assert_eq!(lines[3], "1 built, 0 up to date, 0 failed, 2 not built");
}

#[test]
fn an_engine_that_is_restarted_in_the_middle_ends_the_run_at_once() {
    let world = World::new();
    let url = world.server.url();
    let listed = |second: &str| {
        world.server.clear_list();
        world.package("first", &trivial("first"));
        world.list(second, "bur");
        world.package("third", &trivial("third"));
    };
    let slow = format!(
        "pkgname=slow\npkgver=1\npkgrel=1\narch=(any)\nbuild() {{ curl -sf {url}/it/builds/now; sleep 1000; }}\npackage() {{ :; }}\n"
    );
    let slow = world.git("slow", &[("PKGBUILD", &slow)]);
    let quick = world.git("quick", &[("PKGBUILD", &trivial("quick"))]);
    let args = &["--force", "--fresh"];

    // While it commits: nothing was reached.
    listed(&quick);
    let proxy = Proxy::start(&world, |text| match is(text, &["POST", "/commit?"]) {
        true => Act::Die,
        false => Act::Pass,
    });
    let run = build_behind(&proxy, &world, args).exits(3);
    assert!(
        run.stdout
            .lines()
            .take(3)
            .all(|it| it.starts_with("not built   git://"))
    );
    run.reports("0 built, 0 up to date, 0 failed, 3 not built");
    assert!(
        proxy.late_requests().len() <= 2,
        "{:?}",
        proxy.late_requests()
    );
    assert_gone(&left_behind().0);

    // While it clones, from a server that takes the call and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    listed(&format!("git://{}/x", silent.local_addr().unwrap()));
    let proxy = Proxy::start(&world, |_| Act::Pass);
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            let _call = call_of(&silent);
            proxy.die();
        });
        build_behind(&proxy, &world, args).exits(3)
    });
    assert_told(&run, "git://127.0.0.1");
    assert!(run.stdout.contains("/x  at clone  "));
    assert!(
        proxy.late_requests().len() <= 2,
        "{:?}",
        proxy.late_requests()
    );
    assert_gone(&left_behind().0);

    // While it builds.
    listed(&slow);
    let proxy = Proxy::start(&world, |_| Act::Pass);
    world.server.take_requests();
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            world.server.wait_for("GET /it/builds/now");
            proxy.die();
        });
        build_behind(&proxy, &world, args).exits(3)
    });
    assert_told(&run, "slow 1-1  at build  ");
    let run = run
        .says("slow 1-1 of git://")
        .says("failed at build: makepkg: was lost");
    run.says("the engine doesn't answer");
    assert!(
        proxy.late_requests().len() <= 2,
        "{:?}",
        proxy.late_requests()
    );
    assert_gone(&left_behind().0);

    // While it reads what is to be uploaded.
    listed(&quick);
    let upload = ["GET", "/archive?path=%2Ftmp%2Fvieter-packed%2F0"];
    let mut uploads = 0;
    let proxy = Proxy::start(&world, move |text| {
        uploads += usize::from(is(text, &upload));
        match uploads {
            2 => Act::Die,
            _ => Act::Pass,
        }
    });
    let run = build_behind(&proxy, &world, args).exits(3);
    assert_told(&run, "quick 1.0-1  at publish  ");
    assert!(
        proxy.late_requests().len() <= 3,
        "{:?}",
        proxy.late_requests()
    );
    assert_gone(&left_behind().0);
    assert_swept_by_the_next_run(&world);
}

#[test]
fn an_engine_that_hangs_is_waited_for_once() {
    let world = World::new();
    world.package("any", &trivial("any"));
    world.package("other", &trivial("other"));
    let mut is_made = false;
    let proxy = Proxy::start(&world, move |text| {
        is_made |= is(text, &["POST", "/commit?"]);
        match is_made && is(text, &["POST", "/containers/create"]) {
            true => Act::Hang,
            false => Act::Pass,
        }
    });
    build_behind(&proxy, &world, &["--fresh", "--timeout", "31"])
        .exits(3)
        .reports("not built   git://")
        .reports("0 built, 0 up to date, 0 failed, 2 not built")
        .says("failed at container: POST /containers/create at ")
        .says("no answer in time");
    // Whether the lock is held; all else is left to the end of the connections.
    let late = proxy.late_requests();
    assert!(late.len() == 1 && late[0].contains("/json"), "{late:?}");
    proxy.die();
    assert_gone(&left_behind().0);
    assert_swept_by_the_next_run(&world);
}

#[test]
fn the_end_of_what_is_read_arrives_or_is_missed() {
    let world = World::new();
    // Its list ends where it could end as well without the last of it.
    let needy = |name: &str| trivial(name) + "depends=(greeting libgreet)\n";
    for name in ["lucky", "unlucky"] {
        world.package(name, &needy(name));
    }
    let proxy = Proxy::start(&world, |text| {
        let is_clone = is(text, &["POST", "/exec/", "/start", CLONE]);
        match is_clone {
            // What pipes and buffers hold at most.
            true if text.contains("/lucky") => Act::Keep(|out| out.len().saturating_sub(200_000)),
            // The end of the list, and all behind it.
            true => Act::Keep(|out| {
                let of_last = |it: &[u8]| it.starts_with(b"libgreet\0");
                out.windows(9).position(of_last).unwrap_or(0)
            }),
            false => Act::Pass,
        }
    });
    build_behind(&proxy, &world, &[])
        .exits(1)
        .reports("built       lucky 1.0-1  ")
        .reports("failed      git://")
        .says("unlucky: failed at version: reading the PKGBUILD: its output ended early");
    assert_nothing_left();
}

#[test]
fn an_exec_that_is_there_still_after_its_output_is_asked_for_again() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let mut asked = HashSet::new();
    let proxy = Proxy::start(&world, move |text| {
        let line = text.lines().next().unwrap().to_owned();
        match is(&line, &["GET", "/exec/", "/json"]) && asked.insert(line) {
            true => Act::Say(r#"{"Running":true,"ExitCode":null}"#),
            false => Act::Pass,
        }
    });
    build_behind(&proxy, &world, &[])
        .exits(0)
        .reports("built       any 1.0-1  ");
    assert_nothing_left();
}

#[test]
fn a_stream_without_end_and_a_header_that_lies_take_no_memory() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n".to_vec();
    for (stream, end) in [(1, b'x'), (2, b'x'), (2, b'\n')] {
        // Four gibibytes less one, of which the last never come.
        let start = [&head[..], &[stream, 0, 0, 0, 255, 255, 255, 255]].concat();
        let mut piece = vec![b'x'; 65_536];
        piece[0] = end;
        let proxy = Proxy::start(&world, move |text| {
            match is(text, &["POST", "/exec/", "/start", MAKEPKG]) {
                true => Act::Endless(start.clone(), piece.clone()),
                false => Act::Pass,
            }
        });
        let mut vieter = world.vieter();
        vieter.args(["--docker-host", &proxy.host, "--timeout", "12"]);
        vieter.env("VIETER_LOG", "debug");
        vieter.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = vieter.spawn().unwrap();
        let (mut log, mut most) = (String::new(), 0);
        for line in Lines::of(child.stderr.take().unwrap()) {
            log += &line;
            most = peak(child.id()).unwrap_or(most);
        }
        let output = end_of(Ok(child));
        let stdout = String::from_utf8(output.stdout).unwrap();
        eprintln!("{stdout}: {most} KiB");
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stdout.starts_with("failed      any 1.0-1  at build  "),
            "{stdout}"
        );
        assert!(log.contains("makepkg: stopped at the time limit"));
        assert!((1..12 << 10).contains(&most), "{most} KiB");
        assert_nothing_left();
    }
}

#[test]
fn who_may_not_open_the_socket_is_told_of_the_group() {
    let world = World::new();
    world.package("any", &trivial("any"));
    // Where anybody may get at it.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = dir.path().join("vieter");
    fs::copy(world.vieter().get_program(), &binary).unwrap();
    let mut nobody = Command::new("setpriv");
    nobody
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["build", "--address", &world.server.url()])
        .env("VIETER_API_KEY", crate::util::KEY);
    run(&mut nobody)
        .exits(3)
        .says("Permission denied")
        .says("group docker");
}

#[test]
fn what_was_lost_while_something_else_was_asked_is_told() {
    let world = World::new();
    world.package("any", &trivial("any"));
    // Why the pull failed, when looking for the old image fails as well.
    let proxy = Proxy::start(&world, |text| match text {
        _ if is(text, &["POST", "/images/create"]) => Act::Answer(500),
        _ if is(text, &["GET", "/images/"]) => Act::Answer(503),
        _ => Act::Pass,
    });
    build_behind(&proxy, &world, &["--fresh"])
        .exits(3)
        .says("answered 503")
        .says("pulling")
        .says("answered 500");
    // Why the kept image isn't used.
    world.build(&[]).exits(0);
    let base = format!("/images/{}/json", encode(&BASE_IMAGE));
    let proxy = Proxy::start(&world, move |text| match is(text, &["GET", &base]) {
        true => Act::Answer(500),
        false => Act::Pass,
    });
    build_behind(&proxy, &world, &[])
        .exits(3)
        .says(&format!("WARN  looking for {}: ", *BASE_IMAGE))
        .says("answered 500");
    // An exec that was lost says nothing about keyrings.
    let proxy = Proxy::start(&world, |text| {
        match is(text, &["POST", "/exec/", "/start", "keyrings"]) {
            true => Act::Keep(|_| 0),
            false => Act::Pass,
        }
    });
    let run = build_behind(&proxy, &world, &["--fresh"]).exits(3);
    assert!(!run.stderr.contains("builder image: "));
    // A name that is taken is no other conflict.
    let proxy = Proxy::start(&world, |text| match is(text, &["POST", "/attach?"]) {
        true => Act::Answer(409),
        false => Act::Pass,
    });
    let run = build_behind(&proxy, &world, &["--fresh"]).exits(3);
    assert_eq!(run.stderr.matches("answered 409").count(), 1);
    assert_nothing_left();
}

#[test]
fn settings_that_makepkg_could_not_read_are_noticed_at_the_start() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let conf = world.dir.path().join("makepkg.conf");
    for (text, says) in [
        ("OPTIONS+=(debug)\nif then\n", "line 3: syntax error near"),
        ("no-such-command\n", "no-such-command: command not found"),
    ] {
        fs::write(&conf, text).unwrap();
        world
            .build(&["--makepkg-conf", conf.to_str().unwrap()])
            .exits(3)
            .reports("not built   git://")
            .says(says)
            .says("makepkg can't read /etc/makepkg.conf");
        assert_nothing_left();
    }
}

/// A package whose archive is larger than what any buffer takes.
fn large() -> String {
    let noise = "package() { install -d \"$pkgdir/usr\"; head -c 20000000 /dev/urandom > \"$pkgdir/usr/noise\"; }";
    pkgbuild("large", noise)
}

#[test]
fn what_an_engine_says_before_it_has_taken_all_is_heard() {
    let world = World::new();
    world.package("large", &large());
    world.package("next", &trivial("next"));
    for (is_over_tcp, next) in [(false, "built     "), (true, "up to date")] {
        let mut is_first = true;
        let proxy = Proxy::start(&world, move |text| {
            match is(text, &["PUT", "/archive?"]) && std::mem::take(&mut is_first) {
                true => Act::Refuse(500),
                false => Act::Pass,
            }
        });
        let socket = world.dir.path().join("proxy.sock");
        let host = match is_over_tcp {
            true => proxy_of(socket),
            false => proxy.host.clone(),
        };
        world
            .build(&["--docker-host", &host])
            .exits(1)
            .says("answered 500: as the proxy says")
            .reports("failed      large 1-1  at publish  ")
            .reports(&format!("{next}  next 1.0-1  "));
        assert_nothing_left();
    }
}

#[test]
fn who_has_an_engine_is_told_while_an_archive_is_read_from_it() {
    let world = World::new();
    world.package("large", &large());
    // Docker answers nobody who asks what a container does until that has ended.
    let upload = "POST /bur/publish";
    world.server.fault_for(upload, "", Then::Hang, 0, 1);
    let uploading = Background::start(&mut world.vieter());
    world.server.wait_for(upload);
    world.build(&[]).exits(4).says("is using this engine");
    uploading.kill();
    world.build(&[]).exits(0).reports("built       large 1-1  ");
}

#[test]
fn two_runs_at_once_are_one() {
    let world = World::new();
    let url = world.server.url();
    world.package(
        "patient",
        &format!(
            "pkgname=patient\npkgver=1\npkgrel=1\narch=(any)\n\
        build() {{ until curl -sf {url}/go/on/now; do sleep 0.1; done; }}\npackage() {{ :; }}\n"
        ),
    );
    let in_image = || {
        let mut command = Command::new("docker");
        let volume = socket_volume();
        command.args(["run", "--rm", "--network=host", "-v", &volume]);
        let vieter = world.vieter();
        let is_ours = |it: &&OsStr| *it != "DOCKER_HOST";
        for (name, value) in vieter.get_envs().filter(|(name, _)| is_ours(name)) {
            let (name, value) = (name.to_str().unwrap(), value.unwrap().to_str().unwrap());
            command.args(["-e", &format!("{name}={value}")]);
        }
        command.args(["vieter:dev", "vieter", "build"]);
        command
    };
    let (sender, ended) = channel();
    thread::scope(|scope| {
        for mut command in [world.vieter(), in_image(), world.vieter()] {
            let sender = sender.clone();
            scope.spawn(move || sender.send(run(&mut command)));
        }
        let next = || ended.recv_timeout(Duration::from_secs(120)).unwrap();
        for _ in 0..2 {
            let lost = next().exits(4);
            assert_eq!(lost.stdout, "");
        }
        world.server.put("go", "on", "now", "");
        next().exits(0).reports("built       patient 1-1  ");
    });
    assert_nothing_left();
}
