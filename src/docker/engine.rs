//! The Docker Engine API: one method an endpoint, <https://docs.docker.com/reference/api/engine/>.

use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Deserializer, Value, json};
use ureq::{Body, BodyReader};

use super::{Frames, socket};
use crate::error::{Error, Kind};
use crate::http::{Answer, Client, Deadline, encode};
use crate::output::one_line;

/// The API versions that this program speaks: Engine 20.10's, up to the newest that it was written with.
/// The highest that both sides know is used, as engines drop old versions (29 refuses all below 1.44).
const OLDEST_API: (u32, u32) = (1, 41);
const NEWEST_API: (u32, u32) = (1, 52);

/// The label that every container and image of ours bears; its value names the run.
pub const RUN_LABEL: &str = "vieter.run";

/// How long an engine may take for an answer that needs no work.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `unix:///path/to/the.sock`
    Unix(PathBuf),
    /// `tcp://host:port`, without TLS: a filtering proxy in front of the engine, as a rule.
    Tcp(String),
}

/// A connection to an engine, with the API version agreed upon.
pub struct Engine(Client);

/// What an exec prints.
pub type Output = Frames<BodyReader<'static>>;

/// A container or an image that the engine tells of.
#[derive(Debug)]
pub struct Found {
    pub id: String,
    /// The run that made it, if we did.
    pub run: Option<String>,
    /// Whether a container's first process runs (or is paused).
    pub is_running: bool,
    /// An image's names.
    pub tags: Vec<String>,
}

impl Engine {
    /// Asks the engine for the API versions that it speaks and picks the highest that we speak too
    /// (`GET /version`).
    ///
    /// # Errors
    /// No answer, or no version in common.
    pub fn open(host: &Host) -> Result<Engine, Error> {
        let config = Client::config().proxy(None).build();
        let (agent, base, name) = match host {
            Host::Unix(path) => (
                socket::agent(path, config),
                "http://engine".to_owned(),
                path.display().to_string(),
            ),
            Host::Tcp(it) => (config.new_agent(), format!("http://{it}"), it.clone()),
        };
        let (name, secret) = (format!("the engine at {name}"), String::new());
        let mut engine = Engine(Client {
            agent,
            base,
            name,
            secret,
        });
        let advice = "does it run, may this user open it? see --docker-host and DOCKER_HOST";
        let answer = engine.ask("GET /version");
        let answer = answer.map_err(|error| error.advise(advice))?;
        let (newest, oldest) = (&answer["ApiVersion"], &answer["MinAPIVersion"]);
        let (major, minor) = agree(newest.as_str(), oldest.as_str())
            .map_err(|why| Error::unusable(&engine.0.name, why))?;
        let own = one_line(answer["Version"].as_str().unwrap_or("unknown"), 50);
        engine.0.name += &format!(" (version {own}, API {major}.{minor})");
        engine.0.base += &format!("/v{major}.{minor}");
        Ok(engine)
    }

    /// Which engine this is, for messages.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Sends a request, with JSON unless `body` is null. The statuses below 400 are success.
    fn call(&self, request: &str, body: Value, deadline: Deadline) -> Result<Answer, Error> {
        let json = [("Content-Type", "application/json")];
        let answer = match body {
            Value::Null if request.starts_with("POST") => self.0.send(request, &[], "", deadline),
            Value::Null => self.0.send(request, &[], (), deadline),
            body => self.0.send(request, &json, body.to_string(), deadline),
        }?;
        match answer.status() {
            400.. => Err(answer.refused()),
            _ => Ok(answer),
        }
    }

    /// As [`Engine::call`], for an answer that needs no work; reads its JSON, null if there is none.
    fn ask(&self, request: &str) -> Result<Value, Error> {
        self.ask_with(request, Value::Null)
    }

    fn ask_with(&self, request: &str, body: Value) -> Result<Value, Error> {
        let text = self
            .call(request, body, Deadline::after(PATIENCE))?
            .read()?;
        let text = if text.is_empty() { b"null" } else { &text[..] };
        serde_json::from_slice(text).map_err(|error| makes_no_sense(request, error))
    }

