//! Where a stranger's reach ends: processes, memory, time, disk, protocols, the list, the log.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::util::{
    Background, KEY, Run, World, assert_gone, assert_nothing_left, assert_swept_by_the_next_run,
    docker, left_behind, limits_can_be_set, run, sh_in, trivial, unpack, vieter,
};
use crate::wild::{on_changed, pkgbuild};

/// What tries to get hold of the first process, by all that has ever worked; each that does is a line `got`.
const SIEGE: &str = r#"
echo "first: $(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' /proc/1/status)"
(exec 9<>/proc/1/fd/0) && echo got its input
(exec 9>/proc/1/fd/1) && echo got its output
[[ -r /proc/1/fd && $(ls /proc/1/fd) ]] && echo got its files
cat /proc/1/environ > /dev/null && echo got its environment
(exec 9<>/proc/1/mem) && echo got its memory
ls /proc/1/root/ && echo got its root
kill -STOP 1 && kill -CONT 1 && echo got a signal through
kill -0 1 && echo got to ask for it
prlimit --pid 1 --nofile=0 && echo got its limits
/usr/bin/trace && echo got traced
echo "the siege is over"
"#;

#[test]
fn the_first_process_is_nobodys_and_a_build_has_bounds() {
    let world = World::new();
    // Its install script runs as root, in the containers of those that depend on it, and stays.
    let trace =
        "#include <sys/ptrace.h>\nint main(void) { return ptrace(PTRACE_ATTACH, 1, 0, 0) != 0; }\n";
    let install = format!(
        "post_install() {{\n( {SIEGE} ) > /usr/share/squat/loot 2>&1\n\
        grep -E '^(Uid|CapEff):' /proc/self/status >> /usr/share/squat/loot\n\
        cat > /tmp/siege <<'THE SIEGE'\n{SIEGE}\nTHE SIEGE\n\
        setpriv --reuid=65534 --regid=65534 --clear-groups bash /tmp/siege > /usr/share/squat/same 2>&1\n\
        ( exec 9<>/proc/1/fd/0; exec sleep 1000 ) < /dev/null > /dev/null 2>&1 &\n\
        setpriv --reuid=65534 --clear-groups bash -c 'exec 9<>/proc/1/fd/0; exec sleep 1000' < /dev/null > /dev/null 2>&1 &\n}}\n"
    );
    let squat = "pkgname=squat\npkgver=1\npkgrel=1\narch=(x86_64)\ninstall=squat.install\nsource=(trace.c)\n\
        sha256sums=(SKIP)\nbuild() { gcc -o trace trace.c; }\n\
        package() { install -D trace \"$pkgdir/usr/bin/trace\"; install -d \"$pkgdir/usr/share/squat\"; }\n";
    let files = [
        ("PKGBUILD", squat),
        ("squat.install", &install),
        ("trace.c", trace),
    ];
    world.list(&world.git("squat", &files), "bur");
    let looter = format!(
        r#"
pkgname=looter
pkgver=1
pkgrel=1
arch=(any)
depends=(squat)
build() {{
( {SIEGE} ) > loot 2>&1 || true
grep -E '^(Uid|CapPrm|CapEff|CapAmb):' /proc/self/status >> loot
# The older cgroups, and the newer.
cd /sys/fs/cgroup
for file in pids/pids.max pids.max memory/memory.limit_in_bytes memory.max; do
    [[ ! -f $file ]] || echo "${{file##*/}} $(< $file)" >> "$srcdir/loot"
done
}}
package() {{ install -Dm644 -t "$pkgdir/usr/share/looter" loot; cp /usr/share/squat/loot "$pkgdir/usr/share/looter/root"; cp /usr/share/squat/same "$pkgdir/usr/share/looter/same"; }}
"#
    );
    world.package("looter", &looter);
    let memory = if limits_can_be_set() { "512m" } else { "" };
    run(world.vieter().env("VIETER_MEMORY", memory))
        .exits(0)
        .reports("built       looter 1-1  ");
    let archive = world.server.file("bur", "looter-1-1-any.pkg.tar.zst");
    let as_root = unpack(&archive, "usr/share/looter/root");
    let as_builder = unpack(&archive, "usr/share/looter/loot");
    let as_same = unpack(&archive, "usr/share/looter/same");
    eprintln!("as the same user:\n{as_same}");
    // Who is the same user may ask for it, and send signals, which a first process doesn't heed; no more than that.
    assert!(as_same.contains("the siege is over"));
    for got in ["input", "output", "files", "environment", "memory", "root"] {
        assert!(!as_same.contains(&format!("got its {got}")) && !as_same.contains("got traced"));
    }
    eprintln!("as root:\n{as_root}\nas the build user:\n{as_builder}");
    // It has to be what it is taken for.
    assert!(as_root.contains("Uid:\t0\t0\t0\t0"));
    for loot in [&as_root, &as_builder] {
        assert!(loot.contains("first: 65534\n") && loot.contains("the siege is over"));
        assert!(!loot.contains("got "));
    }
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert!(as_builder.contains(&format!("{set}:\t0000000000000000")));
    }
    let uid = as_builder.lines().find_map(|it| it.strip_prefix("Uid:\t"));
    let uid: u32 = uid.unwrap().split('\t').next().unwrap().parse().unwrap();
    assert!((1001..65534).contains(&uid), "{uid}");
    if limits_can_be_set() {
        assert!(as_builder.contains("pids.max 16384\n"));
        assert!(as_builder.contains("536870912"));
    }

    // Killed, while what stays of that install script would hold the first process's input.
    world.server.clear_list();
    let endless = "depends=(squat)\nbuild() { echo now it builds; sleep 1000; }";
    world.package("endless", &pkgbuild("endless", endless));
    let mut killed = Background::start(world.vieter().args(["--log-level", "debug"]));
    killed.wait_for("| now it builds");
    let (containers, _) = left_behind();
    assert_eq!(containers.len(), 2);
    let format =
        "{{.Config.StopSignal}} {{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.Name}}";
    for container in &containers {
        let found = docker(&["inspect", "-f", format, container]);
        // Podman would wait for another signal to help; it tells this one by its number.
        let found = found.replacen("SIGKILL ", "9 ", 1);
        assert!(found.starts_with("9 "), "{found}");
        assert!(
            found.starts_with("9 16384 0 ") || !limits_can_be_set(),
            "{found}"
        );
    }
    killed.kill();
    assert_gone(&containers);
    assert_swept_by_the_next_run(&world);
}

