//! What stands between a run and its server, and between it and its engine, and does at random what networks, proxies and
//! restarts do.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::random::Random;
use crate::util::engine_socket;

/// No server works longer on a request whose client has gone.
const LONGEST: Duration = Duration::from_secs(120);

/// How often something goes wrong, and what did.
#[derive(Clone)]
pub struct Faults(Arc<Shared>);

struct Shared {
    random: Mutex<Random>,
    /// One connection in so many; 0 for none.
    one_in: Mutex<u64>,
    seen: Mutex<BTreeMap<&'static str, usize>>,
    /// Connections that the other side hasn't ended.
    open: Mutex<usize>,
    changed: Condvar,
}

impl Faults {
    pub fn new(random: Random) -> Faults {
        Faults(Arc::new(Shared {
            random: Mutex::new(random),
            one_in: Mutex::new(0),
            seen: Mutex::default(),
            open: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// From now on, one connection in so many; 0 for none.
    pub fn happen_once_in(&self, one_in: u64) {
        *self.0.one_in.lock().unwrap() = one_in;
    }

    /// How often each happened.
    pub fn seen(&self) -> BTreeMap<&'static str, usize> {
        self.0.seen.lock().unwrap().clone()
    }

    /// Waits until the other side is done with all that it was asked.
    pub fn wait_until_idle(&self) {
        let open = self.0.open.lock().unwrap();
        let waited = self
            .0
            .changed
            .wait_timeout_while(open, LONGEST, |it| *it > 0);
        assert!(!waited.unwrap().1.timed_out(), "the server isn't done");
    }

    fn below(&self, limit: u64) -> u64 {
        self.0.random.lock().unwrap().below(limit)
    }

    /// Whether this connection is one.
    fn strikes(&self) -> bool {
        let one_in = *self.0.one_in.lock().unwrap();
        one_in > 0 && self.below(one_in) == 0
    }

    fn count(&self, what: &'static str) {
        *self.0.seen.lock().unwrap().entry(what).or_default() += 1;
    }

    fn opened(&self, by: isize) {
        let mut open = self.0.open.lock().unwrap();
        *open = open.checked_add_signed(by).unwrap();
        self.0.changed.notify_all();
    }
}

/// Stands before the server; gives where.
pub fn before_server(server: SocketAddr, faults: &Faults) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let faults = faults.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let faults = faults.clone();
            thread::spawn(move || {
                // A client that goes away is its own business.
                let _ = serve(&client, server, &faults);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

/// Answers that come from a proxy, or from a server that has too much to do.
const ANSWERS: [(&str, &str); 6] = [
    ("500", "500 -\r\n"),
    ("502", "502 -\r\nContent-Type: text/html\r\n"),
    ("503", "503 -\r\n"),
    ("503", "503 -\r\nRetry-After: 1\r\n"),
    ("429", "429 -\r\n"),
    ("429", "429 -\r\nRetry-After: 2\r\n"),
];

fn serve(mut client: &TcpStream, server: SocketAddr, faults: &Faults) -> io::Result<()> {
    let (mut of_request, mut of_answer) = (u64::MAX, u64::MAX);
    if faults.strikes() {
        match faults.below(6) {
            0 => {
                faults.count("connection refused");
                return Ok(());
            }
            1 | 2 => {
                let (name, status) = ANSWERS[faults.below(6) as usize];
                faults.count(name);
                // As a proxy that has read the beginning of it.
                let _ = client.read(&mut [0; 4096])?;
                let answer = format!("HTTP/1.1 {status}Connection: close\r\n\r\n<h1>no</h1>");
                return client.write_all(answer.as_bytes());
            }
            3 => {
                faults.count("answer cut off");
                of_answer = faults.below(300);
            }
            4 => {
                faults.count("request cut off");
                of_request = faults.below(2_000_000);
            }
            _ => {
                faults.count("no answer");
                let seconds = if faults.below(8) == 0 {
                    70
                } else {
                    1 + faults.below(4)
                };
                client.set_read_timeout(Some(Duration::from_secs(seconds)))?;
                while client.read(&mut [0; 4096])? > 0 {}
                return Ok(());
            }
        }
    }
    let server = TcpStream::connect(server)?;
    faults.opened(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut client.take(of_request), &mut &server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let passed = io::copy(&mut (&server).take(of_answer), &mut client);
        let _ = client.shutdown(Shutdown::Both);
        // What it does with what has come it does to its end.
        let _ = io::copy(&mut &server, &mut io::sink());
        faults.opened(-1);
        passed.map(drop)
    })
}

/// Stands before the engine, at `path`, and ends connections in their middle.
pub fn before_engine(path: &Path, faults: &Faults) {
    let listener = UnixListener::bind(path).unwrap();
    let faults = faults.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let faults = faults.clone();
            thread::spawn(move || pass(&client, &faults));
        }
    });
}

fn pass(client: &UnixStream, faults: &Faults) {
    let engine = UnixStream::connect(engine_socket()).unwrap();
    let (mut of_request, mut of_answer) = (u64::MAX, u64::MAX);
    if faults.strikes() {
        match faults.below(2) {
            0 => of_request = faults.below(20_000),
            _ => of_answer = faults.below(20_000),
        }
    }
    let end = || {
        let _ = client.shutdown(Shutdown::Both);
        let _ = engine.shutdown(Shutdown::Both);
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut request = client.take(of_request);
            let _ = io::copy(&mut request, &mut &engine);
            if request.limit() == 0 {
                faults.count("engine connection cut off");
            }
            // The engine is to see that the client has gone.
            end();
        });
        let mut answer = (&engine).take(of_answer);
        let _ = io::copy(&mut answer, &mut &*client);
        if answer.limit() == 0 {
            faults.count("engine connection cut off");
        }
        end();
    });
}
