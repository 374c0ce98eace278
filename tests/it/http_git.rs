//! A Git server of the smart HTTP protocol: git's own http-backend behind as much of HTTP as Git clients speak. It remembers what
//! it was asked for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::util::BOUND;

/// A server for all repositories in a folder.
pub struct HttpGit {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    /// What is answered in place of git's answers, if anything is.
    instead: Arc<Mutex<Option<Instead>>>,
    is_old: Arc<AtomicBool>,
    /// How many bytes each client took that was answered without end.
    taken: (Sender<usize>, Receiver<usize>),
}

/// An answer in place of git's, and what comes behind it, if it has no end.
type Instead = (Vec<u8>, Option<Endless>);

/// What is sent again and again until nobody takes it, and who is told of that.
#[derive(Clone)]
struct Endless {
    piece: Vec<u8>,
    taken: Sender<usize>,
}

impl HttpGit {
    pub fn serve(dir: &Path) -> HttpGit {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, instead, is_old) = (Arc::default(), Arc::default(), Arc::default());
        let (sender, taken) = channel();
        let server = HttpGit {
            port,
            asked: Arc::clone(&asked),
            instead: Arc::clone(&instead),
            is_old: Arc::clone(&is_old),
            taken: (sender, taken),
        };
        let dir = dir.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (dir, asked) = (dir.clone(), Arc::clone(&asked));
                let (instead, is_old) = (Arc::clone(&instead), Arc::clone(&is_old));
                thread::spawn(move || {
                    let instead = || instead.lock().unwrap().clone();
                    let is_old = is_old.load(Ordering::SeqCst);
                    answer(client, &dir, &asked, &instead, is_old)
                });
            }
        });
        server
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// The requests' lines since this was asked last.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Speaks the oldest protocol from now on, as servers did until 2018: it gives what a branch has, and nothing else.
    pub fn speak_protocol_0(&self) {
        self.is_old.store(true, Ordering::SeqCst);
    }

    /// Answers everything with these bytes, or as git does.
    pub fn answer_instead(&self, bytes: Option<&[u8]>) {
        let instead = bytes.map(|it| (it.to_vec(), None));
        *self.instead.lock().unwrap() = instead;
    }

    /// Answers vieter itself with these bytes, and then with the second ones, again and again, as long as it takes them. git would
    /// take all that the machine has memory for, so it gets nothing.
    pub fn answer_without_end(&self, start: &[u8], piece: &[u8]) {
        let endless = Endless {
            piece: piece.to_vec(),
            taken: self.taken.0.clone(),
        };
        *self.instead.lock().unwrap() = Some((start.to_vec(), Some(endless)));
    }

    /// Waits until the next client has gone that was answered without end, and gives how many bytes it took.
    pub fn taken(&self) -> usize {
        self.taken.1.recv_timeout(BOUND).unwrap()
    }
}

fn answer(
    client: TcpStream,
    dir: &PathBuf,
    asked: &Mutex<Vec<String>>,
    instead: &dyn Fn() -> Option<Instead>,
    is_old: bool,
) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    asked.lock().unwrap().push(format!("{method} {target}"));
    let mut cgi = Command::new("git");
    let (mut length, mut is_git) = (0, true);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? <= 2 {
            break;
        }
        let (name, value) = header.trim().split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "user-agent" => is_git = !value.starts_with("vieter/"),
            "content-length" => length = value.parse().ok()?,
            "content-type" => drop(cgi.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(cgi.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" if !is_old => drop(cgi.env("HTTP_GIT_PROTOCOL", value)),
            _ => (),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut client = client;
    if let Some((bytes, endless)) = instead() {
        client.write_all(&bytes).ok()?;
        let Endless { piece, taken } = endless.filter(|_| !is_git)?;
        let mut sent = bytes.len();
        while client.write_all(&piece).is_ok() {
            sent += piece.len();
        }
        return taken.send(sent).ok();
    }
    cgi.arg("http-backend")
        .env("GIT_PROJECT_ROOT", dir)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_LENGTH", length.to_string());
    cgi.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut backend = cgi.spawn().unwrap();
    let _ = backend.stdin.take().unwrap().write_all(&body);
    let output = backend.wait_with_output().ok()?.stdout;
    let status = output
        .strip_prefix(b"Status: ")
        .map_or("200 OK".to_owned(), |rest| {
            let line = rest.split(|it| *it == b'\r').next().unwrap_or_default();
            String::from_utf8_lossy(line).into_owned()
        });
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    client.write_all(&[head.as_bytes(), &output].concat()).ok()
}
