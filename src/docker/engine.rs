//! The requests of the Docker Engine API, one method an endpoint: <https://docs.docker.com/reference/api/engine/>.
//! Each takes the moment at which what it is for is given up, if it isn't our own. Not here: the JSON (`types`), and how
//! an engine is reached (`host`).

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Method;
use ureq::{AsSendBody, BodyReader, SendBody};

use super::Frames;
use super::host::{Host, agree};
use super::types::*;
use crate::error::{Error, Kind, Result};
use crate::http::{Answer, Client, Deadline, encode};
use crate::screen;
use crate::text::one_line;
use crate::words::Arch;

/// How long an engine may take for an answer that needs no work, if there is that much time at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// The same after a request that got no answer: all that is left to know is whether the engine is there at all.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// An engine that was given at least this and says nothing doesn't answer; with less, it is our time that was up.
const SILENCE: Duration = Duration::from_secs(30);

/// The first pause before an exec's exit code is asked for again, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// The filter that finds what bears our label.
const OURS: (&str, &[&str]) = ("label", &[RUN_LABEL]);

/// An engine that has answered, and the API version agreed upon.
pub struct Engine {
    http: Client,
    /// Whether nothing stands between us and the engine, so that it sees us go. Not all proxies pass that on.
    pub is_direct: bool,
    is_silent: AtomicBool,
}

/// What an exec prints.
pub type Output = Frames<BodyReader<'static>>;

impl Engine {
    /// The first of these engines that answers, and can be used.
    ///
    /// # Errors
    /// None does: what each said.
    pub fn find(hosts: &[Host]) -> Result<Engine> {
        let mut said = vec![];
        for host in hosts {
            match Engine::open(host) {
                Ok(engine) => {
                    said.iter().for_each(|it| log::info!("passed over: {it}"));
                    return Ok(engine);
                }
                Err(error) if hosts.len() == 1 => return Err(error),
                Err(error) => said.push(error.to_string()),
            }
        }
        let none = format!("no engine can be used: {}", said.join("; "));
        Err(Error::new(Kind::NoAnswer, none))
    }

    /// Asks the engine for the API versions that it speaks and picks the highest that we speak too
    /// (`GET /version`).
    ///
    /// # Errors
    /// No answer, or no version in common.
    pub fn open(host: &Host) -> Result<Engine> {
        let client = host.client();
        let soon = Deadline::after(PATIENCE);
        let answer = succeeded(client.send(Method::GET, "/version", &[], (), soon));
        let advice = "does it run, is this user in the group docker, or whichever owns the socket? see --docker-host and DOCKER_HOST";
        let advised = |error: Error| match error.kind {
            Kind::NoAnswer => error.advise(advice),
            _ => error,
        };
        let version: Version = answer.map_err(advised)?.json()?;
        let api = agree(&version).map_err(|why| Error::unusable(&client.name, why))?;
        let own = version.own_version();
        let name = format!("{} (version {own}, API {api})", client.name);
        let base = format!("{}/v{api}", client.base);
        Ok(Engine {
            http: Client::new(client.agent, base, name),
            is_direct: matches!(host, Host::Unix(_)),
            is_silent: AtomicBool::new(false),
        })
    }

    /// Which engine this is, for messages.
    pub fn name(&self) -> &str {
        &self.http.name
    }

