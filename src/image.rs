//! The builder image: the base image, brought up to date, with base-devel, git and a build user.

use crate::cli::Settings;
use crate::docker::{Command, Container, Engine};
use crate::error::Error;

/// The repository part of every builder image's name; the tag is the run.
pub const NAME: &str = "vieter-build";

/// The home of the build user, who has no password, no sudo and no capability.
pub const HOME: &str = "/build";

/// Arch's PATH, with the folders that Perl's packages put programs into and that the base image leaves out.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin:\
    /usr/bin/site_perl:/usr/bin/vendor_perl:/usr/bin/core_perl";

/// Adds the build user, with the uid 1000 even if that is somebody's already, and an empty home; then puts makepkg's
/// settings (`$1`) where makepkg reads them: in the folder that it has for that from 6.1 on, or sourced by its
/// makepkg.conf.
const SET_UP: &str = r#"
userdel builder; groupdel builder; rm -rf /build
set -e
groupadd --non-unique --gid 1000 builder
useradd --non-unique --uid 1000 --gid builder --home-dir /build --no-create-home --shell /bin/bash builder
install -d -o builder -g builder /build /build/packages
mkdir -p /etc/makepkg.conf.d
printf '%s\n' "$1" > /etc/makepkg.conf.d/vieter.conf
version=$(makepkg --version)
[[ $version =~ \)\ ([0-9.]+) ]] || { echo "what version is this makepkg? $version"; exit 1; }
if (( $(vercmp "${BASH_REMATCH[1]}" 6.1) < 0 )); then
    printf '\nsource /etc/makepkg.conf.d/vieter.conf\n' >> /etc/makepkg.conf
fi
"#;

/// What pacman 7 says when the container's kernel or seccomp profile refuses the sandbox of its downloads.
const SANDBOX_REFUSED: [&str; 2] = [
    "restricting filesystem access failed",
    "switching to sandbox user",
];

const ROOT_ENV: [&str; 3] = [PATH, "HOME=/root", "LANG=C.UTF-8"];
/// `PKGDEST` is where makepkg puts the archives that are to be published: empty, and only for them.
const BUILDER_ENV: [&str; 5] = [
    PATH,
    "HOME=/build",
    "LANG=C.UTF-8",
    "PKGDEST=/build/packages",
    "GIT_TERMINAL_PROMPT=0",
];

/// A command as root: only for pacman and what prepares the image, never for a repository's code.
pub fn root<'a>(doing: &'a str, argv: &'a [&'a str]) -> Command<'a> {
    Command {
        doing,
        argv,
        user: "0",
        workdir: "/",
        env: &ROOT_ENV,
    }
}

/// A command as the build user, in `workdir`.
pub fn builder<'a>(doing: &'a str, argv: &'a [&'a str], workdir: &'a str) -> Command<'a> {
    Command {
        doing,
        argv,
        user: "builder",
        workdir,
        env: &BUILDER_ENV,
    }
}

/// Prepares a container of the base image as root, and commits it to a new image; gives the image's name.
///
/// # Errors
/// The first command that fails, with its output; those of the engine.
pub fn prepare(
    engine: &Engine,
    container: &Container,
    run: &str,
    settings: &Settings,
) -> Result<String, Error> {
    // What the packages are signed with first: an old keyring doesn't know the keys of the new packages. No
    // package owns that folder on a distribution without signatures.
    let owner = ["pacman", "-Qqo", "/usr/share/pacman/keyrings/"];
    let keyrings = container.capture(&root("looking for keyrings", &owner));
    let keyrings = String::from_utf8(keyrings.unwrap_or_default()).unwrap_or_default();
    if !keyrings.is_empty() {
        // The official image comes without a key of its own, and new keys must be signed with one.
        step(container, "pacman-key --init", &["pacman-key", "--init"])?;
        let mut argv = vec!["pacman", "-Sy", "--needed", "--noconfirm", "--"];
        argv.extend(keyrings.lines());
        step(container, "update of the keyring", &argv)?;
    }
    let argv = "pacman -Syu --needed --noconfirm base-devel git";
    let argv: Vec<&str> = argv.split(' ').collect();
    step(container, "pacman -Syu base-devel git", &argv)?;
    // Debug packages are what Arch has on by default, and nobody asked for; a later option wins.
    let conf = format!("OPTIONS+=(!debug)\n{}", settings.makepkg_conf);
    let argv = ["bash", "-c", SET_UP, "bash", &conf];
    step(container, "build user", &argv)?;

    log::info!("builder image: commit to {NAME}:{run}");
    engine.commit(&container.id, NAME, run, container.deadline)?;
    Ok(format!("{NAME}:{run}"))
}

/// A step of the preparation, as root; once more if it is pacman's sandbox that failed, without it.
fn step(container: &Container, doing: &str, argv: &[&str]) -> Result<(), Error> {
    log::info!("builder image: {doing}");
    let command = root(doing, argv);
    let error = match container.run(&command) {
        Err(error) if SANDBOX_REFUSED.iter().any(|it| error.output.contains(it)) => error,
        done => return done,
    };
    log::warn!(
        "this engine refuses pacman's sandbox, so it is turned off (DisableSandbox): {error}"
    );
    let edit = r"/^\[options\]/a DisableSandbox";
    let argv = ["sed", "-i", edit, "/etc/pacman.conf"];
    container.run(&root("setting DisableSandbox", &argv))?;
    container.run(&command)
}
