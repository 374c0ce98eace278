//! A server whose every answer is a case's, bytes and pieces: for the engine's socket and for the Vieter server.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;

use super::source::Source;

/// What a request's line and body are answered with.
type Script = Box<dyn FnMut(&str, Vec<u8>) -> Reply + Send>;

/// The script of a server, which each case replaces.
#[derive(Clone)]
pub struct Scripted(Arc<Mutex<Script>>);

#[derive(Clone)]
pub struct Reply {
    bytes: Vec<u8>,
    /// How much of it is written at once, in turns.
    sizes: Vec<usize>,
    /// Whether the connection ends with it.
    closes: bool,
}

impl Scripted {
    pub fn new() -> Scripted {
        Scripted(Arc::new(Mutex::new(Box::new(|_, _| Reply::json("{}")))))
    }

    pub fn set(&self, script: impl FnMut(&str, Vec<u8>) -> Reply + Send + 'static) {
        *self.0.lock().unwrap() = Box::new(script);
    }

    /// Answers what comes by a connection, in a thread of its own.
    pub fn serve<S: Read + Write + Send + 'static>(&self, stream: S) {
        let script = self.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            while let Some((line, body)) = read_request(&mut stream) {
                let reply = (script.0.lock().unwrap())(&line, body);
                let (mut rest, mut turn) = (reply.bytes.as_slice(), 0);
                while !rest.is_empty() {
                    let size = reply.sizes[turn % reply.sizes.len()].min(rest.len());
                    if stream.get_mut().write_all(&rest[..size]).is_err() {
                        return;
                    }
                    (rest, turn) = (&rest[size..], turn + 1);
                }
                if reply.closes {
                    return;
                }
            }
        });
    }
}

impl Reply {
    /// A body in one of HTTP's three ways to say where it ends, in pieces.
    pub fn framed(body: &[u8], source: &mut Source) -> Reply {
        let way = source.below(3);
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        match way {
            0 => bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes()),
            1 => bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n"),
            _ => bytes.extend(b"Connection: close\r\n\r\n"),
        }
        let mut rest = body;
        while way == 1 && !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.len().min(1 + source.below(1000)));
            bytes.extend(
                format!("{:x}\r\n", chunk.len())
                    .bytes()
                    .chain(chunk.iter().copied()),
            );
            bytes.extend(b"\r\n");
            rest = after;
        }
        match way {
            1 => bytes.extend(b"0\r\n\r\n"),
            _ => bytes.extend(body),
        }
        let mut sizes = source.many(4, |it| 1 + it.below(100));
        sizes.push(4000 - source.below(4000));
        Reply {
            bytes,
            sizes,
            closes: way == 2,
        }
    }

    pub fn json(text: &str) -> Reply {
        let bytes = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
        .into_bytes();
        Reply {
            bytes,
            sizes: vec![4096],
            closes: false,
        }
    }

    pub fn not_found() -> Reply {
        let bytes = b"HTTP/1.1 404 -\r\nContent-Length: 0\r\n\r\n".to_vec();
        Reply {
            bytes,
            sizes: vec![4096],
            closes: false,
        }
    }

    /// The same with another status.
    pub fn with_status(mut self, status: u16) -> Reply {
        self.bytes.splice(9..12, status.to_string().into_bytes());
        self
    }

    /// The same, changed on its way; then the connection ends.
    pub fn mutated(self, source: &mut Source) -> Reply {
        Reply {
            bytes: source.mutated(self.bytes),
            sizes: self.sizes,
            closes: true,
        }
    }
}

/// A request's line and its body; `None` when the client has gone.
fn read_request(stream: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let mut header = String::new();
        if stream.read_line(&mut header).ok()? <= 2 {
            break;
        }
        let header = header.to_ascii_lowercase();
        is_chunked |= header.starts_with("transfer-encoding: chunked");
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    while is_chunked {
        let mut size = String::new();
        stream.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).ok()?;
        body.extend(&chunk[..size]);
        is_chunked = size > 0;
    }
    Some((line, body))
}