    /// The engine's architecture in `uname -m`'s words (`GET /info`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn architecture(&self) -> Result<String, Error> {
        let info = self.ask("GET /info")?;
        text("GET /info", &info, "Architecture").map(str::to_owned)
    }

    /// Pulls one image, its progress to the log (`POST /images/create`).
    ///
    /// # Errors
    /// Those of the request, and a failure told inside the stream, after the 200.
    pub fn pull(&self, reference: &str, deadline: Deadline) -> Result<(), Error> {
        let (name, tag) = split_reference(reference);
        let (name, tag) = (encode(name), encode(tag));
        let request = format!("POST /images/create?fromImage={name}&tag={tag}");
        for message in self.stream(&request, deadline)? {
            let message = message?;
            // The second is the older one's.
            let errors = [&message["errorDetail"]["message"], &message["error"]];
            if let Some(error) = errors.into_iter().find_map(Value::as_str) {
                return Err(Error::unusable(&request, one_line(error, 500)));
            }
            // The others are a progress bar, and come with every few kilobytes.
            if message["progressDetail"]["current"].is_null() {
                let words =
                    [&message["id"], &message["status"]].map(|it| it.as_str().unwrap_or(""));
                log::info!("pulling {reference}: {}", one_line(&words.join(" "), 200));
            }
        }
        Ok(())
    }

    /// The messages of an answer that is a stream of them.
    fn stream(
        &self,
        request: &str,
        deadline: Deadline,
    ) -> Result<impl Iterator<Item = Result<Value, Error>>, Error> {
        let answer = self.call(request, Value::Null, deadline)?;
        let reader = BufReader::with_capacity(4096, answer.response.into_body().into_reader());
        let messages = Deserializer::from_reader(reader).into_iter();
        Ok(messages.map(move |message| {
            let broke = |error| format!("{request}: the stream of messages broke: {error}");
            message.map_err(|error| Error::new(Kind::NoAnswer, broke(error)))
        }))
    }

    /// Whether the engine has this image (`GET /images/{name}/json`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn has_image(&self, reference: &str) -> Result<bool, Error> {
        let request = format!("GET /images/{}/json", encode(reference));
        unless(404, self.ask(&request)).map(|found| found.is_some())
    }

    /// Creates a container from a `ContainerConfig` and gives its id (`POST /containers/create`).
    ///
    /// # Errors
    /// Those of the request; status 409 when the name is taken.
    pub fn create_container(&self, name: Option<&str>, config: Value) -> Result<String, Error> {
        let query = name.map_or(String::new(), |name| format!("?name={}", encode(name)));
        let request = format!("POST /containers/create{query}");
        let created = self.ask_with(&request, config)?;
        text(&request, &created, "Id").map(str::to_owned)
    }

    /// Opens a container's standard input: it stays open as long as the body that this gives is kept
    /// (`POST /containers/{id}/attach`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn attach_stdin(&self, id: &str) -> Result<Body, Error> {
        let request = format!("POST /containers/{id}/attach?stream=1&stdin=1");
        let answer = self.call(&request, Value::Null, Deadline::after(PATIENCE))?;
        Ok(answer.response.into_body())
    }

    /// Starts a container (`POST /containers/{id}/start`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn start_container(&self, id: &str) -> Result<(), Error> {
        let request = format!("POST /containers/{id}/start");
        self.ask(&request).map(drop)
    }

    /// What a container is doing, `None` if there is none of that name (`GET /containers/{id}/json`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn inspect_container(&self, name: &str) -> Result<Option<Found>, Error> {
        let request = format!("GET /containers/{name}/json");
        let found = unless(404, self.ask(&request))?;
        let found = found.map(|it| Found::new(&it, &it["Config"]["Labels"]));
        found.transpose()
    }

    /// Kills and removes a container; waits if it is being removed already, and is content if it is gone
    /// (`DELETE /containers/{id}`).
    ///
    /// # Errors
    /// Those of the request, except 404 and 409.
    pub fn remove_container(&self, id: &str) -> Result<(), Error> {
        let request = format!("DELETE /containers/{id}?force=1&v=1");
        let removed = unless(404, self.ask(&request)).map(drop);
        match unless(409, removed)? {
            None => self.wait_removed(id, Deadline::after(PATIENCE)),
            Some(()) => Ok(()),
        }
    }

    /// Waits until a container is gone (`POST /containers/{id}/wait`).
    ///
    /// # Errors
    /// Those of the request, except 404; no answer when `deadline` passes first.
    pub fn wait_removed(&self, id: &str, deadline: Deadline) -> Result<(), Error> {
        let request = format!("POST /containers/{id}/wait?condition=removed");
        match unless(404, self.call(&request, Value::Null, deadline))? {
            Some(answer) => answer.read().map(drop),
            None => Ok(()),
        }
    }

    /// What bears our label: `containers/json?all=1` or `images/json?all=0`.
    ///
    /// # Errors
    /// Those of the request.
    pub fn ours(&self, kind: &str) -> Result<Vec<Found>, Error> {
        let label = filters(&json!({"label": [RUN_LABEL]}));
        let request = format!("GET /{kind}&filters={label}");
        let list = self.ask(&request)?;
        let items = list
            .as_array()
            .ok_or_else(|| makes_no_sense(&request, "no list"))?;
        items
            .iter()
            .map(|it| Found::new(it, &it["Labels"]))
            .collect()
    }

    /// Makes an image of a container; it inherits the container's labels (`POST /commit`). The container is not
    /// paused meanwhile: a paused one can't end, so it would outlive us.
    ///
    /// # Errors
    /// Those of the request.
    pub fn commit(&self, id: &str, repo: &str, tag: &str, deadline: Deadline) -> Result<(), Error> {
        let request = format!("POST /commit?container={id}&repo={repo}&tag={tag}&pause=0");
        self.call(&request, json!({}), deadline).map(drop)
    }

    /// Takes a name from an image, which removes it with its last name; an id removes it at once. Its parents
    /// stay, nameless or not: they aren't ours (`DELETE /images/{name}`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn remove_image(&self, name: &str) -> Result<(), Error> {
        let request = format!("DELETE /images/{}?noprune=1", encode(name));
        unless(404, self.ask(&request)).map(drop)
    }

    /// Prepares an exec from an `ExecConfig` and starts it: its id and its output
    /// (`POST /containers/{id}/exec`, `POST /exec/{id}/start`).
    ///
    /// # Errors
    /// Those of the requests.
    pub fn exec(
        &self,
        container: &str,
        config: Value,
        deadline: Deadline,
    ) -> Result<(String, Output), Error> {
        let request = format!("POST /containers/{container}/exec");
        let created = self.ask_with(&request, config)?;
        let id = text(&request, &created, "Id")?.to_owned();
        let start = json!({"Detach": false, "Tty": false});
        let answer = self.call(&format!("POST /exec/{id}/start"), start, deadline)?;
        Ok((id, Frames::new(answer.response.into_body().into_reader())))
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
        container: &str,
        id: &str,
        deadline: Deadline,
    ) -> Result<i64, Error> {
        let inspect = || self.ask(&format!("GET /exec/{id}/json"));
        let mut exec = inspect()?;
        if exec["Running"] == true {
            let ends = filters(&json!({"container": [container], "event": ["exec_die", "die"]}));
            for event in self.stream(&format!("GET /events?since=0&filters={ends}"), deadline)? {
                let event = event?;
                if event["Action"] == "die" || event["Actor"]["Attributes"]["execID"] == id {
                    break;
                }
            }
            exec = inspect()?;
        }
        let code = exec["ExitCode"]
            .as_i64()
            .filter(|_| exec["Running"] == false);
        code.ok_or_else(|| Error::new(Kind::NoAnswer, "the container ended before the command did"))
    }
}

