//! The Docker Engine API: one method an endpoint, <https://docs.docker.com/reference/api/engine/>.

use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::{Frames, socket};
use crate::error::Error;
use crate::http::{self, Deadline, encode};
use crate::output::one_line;

/// The API versions that this program speaks: Engine 20.10's, up to the newest that it was written with.
/// The highest that both sides know is used, as engines drop old versions (29 refuses all below 1.44).
const OLDEST_API: ApiVersion = ApiVersion(1, 41);
const NEWEST_API: ApiVersion = ApiVersion(1, 52);

/// The label that every container and image of ours bears; its value names the run.
pub const RUN_LABEL: &str = "vieter.run";

/// How long an engine may take for an answer that needs no work.
const PATIENCE: Duration = Duration::from_secs(120);

/// The largest JSON answer that is read, in bytes.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// Where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `unix:///path/to/the.sock`
    Unix(PathBuf),
    /// `tcp://host:port`, without TLS: a filtering proxy in front of the engine, as a rule.
    Tcp(String),
}

/// A connection to an engine, with the API version agreed upon.
pub struct Engine {
    agent: Agent,
    base: String,
}

/// What `GET /containers/{id}/json` says that we look at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    pub id: String,
    state: State,
    config: Labelled,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Labelled {
    labels: Option<serde_json::Map<String, Value>>,
}

impl Status {
    /// Whether its first process runs (or is paused).
    pub fn is_running(&self) -> bool {
        self.state.running
    }

    /// The run that made it, if we did.
    pub fn run(&self) -> Option<&str> {
        self.config.labels.as_ref()?.get(RUN_LABEL)?.as_str()
    }
}

/// A container or an image in a list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    pub id: String,
    #[serde(default)]
    labels: Option<serde_json::Map<String, Value>>,
    /// The names of an image; none, or one of `<none>:<none>`, when it has lost them.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

/// An image in a list.
pub type Image = Listed;

impl Listed {
    /// The run that made it.
    pub fn run(&self) -> &str {
        self.labels
            .as_ref()
            .and_then(|labels| labels.get(RUN_LABEL)?.as_str())
            .unwrap_or("")
    }

    /// An image's names.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.repo_tags
            .iter()
            .flatten()
            .map(String::as_str)
            .filter(|tag| !tag.starts_with("<none>"))
    }
}

/// What became of an exec.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExecStatus {
    running: bool,
    exit_code: Option<i64>,
}

impl Engine {
    /// Asks the engine for the API versions that it speaks and picks the highest that we speak too
    /// (`GET /version`).
    ///
    /// # Errors
    /// No answer, or no version in common.
    pub fn open(host: &Host) -> Result<Engine, Error> {
        let config = http::config().proxy(None);
        let (agent, origin, name) = match host {
            Host::Unix(path) => (
                socket::agent(path.clone(), config.build()),
                "http://engine".to_owned(),
                format!("unix://{}", path.display()),
            ),
            Host::Tcp(address) => (
                config.build().new_agent(),
                format!("http://{address}"),
                format!("tcp://{address}"),
            ),
        };
        let engine = Engine {
            agent,
            base: origin.clone(),
        };
        let doing = format!("asking the engine at {name} for its version");
        let answer = engine
            .call(&doing, "GET", "/version", None, Deadline::after(PATIENCE))
            .map_err(|error| match error {
                Error::NoAnswer { doing, reason } => Error::NoAnswer {
                    doing,
                    reason: format!(
                        "{reason} (does it run, may this user open it? see --docker-host and DOCKER_HOST)"
                    ),
                },
                error => error,
            })?;
        let versions: Versions = json(&doing, answer)?;
        let version = versions.agree(&doing)?;
        log::debug!("the engine at {name} speaks API {version}");
        Ok(Engine {
            base: format!("{origin}/v{version}"),
            ..engine
        })
    }

