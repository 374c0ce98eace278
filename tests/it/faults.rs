//! Faults that real parts can't be made to show: a scripted engine, whose answers make no sense.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use serde_json::json;

use crate::standin::Standin;
use crate::util::{KEY, Run, World, run, trivial};

/// Runs `vieter build` against an engine that answers requests whose line starts so with these bytes, and all
/// others as an engine would that has nothing and can do everything.
pub fn build_with(world: &World, script: &[(&str, &str)]) -> Run {
    let host = scripted(world, script);
    run(world.vieter().args(["--docker-host", &host]))
}

/// Starts such an engine, and gives its address.
fn scripted(world: &World, script: &[(&str, &str)]) -> String {
    let socket = world.dir.path().join("engine.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let script: HashMap<String, String> = script
        .iter()
        .map(|(start, answer)| ((*start).to_owned(), (*answer).to_owned()))
        .collect();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = script.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                let mut line = String::new();
                let _ = reader.read_line(&mut line);
                let mut length = 0;
                loop {
                    let mut header = String::new();
                    if reader.read_line(&mut header).unwrap_or(0) <= 2 {
                        break;
                    }
                    if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:")
                    {
                        length = value.trim().parse().unwrap();
                    }
                }
                let _ = reader.read_exact(&mut vec![0; length]);
                let path = line.replace("/v1.41", "");
                let scripted = script.iter().find(|(start, _)| path.starts_with(*start));
                let answer = scripted.map_or_else(|| usual(&path), |(_, answer)| answer.clone());
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    format!("unix://{}", socket.display())
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}")
}

