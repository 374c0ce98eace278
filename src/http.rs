//! The plain HTTP that the engine's client and the server's client share: one request at a time, each with a
//! moment at which it is given up. Not here: which statuses are good, and what is asked for.

use std::io::Read;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Deserializer;
use ureq::config::ConfigBuilder;
use ureq::http::{self, Method, Response};
use ureq::typestate::AgentScope;
use ureq::{Agent, AsSendBody, Body, BodyReader};

use crate::clock::{of_http_date, since_1970};
use crate::error::{Error, Kind, Result};
use crate::text::{json_reader, one_line};

/// The largest answer that is read whole, in bytes.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// As much as is read of an answer that nobody wanted, in bytes.
const MAX_REFUSAL: u64 = 16 * 1024;

/// The moment at which a request, or a row of them, is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// That far from now.
    pub fn after(time: Duration) -> Deadline {
        let now = Instant::now();
        Deadline(now.checked_add(time).unwrap_or(now))
    }

    /// So much later.
    pub fn plus(self, time: Duration) -> Deadline {
        Deadline(self.0.checked_add(time).unwrap_or(self.0))
    }

    /// This moment, or `time` from now if that is sooner.
    pub fn within(self, time: Duration) -> Deadline {
        Deadline(self.0.min(Deadline::after(time).0))
    }

    /// The time that is left, zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it is over.
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }
}

/// A client of one server: the engine, or the Vieter server.
pub struct Client {
    /// How it is connected to.
    pub agent: Agent,
    /// What comes before every path, without a slash at its end.
    pub base: String,
    /// What messages call the server.
    pub name: String,
    /// What no message may show, or nothing.
    pub secret: String,
}

impl Client {
    /// A client of a server that is sent no secret.
    pub fn new(agent: Agent, base: String, name: String) -> Client {
        Client {
            agent,
            base,
            name,
            secret: String::new(),
        }
    }

    /// What every agent here has to have: statuses are answers rather than errors, and a redirect is an answer
    /// too (following one could carry the key to another host).
    pub fn config() -> ConfigBuilder<AgentScope> {
        Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("vieter/", env!("CARGO_PKG_VERSION")))
    }

    /// Sends one request for a path with its query, encoded; `by` holds for the reading of the answer's body too.
    ///
    /// # Errors
    /// [`Kind::NoAnswer`], [`Kind::UnknownIssuer`] and [`Kind::Unusable`]. Any status is an answer.
    pub fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsSendBody,
        by: Deadline,
    ) -> Result<Answer> {
        let what = format!("{method} {path} at {}", self.name);
        let url = format!("{}{path}", self.base);
        let send = || {
            let mut request = http::Request::builder().method(method).uri(url);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = self.agent.configure_request(request.body(body)?);
            let left = Some(by.left());
            self.agent.run(request.timeout_global(left).build())
        };
        let http = send().map_err(|error| no_answer(&what, &error))?;
        let secret = self.secret.clone();
        Ok(Answer { what, http, secret })
    }
}

/// What came back.
pub struct Answer {
    /// The request that it is an answer to, and of whom, for messages.
    pub what: String,
    http: Response<Body>,
    secret: String,
}

/// The JSON that both servers send when they refuse something.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Answer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.http.status().as_u16()
    }

    /// An error's words about what this answer has in it, which may repeat the secret that it was sent.
    pub fn hides(&self) -> impl Fn(String) -> String + use<> {
        let secret = self.secret.clone();
        move |words| without(&words, &secret)
    }

    /// The body, as it comes.
    pub fn into_reader(self) -> BodyReader<'static> {
        self.http.into_body().into_reader()
    }

    /// Reads the body whole, up to 16 MiB.
    ///
    /// # Errors
    /// [`Kind::NoAnswer`]: a longer body, and whatever ends the connection early.
    pub fn read(self) -> Result<Vec<u8>> {
        let body = self.http.into_body().into_with_config();
        let read = body.limit(MAX_ANSWER).read_to_vec();
        read.map_err(|error| no_answer(&self.what, &error))
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// Those of [`Answer::read`], and a body that is something else.
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        let what = self.what.clone();
        serde_json::from_slice(&self.read()?).map_err(|error| {
            let why = one_line(&error.to_string(), 300);
            Error::unusable(what, format!("the answer makes no sense: {why}"))
        })
    }

    /// Reads the body as a stream of JSON messages; each may be the one at which it breaks off.
    pub fn messages<T: DeserializeOwned>(self) -> impl Iterator<Item = Result<T>> {
        let broke = format!("{}: the stream of messages broke", self.what);
        let broken = move |error| Error::new(Kind::NoAnswer, format!("{broke}: {error}"));
        let messages = Deserializer::from_reader(json_reader(self.into_reader())).into_iter();
        messages.map(move |message| message.map_err(&broken))
    }

    /// The error that an unwanted answer is, with the message that it brings: both servers send JSON with a
    /// `message`, but what stands in front of them may send anything. It may repeat what it was sent.
    pub fn refused(self) -> Error {
        let (what, status, secret) = (self.what.clone(), self.status(), self.secret.clone());
        let header = |name| {
            let value = self.http.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (location, retry_after) = (header("location"), header("retry-after"));
        let in_seconds = |it: &str| {
            let until = || Some(of_http_date(it)?.saturating_sub(since_1970()));
            it.parse().ok().or_else(until)
        };
        let seconds = retry_after.and_then(|it| in_seconds(it.trim()));
        let mut body = vec![];
        // What has come of it until it breaks off will do.
        let _ = self.into_reader().take(MAX_REFUSAL).read_to_end(&mut body);
        let message = serde_json::from_slice(&body).map(|it: Refusal| it.message);
        let message = message.unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned());
        let said = format!("{} {message}", location.unwrap_or_default());
        let said = without(&said, &secret);
        let text = format!("{what}: answered {status}: {}", one_line(&said, 500));
        let mut error = Error::new(Kind::Status(status), text);
        error.retry_after = Duration::from_secs(seconds.unwrap_or(0));
        error
    }
}

/// The same text without the secret, if there is one.
fn without(text: &str, secret: &str) -> String {
    match secret.is_empty() {
        true => text.to_owned(),
        false => text.replace(secret, "***"),
    }
}

/// What ureq's error is to us. The TLS library's own errors arrive inside of an I/O error about invalid data; those that
/// are not about the certificate may be chance, a word of a proxy's in plain text for instance.
fn no_answer(what: &str, error: &ureq::Error) -> Error {
    let why = match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        error => one_line(&error.to_string(), 500),
    };
    let kind = match error {
        _ if why.contains("invalid peer certificate: UnknownIssuer") => Kind::UnknownIssuer,
        _ if why.contains("invalid peer certificate") => Kind::Unusable,
        ureq::Error::Tls(_) | ureq::Error::BadUri(_) | ureq::Error::Http(_) => Kind::Unusable,
        ureq::Error::BodyExceedsLimit(_) => Kind::Unusable,
        _ => Kind::NoAnswer,
    };
    Error::new(kind, format!("{what}: {why}"))
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
    fn a_deadline_is_the_sooner_of_two() {
        let soon = Deadline::after(Duration::from_secs(5));
        assert!(soon.within(Duration::from_secs(60)).left() <= Duration::from_secs(5));
        assert!(soon.within(Duration::ZERO).has_passed() && !soon.has_passed());
    }
}
