//! The builder image: the base image, brought up to date, with base-devel, git and a build user. Not here: the container
//! that it is made in, which is the lock's, and who removes it (`sweep`).

use std::time::Duration;

use crate::docker::{Container, Engine, ImageRef};
use crate::error::Result;
use crate::http::Deadline;
use crate::sandbox::{BUILDER, SET_UP, Sandbox, User, command};
use crate::text::one_line;
use crate::words::Arch;

/// The repository part of every builder image's name; the tag is the run.
pub const NAME: &str = "vieter-build";

/// The most that the pull and the preparation of the builder image may take, each.
pub const PREPARATION: Duration = Duration::from_secs(3600);

/// What pacman 7 says when the container's kernel or seccomp profile refuses the sandbox of its downloads.
const SANDBOX_REFUSED: [&str; 2] = [
    "restricting filesystem access failed",
    "switching to sandbox user",
];

/// What the builder image is made of.
pub struct Settings {
    /// The image to start from.
    pub base: ImageRef,
    /// The text of a file with settings for makepkg, or nothing.
    pub makepkg_conf: String,
}

/// Pulls the base image; an older one that is there already is better than no run.
///
/// # Errors
/// Those of the engine, if there is none.
pub fn pull(engine: &Engine, base: &ImageRef) -> Result<()> {
    let Err(error) = engine.pull(base, Deadline::after(PREPARATION)) else {
        return Ok(());
    };
    if !engine.has_image(base)? {
        return Err(error.during(format!("pulling {base}")));
    }
    log::warn!("{error}; going on with the image {base} that is there");
    Ok(())
}

/// Prepares a container of the base image as root, and commits it to a new image; gives the image's name.
///
/// # Errors
/// The first command that fails, with its output; those of the engine.
pub fn prepare(
    sandbox: &Sandbox,
    container: &Container,
    settings: &Settings,
    arch: &Arch,
) -> Result<ImageRef> {
    let by = Deadline::after(PREPARATION);
    // What packages are signed with comes before the packages: an old keyring doesn't know the keys of new ones. No
    // package owns that folder on a distribution without signatures.
    let owners = ["pacman", "-Qqo", "/usr/share/pacman/keyrings/"];
    let owners = container.read(
        &command(User::Root, "looking for keyrings", owners.into()),
        by,
    );
    let owners = String::from_utf8(owners.unwrap_or_default()).unwrap_or_default();
    if !owners.is_empty() {
        // The official image comes without a key of its own, and new keys must be signed with one.
        step(
            container,
            "pacman-key --init",
            vec!["pacman-key", "--init"],
            by,
        )?;
        let mut update = vec!["pacman", "-Sy", "--needed", "--noconfirm", "--"];
        update.extend(owners.lines());
        step(container, "update of the keyring", update, by)?;
    }
    let update = "pacman -Syu --needed --noconfirm base-devel git".split(' ');
    step(
        container,
        "pacman -Syu base-devel git",
        update.collect(),
        by,
    )?;
    // Debug packages are what Arch has on by default, and nobody asked for; a later option wins.
    let conf = format!("OPTIONS+=(!debug)\n{}", settings.makepkg_conf);
    log::info!("builder image: {}", SET_UP.doing);
    let carch = container.read(&SET_UP.with([BUILDER, &conf]), by)?;
    let carch = String::from_utf8_lossy(&carch);
    if carch != arch.as_str() {
        let carch = one_line(&carch, 50);
        log::warn!("the base image's makepkg builds for {carch}, this run is for {arch}");
    }

    let image = ImageRef::new(format!("{NAME}:{}", sandbox.run));
    log::info!("builder image: commit to {image}");
    sandbox.engine.commit(container.id(), &image, by)?;
    Ok(image)
}

/// A step of the preparation, as root; once more if it is pacman's sandbox that failed, without it.
fn step(container: &Container, doing: &str, argv: Vec<&str>, by: Deadline) -> Result<()> {
    log::info!("builder image: {doing}");
    let step = command(User::Root, doing, argv);
    let Err(error) = container.run(&step, by) else {
        return Ok(());
    };
    if !SANDBOX_REFUSED.iter().any(|it| error.output.contains(it)) {
        return Err(error);
    }
    let done = "this engine refuses pacman's sandbox, so it is turned off (DisableSandbox)";
    log::warn!("{done}: {error}");
    let edit = r"sed -i /^\[options\]/aDisableSandbox /etc/pacman.conf".split(' ');
    let edit = command(User::Root, "setting DisableSandbox", edit.collect());
    container.run(&edit, by)?;
    container.run(&step, by)
}
