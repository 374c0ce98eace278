//! The Vieter server: its list of repositories, and what is published there.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, SendBody};

use crate::cli::Settings;
use crate::error::Error;
use crate::http::{Client, Deadline, Exactly, encode};
use crate::output::one_line;
use crate::pkgbuild::is_package_name;

/// How long the server may take for an answer that needs no upload.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Git repository to build, as the list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    pub url: String,
    /// `None` for the repository's default branch.
    pub branch: Option<String>,
    /// The pacman repository that its packages are published to.
    pub repo: String,
}

/// An entry of the list: something to call it by, and the repository, or why it is none.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub repo: Result<Repo, Error>,
}

/// A client of one server.
pub struct Server {
    http: Client,
    key: String,
    /// Certificates in PEM that are trusted beside the usual ones.
    ca_file: Option<PathBuf>,
}

impl Server {
    /// A client of the server that the settings name, with its API key.
    pub fn new(settings: &Settings) -> Server {
        let agent = Client::config().build().new_agent();
        let address = settings.address.trim_end_matches('/');
        Server {
            http: Client::new(agent, address, &settings.api_key),
            key: settings.api_key.clone(),
            ca_file: settings.ca_file.clone(),
        }
    }

    /// The repositories that are to be built for `arch`, in the server's order (`GET /api/repos`).
    ///
    /// # Errors
    /// No answer, any but 200, a list that can't be read. An entry that can't be used is no error of the list.
    pub fn list(&mut self, arch: &str) -> Result<Vec<Entry>, Error> {
        let doing = format!("getting the list of repositories from {}", self.http.base);
        let mut answer = self.get_list(&doing);
        if let (Err(Error::NoAnswer { .. }), Some(file)) = (&answer, &self.ca_file) {
            // An agent trusts either the usual certificates or others, so those that the file holds, a
            // private CA's as a rule, are tried second; the agent that gets through is kept.
            self.http.agent = trusting(file)?;
            answer = self.get_list(&doing);
        }
        let answer = answer.map_err(|error| match error.to_string().contains("certificate") {
            true => error
                .advise("is it a private CA's? set SSL_CERT_FILE to a file with its certificate"),
            false => error,
        })?;
        if answer.status() != 200 {
            return Err(self.refused(&doing, answer));
        }
        let text = self.http.read(&doing, answer)?;
        parse_list(&text, arch).map_err(|why| Error::unusable(doing, why))
    }

    fn get_list(&self, doing: &str) -> Result<Response<Body>, Error> {
        let headers = [("X-Api-Key", self.key.as_str())];
        let deadline = Deadline::after(PATIENCE);
        self.http
            .send(doing, "GET /api/repos", &headers, (), deadline)
    }

    /// Whether this version of a package is published (`HEAD /<repo>/<arch>/<name>-<version>`).
    ///
    /// # Errors
    /// No answer, any but 200 and 404.
    pub fn has(
        &self,
        repo: &str,
        arch: &str,
        name: &str,
        version: &str,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        let version = encode(&format!("{name}-{version}"));
        let path = format!("/{}/{}/{version}", encode(repo), encode(arch));
        let doing = format!("asking {} for {path}", self.http.base);
        let deadline = deadline.at_most(PATIENCE);
        let answer = self
            .http
            .send(&doing, &format!("HEAD {path}"), &[], (), deadline)?;
        match answer.status().as_u16() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refused(&doing, answer)),
        }
    }

    /// Publishes a package archive of `size` bytes, straight from the reader (`POST /<repo>/publish`).
    ///
    /// # Errors
    /// No answer, any but 200, and those of the reader.
    pub fn publish(
        &self,
        repo: &str,
        file: &str,
        archive: &mut dyn Read,
        size: u64,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let doing = format!("publishing {file} to {}/{repo}", self.http.base);
        let request = format!("POST /{}/publish", encode(repo));
        let length = size.to_string();
        let headers = [
            ("X-Api-Key", self.key.as_str()),
            ("Content-Length", &length),
        ];
        let mut archive = Exactly::new(archive, size);
        let body = SendBody::from_reader(&mut archive);
        let answer = self.http.send(&doing, &request, &headers, body, deadline)?;
        match answer.status().as_u16() {
            200 => Ok(()),
            _ => Err(self.refused(&doing, answer)),
        }
    }

    fn refused(&self, doing: &str, answer: Response<Body>) -> Error {
        let advice = match answer.status().as_u16() {
            300..=399 => "set --address to where the server really is",
            401 | 403 => "does VIETER_API_KEY hold this server's key?",
            404 => "is --address that of a Vieter server?",
            _ => return self.http.refused(doing, answer),
        };
        self.http.refused(doing, answer).advise(advice)
    }
}

