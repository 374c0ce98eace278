//! Removes what runs have left on the engine: what bears our label, and not only as its image does, and nothing else. Not
//! here: when (`run`).

use crate::docker::types::{ContainerSummary, ImageInspect};
use crate::docker::{Engine, Labels, RUN_LABEL};
use crate::error::{Error, Kind, Result};
use crate::words::RunId;
use crate::{image, lock};

/// What is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// What this run has made.
    Own,
    /// That, and what killed runs have. Only for one who holds a lock.
    Everybodys,
}

/// Removes what the run has left, or everybody has, except for the lock container. What can't be removed is a nuisance, not
/// an obstacle, so it is a warning. Gives the images that are in use still: by the lock container as a rule. `containers` are those
/// that bear our label.
pub fn sweep(
    engine: &Engine,
    containers: Vec<ContainerSummary>,
    run: &RunId,
    lock: &str,
    whose: Whose,
) -> Vec<String> {
    // An image's is its name.
    let is_own = |labels: &Labels| match labels.get(RUN_LABEL) {
        Some(label) => label.rsplit(':').next() == Some(run.as_str()),
        None => false,
    };
    // Other shards' are theirs as long as they are on.
    let run_of = |it: &ContainerSummary| it.labels.as_ref()?.get(RUN_LABEL).cloned();
    let held = lock::held(&containers).into_iter();
    let runs: Vec<String> = held.filter_map(run_of).collect();
    let is_anothers = |labels: &Labels| labels.get(RUN_LABEL).is_some_and(|it| runs.contains(it));
    let is_to_go =
        |labels: &Labels| is_own(labels) || (whose == Whose::Everybodys && !is_anothers(labels));
    let say = |labels: &Labels, what: String| match is_own(labels) {
        true => log::debug!("removing {what}"),
        false => log::info!("removing {what} of an earlier run"),
    };
    for container in containers {
        let labels = container.labels.unwrap_or_default();
        if container.id == lock || !is_to_go(&labels) {
            continue;
        }
        // What may be somebody else's stays.
        let is_inherited = is_inherited(engine, &labels, &container.image);
        if !is_inherited.inspect_err(say_what_stays).unwrap_or(true) {
            say(&labels, format!("the container {}", container.id));
            warn(engine.remove_container(&container.id));
        }
    }
    let mut in_use = vec![];
    for image in list(engine.labelled_images()) {
        let labels = image.labels.unwrap_or_default();
        if is_to_go(&labels) {
            for name in names_to_go(engine, image.id, image.repo_tags.unwrap_or_default()) {
                say(&labels, format!("the image {name}"));
                match remove_image(engine, &name) {
                    Err(error) if error.kind == Kind::Status(409) => in_use.push(name),
                    removed => warn(removed),
                }
            }
        }
    }
    in_use
}

/// Removes images that were in use.
pub fn sweep_images(engine: &Engine, images: &[String]) {
    images.iter().for_each(|it| warn(remove_image(engine, it)));
}

/// Removes an image by a name or an id, and with it those that it was made of, if they are ours and have no name: an engine
/// doesn't list those.
fn remove_image(engine: &Engine, name: &str) -> Result<()> {
    let parent = engine.image(name)?.and_then(|it| it.parent);
    engine.remove_image(name)?;
    let Some(parent) = parent.filter(|it| !it.is_empty()) else {
        return Ok(());
    };
    match engine.image(&parent)? {
        Some(image) if is_nameless(&image) && is_ours(engine, &image)? => {
            // What else was made of it keeps it.
            match remove_image(engine, &parent) {
                Err(error) if error.kind == Kind::Status(409) => Ok(()),
                removed => removed,
            }
        }
        _ => Ok(()),
    }
}

/// Whether we have made an image, and not only what it was made of, whose age stands in its labels then.
///
/// # Errors
/// Those of the request.
fn is_ours(engine: &Engine, image: &ImageInspect) -> Result<bool> {
    let parent = image.parent.as_deref().filter(|it| !it.is_empty());
    let parent = parent.map(|it| engine.image(it)).transpose()?.flatten();
    let made = |it: &ImageInspect| it.label(image::MADE).map(str::to_owned);
    let is_inherited = made(image).is_some() && parent.as_ref().and_then(made) == made(image);
    Ok(image.is_like_ours() && !is_inherited)
}

fn is_nameless(image: &ImageInspect) -> bool {
    image.repo_tags.as_ref().is_none_or(Vec::is_empty)
}

/// Whether a container bears our label only because its image does, which is ours or made of one of ours: then somebody else
/// has made it. Images of older versions bear the run itself.
///
/// # Errors
/// Those of the request.
pub fn is_inherited(engine: &Engine, labels: &Labels, image: &str) -> Result<bool> {
    let Some(label) = labels.get(RUN_LABEL) else {
        return Ok(false);
    };
    let is_its = |image: ImageInspect| image.label(RUN_LABEL) == Some(label);
    Ok(label.contains(':') || engine.image(image)?.is_some_and(is_its))
}

/// The names of an image that are ours, or its id if it has none and we have made it: somebody may have given it a name of their
/// own, which stays, and the image with it. So does the name of the one that is kept. Podman puts a registry before a name that
/// has none.
fn names_to_go(engine: &Engine, id: String, mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.starts_with("<none>"));
    if names.is_empty() {
        let is_ours = || match engine.image(&id)? {
            Some(image) => is_ours(engine, &image),
            None => Ok(false),
        };
        return match is_ours().inspect_err(say_what_stays) {
            Ok(true) => vec![id],
            _ => vec![],
        };
    }
    let is_ours = |name: &String| {
        let docker = name.strip_prefix("docker.io/library/");
        let short = docker.or(name.strip_prefix("localhost/")).unwrap_or(name);
        let (name, tag) = short.split_once(':').unwrap_or((short, ""));
        name == image::NAME && tag != image::KEPT
    };
    names.retain(is_ours);
    names
}

/// The containers that bear our label.
pub fn containers(engine: &Engine) -> Vec<ContainerSummary> {
    list(engine.labelled_containers())
}

fn list<T>(listed: Result<Vec<T>>) -> Vec<T> {
    listed.inspect_err(say_what_stays).unwrap_or_default()
}

fn warn(removed: Result<()>) {
    let _ = removed.inspect_err(say_what_stays);
}

fn say_what_stays(error: &Error) {
    log::warn!("{error} (the next run tries again)");
}
