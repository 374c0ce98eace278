//! The Vieter server: its list of repositories, and what is published there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, SendBody};

use crate::cli::Settings;
use crate::error::{Error, Kind};
use crate::http::{Answer, Client, Deadline, Exactly, encode};
use crate::output::one_line;
use crate::pkgbuild::is_package_name;

/// How long the server may take for an answer that needs no upload.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most pages of a list that are asked for, should a server not know an end.
const MAX_PAGES: usize = 1000;

/// A Git repository to build, as the list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    pub url: String,
    /// Empty for the repository's default branch.
    pub branch: String,
    /// The folder of the PKGBUILD in the repository, empty for its root (servers from 0.5 on).
    pub path: String,
    /// Whether the URL is that of a PKGBUILD to download (the kind `url` of servers from 0.4 on).
    pub is_pkgbuild: bool,
    /// The pacman repository that its packages are published to.
    pub repo: String,
}

/// An entry of the list: something to call it by, and the repository, or why it is none.
pub type Entry = (String, Result<Repo, Error>);

/// A client of one server.
pub struct Server {
    http: Client,
    /// Certificates in PEM that are trusted beside the usual ones.
    ca_file: Option<PathBuf>,
}

impl Server {
    /// A client of the server that the settings name, with its API key.
    pub fn new(settings: &Settings) -> Server {
        let base = settings.address.trim_end_matches('/').to_owned();
        let http = Client {
            agent: Client::config().build().new_agent(),
            name: base.clone(),
            base,
            secret: settings.api_key.clone(),
        };
        let ca_file = settings.ca_file.clone();
        Server { http, ca_file }
    }

    /// The repositories that are to be built for `arch`, in the server's order (`GET /api/repos`, which servers from
    /// 0.4 on don't have; then `GET /api/v1/targets`, page by page).
    ///
    /// # Errors
    /// No answer, any but 200, a list that can't be read. An entry that can't be used is no error of the list.
    pub fn list(&mut self, arch: &str) -> Result<Vec<Entry>, Error> {
        let mut list = self.get_list("GET /api/repos");
        if let (Err(error), Some(file)) = (&list, &self.ca_file) {
            // An agent trusts either the usual certificates or others, so those that the file holds, a
            // private CA's as a rule, are tried second; the agent that gets through is kept.
            if error.kind == Kind::NoAnswer {
                self.http.agent = trusting(file)?;
                list = self.get_list("GET /api/repos");
            }
        }
        let entries = match list {
            Err(error) if error.kind == Kind::Status(404) => self.get_targets()?,
            Err(error) if error.to_string().contains("certificate") => {
                return Err(error
                    .advise("a private CA's? set SSL_CERT_FILE to a file with its certificate"));
            }
            list => list?,
        };
        Ok(to_build(&entries, arch))
    }

    fn get_targets(&self) -> Result<Vec<(String, Value)>, Error> {
        let mut targets = vec![];
        for _ in 0..MAX_PAGES {
            let request = format!("GET /api/v1/targets?limit=100&offset={}", targets.len());
            let page = self.get_list(&request)?;
            if page.is_empty() || page.first() == targets.first() {
                break;
            }
            targets.extend(page);
        }
        Ok(targets)
    }

    fn get_list(&self, request: &str) -> Result<Vec<(String, Value)>, Error> {
        let key = [("X-Api-Key", self.http.secret.as_str())];
        let deadline = Deadline::after(PATIENCE);
        let answer = self.http.send(request, &key, (), deadline)?;
        if answer.status() != 200 {
            return Err(refused(answer));
        }
        let what = format!("{request} at {}", self.http.name);
        parse_list(&answer.read()?).map_err(|why| Error::unusable(what, why))
    }

