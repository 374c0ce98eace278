//! The JSON of the Engine API, as far as we read and write it. The names are the API's own
//! (<https://docs.docker.com/reference/api/engine/>), and whatever else an answer holds is passed over. Not here: the
//! requests (`engine`), and what a container is given (`sandbox`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::text::one_line;

/// The label that every container and image of ours bears. Its value names the run; on an image it is its own name, so that what is
/// made of it, and inherits the label, is told from ours.
pub const RUN_LABEL: &str = "vieter.run";

/// The label of our images that says which comment they have. What is made of one has the label as well, and no such comment.
pub const COMMENT_LABEL: &str = "vieter.comment";

/// That comment.
pub const COMMENT: &str = "vieter";

/// The labels of a container or an image. A container has its image's, too.
pub type Labels = BTreeMap<String, String>;

/// `GET /version`. What an engine leaves out is for the message to say.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// The newest API version that it speaks.
    pub api_version: Option<String>,
    /// The oldest.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: Option<String>,
    /// The engine's own version.
    pub version: Option<String>,
    /// What it is made of, by which Podman is told.
    #[serde(default)]
    pub components: Vec<Component>,
}

impl Version {
    /// The engine's own version, fit for a message.
    pub fn own_version(&self) -> String {
        one_line(self.version.as_deref().unwrap_or("unknown"), 50)
    }
}

/// In a [`Version`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Component {
    /// `Engine`, `Podman Engine` and so on.
    pub name: String,
}

/// `GET /info`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// As `uname -m` prints it, or in Go's words.
    pub architecture: String,
}

/// One message of the stream that `POST /images/create` answers with. All of it may be missing.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PullMessage {
    /// A layer.
    pub id: String,
    /// What is being done with it.
    pub status: String,
    /// How far it is, with every few kilobytes; empty in all other messages.
    pub progress_detail: Option<Progress>,
    /// Why the pull failed.
    pub error_detail: Option<Failed>,
}

impl PullMessage {
    /// How far it is, in percent if that is known, in a message that says nothing else.
    pub fn progress(&self) -> Option<String> {
        let progress = self.progress_detail.as_ref()?;
        let hundredfold = progress.current?.saturating_mul(100);
        let percent = hundredfold.checked_div(progress.total.unwrap_or(0));
        let known = percent.filter(|it| *it >= 0).map(|it| format!("{it}%"));
        Some(known.unwrap_or_default())
    }
}

/// In a [`PullMessage`].
#[derive(Deserialize)]
pub struct Progress {
    /// How much is done, in bytes as a rule.
    pub current: Option<i64>,
    /// Of how much; not there, or below zero, if nobody knows.
    pub total: Option<i64>,
}

/// What failed, in a [`PullMessage`] or a [`Waited`].
#[derive(Deserialize)]
pub struct Failed {
    /// The engine's words.
    #[serde(alias = "Message", default)]
    pub message: String,
}

impl Failed {
    /// As the error that it is of a `POST`.
    pub fn told(&self, path: &str) -> Error {
        Error::unusable(format!("POST {path}"), one_line(&self.message, 500))
    }
}

/// `POST /containers/{id}/wait`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Waited {
    /// Why what was waited for will not be.
    pub error: Option<Failed>,
}

/// What `POST /containers/create` takes.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig<'a> {
    /// An image's name.
    pub image: String,
    /// Beside the image's.
    pub labels: BTreeMap<&'a str, &'a str>,
    /// Replaces the image's.
    pub entrypoint: Vec<&'a str>,
    /// Replaces the image's.
    pub cmd: [&'a str; 0],
    /// Who the first process runs as.
    pub user: &'a str,
    /// Where the first process runs.
    pub working_dir: &'a str,
    /// Whether the first process has a standard input that can be attached to.
    pub open_stdin: bool,
    /// Whether that input ends with the first connection to it.
    pub stdin_once: bool,
    /// Whether there will be one.
    pub attach_stdin: bool,
    /// What an engine sends it first to end it. Podman waits for that to help, in a removal, too.
    pub stop_signal: &'a str,
    /// The image's would run in there, too.
    pub healthcheck: Healthcheck<'a>,
    /// What the host gives it.
    pub host_config: HostConfig<'a>,
}

