//! The steps of one repository, in a container of its own: clone, version, check, dependencies, build, publish.

use std::time::Instant;

use crate::cli::Settings;
use crate::docker::{Container, Engine};
use crate::error::Error;
use crate::http::Deadline;
use crate::image::{HOME, PKGDEST, builder, root};
use crate::output::one_line;
use crate::pkgbuild::{self, Pkgbuild};
use crate::report::{Line, Outcome, Step};
use crate::server::{Repo, Server};

/// Where the repository is cloned to, and makepkg is run.
const CLONE: &str = "/build/repo";

/// The one place where a shell stands between us and makepkg: only a shell can set a soft file limit (with the
/// engines' 2^30, fakeroot takes minutes; a hard limit would be refused) and ask the container for its cores.
/// The arguments arrive as they are.
const MAKEPKG: &str = r#"ulimit -Sn 1024; MAKEFLAGS="-j$(nproc)" exec makepkg "$@""#;

/// Prints which of its arguments no installed package satisfies; pacman says 127 when there are any.
const MISSING: &str = r#"pacman -T -- "$@" || (( $? == 127 ))"#;

/// What the builds of one run have in common.
pub struct Builds<'a> {
    pub engine: &'a Engine,
    pub server: &'a Server,
    /// The builder image's name.
    pub image: &'a str,
    pub run: &'a str,
    pub arch: &'a str,
    pub settings: &'a Settings,
}

/// The step that failed, and how.
type Failure = (Step, Error);

/// Names the step that an error belongs to.
fn at(step: Step) -> impl Fn(Error) -> Failure {
    move |error| (step, error)
}

impl Builds<'_> {
    /// Builds one repository, called `name` until its pkgbase is known, and publishes what the server lacks.
    pub fn build(&self, repo: &Repo, mut name: String) -> Line {
        let started = Instant::now();
        let outcome = match self.steps(repo, &mut name) {
            Ok(outcome) => outcome,
            Err((step, error)) => Outcome::Failed(step, error),
        };
        Line {
            outcome,
            name,
            time: started.elapsed(),
        }
    }

    fn steps(&self, repo: &Repo, name: &mut String) -> Result<Outcome, Failure> {
        let deadline = Deadline::after(self.settings.timeout);
        let container = Container::start(
            self.engine,
            None,
            self.image,
            self.run,
            self.settings.network.as_deref(),
        )
        .map_err(at("container"))?;
        let build = Build {
            builds: self,
            container,
            deadline,
        };

        build.clone(repo).map_err(at("clone"))?;
        let mut pkgbuild = build.read_pkgbuild().map_err(at("version"))?;
        let has_pkgver = pkgbuild.has_pkgver;
        let mut has_dependencies = false;
        if has_pkgver {
            has_dependencies = build.update_pkgver()?;
            pkgbuild = build.read_pkgbuild().map_err(at("version"))?;
        }
        *name = format!("{} {}", pkgbuild.pkgbase, pkgbuild.version);

        if !self.settings.force && build.is_published(repo, &pkgbuild).map_err(at("check"))? {
            return Ok(Outcome::UpToDate);
        }
        if !has_dependencies {
            build.install_dependencies().map_err(at("dependencies"))?;
        }
        log::info!("building {name}");
        // The sources are there, prepared, if pkgver() needed them.
        let noextract = if has_pkgver {
            &["--noextract"][..]
        } else {
            &[]
        };
        build.makepkg("makepkg", noextract).map_err(at("build"))?;
        build.publish(repo).map_err(at("publish"))
    }
}

/// One repository's build, under way.
struct Build<'a> {
    builds: &'a Builds<'a>,
    container: Container<'a>,
    deadline: Deadline,
}

