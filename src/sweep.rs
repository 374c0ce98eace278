//! Removes what runs have left on the engine: what bears our label, and nothing else. Not here: when (`run`).

use crate::docker::{Engine, Labels, RUN_LABEL};
use crate::error::{Error, Result};
use crate::image;
use crate::words::RunId;

/// What is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// What this run has made.
    Own,
    /// That, and what killed runs have. Only for the one who holds the lock: no other run is on then.
    Everybodys,
}

/// Removes what the run has left, or everybody has, except for the lock container. What can't be removed is a nuisance, not
/// an obstacle, so it is a warning.
pub fn sweep(engine: &Engine, run: &RunId, lock: &str, whose: Whose) {
    let is_own = |labels: &Labels| labels.get(RUN_LABEL).map(String::as_str) == Some(run.as_str());
    let is_to_go = |labels: &Labels| whose == Whose::Everybodys || is_own(labels);
    let say = |labels: &Labels, what: String| match is_own(labels) {
        true => log::debug!("removing {what}"),
        false => log::info!("removing {what} of a killed run"),
    };
    for container in list(engine.labelled_containers()) {
        let labels = container.labels.unwrap_or_default();
        if container.id != lock && is_to_go(&labels) {
            say(&labels, format!("the container {}", container.id));
            warn(engine.remove_container(&container.id));
        }
    }
    for image in list(engine.labelled_images()) {
        let labels = image.labels.unwrap_or_default();
        if is_to_go(&labels) {
            for name in names_to_go(image.id, image.repo_tags.unwrap_or_default()) {
                say(&labels, format!("the image {name}"));
                warn(engine.remove_image(&name));
            }
        }
    }
}

/// The names of an image that are ours, or its id if it has none: somebody may have given it a name of their own, which
/// stays, and the image with it.
fn names_to_go(id: String, mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.starts_with("<none>"));
    if names.is_empty() {
        return vec![id];
    }
    names.retain(|name| name.split(':').next() == Some(image::NAME));
    names
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
