//! The command line and the environment, made into the settings of each part. Known to `main` alone: the parts get what
//! is theirs, so that the key is in nobody's hands but the server's.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::Parser;
use lexopt::prelude::*;
use log::LevelFilter;
use ureq::http::Uri;
use ureq::http::uri::Authority;

use crate::docker::Host;
use crate::error::{Error, Kind, Result};
use crate::words::Arch;
use crate::{image, job, run, sandbox, server};

/// What `--help` prints.
pub const HELP: &str = include_str!("help.txt");

/// What a command line asks for.
pub enum Action {
    /// `vieter build`
    Build(Box<Settings>),
    /// `vieter check`
    Check(Box<Settings>),
    /// `--help`
    Help,
    /// `--version`
    Version,
}

/// The commands, which take the same settings.
#[derive(Clone, Copy)]
enum Command {
    Build,
    Check,
}

/// The settings of all parts.
pub struct Settings {
    /// Where the server is, and its key.
    pub server: server::Settings,
    /// All else that a run needs.
    pub run: run::Settings,
    /// What the log shows.
    pub log_level: LevelFilter,
}

/// The flags that take a value, by the variable that each wins over.
const FLAGS: [(&str, &str); 8] = [
    ("VIETER_ADDRESS", "address"),
    ("VIETER_BASE_IMAGE", "base-image"),
    ("VIETER_ARCH", "arch"),
    ("VIETER_NETWORK", "network"),
    ("VIETER_TIMEOUT", "timeout"),
    ("DOCKER_HOST", "docker-host"),
    ("VIETER_LOG", "log-level"),
    ("VIETER_MAKEPKG_CONF", "makepkg-conf"),
];

/// The keyservers that most keys are on.
const KEYSERVERS: &str = "hkps://keyserver.ubuntu.com hkps://keys.openpgp.org";

/// The largest file that a variable or a flag may name, in bytes: its text has to fit into one argument of a command,
/// which is 128 KiB.
const MAX_FILE: usize = 100_000;

/// What gives a variable's value, such as the environment.
type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads a command line (without the program's name) and the variables that `env` gives.
///
/// # Errors
/// [`Kind::Usage`], always.
pub fn parse(args: impl IntoIterator<Item = OsString>, env: Env) -> Result<Action> {
    let mut parser = Parser::from_args(args);
    let flags = HashMap::new();
    let mut values = Values { flags, env };
    let mut force = false;
    let mut command = None;
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Short('h') | Long("help") => return Ok(Action::Help),
            Short('V') | Long("version") => return Ok(Action::Version),
            Long("force") => force = true,
            Long(name) => {
                let Some((variable, _)) = FLAGS.iter().find(|(_, flag)| *flag == name) else {
                    return Err(usage(arg.unexpected()));
                };
                let value = parser.value().and_then(|it| it.string()).map_err(usage)?;
                values.flags.insert(*variable, value);
            }
            Value(name) if command.is_none() => {
                command = Some(match name.to_str() {
                    Some("build") => Command::Build,
                    Some("check") => Command::Check,
                    _ => return Err(usage(format!("{name:?} is no command"))),
                });
            }
            arg => return Err(usage(arg.unexpected())),
        }
    }
    let command = command.ok_or_else(|| usage("what to do? build or check"))?;
    let settings = Box::new(settings(&values, force)?);
    Ok(match command {
        Command::Build => Action::Build(settings),
        Command::Check => Action::Check(settings),
    })
}

fn usage(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Usage, format!("{why} (see `vieter --help`)"))
}

fn settings(values: &Values, force: bool) -> Result<Settings> {
    let level = values.or("VIETER_LOG", "info")?;
    let log_level = level.parse().map_err(|_| {
        let why = "is no log level: --log-level (VIETER_LOG) takes off, error, warn, info, debug or trace";
        usage(format!("{level:?} {why}"))
    })?;
    let arch = match values.get("VIETER_ARCH")? {
        Some(arch) => Some(
            arch.parse::<Arch>()
                .map_err(|why| usage(format!("--arch (VIETER_ARCH): {why}")))?,
        ),
        None => None,
    };
    let run = run::Settings {
        engine: parse_host(&values.or("DOCKER_HOST", "unix:///var/run/docker.sock")?)?,
        arch,
        sandbox: sandbox::Settings {
            network: values.get("VIETER_NETWORK")?,
        },
        image: image_settings(values)?,
        builds: job::Settings {
            timeout: parse_timeout(&values.or("VIETER_TIMEOUT", "3600")?)?,
            force,
            keyservers: values.or("VIETER_KEYSERVER", KEYSERVERS)?.replace(',', " "),
        },
    };
    Ok(Settings {
        server: server_settings(values)?,
        run,
        log_level,
    })
}

fn server_settings(values: &Values) -> Result<server::Settings> {
    let address = values
        .get("VIETER_ADDRESS")?
        .ok_or_else(|| usage("no server: set --address or VIETER_ADDRESS"))?;
    let api_key = values
        .get("VIETER_API_KEY")?
        .ok_or_else(|| usage("no API key: set VIETER_API_KEY or VIETER_API_KEY_FILE"))?;
    if !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "the API key (VIETER_API_KEY) holds characters that no HTTP header can carry";
        return Err(usage(why));
    }
    Ok(server::Settings {
        address: parse_address(address)?,
        api_key,
        ca_file: values.get("SSL_CERT_FILE")?.map(PathBuf::from),
    })
}

fn image_settings(values: &Values) -> Result<image::Settings> {
    let base = values.or("VIETER_BASE_IMAGE", "archlinux:latest")?;
    let makepkg_conf = match values.get("VIETER_MAKEPKG_CONF")? {
        Some(path) => read_file("--makepkg-conf (VIETER_MAKEPKG_CONF)", path.as_ref())?,
        None => String::new(),
    };
    Ok(image::Settings {
        base: base.parse().unwrap_or_else(|never| match never {}),
        makepkg_conf,
    })
}

