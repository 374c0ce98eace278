//! A proxy in front of the real engine's socket, which does to chosen requests what an engine does only once a year.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use vieter::docker::{Frames, Stream};

use crate::util::{Run, World, engine_socket, run};

/// What becomes of a request.
pub enum Act {
    /// The engine answers it.
    Pass,
    /// The proxy does, with this status.
    Answer(u16),
    /// The proxy does, with this status, and reads no further.
    Refuse(u16),
    /// The proxy does, with this JSON.
    Say(&'static str),
    /// The proxy does, with these bytes, and once more of the second ones until nobody takes them.
    Endless(Vec<u8>, Vec<u8>),
    /// The engine answers it, but of what an exec writes to its standard output only so much comes.
    Keep(fn(&[u8]) -> usize),
    /// The engine gets it, and its answer is held back for good.
    Hold,
    /// Nobody gets it, and all that come later neither.
    Hang,
    /// It, and all connections, end, and all that come later do at once: an engine that is being restarted.
    Die,
}

/// Decides by the request's line, followed by the body of the last exec that was created.
type Rule = Box<dyn FnMut(&str) -> Act + Send>;

struct State {
    rule: Rule,
    last_exec: String,
    is_dead: bool,
    hangs: bool,
    /// The lines of the requests that came after the engine had died, or hung.
    late: Vec<String>,
    open: Vec<UnixStream>,
    /// Told of each request that isn't passed on.
    acted: Sender<String>,
}

pub struct Proxy {
    pub host: String,
    state: Arc<Mutex<State>>,
    acted: Mutex<Receiver<String>>,
}

impl Proxy {
    pub fn start(world: &World, rule: impl FnMut(&str) -> Act + Send + 'static) -> Proxy {
        let socket = world.dir.path().join("proxy.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let (sender, acted) = channel();
        let acted = Mutex::new(acted);
        let state = Arc::new(Mutex::new(State {
            rule: Box::new(rule),
            last_exec: String::new(),
            is_dead: false,
            hangs: false,
            late: vec![],
            open: vec![],
            acted: sender,
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(client, &state));
            }
        });
        let host = format!("unix://{}", socket.display());
        Proxy { host, state, acted }
    }

    /// Waits until something was done to a request, and gives its line.
    #[track_caller]
    pub fn wait(&self) -> String {
        let acted = self.acted.lock().unwrap();
        acted.recv_timeout(Duration::from_secs(120)).unwrap()
    }

    /// Ends all connections and takes no more.
    pub fn die(&self) {
        die(&mut self.state.lock().unwrap());
    }

    /// What was asked of an engine that was dead, or hung.
    pub fn late_requests(&self) -> Vec<String> {
        self.state.lock().unwrap().late.clone()
    }
}

/// Runs a command behind a proxy that lets all pass; gives what the engine was asked, too, each request as rules get it.
pub fn watched(world: &World, command: &mut Command) -> (Run, Vec<String>) {
    let (sender, asked) = channel();
    let proxy = Proxy::start(world, move |text| {
        sender.send(text.to_owned()).unwrap();
        Act::Pass
    });
    let run = run(command.args(["--docker-host", &proxy.host]));
    (run, asked.try_iter().collect())
}

fn die(state: &mut State) {
    state.is_dead = true;
    for stream in state.open.drain(..) {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Serves one request; the engine is told that there will be no other on this connection.
fn serve(client: UnixStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut head = line.clone();
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? <= 2 {
            break;
        }
        let lower = header.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if !lower.starts_with("connection:") {
            head += &header;
        }
    }
    head += "Connection: close\r\n\r\n";
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;

    let act = {
        let mut state = state.lock().unwrap();
        if line.contains("/exec HTTP") {
            state.last_exec = String::from_utf8_lossy(&body).into_owned();
        }
        if state.is_dead || state.hangs {
            state.late.push(line.clone());
        }
        if state.is_dead {
            return None;
        }
        let text = format!("{line}{}", state.last_exec);
        let act = if state.hangs {
            Act::Hang
        } else {
            (state.rule)(&text)
        };
        if !matches!(act, Act::Refuse(_)) {
            state.open.push(client.try_clone().unwrap());
        }
        match act {
            Act::Die => die(&mut state),
            Act::Hang => state.hangs = true,
            _ => (),
        }
        if !matches!(act, Act::Pass) {
            let _ = state.acted.send(line.clone());
        }
        act
    };
    let mut client = client;
    // Who refuses goes, whatever is being sent.
    let is_left_open = matches!(act, Act::Hang | Act::Hold | Act::Refuse(_));
    match act {
        Act::Answer(status) | Act::Refuse(status) => {
            // What isn't read breaks the connection.
            if matches!(act, Act::Answer(_)) && line.starts_with("PUT") {
                let mut sent = vec![];
                while !sent.ends_with(b"0\r\n\r\n") {
                    sent.extend(reader.by_ref().bytes().next()?);
                }
            }
            let answer = "Connection: close\r\n\r\n{\"message\":\"as the proxy says\"}";
            let _ = client.write_all(format!("HTTP/1.1 {status} -\r\n{answer}").as_bytes());
        }
        Act::Say(json) => {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            let _ = client.write_all(format!("{head}{json}").as_bytes());
        }
        Act::Endless(start, piece) => {
            client.write_all(&start).ok()?;
            while client.write_all(&piece).is_ok() {}
        }
        Act::Hang | Act::Die => (),
        Act::Pass | Act::Keep(_) | Act::Hold => {
            let mut engine = UnixStream::connect(engine_socket()).unwrap();
            engine.write_all(head.as_bytes()).ok()?;
            engine.write_all(&body).ok()?;
            let mut to_engine = engine.try_clone().unwrap();
            state.lock().unwrap().open.push(engine.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut reader, &mut to_engine);
                let _ = to_engine.shutdown(Shutdown::Both);
            });
            match act {
                Act::Keep(length_of) => {
                    let mut answer = vec![];
                    let _ = engine.read_to_end(&mut answer);
                    let head = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
                    let out = standard_output(&answer[head..]);
                    let out = &out[..length_of(&out)];
                    let _ = client.write_all(&answer[..head]);
                    let length = u32::try_from(out.len()).unwrap().to_be_bytes();
                    let _ = client.write_all(&[&[1, 0, 0, 0], &length[..], out].concat());
                }
                Act::Hold => drop(engine.read_to_end(&mut vec![])),
                _ => drop(io::copy(&mut engine, &mut client)),
            }
        }
    }
    if !is_left_open {
        let _ = client.shutdown(Shutdown::Both);
    }
    Some(())
}

fn standard_output(stream: &[u8]) -> Vec<u8> {
    let mut frames = Frames::new(stream);
    let (mut out, mut buffer) = (vec![], [0; 4096]);
    while let Some(stream) = frames.next_stream().unwrap() {
        let read = frames.read(&mut buffer).unwrap();
        if stream == Stream::Stdout {
            out.extend(&buffer[..read]);
        }
    }
    out
}