/// An agent that trusts the certificates in this file, and no others.
fn trusting(file: &Path) -> Result<Agent, Error> {
    let doing = format!("reading {}, which SSL_CERT_FILE names", file.display());
    let pem = std::fs::read(file).map_err(|error| Error::unusable(&doing, error.to_string()))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    let roots = RootCerts::new_with_certs(&certificates);
    let tls = TlsConfig::builder().root_certs(roots).build();
    Ok(Client::config().tls_config(tls).build().new_agent())
}

/// The answer's `data`: an object whose order counts, which a serde_json map would lose.
struct Data(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Data;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object of repositories by id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
                let mut entries = vec![];
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Data(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn parse_list(text: &[u8], arch: &str) -> Result<Vec<Entry>, String> {
    #[derive(serde::Deserialize)]
    struct Answer {
        data: Data,
    }
    let answer: Answer = serde_json::from_slice(text)
        .map_err(|error| format!("the answer is not a list of repositories: {error}"))?;
    Ok(answer
        .data
        .0
        .iter()
        .filter(|(_, entry)| is_for(entry, arch))
        .map(|(id, entry)| Entry {
            name: one_line(text_of(entry, "url").unwrap_or(id), 200),
            repo: parse_repo(entry).map_err(|why| {
                Error::unusable(format!("entry {} of the list", one_line(id, 100)), why)
            }),
        })
        .collect())
}

/// Whether an entry holds `arch`. One that holds no architectures at all is broken, which is for
/// [`parse_repo`] to say.
fn is_for(entry: &Value, arch: &str) -> bool {
    match entry.get("arch").and_then(Value::as_array) {
        Some(archs) => archs
            .iter()
            .any(|it| it.as_str().is_some_and(|it| it.trim() == arch)),
        None => true,
    }
}

fn parse_repo(entry: &Value) -> Result<Repo, String> {
    if entry.get("arch").and_then(Value::as_array).is_none() {
        return Err("has no list of architectures".to_owned());
    }
    let url = text_of(entry, "url").ok_or("has no URL")?;
    let repo = text_of(entry, "repo").ok_or("names no repository to publish to")?;
    if !is_repo_name(repo) {
        return Err(format!("{repo:?} is not a name for a pacman repository"));
    }
    Ok(Repo {
        url: url.to_owned(),
        branch: text_of(entry, "branch").map(str::to_owned),
        repo: repo.to_owned(),
    })
}

fn text_of<'a>(entry: &'a Value, key: &str) -> Option<&'a str> {
    let text = entry.get(key)?.as_str()?.trim();
    (!text.is_empty()).then_some(text)
}

/// Whether pacman.conf could have a section of this name.
fn is_repo_name(name: &str) -> bool {
    name != "local" && is_package_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(data: &str) -> Result<Vec<Entry>, String> {
        parse_list(
            format!(r#"{{"message":"","data":{data}}}"#).as_bytes(),
            "x86_64",
        )
    }

    #[test]
    fn keeps_the_servers_order_and_our_architecture() {
        let entries = list(
            r#"{"f":{"url":"git://z","branch":"main","arch":["aarch64","x86_64"],"repo":"bur","schedule":""},
                "e":{"url":"git://y","branch":"","arch":["aarch64"],"repo":"bur"},
                "d":{"url":"git://x","branch":"","arch":[" x86_64"],"repo":"a+b"}}"#,
        )
        .unwrap();
        let repos: Vec<_> = entries
            .into_iter()
            .map(|entry| entry.repo.unwrap())
            .collect();
        assert_eq!(repos[0].url, "git://z");
        assert_eq!(repos[0].branch.as_deref(), Some("main"));
        assert_eq!(repos[1].url, "git://x");
        assert_eq!(repos[1].branch, None);
        assert_eq!(repos.len(), 2);
    }

    #[test]
    fn a_broken_entry_is_its_own_failure() {
        let broken = [
            r#"{"url":"","arch":["x86_64"],"repo":"bur"}"#,
            r#"{"arch":["x86_64"],"repo":"bur"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"../etc"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"-S"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"local"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":["bur"]}"#,
            r#"{"url":"git://x","arch":"x86_64","repo":"bur"}"#,
            "7",
            "null",
        ];
        for broken in broken {
            let good = r#"{"url":"git://x","branch":"b","arch":["x86_64"],"repo":"bur"}"#;
            let entries = list(&format!(r#"{{"1":{broken},"2":{good}}}"#)).unwrap();
            assert!(entries[0].repo.is_err(), "{broken}");
            assert!(entries[1].repo.is_ok());
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for data in ["[]", "7", "null", "{"] {
            assert!(list(data).is_err(), "{data}");
        }
        assert!(parse_list(b"<html>", "x86_64").is_err());
        assert!(list("{}").unwrap().is_empty());
    }
}