#[test]
fn a_bound_for_memory_is_a_number_of_bytes() {
    let build = |memory: &str| {
        let mut command = vieter();
        command
            .args(["build", "--docker-host", "unix:///no/such.sock"])
            .env("VIETER_ADDRESS", "http://127.0.0.1:1")
            .env("VIETER_API_KEY", KEY);
        if !memory.is_empty() {
            command.args(["--memory", memory]);
        }
        command
    };
    for bad in [
        "lots",
        "8x",
        "-1",
        "g",
        "1e3",
        "0x10",
        "8 gg",
        "99999999999g",
        "99999999999999999999",
    ] {
        run(&mut build(bad))
            .exits(2)
            .says("--memory (VIETER_MEMORY)");
        run(build("").env("VIETER_MEMORY", bad))
            .exits(2)
            .says("--memory (VIETER_MEMORY)");
    }
    for good in ["8g", "512m", "536870912", "600000k"] {
        run(&mut build(good)).exits(3);
    }
}

/// Serves a list whose first bytes are these and whose rest comes of this, one piece after another, with pauses; counts
/// the bytes that anybody took.
fn serve_endless(start: &'static str, piece: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head =
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n";
            let _ = stream.write_all(format!("{head}{start}").as_bytes());
            while stream.write_all(&piece).is_ok() {
                counter.fetch_add(piece.len(), Ordering::Relaxed);
            }
        }
    });
    (url, taken)
}

