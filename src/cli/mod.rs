//! The command line and the environment, made into the settings of each part (`parts`). Known to `main` alone: the parts get
//! what is theirs, so that the key is in nobody's hands but the server's.

mod parts;
mod values;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use lexopt::Parser;
use lexopt::prelude::*;
use log::LevelFilter;

use self::parts::{home_settings, run_settings};
use self::values::{Env, Values, refused, usage};
use crate::error::Result;
use crate::review::Asking;
use crate::{home, report, run, screen};

/// What a command line asks for.
pub enum Action {
    /// This text: `--help`, `--version`.
    Print(&'static str),
    /// A command, with the settings of all parts.
    Run(Command, Box<Settings>),
}

/// The commands, which take the same settings, and what is for one of them.
pub enum Command {
    /// `vieter build`, into this home.
    Build(home::Settings),
    /// `vieter check`, of this home.
    Check(home::Settings),
    /// `vieter review`, of what is on the list of that server, if there is one.
    Review(Asking, Option<home::Settings>),
}

/// The settings of all parts.
pub struct Settings {
    /// All else that a run needs.
    pub run: run::Settings,
    /// How a run is told.
    pub told: report::Settings,
    /// Whether somebody looks at the log who wants to see what is being done.
    pub is_seen: bool,
    /// Whether all is shown that commands print.
    pub is_verbose: bool,
    /// What the log shows.
    pub log_level: LevelFilter,
}

const HELP: &str = include_str!("../help.txt");
const VERSION: &str = concat!("vieter ", env!("CARGO_PKG_VERSION"), "\n");

/// The flags that take a value, by the variable that each wins over.
const FLAGS: [(&str, &str); 20] = [
    ("VIETER_ADDRESS", "address"),
    ("VIETER_INTO", "into"),
    ("VIETER_SIGN_COMMAND", "sign-command"),
    ("VIETER_LIST", "list"),
    ("VIETER_REPO", "repo"),
    ("VIETER_APPROVED", "approved"),
    ("VIETER_SHARD", "shard"),
    ("VIETER_BASE_IMAGE", "base-image"),
    ("VIETER_ARCH", "arch"),
    ("VIETER_NETWORK", "network"),
    ("VIETER_MEMORY", "memory"),
    ("VIETER_MIRROR", "mirror"),
    ("VIETER_REPLACE", "replace"),
    ("VIETER_TIMEOUT", "timeout"),
    ("DOCKER_HOST", "docker-host"),
    ("VIETER_REPORT", "report"),
    ("VIETER_LOG_DIR", "log-dir"),
    ("VIETER_STATE", "state"),
    ("VIETER_LOG", "log-level"),
    ("VIETER_MAKEPKG_CONF", "makepkg-conf"),
];

/// The flags that take none.
const SWITCHES: &str = "approve approve-updates dry-run force fresh json prune verbose";

/// Reads a command line (without the program's name) and the variables that `env` gives.
///
/// # Errors
/// Bad usage, always.
pub fn parse(args: impl IntoIterator<Item = OsString>, env: Env) -> Result<Action> {
    let mut parser = Parser::from_args(args);
    let (mut flags, mut switches, mut command) = (HashMap::new(), vec![], None);
    let (mut pairs, mut what) = (vec![], vec![]);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Short('h') | Long("help") => return Ok(Action::Print(HELP)),
            Short('V') | Long("version") => return Ok(Action::Print(VERSION)),
            Long("env") => pairs.push(parser.value().and_then(|it| it.string()).map_err(usage)?),
            Short('v') => switches.push("verbose".to_owned()),
            Long(name) => match FLAGS.iter().find(|(_, flag)| *flag == name) {
                Some((variable, _)) => {
                    let value = parser.value().and_then(|it| it.string()).map_err(usage)?;
                    flags.insert(*variable, value);
                }
                None if SWITCHES.split(' ').any(|it| it == name) => switches.push(name.to_owned()),
                None => return Err(usage(arg.unexpected())),
            },
            Value(it) if command.is_none() && it == "build" => command = Some(Named::Build),
            Value(it) if command.is_none() && it == "check" => command = Some(Named::Check),
            Value(it) if command.is_none() && it == "review" => command = Some(Named::Review),
            Value(it) if command.is_none() => {
                return Err(usage(format!(
                    "{it:?} is no command: build, check or review"
                )));
            }
            Value(it) if it.is_empty() => {
                return Err(usage("an empty WHAT: to build all, leave it out"));
            }
            Value(it) if command != Some(Named::Check) => {
                what.push(it.string().map_err(usage)?);
            }
            arg => return Err(usage(arg.unexpected())),
        }
    }
    let named = command.ok_or_else(|| usage("what to do? build, check or review"))?;
    let values = &Values {
        flags,
        switches,
        env,
        pairs,
        what,
    };
    // Nothing is published by a review, so it needs a server for its list alone.
    let home = match values.get("VIETER_ADDRESS")? {
        None if named == Named::Review => None,
        _ => Some(home_settings(values)?),
    };
    let settings = settings(values)?;
    let has_list = settings.run.list.file.is_some() || !values.what.is_empty();
    let has_server = matches!(home, Some(home::Settings::Server(_)));
    let command = match (named, home) {
        (Named::Check, Some(home)) => Command::Check(home),
        _ if !has_server && !has_list => {
            return Err(usage(
                "what to build? name a --list (VIETER_LIST), or URLs: a folder has no list",
            ));
        }
        (Named::Build, Some(home)) => Command::Build(home),
        (_, home) => Command::Review(asking(values, &settings.run)?, home),
    };
    if values.has("approve") && named != Named::Review {
        return Err(usage("--approve is for review"));
    }
    Ok(Action::Run(command, Box::new(settings)))
}

