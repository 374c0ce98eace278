//! The engine's client against the real engine, where the whole program doesn't show it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use vieter::docker::{Command, Container, Engine, Host, ImageRef};
use vieter::http::Deadline;
use vieter::sandbox::{self, Sandbox};

use crate::util::{BASE_IMAGE, World, assert_nothing_left, engine_socket, trivial};

fn sh<'a>(argv: &'a [&'a str]) -> Command<'a> {
    Command {
        doing: "sh",
        argv: argv.to_vec(),
        user: "0",
        workdir: "/",
        env: &[],
    }
}

/// A container of the base image, in this network.
pub fn start<'e>(engine: &'e Engine, network: Option<&str>) -> Container<'e> {
    let network = network.map(str::to_owned);
    let memory = None;
    // A test's few bytes live as long as it does.
    let settings = Box::leak(Box::new(sandbox::Settings {
        network,
        memory,
        env: vec![],
    }));
    let sandbox = Sandbox {
        engine,
        run: "test".parse().unwrap(),
        settings,
        shard: None,
    };
    let image = ImageRef::new(BASE_IMAGE.as_str());
    let soon = Deadline::after(Duration::from_secs(60));
    sandbox.start(None, &image, soon).unwrap()
}

#[test]
fn exit_codes_and_output_are_those_of_the_command() {
    let _world = World::new();
    let engine = Engine::open(&Host::Unix(engine_socket())).unwrap();
    let deadline = Deadline::after(Duration::from_secs(60));
    let container = start(&engine, None);
    let script = |script: &str| container.read(&sh(&["bash", "-c", script]), deadline);

    assert_eq!(script("echo out; echo err >&2").unwrap(), "out\n");
    let error = script("echo out; echo err >&2; exit 3")
        .unwrap_err()
        .to_string();
    assert_eq!(error, "sh: ended with exit code 3\n    | err");
    // The output ends before the command does, and the exit code is still the command's.
    let error = script("exec >&- 2>&-; sleep 1; exit 4")
        .unwrap_err()
        .to_string();
    assert_eq!(error, "sh: ended with exit code 4");
    // The command ends before its output does.
    let error = script("sleep 1000 & exit 5").unwrap_err().to_string();
    assert_eq!(error, "sh: ended with exit code 5");
    let error = script("head -c 2000000 /dev/zero").unwrap_err().to_string();
    assert_eq!(error, "sh: was lost: it prints more than 1 MiB");
    // The engine says on the standard output that it can't start one.
    let missing = ["no-such-command"];
    for error in [
        container.run(&sh(&missing), deadline).unwrap_err(),
        container.read(&sh(&missing), deadline).unwrap_err(),
        container
            .exec(&sh(&missing), deadline)
            .unwrap()
            .field()
            .unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.starts_with("sh: ended with exit code 12"), "{error}");
        assert!(error.contains("no-such-command"), "{error}");
    }
    let mut exec = container.exec(&sh(&["printf", "a\\0b"]), deadline).unwrap();
    assert_eq!(exec.field().unwrap(), "a");
    let error = exec.field().unwrap_err().to_string();
    assert_eq!(error, "sh: its output ended early");
    drop(container);

    let short = Deadline::after(Duration::from_secs(10));
    let container = start(&engine, None);
    let error = container
        .run(&sh(&["bash", "-c", "echo on time; sleep 1000"]), short)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "sh: stopped at the time limit\n    | on time"
    );
    drop(container);
    assert_nothing_left();
}

/// A proxy in front of the engine, as people set up with `DOCKER_HOST=tcp://...`.
pub fn proxy() -> String {
    proxy_of(engine_socket())
}

/// The same in front of what listens at this socket.
pub fn proxy_of(socket: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = UnixStream::connect(&socket).unwrap();
            let (from_client, to_client) = (client.try_clone().unwrap(), client);
            let (from_engine, to_engine) = (engine.try_clone().unwrap(), engine);
            thread::spawn(move || {
                copy(&from_client, &to_engine);
                let _ = to_engine.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                copy(&from_engine, &to_client);
                let _ = TcpStream::shutdown(&to_client, Shutdown::Both);
            });
        }
    });
    format!("tcp://{address}")
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let _ = io::copy(&mut from, &mut to);
}

#[test]
fn an_engine_behind_tcp_does_as_well() {
    let world = World::new();
    world.package("any", &trivial("any"));
    world
        .build(&["--docker-host", &proxy()])
        .exits(0)
        .reports("built       any 1.0-1  ");
    assert_nothing_left();
}