/// Runs `vieter build` with 400 MB of address space.
fn build_in_little_memory(world: &World, address: &str) -> Run {
    let program = world.vieter().get_program().to_owned();
    let mut command = Command::new("bash");
    command
        .env_clear()
        .args(["-c", "ulimit -v 400000; exec \"$0\" build"])
        .arg(program)
        .envs(std::env::var_os("DOCKER_HOST").map(|it| ("DOCKER_HOST", it)))
        .env("VIETER_ADDRESS", address)
        .env("VIETER_API_KEY", KEY);
    run(&mut command)
}

#[test]
fn a_list_has_at_most_ten_thousand_entries_and_four_mebibytes() {
    let world = World::new();
    let entry = json!({"url": "git://x", "branch": "", "arch": ["aarch64"], "repo": "bur"});
    let says_number = |run: Run| assert!(run.stderr.replace([',', '_'], "").contains("10000"));
    let answer = |data: &str| {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        world.server.clear_faults();
        world.server.fault(
            "GET /api/repos",
            &format!("{head}{{\"message\":\"\",\"data\":{data}}}"),
        );
    };
    let entries = |count: usize| vec![entry.to_string(); count].join(",");

    // In one answer, as a list or as an object.
    answer(&format!("[{}]", entries(10_000)));
    world
        .build(&[])
        .exits(0)
        .says("the list has no repositories");
    answer(&format!("[{}]", entries(10_001)));
    says_number(world.build(&[]).exits(3));
    let object: Vec<_> = (0..10_001).map(|id| format!("\"{id}\":{entry}")).collect();
    answer(&format!("{{{}}}", object.join(",")));
    says_number(world.build(&[]).exits(3));
    // Short strings, of which four mebibytes hold many, wherever they stand.
    let many = |count: usize| vec!["\"\""; count].join(",");
    answer(&format!("[{}]", many(1_390_000)));
    says_number(build_in_little_memory(&world, &world.server.url()).exits(3));
    for key in ["arch", "other"] {
        answer(&format!("[{{\"{key}\":[{}]}}]", many(1_390_000)));
        let run = build_in_little_memory(&world, &world.server.url());
        assert!(matches!(run.code, 0 | 1 | 3), "{}", run.code);
    }
    // A few entries, but large ones.
    let large = json!({"url": "git://x", "arch": ["aarch64"], "repo": "bur", "notes": "n".repeat(4_200_000)});
    answer(&format!("[{large}]"));
    world.build(&[]).exits(3).says("4 MiB");
    // One that never ends, in all the ways that its reader may wait for: a string, blanks, entries.
    let entry = format!("{entry},").into_bytes();
    for (start, piece) in [
        ("{\"data\":[{\"url\":\"", b"u".repeat(65_536)),
        ("{\"data\":", b" ".repeat(65_536)),
        ("{\"message\":[", b"[".repeat(65_536)),
        ("{\"data\":[", entry),
    ] {
        let (url, taken) = serve_endless(start, piece);
        let run = build_in_little_memory(&world, &url).exits(3);
        assert!(
            run.stderr.contains("4 MiB")
                || run.stderr.replace(',', "").contains("10000")
                || start.contains("message"),
            "{start}"
        );
        // What was on its way is taken as well.
        assert!(taken.load(Ordering::Relaxed) < 12 << 20, "{start}");
    }

    // Page by page.
    world.server.clear_faults();
    world.server.become_newer();
    for n in 0..10_001 {
        let url = format!("git://x/{n}");
        world
            .server
            .list(json!({"url": url, "branch": "", "arch": ["aarch64"], "repo": "bur"}));
    }
    says_number(world.build(&[]).exits(3));
    world.server.clear_list();
    for n in 0..450 {
        let url = format!("git://x/{n}/{}", "u".repeat(10_000));
        world
            .server
            .list(json!({"url": url, "branch": "", "arch": ["aarch64"], "repo": "bur"}));
    }
    world.build(&[]).exits(3).says("4 MiB");
}

