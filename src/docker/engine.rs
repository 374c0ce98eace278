//! The requests of the Docker Engine API, one method an endpoint: <https://docs.docker.com/reference/api/engine/>.
//! Each takes the moment at which what it is for is given up, if it isn't our own. Not here: the JSON (`types`).

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use ureq::http::Method;
use ureq::{BodyReader, SendBody};

use super::types::*;
use super::{Frames, socket};
use crate::error::{Error, Kind, Result};
use crate::http::{Answer, Client, Deadline, encode};
use crate::text::one_line;
use crate::words::Arch;

/// The API versions that this program speaks: Engine 20.10's, up to the newest that it was written with.
/// The highest that both sides know is used, as engines drop old versions (29 refuses all below 1.44).
const OLDEST_API: &str = "1.41";
const NEWEST_API: &str = "1.52";

/// How long an engine may take for an answer that needs no work, if there is that much time at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// The filter that finds what bears our label.
const OURS: (&str, &[&str]) = ("label", &[RUN_LABEL]);

/// Where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `unix:///path/to/the.sock`
    Unix(PathBuf),
    /// `tcp://host:port`, without TLS: a filtering proxy in front of the engine, as a rule.
    Tcp(String),
}

/// An engine that has answered, and the API version agreed upon.
pub struct Engine {
    http: Client,
    is_direct: bool,
}

/// What an exec prints.
pub type Output = Frames<BodyReader<'static>>;

impl Engine {
    /// Asks the engine for the API versions that it speaks and picks the highest that we speak too
    /// (`GET /version`).
    ///
    /// # Errors
    /// No answer, or no version in common.
    pub fn open(host: &Host) -> Result<Engine> {
        let (unversioned, is_direct) = (client(host), matches!(host, Host::Unix(_)));
        let soon = Deadline::after(PATIENCE);
        let answer = succeeded(unversioned.send(Method::GET, "/version", &[], (), soon));
        let advice = "does it run, may this user open it? see --docker-host and DOCKER_HOST";
        let version: Version = answer.map_err(|error| error.advise(advice))?.json()?;
        let api = agree(&version).map_err(|why| Error::unusable(&unversioned.name, why))?;
        let own = one_line(version.version.as_deref().unwrap_or("unknown"), 50);
        let name = format!("{} (version {own}, API {api})", unversioned.name);
        let base = format!("{}/v{api}", unversioned.base);
        let http = Client {
            base,
            name,
            ..unversioned
        };
        Ok(Engine { http, is_direct })
    }

    /// Which engine this is, for messages.
    pub fn name(&self) -> &str {
        &self.http.name
    }

