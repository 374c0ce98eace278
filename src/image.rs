//! The builder image: the base image, brought up to date, with base-devel, git and a build user. One is kept from run to run,
//! and changed only if something is new. Not here: the container that it is made in, which is the lock's as a rule, when it has
//! to be of today (`run`), and who removes what is left of older ones (`sweep`).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::clock::since_1970;
use crate::docker::types::ImageInspect;
use crate::docker::{Container, Engine, ImageRef};
use crate::error::{Kind, Result};
use crate::http::Deadline;
use crate::sandbox::{BUILDER, CHECK_PKGVER, MADE_OF, MIRROR, PACKAGES, SET_UP, User, command};
use crate::text::one_line;

/// The repository part of every builder image's name.
pub const NAME: &str = "vieter-build";

/// The tag of the one that is kept.
pub const KEPT: &str = "kept";

/// The most that the pull and the preparation of the builder image may take, each.
pub const PREPARATION: Duration = Duration::from_secs(3600);

/// One with more layers than this is made anew: each update adds one, and engines know no more than 127.
const MAX_LAYERS: usize = 20;

/// The labels that say what the kept one was made of: the base image's id, and a number for the settings.
const BASE: &str = "vieter.base";
const SETTINGS: &str = "vieter.settings";

/// The label that says when it was made, in seconds since 1970; and the one that says what its makepkg builds for.
pub const MADE: &str = "vieter.made";
const CARCH: &str = "vieter.carch";

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
    /// What pacman is to download from, as in a mirrorlist; `None` for what the base image says.
    pub mirror: Option<String>,
    /// Whether it is made anew, whatever is kept.
    pub fresh: bool,
}