    /// Sends a request, takes the statuses below 400 for success.
    fn call(
        &self,
        doing: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        deadline: Deadline,
    ) -> Result<Response<Body>, Error> {
        let url = format!("{}{path}", self.base);
        let answer = match (body, method) {
            (Some(body), _) => {
                let headers = [("Content-Type", "application/json")];
                let body = body.to_string();
                http::send(&self.agent, method, &url, &headers, body, deadline)
            }
            (None, "POST") => http::send(&self.agent, method, &url, &[], "", deadline),
            (None, _) => http::send(&self.agent, method, &url, &[], (), deadline),
        };
        let answer = answer.map_err(|error| no_answer(doing, error))?;
        let status = answer.status().as_u16();
        if status < 400 {
            return Ok(answer);
        }
        let text = http::read(answer, MAX_ANSWER).unwrap_or_default();
        let message = serde_json::from_slice::<Value>(&text)
            .ok()
            .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()))
            .unwrap_or_else(|| String::from_utf8_lossy(&text).into_owned());
        Err(Error::Refused {
            doing: doing.to_owned(),
            status,
            message: one_line(&message, 500),
        })
    }

    /// As [`Engine::call`], and reads the answer's JSON.
    fn ask<T: DeserializeOwned>(
        &self,
        doing: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        deadline: Deadline,
    ) -> Result<T, Error> {
        json(doing, self.call(doing, method, path, body, deadline)?)
    }

    /// The engine's architecture in `uname -m`'s words (`GET /info`; podman answers with Go's).
    ///
    /// # Errors
    /// Those of the request.
    pub fn architecture(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            architecture: String,
        }
        let doing = "asking the engine for its architecture";
        let info: Info = self.ask(doing, "GET", "/info", None, Deadline::after(PATIENCE))?;
        Ok(match info.architecture.as_str() {
            "amd64" => "x86_64".to_owned(),
            "arm64" => "aarch64".to_owned(),
            _ => info.architecture,
        })
    }

    /// Pulls one image, its progress to the log (`POST /images/create`).
    ///
    /// # Errors
    /// Those of the request, and a failure told inside the stream, after the 200.
    pub fn pull(&self, reference: &str, deadline: Deadline) -> Result<(), Error> {
        let doing = format!("pulling {reference}");
        let (name, tag) = split_reference(reference);
        let path = format!(
            "/images/create?fromImage={}&tag={}",
            encode(name),
            encode(tag)
        );
        let answer = self.call(&doing, "POST", &path, None, deadline)?;
        let stream = BufReader::new(answer.into_body().into_reader());
        for message in Deserializer::from_reader(stream).into_iter::<Value>() {
            let message = message.map_err(|error| broken_stream(&doing, &error))?;
            let word = |key: &str| message.get(key).and_then(Value::as_str).unwrap_or("");
            if let Some(error) = message.get("error") {
                return Err(Error::Refused {
                    doing,
                    status: 200,
                    message: one_line(error.as_str().unwrap_or("unknown error"), 500),
                });
            }
            // "Downloading" and "Extracting" come with every few kilobytes, and have a progress bar each.
            if message
                .get("progressDetail")
                .is_none_or(|detail| detail.get("total").is_none())
            {
                let layer = word("id");
                let separator = if layer.is_empty() { "" } else { ": " };
                log::info!(
                    "{doing}: {}",
                    one_line(&format!("{layer}{separator}{}", word("status")), 200)
                );
            }
        }
        Ok(())
    }

    /// Whether the engine has this image (`GET /images/{name}/json`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn has_image(&self, reference: &str) -> Result<bool, Error> {
        let doing = format!("looking for the image {reference}");
        let path = format!("/images/{}/json", encode(reference));
        found(self.call(&doing, "GET", &path, None, Deadline::after(PATIENCE)))
            .map(|it| it.is_some())
    }

    /// Creates a container from a `ContainerConfig` and gives its id (`POST /containers/create`).
    ///
    /// # Errors
    /// Those of the request; status 409 when the name is taken.
    pub fn create_container(
        &self,
        name: Option<&str>,
        config: Value,
        deadline: Deadline,
    ) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
        }
        let query = name.map_or(String::new(), |name| format!("?name={}", encode(name)));
        let path = format!("/containers/create{query}");
        let created: Created = self.ask(
            "creating a container",
            "POST",
            &path,
            Some(config),
            deadline,
        )?;
        Ok(created.id)
    }

    /// Opens a container's standard input: it stays open as long as the body that this gives is kept
    /// (`POST /containers/{id}/attach`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn attach_stdin(&self, id: &str, deadline: Deadline) -> Result<Body, Error> {
        let path = format!("/containers/{id}/attach?stream=1&stdin=1");
        let answer = self.call("attaching to a container", "POST", &path, None, deadline)?;
        Ok(answer.into_body())
    }

    /// Starts a container (`POST /containers/{id}/start`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn start_container(&self, id: &str, deadline: Deadline) -> Result<(), Error> {
        let path = format!("/containers/{id}/start");
        self.call("starting a container", "POST", &path, None, deadline)
            .map(drop)
    }

    /// What a container is doing, `None` if there is none of that name or id (`GET /containers/{id}/json`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn inspect_container(&self, name: &str) -> Result<Option<Status>, Error> {
        let doing = format!("looking at the container {name}");
        let path = format!("/containers/{name}/json");
        match found(self.call(&doing, "GET", &path, None, Deadline::after(PATIENCE)))? {
            Some(answer) => json(&doing, answer).map(Some),
            None => Ok(None),
        }
    }

    /// Kills and removes a container; waits if it is being removed already, and is content if it is gone
    /// (`DELETE /containers/{id}`).
    ///
    /// # Errors
    /// Those of the request, except 404 and 409.
    pub fn remove_container(&self, id: &str) -> Result<(), Error> {
        let doing = format!("removing the container {id}");
        let path = format!("/containers/{id}?force=1&v=1");
        match self.call(&doing, "DELETE", &path, None, Deadline::after(PATIENCE)) {
            Err(error) if error.is_status(404) => Ok(()),
            Err(error) if error.is_status(409) => self.wait_removed(id, Deadline::after(PATIENCE)),
            answer => answer.map(drop),
        }
    }

    /// Waits until a container is gone (`POST /containers/{id}/wait`).
    ///
    /// # Errors
    /// Those of the request, except 404; no answer when `deadline` passes first.
    pub fn wait_removed(&self, id: &str, deadline: Deadline) -> Result<(), Error> {
        let doing = format!("waiting for the removal of the container {id}");
        let path = format!("/containers/{id}/wait?condition=removed");
        match found(self.call(&doing, "POST", &path, None, deadline))? {
            Some(answer) => http::read(answer, MAX_ANSWER)
                .map(drop)
                .map_err(|error| no_answer(&doing, error)),
            None => Ok(()),
        }
    }

    /// All containers of ours, running or not (`GET /containers/json`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn our_containers(&self) -> Result<Vec<Listed>, Error> {
        self.list("/containers/json?all=1&")
    }

    /// All images of ours (`GET /images/json`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn our_images(&self) -> Result<Vec<Image>, Error> {
        self.list("/images/json?")
    }

    fn list(&self, path: &str) -> Result<Vec<Listed>, Error> {
        let filters = encode(&json!({"label": [RUN_LABEL]}).to_string());
        let path = format!("{path}filters={filters}");
        let doing = "listing what earlier runs left";
        self.ask(doing, "GET", &path, None, Deadline::after(PATIENCE))
    }

    /// Makes an image of a container; it inherits the container's labels (`POST /commit`). The container is not
    /// paused meanwhile: a paused one can't end, so it would outlive us.
    ///
    /// # Errors
    /// Those of the request.
    pub fn commit(
        &self,
        container: &str,
        repo: &str,
        tag: &str,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let doing = format!("committing the builder image {repo}:{tag}");
        let path = format!("/commit?container={container}&repo={repo}&tag={tag}&pause=0");
        self.call(&doing, "POST", &path, Some(json!({})), deadline)
            .map(drop)
    }

    /// Takes a name from an image, which removes it with its last name; an id removes it at once
    /// (`DELETE /images/{name}`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn remove_image(&self, name: &str) -> Result<(), Error> {
        let doing = format!("removing the image {name}");
        let path = format!("/images/{}", encode(name));
        found(self.call(&doing, "DELETE", &path, None, Deadline::after(PATIENCE))).map(drop)
    }

    /// Prepares an exec from an `ExecConfig` and gives its id (`POST /containers/{id}/exec`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn create_exec(
        &self,
        doing: &str,
        container: &str,
        config: Value,
        deadline: Deadline,
    ) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
        }
        let path = format!("/containers/{container}/exec");
        let created: Created = self.ask(doing, "POST", &path, Some(config), deadline)?;
        Ok(created.id)
    }

    /// Starts an exec and gives its output (`POST /exec/{id}/start`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn start_exec(
        &self,
        doing: &str,
        id: &str,
        deadline: Deadline,
    ) -> Result<Frames<ureq::BodyReader<'static>>, Error> {
        let path = format!("/exec/{id}/start");
        let body = json!({"Detach": false, "Tty": false});
        let answer = self.call(doing, "POST", &path, Some(body), deadline)?;
        Ok(Frames::new(answer.into_body().into_reader()))
    }

    /// The exit code of an exec whose output has ended (`GET /exec/{id}/json`).
    ///
    /// Its process may be there still: the engine closes the stream a moment before it has the exit code, and a
    /// process may close its output itself. Then the `exec_die` event is awaited (`GET /events`; `since` makes
    /// the engine replay the ones that it has seen, so none is missed).
    ///
    /// # Errors
    /// Those of the requests; the end of the container.
    pub fn exec_exit_code(
        &self,
        doing: &str,
        container: &str,
        id: &str,
        deadline: Deadline,
    ) -> Result<i64, Error> {
        let inspect = || -> Result<Option<i64>, Error> {
            let path = format!("/exec/{id}/json");
            let status: ExecStatus = self.ask(doing, "GET", &path, None, deadline)?;
            Ok(status.exit_code.filter(|_| !status.running))
        };
        if let Some(code) = inspect()? {
            return Ok(code);
        }
        let filters = json!({"container": [container], "event": ["exec_die", "die"]}).to_string();
        let path = format!("/events?since=0&filters={}", encode(&filters));
        let answer = self.call(doing, "GET", &path, None, deadline)?;
        let stream = BufReader::with_capacity(4096, answer.into_body().into_reader());
        for event in Deserializer::from_reader(stream).into_iter::<Value>() {
            let event = event.map_err(|error| broken_stream(doing, &error))?;
            if event["Action"] == "die" || event["Actor"]["Attributes"]["execID"] == id {
                break;
            }
        }
        inspect()?.ok_or_else(|| Error::NoAnswer {
            doing: doing.to_owned(),
            reason: "the container ended before the command did".to_owned(),
        })
    }
}