/// The values of flags and variables.
struct Values<'a> {
    /// By the variable that the flag wins over.
    flags: HashMap<&'static str, String>,
    env: Env<'a>,
}

impl Values<'_> {
    /// The value that a flag gives, or its variable; an empty one counts as absent.
    fn get(&self, name: &str) -> Result<Option<String>> {
        match self.flags.get(name) {
            Some(value) if !value.is_empty() => Ok(Some(value.clone())),
            _ => self.variable(name),
        }
    }

    fn or(&self, name: &str, default: &str) -> Result<String> {
        Ok(self.get(name)?.unwrap_or_else(|| default.to_owned()))
    }

    /// The value of a variable, or of the file that its `_FILE` twin names; an empty one counts as absent. What is
    /// around it (the line end of a file) is trimmed.
    fn variable(&self, name: &str) -> Result<Option<String>> {
        let file_name = format!("{name}_FILE");
        let direct = (self.env)(name).filter(|it| !it.is_empty());
        let file = (self.env)(&file_name).filter(|it| !it.is_empty());
        let value = match (direct, file) {
            (Some(_), Some(_)) => {
                let why = format!("both {name} and {file_name} are set: which one?");
                return Err(usage(why));
            }
            (None, None) => return Ok(None),
            (Some(value), None) => {
                let not_utf8 = |_| usage(format!("the value of {name} is not UTF-8"));
                value.into_string().map_err(not_utf8)?
            }
            (None, Some(path)) => read_file(&file_name, &path)?,
        };
        let value = value.trim();
        Ok((!value.is_empty()).then(|| value.to_owned()))
    }
}

/// Reads a file that `name` names.
fn read_file(name: &str, path: &OsStr) -> Result<String> {
    let doing = format!("reading {}, which {name} names", Path::new(path).display());
    match std::fs::read_to_string(path) {
        Ok(text) if text.len() < MAX_FILE => Ok(text),
        Ok(_) => Err(usage(format!("{doing}: it is larger than 100 kB"))),
        Err(error) => Err(usage(format!("{doing}: {error}"))),
    }
}

fn parse_timeout(seconds: &str) -> Result<Duration> {
    let Ok(timeout) = seconds.parse::<NonZeroU32>() else {
        let why = "is no time limit: --timeout (VIETER_TIMEOUT) takes 1 to 4294967295 seconds";
        return Err(usage(format!("{seconds:?} {why}")));
    };
    Ok(Duration::from_secs(timeout.get().into()))
}

fn parse_address(address: String) -> Result<String> {
    let is_server = |uri: Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.query().is_none()
            && !address.contains(['#', '@'])
    };
    if address.parse::<Uri>().is_ok_and(is_server) {
        return Ok(address);
    }
    let why = "is no address of a server: --address (VIETER_ADDRESS) takes http://HOST[:PORT] or https://HOST[:PORT]";
    Err(usage(format!("{address:?} {why}")))
}

fn parse_host(url: &str) -> Result<Host> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let address = rest.trim_end_matches('/');
    let has_port = |it: Authority| it.port_u16().is_some() && it.as_str() == address;
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Host::Unix(rest.into())),
        "tcp" if address.parse().is_ok_and(has_port) => Ok(Host::Tcp(address.to_owned())),
        _ => {
            let why = "is no address of an engine: --docker-host (DOCKER_HOST) takes unix:///PATH or tcp://HOST:PORT";
            Err(usage(format!("{url:?} {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with(args: &[&str], env: &[(&str, &str)]) -> Result<Box<Settings>, String> {
        let env = |name: &str| {
            let found = env.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| value.into())
        };
        let args = ["build"].iter().chain(args).map(OsString::from);
        match parse(args, &env) {
            Ok(Action::Build(settings)) => Ok(settings),
            Ok(_) => panic!("not a build"),
            Err(error) => Err(error.to_string()),
        }
    }

    const NEEDED: [(&str, &str); 2] = [("VIETER_ADDRESS", "http://a"), ("VIETER_API_KEY", "k")];

    fn with(env: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        [&NEEDED, env].concat()
    }

    #[test]
    fn defaults() {
        let settings = parse_with(&[], &NEEDED).unwrap();
        assert_eq!(settings.run.image.base.to_string(), "archlinux:latest");
        assert_eq!(settings.run.arch, None);
        assert_eq!(settings.run.sandbox.network, None);
        assert_eq!(settings.run.builds.timeout, Duration::from_secs(3600));
        assert_eq!(
            settings.run.engine,
            Host::Unix("/var/run/docker.sock".into())
        );
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
        let settings = parse_with(
            &["--arch", "aarch64", "--address=https://b/", "--force"],
            &env,
        )
        .unwrap();
        assert_eq!(
            settings.run.arch.as_ref().map(Arch::as_str),
            Some("aarch64")
        );
        assert_eq!(settings.server.address, "https://b/");
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
    fn a_file_may_hold_any_variable() {
        let dir = tempfile::tempdir().unwrap();
        let (key, empty) = (dir.path().join("key"), dir.path().join("empty"));
        std::fs::write(&key, "s3cret\n").unwrap();
        std::fs::write(&empty, "\n").unwrap();
        let (key, empty) = (key.to_str().unwrap(), empty.to_str().unwrap());
        let address = NEEDED[0];
        let from_file = parse_with(&[], &[address, ("VIETER_API_KEY_FILE", key)]).unwrap();
        assert_eq!(from_file.server.api_key, "s3cret");
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
                    .engine,
                host
            );
        }
    }
}