impl Build<'_> {
    fn clone(&self, repo: &Repo) -> Result<(), Error> {
        let branch = repo.branch.as_ref().map(|it| format!("--branch={it}"));
        let mut argv = vec!["git", "clone", "--single-branch", "--depth", "1"];
        argv.extend(branch.as_deref());
        argv.extend(["--", &repo.url, CLONE]);
        self.container
            .run(&builder("git clone", &argv, HOME), self.deadline)
    }

    fn read_pkgbuild(&self) -> Result<Pkgbuild, Error> {
        let argv = ["bash", "-c", pkgbuild::READ];
        let command = builder("reading the PKGBUILD", &argv, CLONE);
        pkgbuild::parse(&self.container.capture(&command, self.deadline)?)
    }

    /// Lets makepkg write the version that pkgver() finds into the PKGBUILD. Both pkgver() and prepare(), which
    /// runs before it, may need a program that makedepends names: if it fails, it gets them, and a second try.
    /// Tells whether it did.
    fn update_pkgver(&self) -> Result<bool, Failure> {
        const UPDATE: [&str; 2] = ["--nobuild", "--nodeps"];
        let Err(error) = self.makepkg("makepkg --nobuild", &UPDATE) else {
            return Ok(false);
        };
        if self.deadline.passed() {
            return Err(("version", error));
        }
        log::info!("trying again with the dependencies: {error}");
        let installed = self.install_dependencies();
        if !installed.map_err(at("dependencies"))? {
            return Err(("version", error));
        }
        // In a clean tree: prepare() may have come half-way.
        let again = self.makepkg(
            "makepkg --nobuild",
            &[&UPDATE[..], &["--cleanbuild"]].concat(),
        );
        again.map_err(at("version")).map(|()| true)
    }

    /// Whether the server has this version of each of the names.
    fn is_published(&self, repo: &Repo, pkgbuild: &Pkgbuild) -> Result<bool, Error> {
        for name in &pkgbuild.names {
            if !self.has(repo, name, &pkgbuild.version)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has(&self, repo: &Repo, name: &str, version: &str) -> Result<bool, Error> {
        let arch = self.builds.arch;
        self.builds
            .server
            .has(&repo.repo, arch, name, version, self.deadline)
    }

    /// Installs the dependencies that are missing, as root: the build user can't, and need not. Tells whether
    /// there were any.
    fn install_dependencies(&self) -> Result<bool, Error> {
        let argv = ["makepkg", "--printsrcinfo"];
        let command = builder("makepkg --printsrcinfo", &argv, CLONE);
        let srcinfo = self.container.capture(&command, self.deadline)?;
        let dependencies = pkgbuild::dependencies(&srcinfo, self.builds.arch);
        let mut argv = vec!["bash", "-c", MISSING, "bash"];
        argv.extend(dependencies.iter().map(String::as_str));
        let command = builder("looking for missing dependencies", &argv, CLONE);
        let missing = self.container.capture(&command, self.deadline)?;
        let missing = String::from_utf8_lossy(&missing).into_owned();
        if missing.is_empty() {
            return Ok(false);
        }
        let mut argv = vec!["pacman", "-S", "--asdeps", "--needed", "--noconfirm", "--"];
        argv.extend(missing.lines());
        log::info!("installing {}", one_line(&missing, 500));
        let command = root("installing the dependencies", &argv);
        self.container.run(&command, self.deadline).map(|()| true)
    }

    fn makepkg(&self, doing: &str, options: &[&str]) -> Result<(), Error> {
        let argv = [&["bash", "-c", MAKEPKG, "makepkg", "--noconfirm"], options].concat();
        self.container
            .run(&builder(doing, &argv, CLONE), self.deadline)
    }

    /// Publishes the archives that the server lacks, or all if it was told so.
    fn publish(&self, repo: &Repo) -> Result<Outcome, Error> {
        let archives = self.archives()?;
        if archives.is_empty() {
            return Err(Error::unusable(
                "looking for package archives",
                "makepkg made none",
            ));
        }
        let mut outcome = Outcome::UpToDate;
        for (file, size) in archives {
            let path = format!("{PKGDEST}/{file}");
            let argv = ["bsdtar", "-xOqf", &path, ".PKGINFO"];
            let command = builder("reading .PKGINFO", &argv, PKGDEST);
            let pkginfo = self.container.capture(&command, self.deadline)?;
            let (name, version) = pkgbuild::parse_pkginfo(&pkginfo)?;
            if !self.builds.settings.force && self.has(repo, &name, &version)? {
                log::info!("{name} {version} is published already");
                continue;
            }
            log::info!(
                "publishing {name} {version} ({size} bytes) to {}",
                repo.repo
            );
            self.upload(repo, &file, &path, size)?;
            outcome = Outcome::Built;
        }
        Ok(outcome)
    }

    /// Sends one archive from the container straight to the server.
    fn upload(&self, repo: &Repo, file: &str, path: &str, size: u64) -> Result<(), Error> {
        let argv = ["cat", "--", path];
        let command = builder("reading the archive", &argv, PKGDEST);
        let mut archive = self.container.exec(&command, self.deadline)?;
        let server = self.builds.server;
        server.publish(&repo.repo, file, &mut archive, size, self.deadline)
    }

    /// The regular files in PKGDEST that are called as package archives are, with their sizes in bytes.
    fn archives(&self) -> Result<Vec<(String, u64)>, Error> {
        let argv = [
            "find",
            PKGDEST,
            "-mindepth",
            "1",
            "-maxdepth",
            "1",
            "-type",
            "f",
            "-printf",
            "%s %f\\0",
        ];
        let command = builder("listing PKGDEST", &argv, PKGDEST);
        let listing = self.container.capture(&command, self.deadline)?;
        let mut archives: Vec<(String, u64)> = String::from_utf8_lossy(&listing)
            .split_terminator('\0')
            .filter_map(|line| {
                let (size, file) = line.split_once(' ')?;
                Some((file.to_owned(), size.parse().ok()?))
            })
            .filter(|(file, _)| pkgbuild::is_archive_name(file))
            .collect();
        archives.sort();
        Ok(archives)
    }
}