impl Settings {
    /// A number for all that goes into the image beside the base image: as long as it is the same, they are.
    fn number(&self) -> String {
        let mut hasher = DefaultHasher::new();
        let version = env!("CARGO_PKG_VERSION");
        let parts = [
            &self.makepkg_conf,
            SET_UP.text,
            CHECK_PKGVER,
            BUILDER,
            version,
        ];
        (self.base.to_string(), parts, &self.mirror).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// The builder image, which is kept.
#[derive(Clone)]
pub struct Builder {
    /// The id of the base image that it was made of.
    pub base: String,
    /// When it was made, or changed, in seconds since 1970.
    pub made: u64,
    /// What its makepkg builds for.
    pub carch: String,
    /// Whether this run has found it up to date, or made it so.
    pub is_up_to_date: bool,
}

/// Its name.
pub fn kept_name() -> ImageRef {
    ImageRef::new(format!("{NAME}:{KEPT}"))
}

/// Pulls the base image; an older one that is there already is better than no run. Gives its id.
///
/// # Errors
/// Those of the engine, if there is none.
pub fn pull(engine: &Engine, base: &ImageRef) -> Result<String> {
    let name = base.to_string();
    let Err(error) = engine.pull(base, Deadline::after(PREPARATION)) else {
        return engine.image_id(&name);
    };
    let found = engine.image(&name);
    let found = found.inspect_err(|error| log::error!("looking for {base}: {error}"));
    match found {
        Ok(Some(image)) => {
            log::warn!("{error}; going on with the image {base} that is there");
            Ok(image.id)
        }
        _ => Err(error.during(format!("pulling {base}"))),
    }
}

/// The builder image that an earlier run has kept, if this one can use it; whatever can't be read of it is a reason not to.
pub fn kept(engine: &Engine, settings: &Settings) -> Option<Builder> {
    if settings.fresh {
        return None;
    }
    let look = |image: &ImageRef| {
        let found = engine.image(&image.to_string());
        let found = found.inspect_err(|error| log::warn!("looking for {image}: {error}"));
        found.ok()
    };
    let name = kept_name();
    let found = look(&name)??;
    let base = look(&settings.base)?;
    let kept = read(&found, settings, base.as_ref());
    let kept = kept.inspect_err(|why| log::info!("the image {name} is made anew: {why}"));
    kept.ok()
}

/// What the labels of a kept image say, or why it can't be used.
fn read(
    kept: &ImageInspect,
    settings: &Settings,
    base: Option<&ImageInspect>,
) -> Result<Builder, &'static str> {
    let label = |name| kept.label(name).ok_or("its labels are not ours");
    let of = label(BASE)?.to_owned();
    let made = label(MADE)?.parse().map_err(|_| "its age can't be read")?;
    let carch = one_line(label(CARCH)?, 50);
    // A base image may have many itself.
    let of_base = base.map_or(0, ImageInspect::layers);
    if kept.layers() > MAX_LAYERS.max(of_base.saturating_add(5)) {
        return Err("it has more than 20 layers");
    }
    if label(SETTINGS)? != settings.number() {
        return Err("it was made with other settings");
    }
    // One that isn't there any more is pulled when something has to be built.
    if base.is_some_and(|it| it.id != of) {
        return Err("the base image is another one");
    }
    Ok(Builder {
        base: of,
        made,
        carch,
        is_up_to_date: false,
    })
}

/// Brings the packages of a container up to date, which is of the base image, or of the kept one. Tells whether
/// anything has come, which is so in a container of the base image.
///
/// # Errors
/// The first command that fails, with its output; those of the engine.
pub fn update(container: &Container, settings: &Settings, is_of_base: bool) -> Result<bool> {
    let by = Deadline::after(PREPARATION);
    if let Some(mirror) = settings.mirror.as_deref().filter(|_| is_of_base) {
        container.run(&MIRROR.with([mirror]), by)?;
    }
    // And the databases: builds install what those of the image have.
    let list = PACKAGES.with([]);
    // A base image comes without databases, and pacman may find that odd.
    let before = match is_of_base {
        true => String::new(),
        false => container.read(&list, by)?,
    };
    // What packages are signed with comes before the packages: an old keyring doesn't know the keys of new ones. No
    // package owns that folder on a distribution without signatures.
    let owners = ["pacman", "-Qqo", "/usr/share/pacman/keyrings/"];
    let owners = container.read(
        &command(User::Root, "looking for keyrings", owners.into()),
        by,
    );
    let owners = match owners {
        Ok(owners) => owners,
        Err(error) if matches!(error.kind, Kind::Exit(_)) => String::new(),
        Err(error) => return Err(error),
    };
    if !owners.is_empty() {
        if is_of_base {
            // The official image comes without a key of its own, and new keys must be signed with one.
            let init = vec!["pacman-key", "--init"];
            step(container, "pacman-key --init", init, by)?;
        }
        let mut update = vec!["pacman", "-Sy", "--needed", "--noconfirm", "--"];
        update.extend(owners.lines());
        step(container, "update of the keyring", update, by)?;
    }
    let update = "pacman -Syu --needed --noconfirm base-devel git".split(' ');
    let doing = "pacman -Syu base-devel git";
    step(container, doing, update.collect(), by)?;
    Ok(is_of_base || container.read(&list, by)? != before)
}

/// Makes the last changes to a container and makes the builder image of it. `base` is the id of the base image.
///
/// # Errors
/// Likewise.
pub fn commit(
    engine: &Engine,
    container: &Container,
    settings: &Settings,
    base: &str,
) -> Result<Builder> {
    let by = Deadline::after(PREPARATION);
    // Debug packages are what Arch has on by default, and nobody asked for; a later option wins.
    let conf = format!("OPTIONS+=(!debug)\n{}", settings.makepkg_conf);
    log::info!("builder image: {}", SET_UP.doing);
    let set_up = SET_UP.with([BUILDER, &conf, CHECK_PKGVER]);
    let carch = container.read(&set_up, by)?;
    let carch = one_line(carch.trim(), 50);
    let image = kept_name();
    log::info!("builder image: commit to {image}");
    let (number, made) = (settings.number(), since_1970());
    let labels = [
        (BASE, base),
        (SETTINGS, &number),
        (MADE, &made.to_string()),
        (CARCH, &carch),
    ];
    engine.commit(container.id(), &image, &labels, by)?;
    Ok(Builder {
        base: base.to_owned(),
        made,
        carch,
        is_up_to_date: true,
    })
}

/// What the builder image is made of, for logs: the base image's digest, the versions of pacman and makepkg.
///
/// # Errors
/// Those of the engine, and of the command.
pub fn origin(engine: &Engine, container: &Container, builder: &Builder) -> Result<String> {
    let base = engine.image(&builder.base)?;
    let base = base.map_or(builder.base.clone(), |it| it.digest().to_owned());
    let versions = container.read(&MADE_OF.with([]), Deadline::after(PREPARATION))?;
    let parts = [base.as_str()].into_iter().chain(versions.lines());
    let parts: Vec<String> = parts.map(|it| one_line(it, 300)).collect();
    Ok(parts.join(", "))
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