/// A command, as it is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Build,
    Check,
    Review,
}

fn asking(values: &Values, settings: &run::Settings) -> Result<Asking> {
    let approvals = settings.approvals.clone();
    let nowhere = "where are approvals kept? name a file by --approved (VIETER_APPROVED)";
    let approvals = approvals.ok_or_else(|| usage(nowhere))?;
    if values.has("dry-run") {
        let why = "--dry-run is for build: a review approves nothing but what it is told";
        return Err(usage(why));
    }
    if values.has("json") {
        return Err(usage("--json is for build: a review is for people"));
    }
    if values.has("approve") && values.what.is_empty() {
        return Err(usage("--approve takes what is named: approve what?"));
    }
    Ok(Asking {
        approvals,
        approve: values.has("approve"),
        pager: values.get("PAGER")?,
    })
}

/// What a file is called from the root on, if its folder is there.
fn whole(path: &Path) -> PathBuf {
    let dir = path.parent().filter(|it| !it.as_os_str().is_empty());
    let name = path.file_name().unwrap_or_default();
    let beside = || Ok(fs::canonicalize(dir.unwrap_or(Path::new(".")))?.join(name));
    let whole: io::Result<PathBuf> = fs::canonicalize(path).or_else(|_| beside());
    whole.unwrap_or_else(|_| path.to_owned())
}

/// Refuses one file for two purposes: what is written would be written over what is read.
fn files_must_differ(values: &Values) -> Result<()> {
    let mut named: Vec<(PathBuf, &str)> = vec![];
    for name in ["list", "approved", "state", "report"] {
        let variable = format!("VIETER_{}", name.to_ascii_uppercase());
        let Some(path) = values.get(&variable)? else {
            continue;
        };
        let path = whole(Path::new(&path));
        if let Some((_, other)) = named.iter().find(|(its, _)| *its == path) {
            let why =
                format!("--{other} and --{name} name one file, and each needs one of its own");
            return Err(usage(why));
        }
        named.push((path, name));
    }
    Ok(())
}

