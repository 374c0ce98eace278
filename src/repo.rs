//! The steps of one repository, in a container of its own: clone, keys, version, check, dependencies, build, publish.

use std::cell::{Cell, RefCell};
use std::io;
use std::num::NonZeroU64;
use std::time::Instant;

use crate::cli::Settings;
use crate::docker::{Container, Engine, Exec, Host};
use crate::error::{Error, Kind};
use crate::http::{Deadline, Exactly};
use crate::image::{HOME, builder, root};
use crate::output::one_line;
use crate::pkgbuild::{self, Pkgbuild, READ};
use crate::report::{Line, Outcome, Step};
use crate::server::{Repo, Server};

/// Where the repository is cloned to.
const CLONE: &str = "/build/repo";

/// For messages.
const READING: &str = "reading the PKGBUILD";

/// Brings the repository with a command (`$2` and so on), prints a NUL when it is there, and goes to the folder `$1`, for
/// [`READ`]: one exec for two steps, as an exec costs as much as either.
const FETCH: &str = r#""${@:2}" >&2 || exit; printf '\0'; cd -- "$1" || exit; set --"#;

/// The one place where a shell stands between us and makepkg: only a shell can set a soft file limit (with the
/// engines' 2^30, fakeroot takes minutes; a hard limit would be refused) and ask the container for its cores.
/// The arguments arrive as they are.
const MAKEPKG: &str = r#"ulimit -Sn 1024; MAKEFLAGS="-j$(nproc)" makepkg "$@" >&2 || exit"#;

/// Prints which of its arguments no installed package satisfies; pacman says 127 when there are any.
const MISSING: &str = r#"pacman -T -- "$@" || (( $? == 127 ))"#;

