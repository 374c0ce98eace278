//! Who runs what in a container: the users with their environments, the folders, the scripts, and what a container may.
//! Not here: how a container is made and kept (`docker`), and when what is run (`image`, `job`).

use crate::docker::types::LogConfig;
use crate::docker::{Command, Container, Engine, HostConfig, ImageRef};
use crate::error::Result;
use crate::http::Deadline;
use crate::words::RunId;

/// The home of the build user, who has no password, no sudo and no capability.
const HOME: &str = "/build";

/// Where a repository is cloned to.
pub const CLONE: &str = "/build/repo";

/// What pacman needs of root's powers to unpack and own files and to run scriptlets in a chroot (SETFCAP for
/// packages with file capabilities). All others are dropped, for root too.
const CAPABILITIES: &str = "CHOWN DAC_OVERRIDE FOWNER FSETID SETFCAP SETGID SETUID SYS_CHROOT";

/// Arch's PATH, with the folders that Perl's packages put programs into and that the base image leaves out.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin:\
    /usr/bin/site_perl:/usr/bin/vendor_perl:/usr/bin/core_perl";

/// What is the same for all containers of a run.
pub struct Settings {
    /// A network's name, or `host`; `None` for the engine's default.
    pub network: Option<String>,
}

/// Who a command in a container runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Only for pacman and what prepares the image, never for a repository's code.
    Root,
    /// The build user: all that comes from a repository.
    Builder,
}

const ROOT_ENV: &[&str] = &[PATH, "HOME=/root", "LANG=C.UTF-8"];

/// `PKGDEST` is where makepkg puts the archives that are to be published: empty, and only for them.
const BUILDER_ENV: &[&str] = &[
    PATH,
    "HOME=/build",
    "LANG=C.UTF-8",
    "PKGDEST=/build/packages",
    "GIT_TERMINAL_PROMPT=0",
];

/// A script of bash's, which begins with what it takes, prints and ends with.
pub struct Script {
    user: User,
    /// What it does, for messages.
    pub doing: &'static str,
    /// The script itself.
    pub text: &'static str,
}

const fn root(doing: &'static str, text: &'static str) -> Script {
    let user = User::Root;
    Script { user, doing, text }
}

const fn builder(doing: &'static str, text: &'static str) -> Script {
    let user = User::Builder;
    Script { user, doing, text }
}

/// Makes the builder image's last changes.
pub const SET_UP: Script = root("build user", include_str!("scripts/set-up.sh"));
/// Makes a pacman repository known to pacman.
pub const ADD_REPOSITORY: Script = root("pacman -Sy", include_str!("scripts/add-repository.sh"));
/// Brings a repository and reads its PKGBUILD.
pub const CLONE_AND_READ: Script = builder("git clone", include_str!("scripts/clone.sh"));
/// Reads a PKGBUILD.
pub const READ: Script = builder("reading the PKGBUILD", include_str!("scripts/read.sh"));
/// Imports keys.
pub const IMPORT_KEYS: Script = builder("importing keys", include_str!("scripts/import-keys.sh"));
/// Runs makepkg.
pub const MAKEPKG: Script = builder("makepkg", include_str!("scripts/makepkg.sh"));
/// Looks for dependencies that aren't installed.
pub const MISSING: Script = builder("pacman -T", include_str!("scripts/missing.sh"));
/// Lists the package archives that makepkg made.
pub const ARCHIVES: Script = builder("listing the archives", include_str!("scripts/archives.sh"));

impl Script {
    /// The command that runs it with these arguments, in its user's home.
    pub fn with<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command<'a> {
        let mut argv = vec!["bash", "-c", self.text, "bash"];
        argv.extend(args);
        command(self.user, self.doing, argv)
    }
}

/// A command as this user, in its home; `doing` is what messages call it.
pub fn command<'a>(user: User, doing: &'a str, argv: Vec<&'a str>) -> Command<'a> {
    let (user, workdir, env) = match user {
        User::Root => ("0", "/", ROOT_ENV),
        User::Builder => ("builder", HOME, BUILDER_ENV),
    };
    Command {
        doing,
        argv,
        user,
        workdir,
        env,
    }
}

/// What makes the containers of a run: strangers may work in them.
pub struct Sandbox<'e> {
    /// Where they are.
    pub engine: &'e Engine,
    /// Whose they are.
    pub run: RunId,
    /// What they have in common.
    pub settings: &'e Settings,
}

impl<'e> Sandbox<'e> {
    /// For the containers of `run` on this engine.
    pub fn new(engine: &'e Engine, run: RunId, settings: &'e Settings) -> Sandbox<'e> {
        Sandbox {
            engine,
            run,
            settings,
        }
    }

    /// Starts one: no way to more rights, few of root's, nothing mounted.
    ///
    /// # Errors
    /// Those of [`Container::start`].
    pub fn start(
        &self,
        name: Option<&str>,
        image: &ImageRef,
        by: Deadline,
    ) -> Result<Container<'e>> {
        let cap_add: Vec<&str> = CAPABILITIES.split(' ').collect();
        let host_config = HostConfig {
            auto_remove: true,
            log_config: LogConfig { r#type: "none" },
            security_opt: &["no-new-privileges"],
            cap_drop: &["ALL"],
            cap_add: &cap_add,
            network_mode: self.settings.network.as_deref(),
        };
        Container::start(self.engine, name, image, &self.run, host_config, by)
    }
}
