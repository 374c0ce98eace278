//! The frames of an exec's output, and the transport over the engine's socket with what stands on it.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixListener;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use vieter::docker::{Engine, Frames, Host, ImageRef, Stream};
use vieter::error::Kind;
use vieter::http::Deadline;
use vieter::inbox::Inbox;
use vieter::sandbox::{Sandbox, Settings};
use vieter::tar::Member;
use vieter::words::RunId;

use super::assert_one_line;
use super::scripted::{Reply, Scripted};
use super::source::{Dribble, Source};

/// What was read, stream by stream, and how it ended.
type Read_ = (Vec<(Stream, Vec<u8>)>, Option<ErrorKind>);

fn add(read: &mut Read_, stream: Stream, bytes: &[u8]) {
    match read.0.last_mut() {
        Some((last, all)) if *last == stream => all.extend(bytes),
        _ if bytes.is_empty() => (),
        _ => read.0.push((stream, bytes.to_vec())),
    }
}

fn read(frames: &mut Frames<impl Read>, source: &mut Source) -> Read_ {
    let mut all = (vec![], None);
    loop {
        let mut buffer = vec![0; 3000 - source.below(3000)];
        let next = frames
            .next_stream()
            .and_then(|stream| Ok((stream, frames.read(&mut buffer)?)));
        match next {
            Ok((Some(stream), n @ 1..)) => add(&mut all, stream, &buffer[..n]),
            Ok((None, 0)) => return all,
            Ok(odd) => panic!("{odd:?}"),
            Err(error) => {
                all.1 = Some(error.kind());
                return all;
            }
        }
    }
}

/// The same, from the words of the API's documentation.
fn decoded(mut bytes: &[u8]) -> Read_ {
    let mut all = (vec![], None);
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let stream = match header[..4] {
            [1, 0, 0, 0] => Stream::Stdout,
            [2, 0, 0, 0] => Stream::Stderr,
            _ => {
                all.1 = Some(ErrorKind::InvalidData);
                return all;
            }
        };
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let (frame, after) = rest.split_at(length.min(rest.len()));
        add(&mut all, stream, frame);
        if frame.len() < length {
            all.1 = Some(ErrorKind::UnexpectedEof);
            return all;
        }
        bytes = after;
    }
    all.1 = (!bytes.is_empty()).then_some(ErrorKind::UnexpectedEof);
    all
}

fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_be_bytes();
    [&[stream, 0, 0, 0], &length[..], bytes].concat()
}

pub fn frames(data: &[u8]) {
    let source = &mut Source(data);
    let frames = source.many(6, |it| {
        let most = *it.pick(&[&0, &9, &700]);
        frame(1 + it.below(2) as u8, &it.bytes(most))
    });
    let mut stream = frames.concat();
    assert_eq!(decoded(&stream).1, None);
    if source.once_in(2) {
        stream = source.mutated(stream);
    }
    for _ in 0..2 {
        let mut frames = Frames::new(Dribble::new(&stream, source));
        assert_eq!(read(&mut frames, source), decoded(&stream));
    }
}

/// The engine, a sandbox's container in it, and its script.
struct Parts {
    engine: &'static Engine,
    inbox: Inbox<'static>,
    scripted: Scripted,
}

static PARTS: LazyLock<Parts> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let (listener, scripted) = (UnixListener::bind(&socket).unwrap(), Scripted::new());
    let server = scripted.clone();
    thread::spawn(move || {
        listener
            .incoming()
            .flatten()
            .for_each(|it| server.serve(it))
    });
    scripted.set(|line, _| usual(line));
    let engine: &Engine = Box::leak(Box::new(Engine::open(&Host::Unix(socket)).unwrap()));
    // Connections come later, too.
    std::mem::forget(dir);
    let (network, memory) = (None, None);
    let settings: &Settings = Box::leak(Box::new(Settings {
        network,
        memory,
        env: vec![],
    }));
    let sandbox = Sandbox {
        engine,
        run: RunId::of_now(),
        settings,
        shard: None,
    };
    let container = sandbox.start(None, &ImageRef::new("any"), soon()).unwrap();
    let inbox = Inbox {
        container: Box::leak(Box::new(container)),
    };
    Parts {
        engine,
        inbox,
        scripted,
    }
});

