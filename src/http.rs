//! The plain HTTP that the engine's client and the server's client share: one request at a time, each with a
//! moment at which it is given up.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::config::ConfigBuilder;
use ureq::http::{Request, Response};
use ureq::typestate::AgentScope;
use ureq::{Agent, AsSendBody, Body};

use crate::error::{Error, Kind};
use crate::output::one_line;

/// The largest answer that is read whole, in bytes.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// The moment at which a request, or a row of them, is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// That far from now.
    pub fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time)
    }

    /// The time that is left, zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// A client of one server: the engine, or the Vieter server.
pub struct Client {
    pub agent: Agent,
    /// What comes before every path, without a slash at its end.
    pub base: String,
    /// What messages call the server.
    pub name: String,
    /// What no message may show, or nothing.
    pub secret: String,
}

/// What came back.
pub struct Answer {
    /// The request that it is an answer to, for messages.
    what: String,
    pub response: Response<Body>,
    secret: String,
}

impl Client {
    /// What every agent here has to have: statuses are answers rather than errors, and a redirect is an answer
    /// too (following one could carry the key to another host).
    pub fn config() -> ConfigBuilder<AgentScope> {
        Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("vieter/", env!("CARGO_PKG_VERSION")))
    }

    /// Sends one request, given as `METHOD /path`; `deadline` holds for the reading of the answer's body too.
    ///
    /// # Errors
    /// [`Kind::NoAnswer`]. Any status is an answer.
    pub fn send(
        &self,
        request: &str,
        headers: &[(&str, &str)],
        body: impl AsSendBody,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let what = format!("{request} at {}", self.name);
        let send = || {
            let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
            let url = format!("{}{path}", self.base);
            let mut request = Request::builder().method(method).uri(url);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = self.agent.configure_request(request.body(body)?);
            let left = Some(deadline.left());
            self.agent.run(request.timeout_global(left).build())
        };
        let response = send().map_err(|error| no_answer(&what, &error))?;
        let secret = self.secret.clone();
        Ok(Answer {
            what,
            response,
            secret,
        })
    }
}

impl Answer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Reads the body whole, up to 16 MiB.
    ///
    /// # Errors
    /// [`Kind::NoAnswer`]: a longer body, and whatever ends the connection early.
    pub fn read(self) -> Result<Vec<u8>, Error> {
        let body = self
            .response
            .into_body()
            .into_with_config()
            .limit(MAX_ANSWER);
        body.read_to_vec()
            .map_err(|error| no_answer(&self.what, &error))
    }

    /// The error that an unwanted answer is, with the message that it brings: both servers send JSON with a
    /// `message`, but what stands in front of them may send anything. It may repeat what it was sent.
    pub fn refused(self) -> Error {
        let (what, status, secret) = (self.what.clone(), self.status(), self.secret.clone());
        let location = self.response.headers().get("location");
        let location = location.and_then(|it| it.to_str().ok()).unwrap_or("");
        let location = location.to_owned();
        let text = self.read().unwrap_or_default();
        let json: Value = serde_json::from_slice(&text).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut message = [&location, json["message"].as_str().unwrap_or(&text)].join(" ");
        if !secret.is_empty() {
            message = message.replace(&secret, "***");
        }
        let text = format!("{what}: answered {status}: {}", one_line(&message, 500));
        Error::new(Kind::Status(status), text)
    }
}

fn no_answer(what: &str, error: &ureq::Error) -> Error {
    let why = match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        error => one_line(&error.to_string(), 500),
    };
    Error::new(Kind::NoAnswer, format!("{what}: {why}"))
}

/// Stands behind the bytes of [`Exactly`].
pub const END: &[u8; 5] = b"\0end\0";

/// Gives exactly the announced number of bytes of a reader, which [`END`] has to stand behind. If it doesn't, the
/// file is longer or shorter than was announced, which is an error, not an end: the last bytes are given out only when it
/// was seen, so that no request with this body is ever complete and wrong.
pub struct Exactly<'a> {
    reader: &'a mut dyn Read,
    /// How many bytes are still to be read.
    pub left: u64,
}

impl<'a> Exactly<'a> {
    /// The `size` bytes of `reader` up to [`END`].
    pub fn new(reader: &'a mut dyn Read, size: u64) -> Self {
        Exactly { reader, left: size }
    }
}

impl Read for Exactly<'_> {
    /// Fills the buffer: an engine's frames are small, and each piece would be a packet of its own for the server.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        self.left -= wanted as u64;
        let mut read = self.reader.read_exact(&mut buffer[..wanted]);
        let mut behind = *END;
        if self.left == 0 {
            read = read.and_then(|()| self.reader.read_exact(&mut behind));
        }
        let broken = "the file changed its size, or its container ended, while it was read";
        match read {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            Ok(()) if behind == *END => Ok(wanted),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, broken)),
        }
    }
}

/// `text` as one segment of a URL's path or one value of its query: all but RFC 3986's unreserved characters
/// become `%XX` (the Vieter server takes `%2B` and `%3A` for `+` and `:`).
pub fn encode(text: &str) -> String {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = text.bytes().map(|byte| match is_unreserved(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_all_that_could_mean_something_in_a_url() {
        assert_eq!(encode("libc++-1:2.0~rc_1-1"), "libc%2B%2B-1%3A2.0~rc_1-1");
        assert_eq!(encode("a/b?c#d e%"), "a%2Fb%3Fc%23d%20e%25");
        assert_eq!(encode("é"), "%C3%A9");
    }

    #[test]
    fn exactly_means_no_byte_more_or_less() {
        let read = |text: &str, size| {
            let mut whole = vec![];
            Exactly::new(&mut text.as_bytes(), size)
                .read_to_end(&mut whole)
                .map(|_| whole)
        };
        assert_eq!(read("hello\0end\0", 5).unwrap(), b"hello");
        assert_eq!(read("hello\0end\0behind", 5).unwrap(), b"hello");
        for (text, size) in [
            ("hello\0end\0", 4),
            ("hello\0end\0", 6),
            ("hello\0end", 5),
            ("hello", 5),
            ("hello", 6),
            ("", 1),
        ] {
            assert!(read(text, size).is_err());
        }
    }
}
