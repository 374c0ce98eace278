//! Faults of the server, and of the network before it: what is said, the exit code, how often the server was asked, and
//! that nothing was lost. What needs no engine runs beside the other tests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use vieter::home::server::Shelf;
use vieter::http::Deadline;
use vieter::server::{Server, Settings};

use crate::standin::{Standin, Then};
use crate::util::{KEY, World, assert_nothing_left, end_of, peak, run, sh_in, trivial, vieter};

/// An answer without a body.
fn status(status: &str) -> String {
    format!("HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

/// How many of these requests start so.
fn count(requests: &[String], start: &str) -> usize {
    let counted = requests.iter().filter(|it| it.starts_with(start));
    counted.count()
}

/// A server of its own.
pub fn standin() -> (Standin, TempDir) {
    let dir = TempDir::new().unwrap();
    let server = Standin::start("127.0.0.1:0", dir.path(), KEY).unwrap();
    (server, dir)
}

/// `vieter check` against this server.
pub fn check(address: &str) -> Command {
    let mut command = vieter();
    command
        .arg("check")
        .env("VIETER_ADDRESS", address)
        .env("VIETER_API_KEY", KEY);
    command
}

/// A client of the server at this address.
fn client(address: &str) -> Server {
    let settings = Settings {
        address: address.to_owned(),
        api_key: KEY.to_owned(),
        ca_file: None,
    };
    Server::new(settings)
}

/// A PKGBUILD of this name, and a payload of so many bytes.
fn with_payload(name: &str, bytes: usize) -> String {
    let fill = format!("head -c {bytes} /dev/urandom > \"$pkgdir/payload\"");
    format!("pkgname={name}\npkgver=1.0\npkgrel=1\narch=(any)\npackage() {{ {fill}; }}\n")
}

#[test]
fn an_upload_is_tried_again_unless_it_is_refused_for_good() {
    let world = World::new();
    let html = "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n<html>Bad Gateway</html>";
    let retry_after =
        |code: &str| status(code).replace("Connection", "Retry-After: 2\r\nConnection");
    let moved = status("301").replace("Connection", "Location: https://elsewhere/\r\nConnection");
    let too_large = status("413");
    // The pacman repository, the fault of its upload, how many uploads meet it, and how many are tried.
    let cases: &[(&str, &str, Then, usize, usize)] = &[
        ("r500", &status("500"), Then::Close, 1, 2),
        ("r502", html, Then::Close, 2, 3),
        ("r503", &retry_after("503"), Then::Close, 1, 2),
        ("r429", &retry_after("429"), Then::Close, 1, 2),
        ("closed", "", Then::Close, 1, 2),
        ("cut-off", "HTTP/1.1 2", Then::Close, 1, 2),
        ("arrived", "", Then::Done, 1, 1),
        ("half", "", Then::Part, 1, 2),
        ("half-well", &status("200"), Then::Part, 1, 2),
        ("slow", "", Then::Slow, 1, 1),
        ("r500-ever", &status("500"), Then::Close, 99, 4),
        ("r413", &too_large, Then::Close, 99, 1),
        ("r401", &status("401"), Then::Close, 99, 1),
        ("r301", &moved, Then::Close, 99, 1),
    ];
    for (repo, answer, then, times, _) in cases {
        let size = match *repo {
            "r413" | "half-well" => 20_000_000,
            "slow" | "half" => 300_000,
            _ => 10,
        };
        world.list(
            &world.git(repo, &[("PKGBUILD", &with_payload(repo, size))]),
            repo,
        );
        let start = format!("POST /{repo}/publish");
        world.server.fault_for(&start, answer, *then, 0, *times);
    }
    // Away between the build and its upload, for longer than a few tries take.
    let away = world.git("away", &[("PKGBUILD", &trivial("away"))]);
    world.list(&away, "away");
    let gone = status("502");
    world
        .server
        .fault_for("HEAD /away/x86_64/away-1.0-1", &gone, Then::Close, 1, 5);
    // With a builder image that is new nothing is looked at twice.
    let run = world.build(&["--fresh"]).exits(1);
    let requests = world.server.take_requests();
    for (repo, _, _, _, tries) in cases {
        let outcome = match *repo {
            "r500-ever" | "r413" | "r401" | "r301" => "failed    ",
            _ => "built     ",
        };
        let mut lines = run.stdout.lines();
        assert!(
            lines.any(|line| line.starts_with(&format!("{outcome}  {repo} 1.0-1  "))),
            "{repo}"
        );
        let uploads = count(&requests, &format!("POST /{repo}/publish"));
        assert_eq!(uploads, *tries, "{repo}");
        // The first asks whether it is up to date; then there is one before each upload, and one after the last that failed.
        let heads = count(&requests, &format!("HEAD /{repo}/x86_64/{repo}-1.0-1"));
        let last_looks = match outcome {
            // At its version, and at its file.
            _ if *repo == "arrived" => 2,
            "failed    " => 1,
            _ => 0,
        };
        assert_eq!(heads, 1 + tries + last_looks, "{repo}");
        let published = world.server.published(repo);
        assert_eq!(!published.is_empty(), outcome == "built     ", "{repo}");
        for file in published {
            let file = world.server.file(repo, &file);
            sh_in(Path::new("/"), &format!("zstd -tq '{}'", file.display()));
        }
    }
    assert_eq!(count(&requests, "HEAD /away/x86_64/away-1.0-1"), 7);
    run.reports("built       away 1.0-1  ")
        .says("answered 500:  (try 1; again in 1 s)")
        .says("answered 502: <html>Bad Gateway</html> (try 1; again in 1 s)")
        .says("answered 502: <html>Bad Gateway</html> (try 2; again in 3 s)")
        .says("answered 503:  (try 1; again in 2 s)")
        .says("answered 429:  (try 1; again in 2 s)")
        .says("arrived-1.0-1 has arrived in arrived after all")
        .says("answered 500:  (try 3; again in 9 s)")
        .says("answered 500:  (given up after try 4)")
        .says("answered 413:  (a proxy's limit? nginx has client_max_body_size")
        .says("answered 401:  (does VIETER_API_KEY hold")
        .says("answered 301: https://elsewhere/ (set --address to where the server really is)");
    assert_nothing_left();
}

#[test]
fn what_is_built_is_published_beyond_its_time_limit() {
    let world = World::new();
    world.package("late", &trivial("late"));
    // When it may be sent again, the repository's time is up.
    let busy = status("503").replace("Connection", "Retry-After: 30\r\nConnection");
    let server = &world.server;
    server.fault_for("POST /bur/publish", &busy, Then::Close, 0, 1);
    world
        .build(&["--timeout", "30"])
        .exits(0)
        .says("(try 1; again in 30 s)")
        .reports("built       late 1.0-1");
}

#[test]
fn a_head_is_tried_again_unless_it_is_refused_for_good() {
    let world = World::new();
    let moved = status("302").replace("Connection", "Location: https://elsewhere/\r\nConnection");
    let cases: &[(&str, &str, Then, usize, usize)] = &[
        ("r500", &status("500"), Then::Close, 2, 3),
        ("closed", "", Then::Close, 1, 2),
        ("cut-off", "HTTP/1.1 20", Then::Close, 1, 2),
        ("hangs", "", Then::Hang, 1, 2),
        ("r503-ever", &status("503"), Then::Close, 99, 4),
        ("r403", &status("403"), Then::Close, 99, 1),
        ("r302", &moved, Then::Close, 99, 1),
    ];
    for (repo, answer, then, times, _) in cases {
        world.list(&world.git(repo, &[("PKGBUILD", &trivial(repo))]), repo);
        let version = format!("{repo}-1.0-1");
        world.server.put(repo, "x86_64", &version, "");
        let start = format!("HEAD /{repo}/x86_64/{version}");
        world.server.fault_for(&start, answer, *then, 0, *times);
    }
    // With a builder image that is new nothing is looked at twice.
    let run = world.build(&["--fresh"]).exits(1);
    let requests = world.server.take_requests();
    for (repo, _, _, _, tries) in cases {
        let line = match *repo {
            "r503-ever" | "r403" | "r302" => format!("failed      {repo} 1.0-1  at check  "),
            _ => format!("up to date  {repo} 1.0-1  "),
        };
        assert!(run.stdout.lines().any(|it| it.starts_with(&line)), "{line}");
        assert_eq!(
            count(&requests, &format!("HEAD /{repo}/")),
            *tries,
            "{repo}"
        );
    }
    // No key is sent that could be another server's.
    assert!(!run.stderr.contains("VIETER_API_KEY"), "{}", run.stderr);
    run.says("no answer in time (try 1; again in 1 s)")
        .says("answered 503:  (given up after try 4)")
        .says("answered 403: ")
        .says("answered 302: https://elsewhere/ (set --address");
    assert_nothing_left();
}

/// Each with a server of its own, all at once, as none needs the engine for longer than a question.
#[test]
fn the_list_is_asked_for_again_unless_it_is_refused_for_good() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let retry_after = |seconds: u32| {
        let with = format!("Retry-After: {seconds}\r\nConnection");
        status("429").replace("Connection", &with)
    };
    let cases: Vec<(&str, String, Then, usize, usize, i32, &str)> = vec![
        (
            "502",
            status("502"),
            Then::Close,
            3,
            4,
            0,
            "answered 502:  (try 3; again in 9 s)",
        ),
        (
            "502 for ever",
            status("502"),
            Then::Close,
            99,
            4,
            3,
            "(given up after try 4)",
        ),
        (
            "closed",
            String::new(),
            Then::Close,
            1,
            2,
            0,
            "(try 1; again in 1 s)",
        ),
        (
            "no HTTP",
            "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
            Then::Close,
            1,
            2,
            0,
            "(try 1;",
        ),
        (
            "cut off",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"data\":".to_owned(),
            Then::Close,
            1,
            2,
            0,
            "(try 1;",
        ),
        (
            "cut off unsaid",
            format!("{head}{{\"data\":{{\"a"),
            Then::Close,
            1,
            2,
            0,
            "it broke off: EOF while",
        ),
        (
            "no chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_owned(),
            Then::Close,
            1,
            2,
            0,
            "(try 1;",
        ),
        (
            "hangs",
            String::new(),
            Then::Hang,
            1,
            2,
            0,
            "no answer in time (try 1;",
        ),
        (
            "unfinished",
            format!("{head}{{\"data\":["),
            Then::Hang,
            1,
            2,
            0,
            "(try 1;",
        ),
        (
            "429",
            retry_after(2),
            Then::Close,
            1,
            2,
            0,
            "answered 429:  (try 1; again in 2 s)",
        ),
        (
            "429 for an hour",
            retry_after(3600),
            Then::Close,
            1,
            1,
            3,
            "given up after try 1",
        ),
        (
            "html",
            format!("{head}<html>"),
            Then::Close,
            99,
            1,
            3,
            "not a list of repositories",
        ),
        (
            "shape",
            format!("{head}{{\"data\":7}}"),
            Then::Close,
            99,
            1,
            3,
            "not a list of repo",
        ),
        (
            "401",
            status("401"),
            Then::Close,
            99,
            1,
            3,
            "does VIETER_API_KEY hold",
        ),
        (
            "301",
            status("301"),
            Then::Close,
            99,
            1,
            3,
            "set --address to where",
        ),
    ];
    thread::scope(|scope| {
        for (name, answer, then, times, tries, code, says) in &cases {
            scope.spawn(move || {
                let (server, _dir) = standin();
                server.fault_for("GET /api/repos", answer, *then, 0, *times);
                let run = run(&mut check(&server.url()));
                assert_eq!(run.code, *code, "{name}");
                let said = format!("{}{}", run.stdout, run.stderr);
                assert!(said.contains(says), "{name}: no {says:?}");
                let asked = count(&server.take_requests(), "GET /api/repos");
                assert_eq!(asked, *tries, "{name}");
            });
        }
    });
}

#[test]
fn a_build_is_published_when_all_of_its_archives_are() {
    let world = World::new();
    let c = "pkgname=tool\npkgver=1\npkgrel=1\narch=(x86_64)\nsource=(tool.c)\nsha256sums=(SKIP)\n\
        build() { gcc $CFLAGS -g -o tool tool.c; }\npackage() { install -D tool \"$pkgdir/usr/bin/tool\"; }\n";
    let main = "int main(void) { return 0; }\n";
    world.list(
        &world.git("tool", &[("PKGBUILD", c), ("tool.c", main)]),
        "bur",
    );
    let conf = world.dir.path().join("makepkg.conf");
    std::fs::write(&conf, "OPTIONS+=(debug strip)\n").unwrap();
    let args = ["--makepkg-conf", conf.to_str().unwrap()];
    // The first is taken, and no other.
    let refusal = status("403");
    world
        .server
        .fault_for("POST /bur/publish", &refusal, Then::Close, 1, 1);
    world
        .build(&args)
        .exits(1)
        .reports("failed      tool 1-1  at publish");
    assert_eq!(world.server.published("bur").len(), 1);
    world.server.clear_faults();
    world
        .build(&args)
        .exits(0)
        .reports("built       tool 1-1  ");
    assert_eq!(
        world.server.published("bur"),
        [
            "tool-1-1-x86_64.pkg.tar.zst",
            "tool-debug-1-1-x86_64.pkg.tar.zst"
        ]
    );
    world
        .build(&args)
        .exits(0)
        .reports("up to date  tool 1-1  ");
}

#[test]
fn what_is_forced_is_not_taken_for_what_was_there_before() {
    let world = World::new();
    world.package("any", &trivial("any"));
    world.build(&[]).exits(0);
    world.server.take_requests();
    // The version that is there is the old one.
    world
        .server
        .fault_for("POST /bur/publish", "", Then::Close, 0, 1);
    world
        .build(&["--force"])
        .exits(0)
        .reports("built       any 1.0-1  ");
    assert_eq!(count(&world.server.take_requests(), "POST /bur/publish"), 2);
}

/// Publishes something within so much time; gives the error.
fn publish(address: &str, size: usize, within: Duration) -> Result<(), String> {
    let bytes = || Ok(io::repeat(b'x').take(size as u64));
    let by = Deadline::after(within);
    let repo = "discard".parse().unwrap();
    let shelf = Shelf {
        server: &client(address),
        repo: &repo,
        arch: &"x86_64".parse().unwrap(),
    };
    let published = shelf.upload("x-1-1", false, bytes, size as u64, by);
    published.map_err(|error| error.to_string())
}

#[test]
fn an_upload_waits_for_a_server_that_is_away_as_long_as_there_is_time() {
    let (server, dir) = standin();
    server.fault_for("POST /discard/publish", "", Then::Close, 0, 1);
    // More than a few times: nothing is sent before the HEAD is answered.
    server.fault_for("HEAD /discard/", &status("502"), Then::Close, 0, 5);
    publish(&server.url(), 1000, Duration::from_secs(300)).unwrap();
    let requests = server.take_requests();
    assert_eq!(count(&requests, "POST "), 2);
    assert_eq!(count(&requests, "HEAD "), 6);
    assert!(requests.last().unwrap().starts_with("POST "));

    server.fault("POST /discard/publish", "");
    server.fault("HEAD /discard/", &status("502"));
    let error = publish(&server.url(), 1000, Duration::from_secs(9)).unwrap_err();
    assert!(
        error.contains("answered 502:  (given up after try"),
        "{error}"
    );
    // What it has of it stays, and is the published version from then on.
    assert!(error.contains("publish it with --force"), "{error}");
    assert_eq!(count(&server.take_requests(), "POST "), 1);

    // More than four times; it has taken the last one, and nobody heard of it.
    server.clear_faults();
    server.fault("POST /discard/publish", "");
    server.fault_for("HEAD /discard/", &status("404"), Then::Close, 0, 4);
    let packages = dir.path().join("discard/x86_64");
    std::fs::create_dir_all(&packages).unwrap();
    let known = "%FILENAME%\nx-1-1\n\n%CSIZE%\n1000\n";
    std::fs::write(packages.join("x-1-1"), known).unwrap();
    publish(&server.url(), 1000, Duration::from_secs(300)).unwrap();
    assert_eq!(count(&server.take_requests(), "POST "), 5);
}

/// As proxies do with connections that they have kept for long enough, just when the next request comes.
#[test]
fn what_is_sent_on_a_connection_that_ends_with_it_is_sent_again() {
    let head = "HEAD /discard/x86_64/x-1-1";
    let kept = "HTTP/1.1 404 -\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
    // One that may be read whole, and one that no socket holds.
    let cases = [
        (Then::Keep, 1000),
        (Then::Keep, 30_000_000),
        (Then::KeepAndReset, 1000),
        (Then::KeepAndReset, 30_000_000),
    ];
    let case = |then, size| {
        let (server, _dir) = standin();
        let (repo, arch) = ("discard".parse().unwrap(), "x86_64".parse().unwrap());
        let shelf = Shelf {
            server: &client(&server.url()),
            repo: &repo,
            arch: &arch,
        };
        let by = Deadline::after(Duration::from_secs(60));
        let has = || shelf.has("x-1-1", shelf.tries(by)).unwrap();
        // The second HEAD comes on the first one's connection, and once more on another.
        server.fault_for(head, kept, then, 0, 1);
        assert!(!has() && !has());
        assert_eq!(server.take_requests(), [head; 3]);

        // So does an upload, and nothing is sent once more before a HEAD is answered.
        server.fault_for(head, kept, then, 0, 1);
        assert!(!has());
        let bytes = || Ok(io::repeat(b'x').take(size));
        shelf.upload("x-1-1", false, bytes, size, by).unwrap();
        let post = "POST /discard/publish";
        assert_eq!(server.take_requests(), [head, post, head, post]);
    };
    thread::scope(|scope| {
        for (then, size) in cases {
            scope.spawn(move || case(then, size));
        }
    });
}

#[test]
fn what_the_server_says_for_another_time_is_tried_again() {
    let cases = [
        (status("408"), Then::Close),
        (status("429"), Then::Close),
        (status("507"), Then::Close),
        ("HTTP/1.1 502 -\r\n\r\n".to_owned(), Then::Drip),
    ];
    thread::scope(|scope| {
        for (answer, then) in &cases {
            scope.spawn(move || {
                let (server, _dir) = standin();
                server.fault_for("POST /discard/publish", answer, *then, 0, 1);
                publish(&server.url(), 1000, Duration::from_secs(60)).unwrap();
                assert_eq!(count(&server.take_requests(), "POST "), 2, "{answer}");
            });
        }
    });
}

#[test]
fn a_server_that_refuses_and_hangs_up_is_heard() {
    let (server, _dir) = standin();
    // It has read nothing of the archive, so its end resets the connection.
    server.fault("POST /discard/publish", &status("413"));
    for _ in 0..20 {
        let error = publish(&server.url(), 30_000_000, Duration::from_secs(60)).unwrap_err();
        assert!(
            error.contains("answered 413:  (a proxy's limit?"),
            "{error}"
        );
    }
    assert_eq!(count(&server.take_requests(), "POST "), 20);
}

#[test]
fn uploads_arrive_whole_at_a_slow_server() {
    let (server, _dir) = standin();
    server.fault_for("POST /discard/publish", "", Then::Slow, 0, usize::MAX);
    let url = &server.url();
    thread::scope(|scope| {
        // The sizes of pipes, of the readers' buffers, and of a socket's.
        for size in [4096, 8192, 16_384, 65_536, 131_072, 212_992] {
            for size in [size - 1, size, size + 1] {
                scope.spawn(move || publish(url, size, Duration::from_secs(60)).unwrap());
            }
        }
    });
    assert_eq!(count(&server.take_requests(), "POST "), 18);
}

/// Serves these targets, at most two at once, and takes the first one off the list after each of the first `changes`
/// answers. Gives the address, and what was asked for.
fn serve_changing(changes: usize) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut first, mut left) = (0, changes);
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let _ = reader.read_line(&mut line);
            let mut rest = String::new();
            while reader.read_line(&mut rest).unwrap_or(0) > 2 {}
            let target = line.split(' ').nth(1).unwrap_or("").to_owned();
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            let Some((_, offset)) = target.split_once("offset=") else {
                let _ = stream.write_all(status("404").as_bytes());
                continue;
            };
            let offset: usize = offset.parse().unwrap();
            let ids = (first..6).skip(offset).take(2);
            let entry = |id| json!({"id": id, "url": format!("git://x/{id}"), "repo": "bur", "arch": [{"value": "x86_64"}]});
            let page: Vec<_> = ids.map(entry).collect();
            let _ = stream.write_all(format!("{head}{}", json!({"data": page})).as_bytes());
            if left > 0 {
                left -= 1;
                first += 1;
            }
            asked.send(target).unwrap();
        }
    });
    (address, receiver)
}