/// Needs no engine for longer than a question, so it takes none from the other tests, nor time.
#[test]
fn a_list_that_drips_is_given_up_after_two_minutes_for_all_its_pages() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut pages = 0;
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            if !request[..read].starts_with(b"GET /api/v1/targets") {
                let _ = stream.write_all(b"HTTP/1.1 404 -\r\nConnection: close\r\n\r\nNot Found");
                continue;
            }
            // Each page comes within a minute, and there is always one more.
            pages += 1;
            let page = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{{\"data\":[{{\"id\":{pages},\"url\":\"git://x\",\
                \"branch\":\"\",\"repo\":\"bur\",\"arch\":[]}}]}}"
            );
            for byte in page.into_bytes() {
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(340));
            }
        }
    });
    let started = Instant::now();
    let mut command = vieter();
    command
        .arg("check")
        .env("VIETER_ADDRESS", url)
        .env("VIETER_API_KEY", KEY);
    let mut check = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let code = loop {
        if let Some(status) = check.try_wait().unwrap() {
            break status.code();
        }
        if started.elapsed() > Duration::from_secs(135) {
            check.kill().unwrap();
            check.wait().unwrap();
            panic!("it still waits");
        }
        thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(code, Some(3));
    assert!(started.elapsed() > Duration::from_secs(110));
}

/// The warnings of a run, without their times.
fn warnings(run: &Run) -> Vec<&str> {
    let warnings = run
        .stderr
        .lines()
        .filter_map(|line| line.split_once(" WARN "));
    warnings.map(|(_, text)| text).collect()
}

#[test]
fn a_network_from_which_builds_reach_the_engine_is_warned_of_at_the_start() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let proxy = crate::engine::proxy();
    // It ends where the image would be pulled.
    let start = |host: Option<&str>, network: Option<&str>| {
        let mut command = world.vieter();
        command
            .env_remove("VIETER_NETWORK")
            .args(["--base-image", "127.0.0.1:1/nothing/here"]);
        for (name, value) in [("DOCKER_HOST", host), ("VIETER_NETWORK", network)] {
            value.map(|it| command.env(name, it));
        }
        let run = run(&mut command).exits(3);
        let pulling = run.stderr.find("pulling").unwrap();
        let warnings = warnings(&run);
        let warnings: Vec<_> = warnings
            .iter()
            .filter(|it| it.contains("network"))
            .collect();
        assert!(warnings.len() <= 1, "{warnings:?}");
        let warning = warnings.first().map_or("", |it| **it).to_owned();
        assert!(run.stderr.find(&warning).unwrap() < pulling);
        warning
    };
    let proxy = Some(proxy.as_str());
    assert_eq!(start(None, None), "");
    assert_eq!(start(None, Some("builds")), "");
    assert_eq!(start(proxy, None), "");
    let host = start(None, Some("host"));
    assert!(host.contains("host"), "{host}");
    for network in ["host", "builds"] {
        let both = start(proxy, Some(network));
        assert!(both.contains(network) && both.contains("root"), "{both}");
        assert!(both.len() > host.len(), "{both}");
    }
}

#[test]
fn a_check_says_when_the_key_goes_over_the_network_in_the_clear() {
    let says = |address: &str| {
        let mut command = vieter();
        command
            .arg("check")
            .env("VIETER_ADDRESS", address)
            .env("VIETER_API_KEY", KEY);
        let run = run(&mut command);
        format!("{}{}", run.stdout, run.stderr).contains("plain http")
    };
    assert!(says("http://vieter.invalid"));
    assert!(says("http://192.168.0.1.invalid:8000/"));
    assert!(says("http://localhost.invalid"));
    for fine in [
        "https://vieter.invalid",
        "http://127.0.0.1:1",
        "http://localhost:1",
        "http://[::1]:1",
    ] {
        assert!(!says(fine), "{fine}");
    }
}