fn settings(values: &Values) -> Result<Settings> {
    files_must_differ(values)?;
    // What is being done is drawn then, so that the log is for what is wrong.
    let is_seen = screen::can_be_seen(values.get("TERM")?.as_deref());
    let level = values.or("VIETER_LOG", if is_seen { "warn" } else { "info" })?;
    let takes = "--log-level (VIETER_LOG) takes off, error, warn, info, debug or trace";
    let bad_level = |_| refused(&level, "log level", takes);
    Ok(Settings {
        is_seen,
        is_verbose: values.has("verbose"),
        log_level: level.parse().map_err(bad_level)?,
        told: report::Settings {
            json: values.has("json"),
            report: values.get("VIETER_REPORT")?.map(PathBuf::from),
        },
        run: run_settings(values)?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::docker::Host;
    use crate::server;
    use crate::words::Arch;

    type Env<'a> = &'a [(&'a str, &'a str)];

    fn parse_with(args: &[&str], env: Env) -> Result<Box<Settings>, String> {
        parse_both(args, env).map(|(_, settings)| settings)
    }

    fn parse_both(args: &[&str], env: Env) -> Result<(home::Settings, Box<Settings>), String> {
        let env = |name: &str| {
            let found = env.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| value.into())
        };
        let args = ["build"].iter().chain(args).map(OsString::from);
        match parse(args, &env) {
            Ok(Action::Run(Command::Build(home), settings)) => Ok((home, settings)),
            Ok(_) => panic!("not a build"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn server(args: &[&str], env: Env) -> server::Settings {
        match parse_both(args, env).unwrap() {
            (home::Settings::Server(server), _) => server,
            (home::Settings::Folder(_), _) => panic!("a folder"),
        }
    }

    #[test]
    fn packages_go_to_one_home() {
        let into = ("VIETER_INTO", "/srv/arch");
        let into = [into, ("VIETER_LIST", "-")];
        let args = ["--sign-command", "sign me", "--prune"];
        let (home, settings) = parse_both(&args, &into).unwrap();
        let home::Settings::Folder(folder) = home else {
            panic!("a server");
        };
        assert_eq!(folder.dir, PathBuf::from("/srv/arch"));
        assert_eq!(folder.sign_command.as_deref(), Some("sign me"));
        assert!(settings.run.prune);
        let prune = |value| parse_with(&[], &[&into[..], &[("VIETER_PRUNE", value)]].concat());
        assert!(prune("yes").unwrap().run.prune && !prune("no").unwrap().run.prune);
        assert!(prune("maybe").is_err());
        assert!(parse_with(&[], &with(&into)).is_err());
        assert!(
            parse_with(&[], &into[..1])
                .err()
                .unwrap()
                .contains("what to build?")
        );
        for flag in [&["--prune"][..], &["--sign-command", "x"]] {
            assert!(parse_with(flag, &NEEDED).err().unwrap().contains("--into"));
        }
    }

    const NEEDED: [(&str, &str); 2] = [("VIETER_ADDRESS", "http://a"), ("VIETER_API_KEY", "k")];

    fn with(env: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        [&NEEDED, env].concat()
    }

    #[test]
    fn each_file_has_one_purpose() {
        let one = parse_with(&["--state", "/no/x", "--report", "/no/x"], &NEEDED);
        assert!(one.err().unwrap().contains("name one file"));
        // Whatever it is called.
        let one = parse_with(
            &[
                "--list",
                "/proc/self/../version",
                "--report",
                "/proc/version",
            ],
            &NEEDED,
        );
        assert!(one.err().unwrap().contains("--list and --report"));
        assert!(parse_with(&["--state", "/no/x", "--report", "/no/y"], &NEEDED).is_ok());
    }

    #[test]
    fn defaults() {
        let settings = parse_with(&[], &NEEDED).unwrap();
        assert_eq!(settings.run.image.base.to_string(), "archlinux:latest");
        assert_eq!(settings.run.arch, None);
        assert_eq!(settings.run.sandbox.network, None);
        assert_eq!(settings.run.builds.timeout, Duration::from_secs(3600));
        assert_eq!(
            settings.run.engines,
            ["/var/run/docker.sock", "/run/podman/podman.sock"].map(|it| Host::Unix(it.into()))
        );
        let own = with(&[("XDG_RUNTIME_DIR", "/run/user/7")]);
        let engines = parse_with(&[], &own).unwrap().run.engines;
        let expected = Host::Unix("/run/user/7/podman/podman.sock".into());
        assert_eq!(engines[1], expected);
        assert_eq!(settings.log_level, LevelFilter::Info);
        assert!(!settings.run.builds.force);
    }

    #[test]
    fn flags_win_and_empty_values_are_absent() {
        let env = with(&[
            ("VIETER_ARCH", "armv7h"),
            ("VIETER_TIMEOUT", "7"),
            ("VIETER_LOG", "DEBUG"),
            ("DOCKER_HOST", ""),
        ]);
        let args = ["--arch", "aarch64", "--address=https://b/", "--force"];
        let settings = parse_with(&args, &env).unwrap();
        assert_eq!(
            settings.run.arch.as_ref().map(Arch::as_str),
            Some("aarch64")
        );
        assert_eq!(server(&args, &env).address, "https://b/");
        assert_eq!(settings.run.builds.timeout, Duration::from_secs(7));
        assert_eq!(settings.log_level, LevelFilter::Debug);
        assert!(settings.run.builds.force);
        assert_eq!(
            parse_with(&["--arch", ""], &env).unwrap().run.arch,
            "armv7h".parse().ok()
        );
        assert!(
            parse_with(
                &[],
                &[("VIETER_ADDRESS", "http://a"), ("VIETER_API_KEY", "")]
            )
            .is_err()
        );
    }

    #[test]
    fn a_list_a_repository_and_what_is_chosen() {
        let list = parse_with(&[], &NEEDED).unwrap().run.list;
        assert_eq!((list.file, list.repo.as_str()), (None, "vieter"));
        assert!(list.what.is_empty());
        let env = with(&[("VIETER_LIST", "/etc/list"), ("VIETER_REPO", "mine")]);
        let args = ["yay", "--list", "-", "https://a/b", "--", "-x"];
        let list = parse_with(&args, &env).unwrap().run.list;
        assert_eq!((list.file, list.repo.as_str()), (Some("-".into()), "mine"));
        assert_eq!(list.what, ["yay", "https://a/b", "-x"]);
        assert!(parse_with(&["--repo", "../mine"], &NEEDED).is_err());
        assert!(parse_with(&[""], &NEEDED).is_err());
        let env = |name: &str| {
            let value = NEEDED.iter().find(|(it, _)| *it == name);
            value.map(|(_, value)| value.into())
        };
        assert!(parse(["check".into()], &env).is_ok());
        assert!(parse(["check", "yay"].map(OsString::from), &env).is_err());
    }

    #[test]
    fn a_review_needs_a_file_of_approvals_and_something_to_look_at() {
        let parsed = |args: &[&str], env: Env| {
            let env = |name: &str| {
                let value = env.iter().find(|(it, _)| *it == name);
                value.map(|(_, value)| value.into())
            };
            match parse(args.iter().map(OsString::from), &env) {
                Ok(Action::Run(Command::Review(asking, home), _)) => Ok((asking, home.is_some())),
                Ok(_) => panic!("no review"),
                Err(error) => Err(error.to_string()),
            }
        };
        let approved = [("VIETER_APPROVED", "/a"), ("VIETER_INTO", "/srv/arch")];
        let (asking, has_home) = parsed(&["review", "https://x"], &approved).unwrap();
        assert!(!has_home && !asking.approve && !asking.approvals.updates);
        let (asking, has_home) =
            parsed(&["review", "x", "--approve", "--approved=b"], &NEEDED).unwrap();
        assert!(has_home && asking.approve && asking.approvals.file.as_os_str() == "b");
        for (args, env, why) in [
            (&["review", "https://x"][..], &NEEDED[..], "--approved"),
            (&["review"], &approved, "name a --list"),
            (
                &["review", "--approve", "--list=-"],
                &approved,
                "approve what?",
            ),
            (
                &["build", "--approve", "x"],
                &with(&approved[..1]),
                "is for review",
            ),
            (&["build", "--approve-updates"], &NEEDED, "needs --approved"),
            (&["build", "--approved="], &NEEDED, "takes the file"),
            (
                &["build"],
                &with(&[("VIETER_APPROVED", "")]),
                "takes the file",
            ),
            (&["review", "--dry-run", "x"], &approved, "is for build"),
        ] {
            let said = parsed(args, env).err().unwrap();
            assert!(said.contains(why), "{args:?}: {said}");
        }
        let both = with(&[("VIETER_APPROVED", "/a"), ("VIETER_APPROVE_UPDATES", "yes")]);
        let approvals = parse_with(&[], &both).unwrap().run.approvals.unwrap();
        assert!(approvals.updates && approvals.file.as_os_str() == "/a");
    }

    #[test]
    fn a_part_of_the_list_is_said_as_one_or_not_at_all() {
        let shard = |args: &[&str], env: Env| parse_with(args, env).map(|it| it.run.shard);
        assert_eq!(shard(&[], &NEEDED), Ok(None));
        let of_env = with(&[("VIETER_SHARD", "3/4")]);
        assert_eq!(shard(&[], &of_env), Ok("3/4".parse().ok()));
        assert_eq!(shard(&["--shard", "1/4"], &of_env), Ok("1/4".parse().ok()));
        for bad in ["0/4", "5/4", "1/0", "/4", "1", "", "{{.Task.Slot}}/4"] {
            let env = with(&[("VIETER_SHARD", bad)]);
            for said in [shard(&[], &env), shard(&["--shard", bad], &NEEDED)] {
                assert!(said.err().unwrap().contains("takes I/N"), "{bad}");
            }
        }
    }

    #[test]
    fn a_file_may_hold_any_variable() {
        let dir = tempfile::tempdir().unwrap();
        let (key, empty) = (dir.path().join("key"), dir.path().join("empty"));
        std::fs::write(&key, "s3cret\n").unwrap();
        std::fs::write(&empty, "\n").unwrap();
        let (key, empty) = (key.to_str().unwrap(), empty.to_str().unwrap());
        let address = NEEDED[0];
        let from_file = server(&[], &[address, ("VIETER_API_KEY_FILE", key)]);
        assert_eq!(from_file.api_key, "s3cret");
        assert!(parse_with(&[], &[address, ("VIETER_API_KEY_FILE", empty)]).is_err());
        let both = [
            address,
            ("VIETER_API_KEY", "k"),
            ("VIETER_API_KEY_FILE", key),
        ];
        assert!(parse_with(&[], &both).err().unwrap().contains("both"));
        let arch = with(&[("VIETER_ARCH_FILE", "/no/such/file")]);
        assert!(
            parse_with(&[], &arch)
                .err()
                .unwrap()
                .contains("/no/such/file")
        );
    }

    #[test]
    fn a_bad_key_is_refused_and_not_shown() {
        for key in ["two words", "line\nbreak", "schlüssel"] {
            let error = parse_with(&[], &[NEEDED[0], ("VIETER_API_KEY", key)])
                .err()
                .unwrap();
            assert!(!error.contains(key), "{error}");
        }
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for args in [
            ["--address", "ftp://a"],
            ["--address", "a.example.com"],
            ["--address", "http://"],
            ["--address", "http://a/?b"],
            ["--arch", "x86/64"],
            ["--timeout", "0"],
            ["--timeout", "-1"],
            ["--timeout", "1h"],
            ["--timeout", "99999999999"],
            ["--log-level", "loud"],
            ["--docker-host", "tcp://a"],
            ["--docker-host", "tcp://a:1/b"],
            ["--docker-host", "unix://"],
            ["--docker-host", "ssh://a"],
            ["--docker-host", "/var/run/docker.sock"],
        ] {
            assert!(parse_with(&args, &NEEDED).is_err(), "{args:?}");
        }
        for (url, host) in [
            (
                "unix:///run/podman.sock",
                Host::Unix("/run/podman.sock".into()),
            ),
            ("tcp://proxy:2375", Host::Tcp("proxy:2375".to_owned())),
            ("tcp://[::1]:2375/", Host::Tcp("[::1]:2375".to_owned())),
        ] {
            assert_eq!(
                parse_with(&["--docker-host", url], &NEEDED)
                    .unwrap()
                    .run
                    .engines,
                [host]
            );
        }
    }
}