#[test]
fn a_list_that_changes_while_it_is_read_loses_nothing() {
    let (address, asked) = serve_changing(1);
    let run = run(check(&format!("http://{address}")).env("VIETER_ARCH", "x86_64"))
        .exits(0)
        .says("the list has changed while it was read (try 1; again in 1 s)")
        .reports("repositories  ok      5 for the architecture x86_64");
    assert!(!run.stdout.contains("FAILED"));
    assert!(asked.try_recv().unwrap().contains("limit=10001&offset=0"));
}

/// An engine that answers what is asked before the list is read, and then nothing; says when that is.
fn silent_engine(dir: &TempDir) -> (String, mpsc::Receiver<()>) {
    let socket = dir.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (is_silent, receiver) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let _ = reader.read_line(&mut line);
            let answer = |status: &str, body: &str| {
                format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{body}")
            };
            if line.contains("/version") {
                let body = r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
                let _ = stream.write_all(answer("200 OK", body).as_bytes());
            } else if line.contains("/containers/json") {
                // No other run is on.
                let _ = stream.write_all(answer("200 OK", "[]").as_bytes());
            } else {
                is_silent.send(()).unwrap();
                thread::spawn(move || {
                    let _ = stream.read_to_end(&mut vec![]);
                });
            }
        }
    });
    (format!("unix://{}", socket.display()), receiver)
}