fn usual(line: &str) -> Reply {
    let answers = [
        (
            "/version ",
            r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#,
        ),
        ("/json ", r#"{"Running":false,"ExitCode":0}"#),
        ("/start ", ""),
    ];
    let found = answers.iter().find(|(piece, _)| line.contains(piece));
    Reply::json(found.map_or(r#"{"Id":"abc"}"#, |(_, answer)| answer))
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub fn transport(data: &[u8]) {
    let source = &mut Source(data);
    let Parts {
        engine,
        inbox,
        scripted,
    } = &*PARTS;
    match source.below(5) {
        // What an exec prints arrives, whichever way HTTP tells its end, and however it is cut into pieces.
        0 => {
            let printed = source
                .many(6, |it| frame(1 + it.below(2) as u8, &it.bytes(3000)))
                .concat();
            let reply = Reply::framed(&printed, source);
            scripted.set(move |_, _| reply.clone());
            let mut frames = engine.start_exec("abc", soon()).unwrap();
            assert_eq!(read(&mut frames, source), decoded(&printed));
        }
        // What is sent arrives.
        1 => {
            let sent = source.bytes(5000);
            let (tell, told) = std::sync::mpsc::channel();
            scripted.set(move |_, body| {
                tell.send(body).unwrap();
                Reply::json("")
            });
            engine
                .unpack("abc", "/x", &mut Dribble::new(&sent, source), soon())
                .unwrap();
            assert_eq!(told.recv().unwrap(), sent);
        }
        // The list of archives is what the script prints, or none.
        2 => {
            let pieces = ["a", ".PKGINFO\n", "pkgname = a\n", "é", "\u{1}"];
            let mut fields = source.many(16, |it| it.text(&pieces, 6));
            let count = source.below(4);
            // The second of each five is a size.
            for size in fields.iter_mut().skip(1).step_by(5) {
                if !source.once_in(4) {
                    *size = source.below(1000).to_string();
                }
            }
            let sizes = fields.iter().skip(1).step_by(5);
            let sizes: Vec<Option<u64>> = sizes.map(|it| it.parse().ok()).collect();
            let is_list = fields.len() == 5 * count && sizes.iter().all(Option::is_some);
            let printed = fields
                .iter()
                .flat_map(|it| it.bytes().chain([0]))
                .collect::<Vec<u8>>();
            let mut stream = frame(2, b"noise");
            for piece in printed.chunks(1 + source.below(50)) {
                stream.extend(frame(1, piece));
                stream.extend(frame(1 + source.below(2) as u8, b""));
            }
            stream.extend(frame(1, b"\0that was all\0   "));
            let reply = Reply::framed(&stream, source);
            scripted.set(move |line, _| match line.contains("/start ") {
                true => reply.clone(),
                false => usual(line),
            });
            let member = |place: usize| Member {
                name: format!("./{place}.pkg.tar"),
                size: place as u64,
            };
            match inbox.list((0..count).map(member).collect(), true, false, soon()) {
                Ok(listed) => {
                    for (place, it) in listed.iter().enumerate() {
                        assert_eq!(it.file, format!("{place}.pkg.tar"));
                        assert_eq!(it.path, format!("/vieter/{place}"));
                        assert_eq!(Some(it.size), sizes[place]);
                    }
                    let listed: Vec<_> = listed
                        .into_iter()
                        .flat_map(|it| {
                            let size = it.size.to_string();
                            [it.kind, size, it.names, it.pkginfo, it.sha256]
                        })
                        .collect();
                    assert_eq!(listed, fields);
                    assert!(is_list);
                }
                Err(error) => {
                    assert!(!is_list);
                    assert_one_line(&error.to_string());
                }
            }
        }
        // What is refused is told, fit for a log.
        3 => {
            let said = source.text(&["a", "\u{1b}[2J", "\n", "\u{202e}", "\"", "{", "é"], 9);
            let body = match source.once_in(2) {
                true => serde_json::json!({ "message": said }).to_string(),
                false => said,
            };
            let status = *source.pick(&[&400, &404, &409, &500, &599]);
            let reply = Reply::framed(body.as_bytes(), source).with_status(status);
            scripted.set(move |_, _| reply.clone());
            let error = engine.architecture().unwrap_err();
            assert_eq!(error.kind, Kind::Status(status));
            assert_one_line(&error.to_string());
        }
        // Changed on its way it is an error, or whatever it says then.
        _ => {
            let body = source.pick(&[
                r#"{"Architecture":"x86_64"}"#,
                r#"[{"Id":"a","ImageID":"c","Labels":{"vieter.run":"1"},"Names":["/a"],"State":"running","Created":1},
                    {"Id":"b","ImageID":"c","Labels":null,"Names":[],"State":"created","Created":2}]"#,
                r#"{"Id":"a","Image":"c","State":{"Running":true},"Config":{"Labels":null}}"#,
                r#"{"status":"x"}{"errorDetail":{"message":"y"},"error":"y"}"#,
                "\u{1}\0\0\0\0\0\0\u{1}x",
            ]);
            let reply = Reply::framed(body.as_bytes(), source).mutated(source);
            scripted.set(move |_, _| reply.clone());
            let asked = match source.below(5) {
                0 => engine.architecture().map(drop),
                1 => engine.labelled_containers().map(drop),
                2 => engine.inspect_container("abc", soon()).map(drop),
                3 => engine.pull(&ImageRef::new("any"), soon()),
                _ => engine
                    .start_exec("abc", soon())
                    .map(|mut it| drop(read(&mut it, source))),
            };
            if let Err(error) = asked {
                assert_one_line(&error.to_string());
            }
        }
    }
}