#[test]
fn what_strangers_say_is_cut_to_a_line_and_hides_nothing() {
    let world = World::new();
    world.server.become_newer();
    let secret = "sesame";
    let list = |more: Value| {
        let mut entry =
            json!({"url": "git://127.0.0.1:1/x", "arch": ["x86_64"], "repo": "bur", "branch": ""});
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        world.server.list(entry);
    };
    // Text that is too long, wherever a stranger can put it.
    let long = |letter: &str| letter.repeat(300_000);
    for key in ["url", "repo", "path", "kind"] {
        list(json!({key: long("u")}));
    }
    list(json!({"url": world.git("some", &[("README", "")]), "branch": "u".repeat(100_000)}));
    let head = "pkgver=1\npkgrel=1\narch=(any)\npackage() { :; }\n";
    let long_name = format!("pkgname={}\n{head}", "n".repeat(500_000));
    let long_base = format!("pkgbase={}\npkgname=short\n{head}", "n".repeat(500_000));
    let long_split = format!("pkgname=(first {})\n{head}", "n".repeat(500_000));
    let long_dependency = format!("pkgname=needy\n{head}depends=({})\n", "d".repeat(100_000));
    let long_version = format!("pkgname=versioned\n{head}pkgver={}\n", "v".repeat(400_000));
    let long_output = format!("printf '%0500000d' 0 | tr 0 o >&2\nexit 1\n{head}");
    let long_build = format!(
        "pkgname=babbler\n{head}build() {{ printf '%0500000d' 0 | tr 0 o; echo; false; }}\n"
    );
    for (name, pkgbuild) in [
        ("long-name", &long_name),
        ("long-base", &long_base),
        ("long-split", &long_split),
        ("long-dependency", &long_dependency),
        ("long-version", &long_version),
        ("long-output", &long_output),
        ("long-build", &long_build),
    ] {
        // The server's repo-add would take minutes for some of them.
        let url = world.git(name, &[("PKGBUILD", pkgbuild)]);
        world.list(&url, "discard");
    }
    // An error of the server's.
    let answer = format!("{{\"message\":\"{}\"}}", long("e"));
    let answer = format!("HTTP/1.1 500 -\r\nConnection: close\r\n\r\n{answer}");
    world.server.fault("POST /full/publish", &answer);
    let full = world.git("full", &[("PKGBUILD", &trivial("full"))]);
    world.list(&full, "full");
    // A password, as URLs have it and as they shouldn't.
    for (url, kind) in [
        (format!("http://user:{secret}@127.0.0.1:1/x.git"), "git"),
        (
            format!("http://user:{secret}@{secret}@127.0.0.1:1/x"),
            "git",
        ),
        (format!("HTTP://:{secret}@127.0.0.1:1/x.git"), "git"),
        (format!("ssh://user:{secret}@127.0.0.1:1/x.git"), "git"),
        (
            format!("git://user:{secret}@127.0.0.1:1/{}", long("u")),
            "git",
        ),
        (format!("http://user:{secret}@127.0.0.1:1/PKGBUILD"), "url"),
        (format!("svn://user:{secret}@127.0.0.1:1/x"), "svn"),
    ] {
        list(json!({"url": url, "kind": kind}));
    }
    let keys = format!("pkgname=keys\n{head}validpgpkeys=({})\n", "AB".repeat(20));
    world.package("keys", &keys);
    // Characters that hide, or are hidden, in what is printed and in the list.
    let hidden = [
        0xad, 0x2060, 0x2061, 0x2062, 0x2063, 0x2064, 0xfff9, 0xfffa, 0xfffb, 0xe0000, 0xe0001,
        0xe0041, 0xe007f,
    ];
    let hidden = hidden.map(|it| char::from_u32(it).unwrap());
    let marked: String = hidden.iter().map(|it| format!("<{it}>")).collect();
    world.package("hider", &format!("echo '{marked}' >&2\nexit 1\n"));
    list(json!({"url": format!("git://127.0.0.1:1/{marked}")}));

    let run = run(world
        .vieter()
        .args(["--log-level", "debug", "--timeout", "60"])
        .env(
            "VIETER_KEYSERVER",
            format!("hkp://user:{secret}@127.0.0.1:1"),
        ));
    let run = run
        .exits(1)
        .reports("failed      full 1.0-1  at publish")
        .reports("failed      babbler 1-1  at build")
        .says("127.0.0.1:1/x.git");
    for text in [&run.stdout, &run.stderr] {
        for letter in ["u", "n", "d", "v", "o", "e"] {
            assert!(!text.contains(&letter.repeat(1000)), "{letter}");
        }
        // What is said under --log-level info: the debug lines show our own scripts as well.
        let ours = text.lines().filter(|line| !line.contains(" DEBUG "));
        let longest = ours.map(|line| line.chars().count()).max();
        assert!(longest.unwrap() <= 2000, "{longest:?}");
        assert!(!text.contains(secret));
        assert!(!hidden.iter().any(|it| text.contains(*it)));
    }
    let escaped: String = hidden
        .iter()
        .map(|it| format!("<{}>", it.escape_unicode()))
        .collect();
    assert!(run.stderr.contains(&format!("    | {escaped}")));
    assert!(
        run.stdout
            .contains(&format!("git://127.0.0.1:1/{escaped}  at clone"))
    );
    // A failure's line names the URL, as another's pkgbase can be anybody's; in the log as well.
    let names_it = |line: &str| line.contains("full 1.0-1") && line.contains(&full);
    assert!(run.stdout.lines().any(names_it));
    let is_error = |line: &str| line.contains(" ERROR ") && names_it(line);
    assert!(run.stderr.lines().any(is_error));

    // Those of our user's own.
    for (name, value) in [
        (
            "VIETER_ADDRESS",
            format!("http://user:{secret}@127.0.0.1:1"),
        ),
        ("DOCKER_HOST", format!("tcp://user:{secret}@127.0.0.1:1")),
        ("DOCKER_HOST", format!("http://user:{secret}@127.0.0.1:1")),
    ] {
        let run = crate::util::run(world.vieter().env(name, value));
        assert!(run.code != 0 && !run.stderr.contains(secret));
    }
}