    /// Whether a version of a package (`<name>-<version>`) or a file is published, as `<repo>/<arch>/<that>`
    /// (`HEAD /<repo>/<arch>/<that>`).
    ///
    /// # Errors
    /// No answer, any but 200 and 404.
    pub fn has(&self, path: [&str; 3], deadline: Deadline) -> Result<bool, Error> {
        let request = format!("HEAD /{}", path.map(encode).join("/"));
        let deadline = Deadline::after(PATIENCE.min(deadline.left()));
        let answer = self.http.send(&request, &[], (), deadline)?;
        match answer.status() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(refused(answer)),
        }
    }

    /// Where a repository of pacman's is, for pacman.conf.
    pub fn url_of(&self, repo: &str, arch: &str) -> String {
        format!("{}/{repo}/{arch}", self.http.base)
    }

    /// Publishes a package archive, straight from its reader (`POST /<repo>/publish`).
    ///
    /// # Errors
    /// No answer, any but 200, and those of the reader.
    pub fn publish(
        &self,
        repo: &str,
        mut archive: Exactly,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let request = format!("POST /{}/publish", encode(repo));
        let (key, size) = (self.http.secret.as_str(), archive.left.to_string());
        let headers = [("X-Api-Key", key), ("Content-Length", &size)];
        let body = SendBody::from_reader(&mut archive);
        let answer = self.http.send(&request, &headers, body, deadline)?;
        match answer.status() {
            200 => Ok(()),
            _ => Err(refused(answer)),
        }
    }
}

fn refused(answer: Answer) -> Error {
    let advice = match answer.status() {
        300..=399 => "set --address to where the server really is",
        401 | 403 => "does VIETER_API_KEY hold this server's key?",
        404 => "is --address that of a Vieter server?",
        _ => return answer.refused(),
    };
    answer.refused().advise(advice)
}

/// An agent that trusts the certificates in this file, and no others.
fn trusting(file: &Path) -> Result<Agent, Error> {
    let doing = format!("reading {}, which SSL_CERT_FILE names", file.display());
    let pem = std::fs::read(file).map_err(|error| Error::unusable(&doing, error.to_string()))?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let certificates: Vec<_> = parse_pem(&pem).filter_map(certificate).collect();
    let roots = RootCerts::new_with_certs(&certificates);
    let tls = TlsConfig::builder().root_certs(roots).build();
    Ok(Client::config().tls_config(tls).build().new_agent())
}

/// The entries by id: an object of them, whose order counts, or the list of a newer server, where each has its `id`.
fn parse_list(text: &[u8]) -> Result<Vec<(String, Value)>, String> {
    let mut answer: Value = serde_json::from_slice(text).unwrap_or_default();
    let with_id = |it: Value| (it["id"].to_string(), it);
    match answer.get_mut("data").map(Value::take) {
        Some(Value::Object(map)) => Ok(map.into_iter().collect()),
        Some(Value::Array(list)) => Ok(list.into_iter().map(with_id).collect()),
        _ => Err("the answer is not a list of repositories".to_owned()),
    }
}

/// The entries that hold `arch`, and those that hold no architectures at all, which is for [`parse_repo`] to say.
fn to_build(entries: &[(String, Value)], arch: &str) -> Vec<Entry> {
    let is_ours = |it: &Value| it["value"].as_str().or(it.as_str()).unwrap_or("").trim() == arch;
    let is_for = |archs: &Vec<Value>| archs.iter().any(is_ours);
    let entries = entries
        .iter()
        .filter(|(_, it)| it["arch"].as_array().is_none_or(is_for));
    let entries = entries.map(|(id, it)| {
        let what = format!("entry {} of the list", one_line(id, 100));
        let repo = parse_repo(it).map_err(|why| Error::unusable(what, why));
        (one_line(text_of(it, "url").unwrap_or(id), 200), repo)
    });
    entries.collect()
}