/// The URL of one of many entries.
fn long_url(n: usize) -> String {
    format!("https://git.example.com/{}/{n}", "u".repeat(250))
}

/// The most memory, in KiB, that a run takes until the server's list of so many entries is read and its repositories are due.
fn peak_with(is_newer: bool, kind: &str, entries: usize) -> u64 {
    let (server, dir) = standin();
    if is_newer {
        server.become_newer();
    }
    for n in 0..entries {
        // The last one is in order, or there would be nothing to do.
        let kind = if n + 1 == entries { "git" } else { kind };
        server.list(
            json!({"url": long_url(n), "kind": kind, "branch": "main", "arch": ["x86_64"], "repo": "bur"}),
        );
    }
    peak_of(&server, &dir, &[])
}

/// The same for a run with these further arguments.
fn peak_of(server: &Standin, dir: &TempDir, args: &[&str]) -> u64 {
    let (engine, is_silent) = silent_engine(dir);
    let mut command = vieter();
    command
        .arg("build")
        .args(args)
        .env("VIETER_ADDRESS", server.url())
        .env("VIETER_API_KEY", KEY)
        .env("VIETER_ARCH", "x86_64")
        .env("VIETER_LOG", "off")
        .env("DOCKER_HOST", engine);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let has_come = is_silent.recv_timeout(Duration::from_secs(60));
    let most = peak(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    has_come.unwrap();
    most.unwrap()
}

#[test]
fn ten_thousand_entries_take_less_than_twelve_mebibytes() {
    for is_newer in [false, true] {
        // What the binary takes anyway: the static one 2 MiB, so that 10 more make 12; the one with debug information 8.
        let base = peak_with(is_newer, "git", 1);
        for kind in ["git", "svn"] {
            let peak = peak_with(is_newer, kind, 10_000);
            eprintln!("{kind}, newer: {is_newer}: {peak} KiB, without a list {base} KiB");
            assert!(peak - base < 10 * 1024, "{peak} KiB");
        }
    }
    // A list of ours, and all of it chosen.
    let peak = |entries| {
        let (server, dir) = standin();
        let list = dir.path().join("list");
        let lines: String = (0..entries).map(|n| long_url(n) + " repo=bur\n").collect();
        std::fs::write(&list, lines).unwrap();
        peak_of(&server, &dir, &["--list", list.to_str().unwrap(), "bur/"])
    };
    let (base, peak) = (peak(1), peak(10_000));
    eprintln!("a list of ours: {peak} KiB, without {base} KiB");
    assert!(peak - base < 10 * 1024, "{peak} KiB");
}

#[test]
fn what_cannot_be_printed_is_said_in_the_log() {
    let (server, _dir) = standin();
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut check = check(&server.url());
    check
        .envs(std::env::var_os("DOCKER_HOST").map(|it| ("DOCKER_HOST", it)))
        .stdout(full)
        .stderr(Stdio::piped());
    let output = end_of(check.spawn());
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("writing to the standard output: No space left on device"),
        "{log}"
    );
    assert_eq!(output.status.code(), Some(0), "{log}");
}