    /// Whether nothing stands between us and the engine, so that it sees us go. Not all proxies pass that on.
    pub fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// The engine's architecture (`GET /info`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn architecture(&self) -> Result<Arch> {
        let info: Info = self.get("/info", Deadline::after(PATIENCE))?.json()?;
        Arch::of_machine(&info.architecture)
    }

    /// Pulls one image, its progress to the log (`POST /images/create`).
    ///
    /// # Errors
    /// Those of the request, and a failure told inside the stream, after the 200.
    pub fn pull(&self, image: &ImageRef, by: Deadline) -> Result<()> {
        let (name, tag) = (encode(image.name()), encode(image.tag()));
        let path = format!("/images/create?fromImage={name}&tag={tag}");
        for message in self.post(&path, by)?.messages() {
            let message: PullMessage = message?;
            let failure = message.error_detail.and_then(|it| it.message);
            if let Some(failure) = failure.or(message.error) {
                return Err(Error::unusable(
                    format!("POST {path}"),
                    one_line(&failure, 500),
                ));
            }
            if message.progress.is_none() {
                let words = format!("{} {}", message.id, message.status);
                log::info!("pulling {image}: {}", one_line(&words, 200));
            }
        }
        Ok(())
    }

    /// Whether the engine has this image (`GET /images/{name}/json`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn has_image(&self, image: &ImageRef) -> Result<bool> {
        let path = format!("/images/{}/json", encode(&image.to_string()));
        let answer = unless(404, self.get(&path, Deadline::after(PATIENCE)))?;
        Ok(answer.is_some())
    }

    /// Creates a container and gives its id (`POST /containers/create`).
    ///
    /// # Errors
    /// Those of the request; status 409 when the name is taken.
    pub fn create_container(
        &self,
        name: Option<&str>,
        config: &ContainerConfig,
        by: Deadline,
    ) -> Result<String> {
        let query = name.map_or(String::new(), |name| format!("?name={}", encode(name)));
        self.create(&format!("/containers/create{query}"), config, by)
    }

    /// Opens a container's standard input: it stays open as long as what this gives is kept
    /// (`POST /containers/{id}/attach`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn attach_stdin(&self, id: &str, by: Deadline) -> Result<Answer> {
        let path = format!("/containers/{id}/attach?stream=1&stdin=1");
        self.post(&path, by.within(PATIENCE))
    }

    /// Starts a container (`POST /containers/{id}/start`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn start_container(&self, id: &str, by: Deadline) -> Result<()> {
        let path = format!("/containers/{id}/start");
        self.post(&path, by.within(PATIENCE))?.read().map(drop)
    }

    /// What a container is doing, by its name or its id; `None` if there is none (`GET /containers/{id}/json`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn inspect_container(&self, name: &str, by: Deadline) -> Result<Option<ContainerInspect>> {
        let answer = self.get(&format!("/containers/{name}/json"), by);
        unless(404, answer.and_then(Answer::json))
    }

    /// Kills and removes a container with its anonymous volumes; waits if it is being removed already, and is content
    /// if it is gone (`DELETE /containers/{id}`).
    ///
    /// # Errors
    /// Those of the request, except 404 and 409.
    pub fn remove_container(&self, id: &str) -> Result<()> {
        let removed = self.delete(&format!("/containers/{id}?force=1&v=1"));
        match unless(409, removed)? {
            None => self.wait_removed(id, Deadline::after(PATIENCE)),
            Some(()) => Ok(()),
        }
    }

    /// Waits until a container is gone (`POST /containers/{id}/wait`).
    ///
    /// # Errors
    /// Those of the request, except 404; no answer when `by` passes first.
    pub fn wait_removed(&self, id: &str, by: Deadline) -> Result<()> {
        let path = format!("/containers/{id}/wait?condition=removed");
        let answer = unless(404, self.post(&path, by))?;
        answer.map_or(Ok(()), |answer| answer.read().map(drop))
    }

    /// The containers that bear our label, running or not (`GET /containers/json`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn labelled_containers(&self) -> Result<Vec<ContainerSummary>> {
        let path = format!("/containers/json?all=1&filters={}", filters([OURS]));
        self.get(&path, Deadline::after(PATIENCE))?.json()
    }

    /// The images that bear our label, those that are only parents of others apart (`GET /images/json`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn labelled_images(&self) -> Result<Vec<ImageSummary>> {
        let path = format!("/images/json?all=0&filters={}", filters([OURS]));
        self.get(&path, Deadline::after(PATIENCE))?.json()
    }

    /// Makes an image of a container; it inherits the container's labels (`POST /commit`). The container is not
    /// paused meanwhile: a paused one can't end, so it would outlive us.
    ///
    /// # Errors
    /// Those of the request.
    pub fn commit(&self, id: &str, image: &ImageRef, by: Deadline) -> Result<()> {
        let (name, tag) = (encode(image.name()), encode(image.tag()));
        let path = format!("/commit?container={id}&repo={name}&tag={tag}&pause=0");
        let answer = self.post_json(&path, &CommitConfig {}, by)?;
        answer.read().map(drop)
    }

    /// Takes a name from an image, which removes it with its last name; an id removes it at once. Its parents
    /// stay, nameless or not: they aren't ours (`DELETE /images/{name}`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn remove_image(&self, name: &str) -> Result<()> {
        self.delete(&format!("/images/{}?noprune=1", encode(name)))
    }

    /// A folder of a container's, or a file, as a tar stream (`GET /containers/{id}/archive`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn get_archive(&self, id: &str, path: &str, by: Deadline) -> Result<BodyReader<'static>> {
        let path = format!("/containers/{id}/archive?path={}", encode(path));
        let answer = self.http.send(Method::GET, &path, &[], (), by);
        Ok(succeeded(answer)?.into_reader())
    }

    /// Unpacks a tar stream into a folder of a container's (`PUT /containers/{id}/archive`).
    ///
    /// # Errors
    /// Those of the request and of the stream.
    pub fn put_archive(
        &self,
        id: &str,
        path: &str,
        tar: &mut dyn Read,
        by: Deadline,
    ) -> Result<()> {
        let path = format!("/containers/{id}/archive?path={}", encode(path));
        let (headers, body) = (
            [("Content-Type", "application/x-tar")],
            SendBody::from_reader(tar),
        );
        let answer = self.http.send(Method::PUT, &path, &headers, body, by);
        succeeded(answer)?.read().map(drop)
    }

    /// Prepares an exec in a container, and gives the exec's id (`POST /containers/{id}/exec`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn create_exec(&self, id: &str, config: &ExecConfig, by: Deadline) -> Result<String> {
        self.create(&format!("/containers/{id}/exec"), config, by)
    }

    /// Starts an exec, and gives what it prints (`POST /exec/{id}/start`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn start_exec(&self, id: &str, by: Deadline) -> Result<Output> {
        let (detach, tty) = (false, false);
        let path = format!("/exec/{id}/start");
        let answer = self.post_json(&path, &ExecStart { detach, tty }, by)?;
        Ok(Frames::new(answer.into_reader()))
    }

    /// The exit code of an exec whose output has ended (`GET /exec/{id}/json`).
    ///
    /// Its process may be there still: the engine closes the stream a moment before it has the exit code, and a
    /// process may close its output itself. Then the `exec_die` event is awaited (`GET /events`; `since` makes
    /// the engine replay the ones that it has seen, so none is missed).
    ///
    /// # Errors
    /// Those of the requests; the end of the container.
    pub fn exec_exit_code(&self, container: &str, id: &str, by: Deadline) -> Result<i64> {
        let path = format!("/exec/{id}/json");
        let mut exec: ExecInspect = self.get(&path, by)?.json()?;
        if exec.running {
            let of_container: (&str, &[&str]) = ("container", &[container]);
            let ends = filters([of_container, ("event", &["exec_die", "die"])]);
            let events = format!("/events?since=0&filters={ends}");
            let no_body = self.http.send(Method::GET, &events, &[], (), by);
            for event in succeeded(no_body)?.messages() {
                let Event { action, actor } = event?;
                if action == "die" || actor.attributes.exec_id.as_deref() == Some(id) {
                    break;
                }
            }
            exec = self.get(&path, by)?.json()?;
        }
        let code = exec.exit_code.filter(|_| !exec.running);
        code.ok_or_else(|| Error::new(Kind::NoAnswer, "the container ended before the command did"))
    }

    /// A `GET` that needs no work.
    fn get(&self, path: &str, by: Deadline) -> Result<Answer> {
        let by = by.within(PATIENCE);
        succeeded(self.http.send(Method::GET, path, &[], (), by))
    }

    /// A `POST` of nothing.
    fn post(&self, path: &str, by: Deadline) -> Result<Answer> {
        succeeded(self.http.send(Method::POST, path, &[], "", by))
    }

    /// A `POST` of what is to be created; gives its id.
    fn create(&self, path: &str, config: &impl Serialize, by: Deadline) -> Result<String> {
        let answer = self.post_json(path, config, by.within(PATIENCE))?;
        Ok(answer.json::<Created>()?.id)
    }

    /// A `POST` of JSON.
    fn post_json(&self, path: &str, body: &impl Serialize, by: Deadline) -> Result<Answer> {
        let json = serde_json::to_string(body).map_err(|error| Error::unusable(path, error))?;
        let headers = [("Content-Type", "application/json")];
        succeeded(self.http.send(Method::POST, path, &headers, json, by))
    }

    /// A `DELETE`, content with a 404: what is to go has gone.
    fn delete(&self, path: &str) -> Result<()> {
        let soon = Deadline::after(PATIENCE);
        let removed = succeeded(self.http.send(Method::DELETE, path, &[], (), soon));
        unless(404, removed.and_then(Answer::read)).map(drop)
    }
}