fn parse_repo(entry: &Value) -> Result<Repo, String> {
    if !entry["arch"].is_array() {
        return Err("has no list of architectures".to_owned());
    }
    let url = text_of(entry, "url").ok_or("has no URL")?;
    let repo = text_of(entry, "repo").ok_or("names no repository to publish to")?;
    if repo == "local" || !is_package_name(repo) {
        return Err(format!("{repo:?} is not a name for a pacman repository"));
    }
    let path = text_of(entry, "path").unwrap_or("");
    if path.starts_with('/') || path.split('/').any(|it| it == "..") {
        return Err(format!("the path {path:?} leads out of the repository"));
    }
    let kind = text_of(entry, "kind").unwrap_or("git");
    if !matches!(kind, "git" | "url") {
        return Err(format!("is of the kind {kind:?}, neither git nor url"));
    }
    Ok(Repo {
        url: url.to_owned(),
        branch: text_of(entry, "branch").unwrap_or("").to_owned(),
        path: path.to_owned(),
        is_pkgbuild: kind == "url",
        repo: repo.to_owned(),
    })
}

fn text_of<'a>(entry: &'a Value, key: &str) -> Option<&'a str> {
    let text = entry.get(key)?.as_str()?.trim();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(data: &str) -> Result<Vec<Entry>, String> {
        let text = format!(r#"{{"message":"","data":{data}}}"#);
        Ok(to_build(&parse_list(text.as_bytes())?, "x86_64"))
    }

    #[test]
    fn keeps_the_servers_order_and_our_architecture() {
        let entries = list(
            r#"{"f":{"url":"git://z","branch":"main","arch":["aarch64","x86_64"],"repo":"bur","schedule":""},
                "e":{"url":"git://y","branch":"","arch":["aarch64"],"repo":"bur"},
                "d":{"url":"git://x","branch":"","arch":[" x86_64"],"repo":"a+b"}}"#,
        )
        .unwrap();
        let repos: Vec<_> = entries.into_iter().map(|entry| entry.1.unwrap()).collect();
        assert_eq!(repos[0].url, "git://z");
        assert_eq!(repos[0].branch, "main");
        assert_eq!(repos[1].url, "git://x");
        assert_eq!(repos[1].branch, "");
        assert_eq!(repos.len(), 2);
    }

    #[test]
    fn a_newer_servers_list_is_read() {
        let entries = list(
            r#"[{"id":7,"kind":"git","url":"git://z","branch":"","repo":"bur","schedule":"","path":"a/b",
                 "arch":[{"id":1,"target_id":7,"value":"aarch64"},{"id":2,"target_id":7,"value":" x86_64"}]},
                {"id":8,"kind":"url","url":"http://y/PKGBUILD","branch":"","repo":"bur","schedule":"","path":"",
                 "arch":[{"id":3,"target_id":8,"value":"x86_64"}]},
                {"id":9,"kind":"git","url":"git://x","branch":"","repo":"bur","schedule":"","path":"",
                 "arch":[{"id":4,"target_id":9,"value":"aarch64"}]}]"#,
        )
        .unwrap();
        let repos: Vec<_> = entries.into_iter().map(|it| it.1.unwrap()).collect();
        assert_eq!(repos.len(), 2);
        assert_eq!(
            (repos[0].path.as_str(), repos[0].is_pkgbuild),
            ("a/b", false)
        );
        assert_eq!(
            (repos[1].url.as_str(), repos[1].is_pkgbuild),
            ("http://y/PKGBUILD", true)
        );
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
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","path":"../x"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","path":"a/../../x"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","path":"/etc"}"#,
            r#"{"url":"git://x","arch":["x86_64"],"repo":"bur","kind":"svn"}"#,
            "7",
            "null",
        ];
        for broken in broken {
            let good = r#"{"url":"git://x","branch":"b","arch":["x86_64"],"repo":"bur"}"#;
            let entries = list(&format!(r#"{{"1":{broken},"2":{good}}}"#)).unwrap();
            assert!(entries[0].1.is_err(), "{broken}");
            assert!(entries[1].1.is_ok());
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for data in ["\"x\"", "7", "null", "{"] {
            assert!(list(data).is_err(), "{data}");
        }
        assert!(parse_list(b"<html>").is_err());
        assert!(list("{}").unwrap().is_empty());
    }
}
