//! Who runs what in a container: the users with their environments, the folders, the scripts, and what a container may.
//! Not here: how a container is made and kept (`docker`), and when what is run (`image`, `job`).

use crate::docker::types::LogConfig;
use crate::docker::{Command, Container, Engine, HostConfig, ImageRef};
use crate::error::{Error, Result};
use crate::http::Deadline;
use crate::script::script;
use crate::shard::Shard;
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
    /// The most memory of each, in bytes; `None` for no limit.
    pub memory: Option<u64>,
    /// `NAME=value`, for all that runs in them: a proxy, say.
    pub env: Vec<String>,
}

/// Who a command in a container runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// For pacman, what prepares the image, the inbox, and reading what the engine limits: never for a repository's code.
    /// But the install scripts of packages are run by pacman.
    Root,
    /// The build user: all that comes from a repository.
    Builder,
    /// Who looks into archives, changes databases, and asks pacman for names: nobody else's files can be written by it.
    Checker,
}

const ROOT_ENV: &[&str] = &[PATH, "HOME=/root", "LANG=C.UTF-8"];

const CHECKER_ENV: &[&str] = &[PATH, "HOME=/", "LANG=C.UTF-8"];

/// The uid of the build user: one that no person on the host is likely to have, as the kernel's limits per user are shared
/// with whoever has it, and below 65534, as the maps of rootless engines end there.
pub const BUILDER: &str = "41771";

/// The uid and gid of the checker, which has no entry in any passwd.
const CHECKER: &str = "41772:41772";

/// The most processes in a container.
const MAX_PROCESSES: u32 = 16384;

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

const fn checker(doing: &'static str, text: &'static str) -> Script {
    let user = User::Checker;
    Script { user, doing, text }
}

const fn builder(doing: &'static str, text: &'static str) -> Script {
    let user = User::Builder;
    Script { user, doing, text }
}

/// Makes a mirror the only one.
pub const MIRROR: Script = root("setting the mirror", script!("scripts/mirror.sh"));
/// Makes the builder image's last changes.
pub const SET_UP: Script = root("build user", script!("scripts/set-up.sh"));
/// What makepkg makes of versions there.
pub const CHECK_PKGVER: &str = script!("scripts/check-pkgver.sh");
/// Perl, for [`ARCHIVES`].
pub const WALK: &str = script!("scripts/walk.pl");
/// Says what is installed.
pub const PACKAGES: Script = root("listing the packages", script!("scripts/packages.sh"));
/// Says which pacman and makepkg there are.
pub const MADE_OF: Script = checker("asking for versions", script!("scripts/made-of.sh"));
/// Reads the limits of a container.
const LIMITS: Script = root("reading the limits", script!("scripts/limits.sh"));
/// Empties the inbox.
pub const EMPTY: Script = root("emptying the inbox", script!("scripts/empty.sh"));
/// Makes a pacman repository known to pacman.
pub const ADD_REPOSITORY: Script = root("pacman -Sy", script!("scripts/add-repository.sh"));
/// Asks pacman which archives it would take.
pub const WOULD_TAKE: Script = root("asking pacman", script!("scripts/would-take.sh"));
/// Brings a repository and reads its PKGBUILD.
pub const CLONE_AND_READ: Script = builder("git clone", script!("scripts/clone.sh"));
/// Lists what has changed.
pub const FILES: Script = builder("git diff", script!("scripts/files.sh"));
/// Shows what has changed.
pub const SHOW: Script = builder("git diff", script!("scripts/show.sh"));
/// Reads a PKGBUILD.
pub const READ: Script = builder("reading the PKGBUILD", script!("scripts/read.sh"));
/// Imports keys.
pub const IMPORT_KEYS: Script = builder("importing keys", script!("scripts/import-keys.sh"));
/// Runs a command where the PKGBUILD is.
pub const IN_DIR: Script = builder("cd", script!("scripts/in-dir.sh"));
/// Runs makepkg.
pub const MAKEPKG: Script = builder("makepkg", script!("scripts/makepkg.sh"));
/// Looks for dependencies that aren't installed.
pub const MISSING: Script = builder("pacman -T", script!("scripts/missing.sh"));
/// Brings the history of a shallow clone.
pub const DEEPEN: Script = builder("git fetch --unshallow", script!("scripts/deepen.sh"));
/// Ends and removes what a build has left.
pub const TIDY: Script = builder("tidying up", script!("scripts/tidy.sh"));
/// Looks into package archives.
pub const ARCHIVES: Script = checker("listing the archives", script!("scripts/archives.sh"));
/// Asks which names are official.
pub const OFFICIAL: Script = checker("asking pacman", script!("scripts/official.sh"));
/// Unpacks a compressed database.
pub const PLAIN: Script = checker("unpacking the database", script!("scripts/plain.sh"));
/// Changes a database.
pub const DATABASE: Script = checker("repo-add", script!("scripts/database.sh"));

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
        User::Checker => (CHECKER, "/", CHECKER_ENV),
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
    /// The part of the list that the run is of.
    pub shard: Option<Shard>,
}

impl<'e> Sandbox<'e> {
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
            pids_limit: MAX_PROCESSES,
            memory: self.settings.memory,
            memory_swap: self.settings.memory,
            network_mode: self.settings.network.as_deref(),
        };
        let env = &self.settings.env;
        Container::start(self.engine, name, image, &self.run, env, host_config, by)
    }

    /// Reads back in one of them whether the limits hold: rootless engines may pass over them without a word. One on processes
    /// that doesn't is a warning.
    ///
    /// # Errors
    /// A limit on memory that doesn't hold; those of the script.
    pub fn check_limits(&self, container: &Container, by: Deadline) -> Result<()> {
        let printed = container.read(&LIMITS.with([]), by)?;
        let mut lines = printed.lines();
        // Another limit is somebody else's, such as that of the service that the engine runs in. Memory is rounded to pages.
        let mut holds = |most: u64, rounding: u64| {
            let line = lines.next().unwrap_or("");
            line.parse()
                .is_ok_and(|set: u64| set <= most && set.saturating_add(rounding) >= most)
        };
        if !holds(MAX_PROCESSES.into(), 0) {
            let unbounded = "this engine doesn't limit the processes of a container";
            log::warn!("{unbounded}: a build that forks without end may take the host's");
        }
        match self.settings.memory {
            Some(most) if !holds(most, 65536) => {
                let why = "this engine doesn't limit the memory of a container";
                let advice = "rootless engines need control groups of version 2 that are delegated to \
                    the user; or leave --memory out";
                Err(Error::unusable("--memory (VIETER_MEMORY)", why).advise(advice))
            }
            _ => Ok(()),
        }
    }
}