    /// Whether the last request got no answer, though it had time. Cleaning up is for an engine that answers, or each request of it would be
    /// waited for.
    pub fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// The engine's architecture (`GET /info`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn architecture(&self) -> Result<Arch> {
        let info: Info = self.get("/info", Deadline::after(PATIENCE))?;
        Arch::of_machine(&info.architecture)
    }

    /// Pulls one image, its progress to the log (`POST /images/create`).
    ///
    /// # Errors
    /// Those of the request, and a failure told inside the stream, after the 200.
    pub fn pull(&self, image: &ImageRef, by: Deadline) -> Result<()> {
        let (name, tag) = (encode(image.name()), encode(image.tag()));
        let path = format!("/images/create?fromImage={name}&tag={tag}");
        screen::doing(&format!("pulling {image}"));
        for message in self.post(&path, by)?.messages() {
            let message: PullMessage = message?;
            if let Some(failed) = &message.error_detail {
                return Err(failed.told(&path));
            }
            let words = format!("{} {}", message.id, message.status);
            match message.progress() {
                Some(far) => screen::said(&one_line(&format!("{words} {far}"), 200)),
                None => log::info!("pulling {image}: {}", one_line(&words, 200)),
            }
        }
        Ok(())
    }

    /// What an image is; `None` if the engine has no such image (`GET /images/{name}/json`).
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn image(&self, name: &str) -> Result<Option<ImageInspect>> {
        let path = format!("/images/{}/json", encode(name));
        unless(404, self.get(&path, Deadline::after(PATIENCE)))
    }

    /// The id of an image that has to be there.
    ///
    /// # Errors
    /// That it isn't; those of the request.
    pub fn image_id(&self, name: &str) -> Result<String> {
        let image = self.image(name)?;
        let none = || Error::unusable(format!("the image {name}"), "it isn't there any more");
        image.map(|it| it.id).ok_or_else(none)
    }

    /// Creates a container and gives its id (`POST /containers/create`).
    ///
    /// # Errors
    /// Those of the request; [`Kind::NameTaken`].
    pub fn create_container(
        &self,
        name: Option<&str>,
        config: &ContainerConfig,
        by: Deadline,
    ) -> Result<String> {
        let query = name.map_or(String::new(), |name| format!("?name={}", encode(name)));
        let created = self.create(&format!("/containers/create{query}"), config, by);
        created.map_err(|error| match error.kind {
            Kind::Status(409) => error.of_kind(Kind::NameTaken),
            // Podman's word for it.
            Kind::Status(500) if error.to_string().contains("already in use") => {
                error.of_kind(Kind::NameTaken)
            }
            _ => error,
        })
    }

    /// Opens a container's standard input: it stays open as long as what this gives is kept
    /// (`POST /containers/{id}/attach`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn attach_stdin(&self, id: &str, by: Deadline) -> Result<Answer> {
        let path = format!("/containers/{id}/attach?stream=1&stdin=1");
        self.post(&path, self.soon(by))
    }

    /// Starts a container (`POST /containers/{id}/start`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn start_container(&self, id: &str, by: Deadline) -> Result<()> {
        let path = format!("/containers/{id}/start");
        self.post(&path, self.soon(by))?.read().map(drop)
    }

    /// What a container is doing; `None` if there is none (`GET /containers/{id}/json`). Docker answers when nobody reads an archive of
    /// it any more.
    ///
    /// # Errors
    /// Those of the request, except 404.
    pub fn inspect_container(&self, id: &str, by: Deadline) -> Result<Option<ContainerInspect>> {
        match unless(404, self.get(&format!("/containers/{id}/json"), by)) {
            // Podman's word of one that is just going.
            Err(error) if error.to_string().ends_with(": no such container") => Ok(None),
            found => found,
        }
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
    /// Those of the request, except 404; no answer when `by` passes first; a removal that failed.
    pub fn wait_removed(&self, id: &str, by: Deadline) -> Result<()> {
        let path = format!("/containers/{id}/wait?condition=removed");
        let Some(answer) = unless(404, self.post(&path, by))? else {
            return Ok(());
        };
        match answer.json::<Waited>()?.error {
            Some(failed) => Err(failed.told(&path)),
            None => Ok(()),
        }
    }

    /// The containers that bear our label, running or not (`GET /containers/json`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn labelled_containers(&self) -> Result<Vec<ContainerSummary>> {
        self.containers(OURS)
    }

    /// The container of this name, running or not, whatever is read of it (`GET /containers/json`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn container_named(&self, name: &str) -> Result<Option<ContainerSummary>> {
        // Some engines put a slash before it.
        let exactly = format!("^/?{name}$");
        Ok(self.containers(("name", &[&exactly]))?.pop())
    }

    fn containers(&self, filter: (&str, &[&str])) -> Result<Vec<ContainerSummary>> {
        let path = format!("/containers/json?all=1&filters={}", filters([filter]));
        self.get(&path, Deadline::after(PATIENCE))
    }

    /// The images that bear our label, those that are only parents of others apart (`GET /images/json`).
    ///
    /// # Errors
    /// Those of the request.
    pub fn labelled_images(&self) -> Result<Vec<ImageSummary>> {
        let path = format!("/images/json?all=0&filters={}", filters([OURS]));
        self.get(&path, Deadline::after(PATIENCE))
    }

    /// Makes an image of a container, with these labels of one word each (`POST /commit`); an older image of that name loses
    /// it in the same moment. It inherits the container's labels, and hands them on to the containers that anybody makes of
    /// it: its name takes the place of the run in ours, so that those can be told from our own. Images that are made of it inherit
    /// labels, but no comment. The container is not paused meanwhile: a paused one can't end, so it would outlive us.
    ///
    /// # Errors
    /// Those of the request.
    pub fn commit(
        &self,
        id: &str,
        image: &ImageRef,
        labels: &[(&str, &str)],
        by: Deadline,
    ) -> Result<()> {
        let (name, tag, own) = (encode(image.name()), encode(image.tag()), image.to_string());
        let mut path =
            format!("/commit?container={id}&repo={name}&tag={tag}&pause=0&comment={COMMENT}");
        let ours = [(RUN_LABEL, own.as_str()), (COMMENT_LABEL, COMMENT)];
        for (label, value) in [&ours, labels].concat() {
            path += &format!("&changes={}", encode(&format!("LABEL {label}={value}")));
        }
        let answer = self.post_json(&path, &Nothing {}, by)?;
        answer.read().map(drop)
    }

    /// Takes a name from an image, which removes it with its last name; an id removes it at once. Its parents
    /// stay, nameless or not: they may be somebody else's (`DELETE /images/{name}`).
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
    pub fn archive(&self, id: &str, path: &str, by: Deadline) -> Result<BodyReader<'static>> {
        let path = format!("/containers/{id}/archive?path={}", encode(path));
        Ok(self.send(Method::GET, &path, &[], (), by)?.into_reader())
    }

    /// Unpacks a tar stream into a folder of a container's (`PUT /containers/{id}/archive`).
    ///
    /// # Errors
    /// Those of the request and of the stream.
    pub fn unpack(&self, id: &str, path: &str, tar: &mut dyn Read, by: Deadline) -> Result<()> {
        let path = format!("/containers/{id}/archive?path={}", encode(path));
        let headers = [("Content-Type", "application/x-tar")];
        let body = SendBody::from_reader(tar);
        let answer = self.send(Method::PUT, &path, &headers, body, by);
        // What is wrong with the stream is no silence of the engine's.
        if answer.is_err() && !by.has_passed() {
            self.is_silent.store(false, Ordering::Relaxed);
        }
        answer?.read().map(drop)
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
        let path = format!("/exec/{id}/start");
        let answer = self.post_json(&path, &Nothing {}, by)?;
        Ok(Frames::new(answer.into_reader()))
    }

    /// The exit code of an exec whose output has ended (`GET /exec/{id}/json`).
    ///
    /// Its process may be there still: the engine closes the stream a moment before it has the exit code, and a
    /// process may close its output itself. Then it is asked for again and again: not all engines' events say which exec has ended.
    ///
    /// # Errors
    /// Those of the requests; the end of the container.
    pub fn exec_exit_code(&self, container: &str, id: &str, by: Deadline) -> Result<i64> {
        let path = format!("/exec/{id}/json");
        let [mut pause, longest] = PAUSES;
        loop {
            let exec: ExecInspect = self.get(&path, by)?;
            if let Some(code) = exec.exit_code.filter(|_| !exec.running) {
                return Ok(code);
            }
            let found = self.inspect_container(container, by)?;
            if !exec.running || !found.is_some_and(|it| it.state.running) {
                let why = "the container ended before the command did";
                return Err(Error::new(Kind::NoAnswer, why));
            }
            thread::sleep(pause);
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    /// When an answer that needs no work is given up.
    fn soon(&self, by: Deadline) -> Deadline {
        by.within(match self.is_silent() {
            true => LAST_PATIENCE,
            false => PATIENCE,
        })
    }

    /// A `GET` of JSON that needs no work.
    fn get<T: DeserializeOwned>(&self, path: &str, by: Deadline) -> Result<T> {
        self.send(Method::GET, path, &[], (), self.soon(by))?.json()
    }

    /// A `POST` of nothing.
    fn post(&self, path: &str, by: Deadline) -> Result<Answer> {
        self.send(Method::POST, path, &[], "", by)
    }

    /// A `POST` of what is to be created; gives its id.
    fn create(&self, path: &str, config: &impl Serialize, by: Deadline) -> Result<String> {
        let answer = self.post_json(path, config, self.soon(by))?;
        Ok(answer.json::<Created>()?.id)
    }

    /// A `POST` of JSON.
    fn post_json(&self, path: &str, body: &impl Serialize, by: Deadline) -> Result<Answer> {
        let json = serde_json::to_string(body).map_err(|error| Error::unusable(path, error))?;
        let headers = [("Content-Type", "application/json")];
        self.send(Method::POST, path, &headers, json, by)
    }

    /// A `DELETE`, content with a 404: what is to go has gone.
    fn delete(&self, path: &str) -> Result<()> {
        let soon = self.soon(Deadline::after(PATIENCE));
        let removed = self.send(Method::DELETE, path, &[], (), soon);
        unless(404, removed.and_then(Answer::read)).map(drop)
    }

    /// Sends a request, whose answer has to be a success, and notes whether there was one.
    fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsSendBody,
        by: Deadline,
    ) -> Result<Answer> {
        let given = by.left();
        let answer = self.http.send(method, path, headers, body, by);
        match &answer {
            Err(_) if given < SILENCE && by.has_passed() => (),
            answer => self.is_silent.store(answer.is_err(), Ordering::Relaxed),
        }
        succeeded(answer)
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