/// In a [`ContainerConfig`].
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck<'a> {
    /// `NONE` for none.
    pub test: [&'a str; 1],
}

/// In a [`ContainerConfig`]: what the host gives a container, and what it keeps from it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig<'a> {
    /// Whether the engine removes it when its first process has ended.
    pub auto_remove: bool,
    /// Where the first process's output goes.
    pub log_config: LogConfig<'a>,
    /// `no-new-privileges` and the like.
    pub security_opt: &'a [&'a str],
    /// Capabilities that root in there doesn't have.
    pub cap_drop: &'a [&'a str],
    /// Those that it has all the same.
    pub cap_add: &'a [&'a str],
    /// The most processes.
    pub pids_limit: u32,
    /// The most memory, in bytes; null for no limit.
    pub memory: Option<u64>,
    /// The most memory and swap together, in bytes.
    pub memory_swap: Option<u64>,
    /// A network's name, or `host`; null for the engine's default.
    pub network_mode: Option<&'a str>,
}

/// In a [`HostConfig`].
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig<'a> {
    /// `none` for nowhere.
    pub r#type: &'a str,
}

/// What `POST /containers/create` and `POST /containers/{id}/exec` answer with.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Created {
    /// The new container's, or exec's.
    pub id: String,
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerInspect {
    /// What it does.
    pub state: ContainerState,
}

/// `GET /images/{name}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageInspect {
    /// Of its configuration, or of its manifest.
    pub id: String,
    /// Its names, each with a tag.
    pub repo_tags: Option<Vec<String>>,
    /// What registries call it, by its digest.
    pub repo_digests: Option<Vec<String>>,
    /// The id of the image that it was committed on, or nothing.
    pub parent: Option<String>,
    /// What was said when it was committed.
    pub comment: Option<String>,
    /// What containers of it get.
    pub config: Option<ImageConfig>,
    /// What it is made of.
    #[serde(rename = "RootFS")]
    pub root_fs: Option<RootFs>,
}

impl ImageInspect {
    /// Whether it has our label, and the comment that we gave with it: what is made of it has the label as well, and, on most
    /// engines, not the comment. Older versions gave neither.
    pub fn is_like_ours(&self) -> bool {
        let (wanted, has) = (self.label(COMMENT_LABEL), self.comment.as_deref());
        self.label(RUN_LABEL).is_some() && (wanted.is_none() || wanted == has)
    }

    /// Its digest, as its registry has it, or its id if it is of none.
    pub fn digest(&self) -> &str {
        let digest = self.repo_digests.as_ref().and_then(|it| it.first());
        digest.unwrap_or(&self.id)
    }

    /// How many layers it has.
    pub fn layers(&self) -> usize {
        let layers = self.root_fs.as_ref().and_then(|it| it.layers.as_ref());
        layers.map_or(0, Vec::len)
    }

    /// What a label of its says.
    pub fn label(&self, name: &str) -> Option<&str> {
        let labels = self.config.as_ref()?.labels.as_ref()?;
        labels.get(name).map(String::as_str)
    }
}

/// In an [`ImageInspect`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    /// Their digests.
    pub layers: Option<Vec<String>>,
}

/// In a [`ContainerInspect`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerState {
    /// Whether its first process runs, or is paused.
    pub running: bool,
}

/// In an [`ImageInspect`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    /// Its labels.
    pub labels: Option<Labels>,
}

/// One of `GET /containers/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerSummary {
    /// Its id.
    pub id: String,
    /// The id of the image that it was made of.
    #[serde(rename = "ImageID")]
    pub image: String,
    /// Its own and its image's.
    pub labels: Option<Labels>,
    /// Its names; some engines put a slash before each.
    pub names: Vec<String>,
    /// `running`, `created` and others.
    pub state: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

impl ContainerSummary {
    /// Whether its first process runs, or is paused.
    pub fn is_running(&self) -> bool {
        !matches!(
            self.state.as_str(),
            "created" | "configured" | "initialized" | "exited" | "dead" | "removing" | "stopped"
        )
    }
}