/// Imports the keys that the repository brings, then fetches those that are missing still: `$1` holds the keyservers,
/// the rest are fingerprints. A keyserver has half a minute for an answer. Which of the keys the sources need is for
/// makepkg to know; it fails here if there is none of them.
const IMPORT_KEYS: &str = r#"
for file in keys/pgp/*.asc; do [[ ! -f $file ]] || gpg --batch --import "$file"; done
servers=$1; found=; shift
for key; do
    # Some keyservers give keys out that gpg can't use, and gpg takes that for a success: what counts is the keyring.
    for server in '' $servers; do
        [[ -z $server ]] || timeout 30 gpg --batch --keyserver "$server" --recv-keys -- "$key"
        gpg --batch --list-keys -- "$key" >/dev/null 2>&1 && found=yes && continue 2
    done
    echo "the key $key of validpgpkeys is not in keys/pgp, and on none of these keyservers: $servers"
done
[[ $found ]]
"#;

/// Comes behind [`MAKEPKG`], in the same exec. Prints a NUL, then of each file in PKGDEST its name, its size in bytes
/// and its `.PKGINFO`, each ended by a NUL, and the file itself, ended by [`END`](crate::http::END); at last
/// an empty name. A build can make it print anything, but nothing that it could not put into an archive as well.
const ARCHIVES: &str = r#"
printf '\0'
cd /build/packages || exit
for file in *.pkg.tar*; do
    [[ $file =~ ^[[:graph:]]+\.pkg\.tar(\.[[:alnum:]]+)?$ && $file != *.sig ]] || continue
    [[ -f $file && ! -L $file ]] || continue
    printf '%s\0' "$file" "$(stat -c %s -- "$file")" "$(bsdtar -xOqf "./$file" .PKGINFO)"
    cat -- "$file" && printf '\0end\0' || exit
done
printf '\0'
"#;

/// Makes the repository `$1` at `$2` known to pacman: its database is fetched anew, then it stands last in pacman.conf,
/// so that nothing in it takes the place of an official package. Other databases stay as they are.
const ADD_REPOSITORY: &str = r#"
set -e
conf=/etc/pacman.d/vieter.conf
if pacman-conf --repo-list | grep -qxF -- "$1"; then echo "pacman.conf has a repository $1 already"; exit 1; fi
mkdir -p /etc/pacman.d
printf '[%s]\nServer = %s\nSigLevel = Optional TrustAll\n' "$1" "$2" > "$conf"
pacman --config "$conf" -Sy
printf '\nInclude = %s\n' "$conf" >> /etc/pacman.conf
"#;

/// What the builds of one run have in common.
pub struct Builds<'e> {
    pub engine: &'e Engine,
    pub server: &'e Server,
    /// The builder image's name.
    pub image: &'e str,
    pub run: &'e str,
    pub arch: &'e str,
    pub settings: &'e Settings,
    /// The pacman repositories of the server that builds have to do without, as was said.
    pub without: RefCell<Vec<String>>,
    /// How many archives were published.
    pub published: Cell<usize>,
    /// A container for the next repository, started while this one was cloned.
    pub spare: RefCell<Option<Container<'e>>>,
}

/// The step that failed, and how.
type Failure = (Step, Error);

/// Names the step that an error belongs to.
fn at(step: Step) -> impl Fn(Error) -> Failure {
    move |error| (step, error)
}

impl<'e> Builds<'e> {
    /// Builds one repository, called `name` until its pkgbase is known, and publishes what the server lacks.
    /// Another one comes after it unless it `is_last`.
    pub fn build(&self, repo: &Repo, mut name: String, is_last: bool) -> Line {
        let started = Instant::now();
        let outcome = self.steps(repo, &mut name, is_last);
        let outcome = outcome.unwrap_or_else(|(step, error)| Outcome::Failed(step, error));
        Line(outcome, name, started.elapsed())
    }

    fn steps(&self, repo: &Repo, name: &mut String, is_last: bool) -> Result<Outcome, Failure> {
        let deadline = Deadline::after(self.settings.timeout);
        let mut container = match self.spare.take() {
            // It may have waited for long.
            Some(spare) if spare.is_running().unwrap_or(false) => spare,
            _ => self.start_container(deadline).map_err(at("container"))?,
        };
        container.deadline = deadline;
        let mut build = Build {
            builds: self,
            repo,
            container,
            dir: format!("{CLONE}/{}", repo.path),
        };

        let mut pkgbuild = build.fetch(is_last)?;
        let has_pkgver = pkgbuild.has_pkgver;
        let mut has_dependencies = false;
        if has_pkgver {
            build.import_keys(&pkgbuild).map_err(at("keys"))?;
            has_dependencies = build.update_pkgver(&pkgbuild)?;
            pkgbuild = build.read_pkgbuild().map_err(at("version"))?;
        }
        *name = format!("{} {}", pkgbuild.pkgbase, pkgbuild.version);

        let mut outcome = Outcome::UpToDate;
        if self.settings.force || !build.is_published(&pkgbuild).map_err(at("check"))? {
            has_dependencies = has_dependencies || build.install_dependencies(&pkgbuild)?;
            let mut options = vec![];
            if has_pkgver {
                // The sources are there, prepared.
                options.push("--noextract");
            } else {
                build.import_keys(&pkgbuild).map_err(at("keys"))?;
            }
            log::info!("building {name}");
            outcome = build.make(&options)?;
        }
        // It goes with our connection, and nobody waits for that. But not all proxies pass the end of one on, and what
        // ran as root, a dependency's scriptlet, could have made it stay.
        let is_direct = matches!(self.settings.docker_host, Host::Unix(_));
        build.container.is_left = is_direct && !has_dependencies;
        Ok(outcome)
    }

    fn start_container(&self, deadline: Deadline) -> Result<Container<'e>, Error> {
        let network = self.settings.network.as_deref();
        Container::start(self.engine, None, self.image, self.run, network, deadline)
    }
}

/// One repository's build, under way.
struct Build<'a, 'e> {
    builds: &'a Builds<'e>,
    repo: &'a Repo,
    container: Container<'e>,
    /// Where the PKGBUILD is.
    dir: String,
}

impl Build<'_, '_> {
    /// Runs a command as the build user, where the PKGBUILD is.
    fn run(&self, doing: &str, argv: &[&str]) -> Result<(), Error> {
        self.container.run(&builder(doing, argv, &self.dir))
    }

    /// As [`Build::run`], and gives what it prints.
    fn capture(&self, doing: &str, argv: &[&str]) -> Result<Vec<u8>, Error> {
        self.container.capture(&builder(doing, argv, &self.dir))
    }

    /// Clones the repository, or downloads the PKGBUILD that stands for one, and reads the PKGBUILD: both in one exec.
    /// Meanwhile the container for the next repository is started, which takes the engine about as long.
    fn fetch(&self, is_last: bool) -> Result<Pkgbuild, Failure> {
        let url = self.repo.url.as_str();
        let to = format!("{CLONE}/PKGBUILD");
        let branch = format!("--branch={}", self.repo.branch);
        // Without the sample hooks, which take a tenth of the time.
        let git = "git clone --template= --single-branch --depth 1";
        let mut argv: Vec<&str> = git.split(' ').collect();
        let mut doing = "git clone";
        if self.repo.is_pkgbuild {
            argv = vec!["curl", "-gfsSL", "--create-dirs", "-o", &to, "--", url];
            doing = "curl";
        } else {
            argv.extend(Some(branch.as_str()).filter(|_| !self.repo.branch.is_empty()));
            argv.extend(["--", url, CLONE]);
        }
        let script = format!("{FETCH}\n{READ}");
        let argv = [&["bash", "-c", &script, "bash", &self.dir], &argv[..]].concat();
        let command = builder(doing, &argv, HOME);
        let mut exec = self.container.exec(&command).map_err(at("clone"))?;
        if !is_last {
            // If it can't be, that is said when it is needed.
            let spare = self.builds.start_container(self.container.deadline);
            let spare = spare.inspect_err(|error| log::debug!("{error}"));
            *self.builds.spare.borrow_mut() = spare.ok();
        }
        exec.field().map_err(at("clone"))?;
        exec.doing = READING.to_owned();
        let printed = exec.rest().map_err(at("version"))?;
        pkgbuild::parse(&printed).map_err(at("version"))
    }

    fn read_pkgbuild(&self) -> Result<Pkgbuild, Error> {
        pkgbuild::parse(&self.capture(READING, &["bash", "-c", READ])?)
    }

    fn import_keys(&self, pkgbuild: &Pkgbuild) -> Result<(), Error> {
        if pkgbuild.keys.is_empty() {
            return Ok(());
        }
        let servers = self.builds.settings.keyservers.as_str();
        let mut argv = vec!["bash", "-c", IMPORT_KEYS, "bash", servers];
        argv.extend(pkgbuild.keys.iter().map(String::as_str));
        self.run("importing keys", &argv)
    }

    /// Lets makepkg write the version that pkgver() finds into the PKGBUILD. Both pkgver() and prepare(), which
    /// runs before it, may need a program that makedepends names: if it fails, it gets them, and a second try.
    /// Tells whether it did.
    fn update_pkgver(&self, pkgbuild: &Pkgbuild) -> Result<bool, Failure> {
        let doing = "makepkg --nobuild";
        let Err(error) = self.makepkg(doing, &["--nobuild", "--nodeps"]) else {
            return Ok(false);
        };
        if self.container.deadline.left().is_zero() {
            return Err(("version", error));
        }
        log::info!("trying again with the dependencies: {error}");
        if !self.install_dependencies(pkgbuild)? {
            return Err(("version", error));
        }
        // In a clean tree: prepare() may have come half-way.
        let again = self.makepkg(doing, &["--nobuild", "--nodeps", "--cleanbuild"]);
        again.map_err(at("version")).map(|()| true)
    }

    /// Whether the server has this version of each of the names.
    fn is_published(&self, pkgbuild: &Pkgbuild) -> Result<bool, Error> {
        for name in &pkgbuild.names {
            if !self.has(&format!("{name}-{}", pkgbuild.version))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has(&self, file: &str) -> Result<bool, Error> {
        let Builds { server, arch, .. } = self.builds;
        server.has([&self.repo.repo, arch, file], self.container.deadline)
    }

    /// Installs the dependencies that are missing, as root: the build user can't, and need not. Tells whether
    /// there were any.
    fn install_dependencies(&self, pkgbuild: &Pkgbuild) -> Result<bool, Failure> {
        let missing = self.missing(&pkgbuild.dependencies);
        let missing = missing.map_err(at("dependencies"))?;
        if missing.is_empty() {
            return Ok(false);
        }
        log::info!("installing {}", one_line(&missing, 500));
        self.add_repository().map_err(at("check"))?;
        let mut argv = vec!["pacman", "-S", "--asdeps", "--needed", "--noconfirm", "--"];
        argv.extend(missing.lines());
        let command = root("installing the dependencies", &argv);
        let installed = self.container.run(&command);
        installed.map_err(at("dependencies")).map(|()| true)
    }

    /// Those of the dependencies that no installed package satisfies, one a line.
    fn missing(&self, dependencies: &[String]) -> Result<String, Error> {
        if dependencies.is_empty() {
            return Ok(String::new());
        }
        let mut argv = vec!["bash", "-c", MISSING, "bash"];
        argv.extend(dependencies.iter().map(String::as_str));
        let missing = self.capture("looking for missing dependencies", &argv)?;
        Ok(String::from_utf8_lossy(&missing).into_owned())
    }

    /// Makes what is published to the same repository known to pacman, if there is anything (pacman takes a missing
    /// database for an error).
    fn add_repository(&self) -> Result<(), Error> {
        let (repo, without) = (&self.repo.repo, &self.builds.without);
        if !self.has(&format!("{repo}.db"))? {
            return Ok(());
        }
        let url = self.builds.server.url_of(repo, self.builds.arch);
        let argv = ["bash", "-c", ADD_REPOSITORY, "bash", repo, &url];
        let added = self
            .container
            .run(&root("adding the repository to pacman.conf", &argv));
        match added {
            Err(error) if matches!(error.kind, Kind::Command(Some(_))) => {
                if !without.borrow().contains(repo) {
                    log::warn!(
                        "builds go on without what is published to {repo}, which is {url} in a container: {error}"
                    );
                    without.borrow_mut().push(repo.clone());
                }
                Ok(())
            }
            added => added,
        }
    }

    fn makepkg(&self, doing: &str, options: &[&str]) -> Result<(), Error> {
        let argv = [&["bash", "-c", MAKEPKG, "makepkg", "--noconfirm"], options].concat();
        self.run(doing, &argv)
    }

    /// Runs makepkg and publishes what it made: one exec for two steps.
    fn make(&self, options: &[&str]) -> Result<Outcome, Failure> {
        let script = format!("{MAKEPKG}\n{ARCHIVES}");
        let argv = [&["bash", "-c", &script, "makepkg", "--noconfirm"], options].concat();
        let command = builder("makepkg", &argv, &self.dir);
        let mut exec = self.container.exec(&command).map_err(at("build"))?;
        exec.field().map_err(at("build"))?;
        self.publish(&mut exec).map_err(at("publish"))
    }

    /// Publishes the archives that the server lacks, or all if it was told so, straight from what [`ARCHIVES`] prints.
    fn publish(&self, exec: &mut Exec) -> Result<Outcome, Error> {
        let (builds, repo) = (self.builds, &self.repo.repo);
        exec.doing = "looking for package archives".to_owned();
        let mut outcome = Err(Error::unusable(&exec.doing, "makepkg made none"));
        loop {
            let file = one_line(&exec.field()?, 300);
            if file.is_empty() {
                return outcome;
            }
            let size = exec.field()?.parse::<NonZeroU64>().map(u64::from);
            let size = size.map_err(|_| Error::unusable(&file, "it has no size"))?;
            let named = pkgbuild::parse_pkginfo(&exec.field()?);
            let (name, version) = named.map_err(|error| error.during(&file))?;
            let mut archive = Exactly::new(exec, size);
            if builds.settings.force || !self.has(&format!("{name}-{version}"))? {
                log::info!("publishing {name} {version} ({size} bytes) to {repo}");
                builds
                    .server
                    .publish(repo, archive, self.container.deadline)?;
                builds.published.set(builds.published.get() + 1);
                outcome = Ok(Outcome::Built);
            } else {
                log::info!("{name} {version} is published already");
                let passed = io::copy(&mut archive, &mut io::sink());
                passed.map_err(|error| Error::unusable(&file, error))?;
                outcome = outcome.or(Ok(Outcome::UpToDate));
            }
        }
    }
}