/// A server that answers nothing; counts its callers.
fn count_callers() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let callers = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&callers);
    thread::spawn(move || {
        for _ in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, callers)
}

#[test]
fn only_the_protocols_that_are_meant_are_spoken() {
    let world = World::new();
    world.server.become_newer();
    let (port, callers) = count_callers();
    let mut refused = vec![];
    let mut list = |url: &str, kind: &str, repo: &str, step: &str| {
        world.server.list(
            json!({"url": url, "kind": kind, "branch": "", "arch": ["x86_64"], "repo": repo}),
        );
        refused.push(format!("failed      {url}  at {step}"));
    };
    // What is inside of the container is there to be found, if it is looked for.
    for url in ["file:///srv/inside/PKGBUILD", "FILE:///srv/inside/PKGBUILD"] {
        list(url, "url", "bur", "clone");
    }
    for protocol in ["dict", "gopher", "ftp", "telnet", "ldap", "imap"] {
        list(
            &format!("{protocol}://127.0.0.1:{port}/PKGBUILD"),
            "url",
            "bur",
            "clone",
        );
    }
    // By a detour.
    for (number, to) in ["ftp", "dict"].iter().enumerate() {
        let answer = format!(
            "HTTP/1.1 302 -\r\nLocation: {to}://127.0.0.1:{port}/PKGBUILD\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        world
            .server
            .fault(&format!("GET /detour/{number}"), &answer);
        list(
            &format!("{}/detour/{number}", world.server.url()),
            "url",
            "bur",
            "clone",
        );
    }
    for url in [
        "file:///srv/inside",
        "/srv/inside",
        "fd::0",
        "fd::17",
        "ext::touch /build/x",
        "foreign::x",
    ] {
        list(url, "git", "bur", "clone");
    }
    list(
        &format!("ftp://127.0.0.1:{port}/x.git"),
        "git",
        "bur",
        "clone",
    );
    for repo in ["options", "local"] {
        let url = world.git(repo, &[("PKGBUILD", &trivial(repo))]);
        list(&url, "git", repo, "list");
    }
    let source = "source=(\"git+file:///srv/inside\")\nsha256sums=(SKIP)\nbuild() { [[ -f inside/PKGBUILD ]]; }";
    world.package("sourced", &pkgbuild("sourced", source));
    world
        .server
        .put("static", "files", "PKGBUILD", &trivial("plain"));
    let plain = format!("{}/static/files/PKGBUILD", world.server.url());
    let change = format!(
        "mkdir /srv/inside; cd /srv/inside; printf '%s' '{}' > PKGBUILD; git init -q; git add -A; \
        git -c user.name=t -c user.email=t@t commit -qm x; chown -R 1000:1000 .; git config --system safe.directory '*'",
        trivial("inside").replace('\'', "")
    );
    world.server.list(
        json!({"url": plain, "kind": "url", "branch": "", "arch": ["x86_64"], "repo": "bur"}),
    );
    let run = on_changed(&change, |image| {
        world.build(&["--base-image", image, "--timeout", "30"])
    });
    let mut run = run
        .exits(1)
        .reports("built       plain 1.0-1  ")
        .reports("built       sourced 1-1  ");
    for start in &refused {
        run = run.reports(start);
    }
    assert_eq!(callers.load(Ordering::Relaxed), 0);
    assert!(!run.stderr.contains("time limit"));
    assert_eq!(
        world.server.published("bur"),
        ["plain-1.0-1-any.pkg.tar.zst", "sourced-1-1-any.pkg.tar.zst"]
    );
    assert!(world.server.published("options").is_empty());
}

#[test]
fn the_tries_of_a_repository_share_its_time_limit_and_are_told_together() {
    let world = World::new();
    // Up to three tries, as something is published between them: `middle` has to wait for `bottom`.
    let slow = |seconds: u32| {
        let body = format!("depends=(no-such-package)\npkgver() {{ sleep {seconds}; echo 1; }}");
        pkgbuild("late", &body)
    };
    world.package("late", &slow(25));
    world.package("middle", &pkgbuild("middle", "depends=(bottom)"));
    world.package("bottom", &trivial("bottom"));
    let started = Instant::now();
    let late = |run: &Run| {
        let is_late = |line: &&str| line.starts_with("failed") && line.contains("late");
        let line = run.stdout.lines().find(is_late).unwrap().to_owned();
        let mut words = line.split_whitespace();
        let seconds = words
            .by_ref()
            .take_while(|it| *it != "s")
            .filter_map(|it| it.parse::<f64>().ok());
        seconds.last().unwrap()
    };
    let run = world
        .build(&["--timeout", "40"])
        .exits(1)
        .reports("built       middle 1-1  ");
    let (told, took) = (late(&run), started.elapsed().as_secs_f64());
    assert!(
        (39.5..75.0).contains(&told) && told < took,
        "{told} of {took}"
    );
    run.says("stopped at the time limit");
    assert_nothing_left();

    // With more time, all three are told.
    world.server.clear_list();
    world.package("late", &slow(8));
    world.package("second", &pkgbuild("second", "depends=(first)"));
    world.package("first", &trivial("first"));
    let run = world
        .build(&[])
        .exits(1)
        .reports("failed      late 1-1  at dependencies  ");
    assert!((24.0..80.0).contains(&late(&run)));
}

/// The folders in which the engine keeps the files of containers and images.
fn layers() -> Vec<PathBuf> {
    let root = docker(&["info", "-f", "{{.DockerRootDir}}/{{.Driver}}"]);
    let layers = fs::read_dir(&root).unwrap_or_else(|error| panic!("{root}: {error}"));
    let mut layers: Vec<_> = layers.map(|it| it.unwrap().path()).collect();
    layers.retain(|it| !it.ends_with("l"));
    layers.sort();
    layers
}

#[test]
fn a_tree_without_end_leaves_nothing_on_the_engines_disk() {
    let world = World::new();
    let deep = r#"
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (mkdir(argv[1], 0755) || chdir(argv[1])) return 1;
    for (int i = 0; i < 20000; i++)
        if (mkdir("d", 0755) || chdir("d")) break; // Some engines' file systems take no more.
    return argc > 2 && chmod("/build/closed", 0);
}
"#;
    let list = |name: &str, more: &str| {
        let more = format!("source=(deep.c)\nsha256sums=(SKIP)\narch=(x86_64)\n{more}");
        let pkgbuild = pkgbuild(name, &more);
        let files = [("PKGBUILD", pkgbuild.as_str()), ("deep.c", deep)];
        world.list(&world.git(name, &files), "bur");
    };
    // Each shows that it is there: by being built, or to the server.
    let places = "for it in \"$srcdir\" /build /tmp /var/tmp; do ./deep $it/tree; [[ -d $it/tree/d/d/d ]]; done; ./deep /build/closed x";
    list(
        "deep",
        &format!("build() {{ gcc -o deep deep.c; {places}; }}"),
    );
    let url = world.server.url();
    // It fails, and leaves a process that makes what is taken away again.
    let again = "setsid bash -c 'while :; do ./deep /tmp/again; ./deep ~/again; sleep 0.1; done' > /dev/null 2>&1 &";
    list(
        "stays",
        &format!(
            "build() {{ gcc -o deep deep.c; {again}\n\
            until [[ -d /tmp/again/d/d/d && -d ~/again/d/d/d ]]; do sleep 0.1; done; curl -s {url}/static/stays; false; }}"
        ),
    );
    // And one before it is even known what it is called.
    list(
        "early",
        &format!(
            "pkgver() {{ gcc -o deep deep.c; ./deep /tmp/early; [[ -d /tmp/early/d/d/d ]] && curl -s {url}/static/early; false; }}"
        ),
    );
    world.package("any", &trivial("any"));
    // The builder image is no layer of theirs.
    world.build(&["any"]).exits(0);
    world.package("after", &trivial("after"));
    let before = layers();
    let run = world
        .build(&[])
        .exits(1)
        .reports("built       deep 1-1  ")
        .reports("built       after 1.0-1  ")
        .reports("failed      stays 1-1  at build")
        .reports(&format!("failed      {}  at version  ", world.url("early")));
    for name in ["stays", "early"] {
        let asked = world.server.asked_for(&format!("GET /static/{name}"));
        assert!(!asked.is_empty(), "{name}");
    }
    // The engine takes its time.
    let mut left = vec![];
    for _ in 0..100 {
        left = layers();
        left.retain(|it| !before.contains(it));
        if left.is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    // What the engine can't remove would be in the way of all the tests to come.
    for layer in &left {
        let script = format!(
            "rm -rf {0}/diff/tmp {0}/diff/build {0}/diff/var/tmp",
            layer.display()
        );
        sh_in(&layer.clone(), &script);
    }
    assert!(left.is_empty(), "{left:?}\n{}", run.stderr);
    assert_nothing_left();
}
