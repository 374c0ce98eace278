//! The builder image: the base image, brought up to date, with base-devel, git and a build user.

use crate::docker::{Command, Container, Engine};
use crate::error::Error;
use crate::http::Deadline;

/// The repository part of every builder image's name; the tag is the run.
pub const NAME: &str = "vieter-build";

/// The build user, and its home. It has no password, no sudo and no capability.
const BUILDER: &str = "builder";
pub const HOME: &str = "/build";

/// Where makepkg puts the archives that are to be published (makepkg's `PKGDEST`): empty, and only for them.
pub const PKGDEST: &str = "/build/packages";

/// Arch's PATH, with the folders that Perl's packages put programs into and that the base image leaves out.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin:\
    /usr/bin/site_perl:/usr/bin/vendor_perl:/usr/bin/core_perl";

/// A command as root: only for pacman and what prepares the image, never for a repository's code.
pub fn root<'a>(doing: &'a str, argv: &'a [&'a str]) -> Command<'a> {
    Command {
        doing,
        argv,
        user: "0",
        workdir: "/",
        env: &[PATH, "HOME=/root", "LANG=C.UTF-8"],
    }
}

/// A command as the build user, in `workdir`.
pub fn builder<'a>(doing: &'a str, argv: &'a [&'a str], workdir: &'a str) -> Command<'a> {
    Command {
        doing,
        argv,
        user: BUILDER,
        workdir,
        env: &[
            PATH,
            "HOME=/build",
            "LANG=C.UTF-8",
            "PKGDEST=/build/packages",
            "GIT_TERMINAL_PROMPT=0",
        ],
    }
}

/// The builder image of one run; dropping it removes it.
pub struct BuilderImage<'e> {
    engine: &'e Engine,
    name: String,
}

impl<'e> BuilderImage<'e> {
    /// Prepares a container of the base image as root, and commits it.
    ///
    /// # Errors
    /// The first command that fails, with its output; those of the engine.
    pub fn prepare(
        engine: &'e Engine,
        container: &Container,
        run: &str,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let run_as_root = |doing: &str, argv: &[&str]| {
            log::info!("builder image: {doing}");
            container.run(&root(doing, argv), deadline)
        };
        // What the packages are signed with first: an old keyring doesn't know the keys of the new packages. No
        // package owns that folder on a distribution without signatures.
        let owner = ["pacman", "-Qqo", "/usr/share/pacman/keyrings/"];
        let keyrings = container.capture(&root("looking for keyrings", &owner), deadline);
        let keyrings = String::from_utf8(keyrings.unwrap_or_default()).unwrap_or_default();
        if !keyrings.is_empty() {
            // The official image comes without a key of its own, and new keys must be signed with one.
            run_as_root("pacman-key --init", &["pacman-key", "--init"])?;
            let mut argv = vec!["pacman", "-Sy", "--needed", "--noconfirm", "--"];
            argv.extend(keyrings.lines());
            run_as_root("update of the keyring", &argv)?;
        }
        let argv = [
            "pacman",
            "-Syu",
            "--needed",
            "--noconfirm",
            "base-devel",
            "git",
        ];
        run_as_root("pacman -Syu base-devel git", &argv)?;
        let argv = [
            "useradd",
            "--uid",
            "1000",
            "--user-group",
            "--home-dir",
            HOME,
            "--no-create-home",
            "--shell",
            "/bin/bash",
            BUILDER,
        ];
        run_as_root("useradd builder", &argv)?;
        let argv = ["install", "-d", "-o", BUILDER, "-g", BUILDER, HOME, PKGDEST];
        run_as_root("home of the builder", &argv)?;

        log::info!("builder image: commit to {NAME}:{run}");
        // Made before the commit, so that a commit that fails half-way is removed too.
        let image = BuilderImage {
            engine,
            name: format!("{NAME}:{run}"),
        };
        engine.commit(container.id(), NAME, run, deadline)?;
        Ok(image)
    }

    /// Its name, for new containers.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for BuilderImage<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.engine.remove_image(&self.name) {
            log::warn!("{error} (the next run removes it)");
        }
    }
}