/// A client of the engine, before anybody knows which versions of the API it speaks.
fn client(host: &Host) -> Client {
    let config = Client::config().proxy(None).build();
    let (agent, base, address) = match host {
        Host::Unix(path) => {
            let base = "http://engine".to_owned();
            (
                socket::agent(path, config),
                base,
                path.display().to_string(),
            )
        }
        Host::Tcp(address) => (
            config.new_agent(),
            format!("http://{address}"),
            address.clone(),
        ),
    };
    let (name, secret) = (format!("the engine at {address}"), String::new());
    Client {
        agent,
        base,
        name,
        secret,
    }
}

/// The statuses below 400 are success.
fn succeeded(answer: Result<Answer>) -> Result<Answer> {
    match answer {
        Ok(answer) if answer.status() >= 400 => Err(answer.refused()),
        answer => answer,
    }
}

/// `None` for an answer of this status.
fn unless<T>(status: u16, answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.kind == Kind::Status(status) => Ok(None),
        answer => answer.map(Some),
    }
}

/// Filters as a value of a query.
fn filters<const N: usize>(filters: [(&str, &[&str]); N]) -> String {
    let filters: Filters = filters.into();
    // A map of texts can always be written.
    encode(&serde_json::to_string(&filters).unwrap_or_default())
}

/// The highest API version that both sides know.
fn agree(engine: &Version) -> std::result::Result<&str, String> {
    let newest = engine.api_version.as_deref().unwrap_or("?");
    let oldest = engine.min_api_version.as_deref().unwrap_or("?");
    // What doesn't say its oldest is taken to speak all.
    let has_dropped_ours = api_version(oldest).is_some_and(|it| Some(it) > api_version(NEWEST_API));
    if has_dropped_ours || api_version(newest) < api_version(OLDEST_API) {
        let ours = format!("{OLDEST_API} to {NEWEST_API}");
        return Err(format!(
            "it speaks API {oldest} to {newest}, this program {ours}"
        ));
    }
    let is_older = api_version(newest) < api_version(NEWEST_API);
    Ok(if is_older { newest } else { NEWEST_API })
}

/// A version of the API by its two numbers; what is none is less than any.
fn api_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_api_version_is_used() {
        let agree = |newest: &str, oldest: &str| {
            super::agree(&Version {
                api_version: Some(newest.to_owned()),
                min_api_version: Some(oldest.to_owned()),
                version: None,
            })
            .map(str::to_owned)
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