fn usual(request: &str) -> String {
    let has = |start: &str| request.starts_with(start);
    if has("GET /version") {
        ok(r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#)
    } else if has("GET /info") {
        // Go's word for it, as Podman has it.
        ok(r#"{"Architecture":"amd64"}"#)
    } else if has("POST /containers/create") || request.contains("/exec HTTP") {
        ok(r#"{"Id":"abc"}"#)
    } else if has("GET /exec/") {
        ok(r#"{"Running":false,"ExitCode":0}"#)
    } else if has("POST /exec/") {
        // One frame: nothing, and its end.
        ok("\u{1}\0\0\0\0\0\0\u{e}\0that was all\0")
    } else if has("GET /containers/json") || has("GET /images/json") {
        ok("[]")
    } else if has("GET /images/vieter-build") {
        "HTTP/1.1 404 -\r\nConnection: close\r\n\r\n{\"message\":\"no such image\"}".to_owned()
    } else if has("GET /images/") {
        ok(r#"{"Id":"sha256:base"}"#)
    } else {
        ok("")
    }
}

#[test]
fn an_engine_that_makes_no_sense_is_an_error_and_no_panic() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let frame = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\u{1}\0\0\0\0\0\0\u{9}cut";
    for (start, answer, says) in [
        ("GET /version", "", "GET /version at the engine at"),
        (
            "GET /version",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "GET /version at the engine at",
        ),
        ("GET /version", &ok("{}"), "it speaks API ? to ?"),
        ("GET /version", &ok("[[[["), "makes no sense"),
        (
            "GET /version",
            &ok(r#"{"ApiVersion":"new"}"#),
            "it speaks API ? to new",
        ),
        (
            "GET /version",
            &ok(r#"{"ApiVersion":"1.24","MinAPIVersion":"1.12"}"#),
            "it speaks API 1.12 to 1.24",
        ),
        (
            "GET /version",
            &ok(r#"{"ApiVersion":"3.1","MinAPIVersion":"3.0"}"#),
            "it speaks API 3.0 to 3.1",
        ),
        (
            "GET /version",
            "HTTP/1.1 403 -\r\nConnection: close\r\n\r\n<h1>Forbidden</h1>",
            "answered 403: <h1>Forbidden</h1>",
        ),
        ("GET /info", &ok("7"), "makes no sense"),
        (
            "POST /images/create",
            &ok("{\"status\":\"x\"}{\"errorDetail\":{\"message\":\"toomanyrequests\"}}"),
            "toomanyrequests",
        ),
        (
            "POST /images/create",
            &ok("{\"status\":\"x\"}{\"stat"),
            "stream of messages broke",
        ),
        ("GET /containers/json", &ok("{}"), "makes no sense"),
        ("POST /containers/create", &ok("{}"), "makes no sense"),
        (
            "POST /containers/create",
            "HTTP/1.1 409 -\r\nConnection: close\r\n\r\n{}",
            "answered 409",
        ),
        (
            "POST /containers/abc/attach",
            "",
            "/attach?stream=1&stdin=1 at the engine",
        ),
        (
            "POST /containers/abc/start",
            "HTTP/1.1 500 -\r\nConnection: close\r\n\r\n{\"message\":\"no cgroups\"}",
            "no cgroups",
        ),
        (
            "POST /exec/abc/start",
            frame,
            "reading the limits: was lost",
        ),
        (
            "POST /exec/abc/start",
            &ok("no frame at all"),
            "reading the limits: was lost",
        ),
        (
            "GET /exec/abc/json",
            &ok(r#"{"Running":false,"ExitCode":137}"#),
            "ended with exit code 137",
        ),
        (
            "GET /exec/abc/json",
            &ok(r#"{"Running":true}"#),
            "the container ended before the command did",
        ),
        (
            "POST /commit",
            "HTTP/1.1 500 -\r\nConnection: close\r\n\r\n{\"message\":\"no space left on device\"}",
            "no space left",
        ),
    ] {
        let mut script = vec![(start, answer)];
        if start == "POST /images/create" {
            script.push((
                "GET /images/",
                "HTTP/1.1 404 -\r\nConnection: close\r\n\r\n{}",
            ));
        }
        if answer.contains(r#""Running":true"#) {
            let gone = "HTTP/1.1 404 -\r\nConnection: close\r\n\r\n{}";
            script.push(("GET /containers/abc/json", gone));
        }
        eprintln!("--- {start}: {answer:?}");
        // A name that is taken, by a container that isn't there.
        let code = if answer.contains(" 409 ") { 4 } else { 3 };
        build_with(&world, &script).exits(code).says(says);
    }
}

#[test]
fn the_engines_words_for_architectures_become_archs() {
    let world = World::new();
    for (words, arch) in [
        (["amd64", "x86_64"], "x86_64"),
        (["arm64", "aarch64"], "aarch64"),
        (["armv7l", "armv7l"], "armv7h"),
        (["armv6l", "armv6l"], "armv6h"),
        (["riscv64", "riscv64"], "riscv64"),
    ] {
        world.server.clear_list();
        let url = format!("git://127.0.0.1:1/{arch}");
        world
            .server
            .list(json!({"url": url, "branch": "", "arch": [arch], "repo": "bur"}));
        for word in words {
            let info = ok(&format!("{{\"Architecture\":\"{word}\"}}"));
            let host = scripted(&world, &[("GET /info", &info)]);
            run(world.vieter_for("check").args(["--docker-host", &host]))
                .exits(0)
                .reports(&format!(
                    "repositories  ok      1 for the architecture {arch}"
                ));
        }
    }
}

#[test]
fn a_server_that_makes_no_sense_is_an_error_and_no_panic() {
    let world = World::new();
    let answers = [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\":7}",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\":{\"a\":",
        "HTTP/1.1 500 -\r\nConnection: close\r\n\r\n\x1b[2J",
        "HTTP/1.1 301 -\r\nLocation: https://127.0.0.1/\r\nConnection: close\r\n\r\n",
    ];
    // None of these comes as far as to the engine's lock, and most are asked again, so all are asked at once.
    thread::scope(|scope| {
        for (place, answer) in answers.into_iter().enumerate() {
            let dir = world.dir.path().join(place.to_string());
            let server = Standin::start("127.0.0.1:0", &dir, KEY).unwrap();
            server.fault("GET /api/repos", answer);
            let mut vieter = world.vieter();
            vieter.env("VIETER_ADDRESS", server.url());
            scope.spawn(move || {
                let run = run(&mut vieter).exits(3).says("GET /api/repos at http://");
                assert!(!run.stderr.contains('\x1b'), "{answer}");
            });
        }
    });
    // One that is none of Vieter's.
    world.server.fault(
        "GET /api",
        "HTTP/1.1 404 -\r\nConnection: close\r\n\r\n404 Not Found",
    );
    world
        .build(&[])
        .exits(3)
        .says("is --address that of a Vieter server?");
    // Entries that are none.
    world.server.clear_faults();
    world.server.fault(
        "GET /api/repos",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\":[1,null]}",
    );
    world
        .build(&[])
        .exits(1)
        .reports("0 built, 0 up to date, 2 failed");
}