/// `None` for a 404.
fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) if error.is_status(404) => Ok(None),
        answer => answer.map(Some),
    }
}

fn no_answer(doing: &str, error: ureq::Error) -> Error {
    Error::NoAnswer {
        doing: doing.to_owned(),
        reason: match error {
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            error => error.to_string(),
        },
    }
}

fn broken_stream(doing: &str, error: &serde_json::Error) -> Error {
    Error::NoAnswer {
        doing: doing.to_owned(),
        reason: format!("the engine's stream of messages broke: {error}"),
    }
}

fn json<T: DeserializeOwned>(doing: &str, answer: Response<Body>) -> Result<T, Error> {
    let text = http::read(answer, MAX_ANSWER).map_err(|error| no_answer(doing, error))?;
    serde_json::from_slice(&text).map_err(|error| {
        Error::unusable(
            doing,
            format!("the engine's answer makes no sense: {error}"),
        )
    })
}

/// `name[:tag]` or `name@digest` as the two parameters of a pull. Without a tag the engine would pull them all.
fn split_reference(reference: &str) -> (&str, &str) {
    if let Some(parts) = reference.split_once('@') {
        return parts;
    }
    match reference.rsplit_once(':') {
        // What follows the colon of a registry's port has a slash.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ApiVersion(u32, u32);

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[derive(Deserialize)]
struct Versions {
    #[serde(rename = "ApiVersion")]
    newest: String,
    #[serde(rename = "MinAPIVersion", default)]
    oldest: String,
}

impl Versions {
    fn agree(&self, doing: &str) -> Result<ApiVersion, Error> {
        let parse = |text: &str| -> Option<ApiVersion> {
            let (major, minor) = text.split_once('.')?;
            Some(ApiVersion(major.parse().ok()?, minor.parse().ok()?))
        };
        let newest = parse(&self.newest)
            .ok_or_else(|| Error::unusable(doing, format!("no API version: {:?}", self.newest)))?;
        let oldest = parse(&self.oldest).unwrap_or(OLDEST_API);
        if newest < OLDEST_API || oldest > NEWEST_API {
            return Err(Error::unusable(
                doing,
                format!(
                    "it speaks API {oldest} to {newest}, this program {OLDEST_API} to {NEWEST_API}"
                ),
            ));
        }
        Ok(newest.min(NEWEST_API))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_split_into_name_and_tag() {
        for (reference, name, tag) in [
            ("archlinux", "archlinux", "latest"),
            ("archlinux:base", "archlinux", "base"),
            (
                "127.0.0.1:5005/library/archlinux",
                "127.0.0.1:5005/library/archlinux",
                "latest",
            ),
            (
                "127.0.0.1:5005/library/archlinux:a",
                "127.0.0.1:5005/library/archlinux",
                "a",
            ),
            ("archlinux@sha256:0123", "archlinux", "sha256:0123"),
        ] {
            assert_eq!(split_reference(reference), (name, tag));
        }
    }

    #[test]
    fn the_highest_common_api_version_is_used() {
        let agree = |newest: &str, oldest: &str| {
            let versions = Versions {
                newest: newest.to_owned(),
                oldest: oldest.to_owned(),
            };
            versions.agree("asking").map(|version| version.to_string())
        };
        assert_eq!(agree("1.41", "1.12").unwrap(), "1.41");
        assert_eq!(agree("1.47", "1.24").unwrap(), "1.47");
        assert_eq!(agree("1.99", "1.44").unwrap(), "1.52");
        assert!(agree("1.40", "1.12").is_err());
        assert!(agree("2.10", "2.0").is_err());
        assert!(agree("latest", "").is_err());
        assert_eq!(agree("1.41", "").unwrap(), "1.41");
    }
}
