//! The Vieter server: how it is reached, and with which key. Not here: what is asked of it (`list`, `home`).

use std::cell::Cell;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ureq::http::{Method, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, SendBody};

use crate::error::{Error, Kind, Result};
use crate::http::{Answer, Client, Deadline};
use crate::last_word::LastWord;

/// Where the server is, and what it takes to be let in.
pub struct Settings {
    /// `http://` or `https://`, without a path as a rule.
    pub address: String,
    /// Goes into a header of requests to the server, and nowhere else.
    pub api_key: String,
    /// `SSL_CERT_FILE`: certificates in PEM that are trusted beside the usual ones.
    pub ca_file: Option<PathBuf>,
}

/// The header that the key goes into.
const KEY: &str = "X-Api-Key";

/// The variables that it comes from, which a command of the user's isn't given.
pub const KEY_VARIABLES: [&str; 2] = ["VIETER_API_KEY", "VIETER_API_KEY_FILE"];

/// How long the server may take to be connected to; to take, or to send, the next bytes, such as the first ones of an
/// answer to an upload, which it has to unpack; and for an answer's body.
const CONNECT: Duration = Duration::from_secs(30);
const NEXT_BYTES: Duration = Duration::from_secs(300);
const BODY: Duration = Duration::from_secs(30);

/// How long it may be away for a restart.
const RESTART: Duration = Duration::from_secs(120);

/// A client of one server.
pub struct Server {
    /// Since when it has given no answer, if it hasn't.
    silent_since: Cell<Option<Instant>>,
    http: Client,
    ca_file: Option<PathBuf>,
    last_word: LastWord,
}

impl Server {
    /// A client of this server, which isn't asked for anything yet.
    pub fn new(settings: Settings) -> Server {
        let base = settings.address.trim_end_matches('/').to_owned();
        let last_word = LastWord::default();
        let agent = agent(TlsConfig::default(), &last_word);
        let mut http = Client::new(agent, base.clone(), base);
        http.secret = settings.api_key;
        let ca_file = settings.ca_file;
        Server {
            silent_since: Cell::new(None),
            http,
            ca_file,
            last_word,
        }
    }

    /// Notes whether it has given an answer.
    pub fn note(&self, has_answered: bool) {
        let since = self.silent_since.get().unwrap_or_else(Instant::now);
        self.silent_since.set((!has_answered).then_some(since));
    }

    /// Whether it has given none for longer than a restart takes.
    pub fn is_away(&self) -> bool {
        let since = self.silent_since.get();
        since.is_some_and(|it| it.elapsed() > RESTART)
    }

    /// Its address, without a slash at the end.
    pub fn address(&self) -> &str {
        &self.http.base
    }

    /// Whether the key goes to another machine, unencrypted.
    pub fn sends_key_in_the_clear(&self) -> bool {
        let Ok(address) = self.address().parse::<Uri>() else {
            return false;
        };
        let host = address.host().unwrap_or("").trim_matches(['[', ']']);
        let is_here = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        address.scheme_str() == Some("http") && host != "localhost" && !is_here
    }

    /// A `GET` with the key. An agent trusts either the usual certificates or others, so those that `SSL_CERT_FILE`
    /// names, a private CA's as a rule, take their place if it is the issuer that isn't known.
    ///
    /// # Errors
    /// No answer; that file. Any status is an answer.
    pub fn get_first(&mut self, path: &str, by: Deadline) -> Result<Answer> {
        let error = match self.get(path, by) {
            Err(error) if error.kind == Kind::UnknownIssuer => error,
            answer => return answer,
        };
        let Some(file) = &self.ca_file else {
            let advice = "a private CA's? set SSL_CERT_FILE to a file with its certificate";
            return Err(error.advise(advice));
        };
        self.http.agent = trusting(file, &self.last_word)?;
        let answer = self.get(path, by);
        answer.map_err(|error| error.advise("with the certificates of SSL_CERT_FILE"))
    }

    /// A `GET` with the key.
    ///
    /// # Errors
    /// No answer. Any status is one.
    pub fn get(&self, path: &str, by: Deadline) -> Result<Answer> {
        let key = [(KEY, self.http.secret.as_str())];
        self.http.send(Method::GET, path, &key, (), by)
    }

    /// A `HEAD` without the key: all may ask what is published.
    ///
    /// # Errors
    /// No answer. Any status is one.
    pub fn head(&self, path: &str, by: Deadline) -> Result<Answer> {
        self.http.send(Method::HEAD, path, &[], (), by)
    }

    /// A `POST` with the key, of `size` bytes. What the server has said is heard, although it has hung up before the end.
    ///
    /// # Errors
    /// No answer, and those of the reader. Any status is an answer; but that all is well isn't, if it can't have come whole.
    pub fn post(&self, path: &str, body: &mut dyn Read, size: u64, by: Deadline) -> Result<Answer> {
        let (key, size) = (self.http.secret.as_str(), size.to_string());
        let headers = [(KEY, key), ("Content-Length", &size)];
        let body = SendBody::from_reader(body);
        let has_hung_up = &self.last_word.has_hung_up;
        has_hung_up.store(false, Ordering::Relaxed);
        let answer = self.http.send(Method::POST, path, &headers, body, by)?;
        if answer.status() < 300 && has_hung_up.load(Ordering::Relaxed) {
            let why = "it has hung up before the end, and says that all is well";
            let what = format!("POST {path} at {}", self.address());
            return Err(Error::new(Kind::NoAnswer, format!("{what}: {why}")));
        }
        Ok(answer)
    }
}

/// The error that an unwanted answer of the server's is, with what to do about it.
pub fn refused(answer: Answer) -> Error {
    let advice = match answer.status() {
        300..=399 => "set --address to where the server really is",
        401 | 403 => "does VIETER_API_KEY hold this server's key?",
        404 => "is --address that of a Vieter server?",
        413 => {
            "a proxy's limit? nginx has client_max_body_size, others a name of their own; raise it"
        }
        _ => return answer.refused(),
    };
    answer.refused().advise(advice)
}

/// An agent that trusts the certificates in this file, and no others.
fn trusting(file: &Path, last_word: &LastWord) -> Result<Agent> {
    let doing = format!("reading {}, which SSL_CERT_FILE names", file.display());
    let pem = std::fs::read(file).map_err(|error| Error::unusable(doing, error))?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let certificates: Vec<_> = parse_pem(&pem).filter_map(certificate).collect();
    let roots = RootCerts::new_with_certs(&certificates);
    let tls = TlsConfig::builder().root_certs(roots).build();
    Ok(agent(tls, last_word))
}

/// An agent that trusts so, and keeps to our times.
fn agent(tls: TlsConfig, last_word: &LastWord) -> Agent {
    let config = Client::config()
        .tls_config(tls)
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(NEXT_BYTES))
        .timeout_per_write(Some(NEXT_BYTES))
        .timeout_recv_body(Some(BODY));
    last_word.agent(config.build())
}