impl Found {
    fn new(it: &Value, labels: &Value) -> Result<Found, Error> {
        let tags = it["RepoTags"].as_array().into_iter().flatten();
        let tags = tags.filter_map(|tag| tag.as_str().map(str::to_owned));
        Ok(Found {
            id: text("looking for containers and images", it, "Id")?.to_owned(),
            run: labels[RUN_LABEL].as_str().map(str::to_owned),
            is_running: it["State"]["Running"] == true,
            // An image that has lost its names is called `<none>:<none>`.
            tags: tags.filter(|tag| !tag.starts_with("<none>")).collect(),
        })
    }
}

/// `None` for an answer of this status.
fn unless<T>(status: u16, answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) if error.kind == Kind::Status(status) => Ok(None),
        answer => answer.map(Some),
    }
}

fn filters(filters: &Value) -> String {
    encode(&filters.to_string())
}

fn makes_no_sense(request: &str, why: impl std::fmt::Display) -> Error {
    Error::unusable(
        request,
        format!("the engine's answer makes no sense: {why}"),
    )
}

/// A text that an answer has to have.
fn text<'a>(request: &str, answer: &'a Value, key: &str) -> Result<&'a str, Error> {
    let found = answer[key].as_str();
    found.ok_or_else(|| makes_no_sense(request, format!("it has no {key}")))
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

/// The highest version that both sides know.
fn agree(newest: Option<&str>, oldest: Option<&str>) -> Result<(u32, u32), String> {
    let parse = |text: &str| -> Option<(u32, u32)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let (theirs, least) = (newest.and_then(parse), oldest.and_then(parse));
    match theirs.filter(|it| *it >= OLDEST_API && least.is_none_or(|least| least <= NEWEST_API)) {
        Some(theirs) => Ok(theirs.min(NEWEST_API)),
        None => {
            let (newest, oldest) = (newest.unwrap_or("?"), oldest.unwrap_or("?"));
            Err(format!(
                "it speaks API {oldest} to {newest}, this program 1.41 to 1.52"
            ))
        }
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
            super::agree(Some(newest), Some(oldest)).map(|it| format!("{}.{}", it.0, it.1))
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
