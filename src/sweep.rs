//! Removes what runs have left on the engine: what bears our label, and not only as its image does, and nothing else. Not
//! here: when (`run`), and a lock that was never started (`lock`).

use crate::docker::types::{ContainerSummary, ImageInspect};
use crate::docker::{Engine, Labels, RUN_LABEL};
use crate::error::{Error, Kind, Result};
use crate::words::RunId;
use crate::{image, lock};

/// Removes what runs have left: of the containers that bear our label, which these are, all but those of runs that hold a lock, and
/// then images, but for the one that is kept, and those that are in use. What can't be removed is a nuisance, not an obstacle, so it
/// is a warning. `own` is the run that does it.
pub fn sweep(engine: &Engine, containers: Vec<ContainerSummary>, own: &RunId) {
    let run_of = |it: &ContainerSummary| it.labels.as_ref()?.get(RUN_LABEL).cloned();
    let held = lock::held(&containers).into_iter();
    let on: Vec<String> = held.filter_map(run_of).collect();
    for container in containers {
        let labels = container.labels.unwrap_or_default();
        let Some(run) = labels.get(RUN_LABEL).filter(|it| !on.contains(it)) else {
            continue;
        };
        // What may be somebody else's stays.
        let is_inherited = is_inherited(engine, &labels, &container.image);
        if is_inherited.inspect_err(say_what_stays).unwrap_or(true) {
            continue;
        }
        match run == own.as_str() {
            true => log::debug!("removing the container {}", container.id),
            false => log::info!("removing the container {} of an earlier run", container.id),
        }
        warn(engine.remove_container(&container.id));
    }
    for image in list(engine.labelled_images()) {
        for name in names_to_go(engine, image.id, image.repo_tags.unwrap_or_default()) {
            log::info!("removing the image {name} of an earlier run");
            warn(remove_image(engine, &name));
        }
    }
}

/// Removes an image by a name or an id, and with it those that it was made of, if they are ours and have no name: an engine
/// doesn't list those.
fn remove_image(engine: &Engine, name: &str) -> Result<()> {
    let parent = engine.image(name)?.and_then(|it| it.parent);
    match engine.remove_image(name) {
        // What else was made of it keeps it, or another part's container.
        Err(error) if error.kind == Kind::Status(409) => return Ok(()),
        removed => removed?,
    }
    let Some(parent) = parent.filter(|it| !it.is_empty()) else {
        return Ok(());
    };
    match engine.image(&parent)? {
        Some(image) if is_nameless(&image) && is_ours(engine, &image)? => {
            remove_image(engine, &parent)
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
            // Another shard may have named it by now.
            Some(image) => Ok(is_nameless(&image) && is_ours(engine, &image)?),
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