/// One of `GET /images/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageSummary {
    /// `sha256:...`
    pub id: String,
    /// Its names, each with a tag; `<none>:<none>` for one that has lost them.
    pub repo_tags: Option<Vec<String>>,
}

/// The `filters` of the lists: what is looked at, and which values it may have.
pub type Filters<'a> = BTreeMap<&'a str, &'a [&'a str]>;

/// What `POST /commit` and `POST /exec/{id}/start` take: nothing that isn't as usual.
#[derive(Serialize)]
pub struct Nothing {}

/// What `POST /containers/{id}/exec` takes.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecConfig<'a> {
    /// Whether what it writes to its standard output is streamed.
    pub attach_stdout: bool,
    /// Whether what it writes to its standard error is.
    pub attach_stderr: bool,
    /// The command, an argument array.
    pub cmd: &'a [&'a str],
    /// A user name or uid of the container.
    pub user: &'a str,
    /// Where it runs.
    pub working_dir: &'a str,
    /// `NAME=value`; the rest comes from the image.
    pub env: Vec<&'a str>,
}

/// `GET /exec/{id}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecInspect {
    /// Whether its process is there still.
    pub running: bool,
    /// Of a process that has ended.
    pub exit_code: Option<i64>,
}

/// An image's name: `name[:tag]` or `name@digest`, where the name may begin with a registry's host and port. The engine has
/// its own ideas of what is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef(String);

impl ImageRef {
    /// The image of this name.
    pub fn new(text: impl Into<String>) -> ImageRef {
        ImageRef(text.into())
    }

    /// All but the tag or the digest.
    pub fn name(&self) -> &str {
        let name = self.0.strip_suffix(self.tag()).unwrap_or(&self.0);
        name.strip_suffix([':', '@']).unwrap_or(&self.0)
    }

    /// The tag, or the digest; without one it is `latest`, as the engine would pull all tags.
    pub fn tag(&self) -> &str {
        match (self.0.split_once('@'), self.0.rsplit_once(':')) {
            (Some((_, digest)), _) if !digest.is_empty() => digest,
            // What follows the colon of a registry's port has a slash.
            (None, Some((_, tag))) if !tag.is_empty() && !tag.contains('/') => tag,
            _ => "latest",
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_pull_that_only_say_how_far_it_is_are_told_apart() {
        for (detail, progress) in [
            (r#"{"current":30,"total":90}"#, Some("33%")),
            (r#"{"current":30,"total":-1}"#, Some("")),
            (r#"{"current":2,"units":"s"}"#, Some("")),
            ("{}", None),
            ("null", None),
        ] {
            let json = format!(r#"{{"status":"Downloading","progressDetail":{detail},"id":"a"}}"#);
            let message: PullMessage = serde_json::from_str(&json).unwrap();
            assert_eq!(message.progress().as_deref(), progress, "{detail}");
        }
        let other: PullMessage = serde_json::from_str(r#"{"status":"Digest: a"}"#).unwrap();
        assert_eq!(other.progress(), None);
    }

    #[test]
    fn an_image_reference_has_a_name_and_a_tag_or_a_digest() {
        let registry = "127.0.0.1:5005/library/archlinux";
        for (text, name, tag) in [
            ("archlinux", "archlinux", "latest"),
            ("archlinux:base", "archlinux", "base"),
            (registry, registry, "latest"),
            (&format!("{registry}:a"), registry, "a"),
            ("archlinux@sha256:0123", "archlinux", "sha256:0123"),
        ] {
            let image = ImageRef::new(text);
            assert_eq!((image.name(), image.tag()), (name, tag));
            assert_eq!(image.to_string(), text);
        }
        // One that was forgotten: the engine would say that this is none, but not before it has pulled all tags.
        for text in ["archlinux:", "archlinux@"] {
            let image = ImageRef::new(text);
            assert_eq!((image.name(), image.tag()), ("archlinux", "latest"));
        }
    }
}
