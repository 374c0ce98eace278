//! The command line and the environment.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Parser;
use lexopt::prelude::*;
use log::LevelFilter;
use ureq::http::Uri;
use ureq::http::uri::Authority;

use crate::docker::Host;
use crate::error::{Error, Kind};

/// What `--help` prints.
pub const HELP: &str = include_str!("help.txt");

/// What a command line asks for.
pub enum Action {
    Build(Box<Settings>),
    Check(Box<Settings>),
    Help,
    Version,
}

/// What a run needs to know.
pub struct Settings {
    pub address: String,
    pub api_key: String,
    pub base_image: String,
    /// `None` for the engine's own.
    pub arch: Option<String>,
    /// `None` for the engine's default.
    pub network: Option<String>,
    /// The wall clock of one repository.
    pub timeout: Duration,
    pub docker_host: Host,
    /// `SSL_CERT_FILE`: certificates that are trusted beside the usual ones.
    pub ca_file: Option<PathBuf>,
    /// The text of a file with settings for makepkg, or nothing.
    pub makepkg_conf: String,
    /// Separated by spaces.
    pub keyservers: String,
    pub force: bool,
    pub log_level: LevelFilter,
}

/// The flags that take a value, and the variables that they win over.
const FLAGS: [(&str, &str); 8] = [
    ("address", "VIETER_ADDRESS"),
    ("base-image", "VIETER_BASE_IMAGE"),
    ("arch", "VIETER_ARCH"),
    ("network", "VIETER_NETWORK"),
    ("timeout", "VIETER_TIMEOUT"),
    ("docker-host", "DOCKER_HOST"),
    ("log-level", "VIETER_LOG"),
    ("makepkg-conf", "VIETER_MAKEPKG_CONF"),
];

/// The keyservers that most keys are on.
const KEYSERVERS: &str = "hkps://keyserver.ubuntu.com hkps://keys.openpgp.org";

/// What gives a variable's value, such as the environment.
type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads a command line (without the program's name) and the variables that `env` gives.
///
/// # Errors
/// [`Kind::Usage`], always.
pub fn parse(args: impl IntoIterator<Item = OsString>, env: Env) -> Result<Action, Error> {
    let mut parser = Parser::from_args(args);
    let mut flags = HashMap::new();
    let mut force = false;
    let mut command = None;
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Short('h') | Long("help") => return Ok(Action::Help),
            Short('V') | Long("version") => return Ok(Action::Version),
            Long("force") => force = true,
            Long(name) => {
                let Some((_, variable)) = FLAGS.iter().find(|(flag, _)| *flag == name) else {
                    return Err(usage(arg.unexpected()));
                };
                let value = parser.value().and_then(|it| it.string()).map_err(usage)?;
                flags.insert(*variable, value);
            }
            Value(name) if command.is_none() => {
                command = Some(match name.to_str() {
                    Some("build") => Action::Build as fn(Box<Settings>) -> Action,
                    Some("check") => Action::Check,
                    _ => return Err(usage(format!("{name:?} is no command"))),
                });
            }
            arg => return Err(usage(arg.unexpected())),
        }
    }
    let command = command.ok_or_else(|| usage("what to do? build or check"))?;
    let value = |name: &str| match flags.get(name).filter(|it| !it.is_empty()) {
        Some(value) => Ok(Some(value.clone())),
        None => variable(name, env),
    };
    settings(&value, force).map(Box::new).map(command)
}

fn usage(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Usage, format!("{why} (see `vieter --help`)"))
}

type Values<'a> = &'a dyn Fn(&str) -> Result<Option<String>, Error>;

fn settings(value: Values, force: bool) -> Result<Settings, Error> {
    let address = value("VIETER_ADDRESS")?
        .ok_or_else(|| usage("no server: set --address or VIETER_ADDRESS"))?;
    let api_key = value("VIETER_API_KEY")?
        .ok_or_else(|| usage("no API key: set VIETER_API_KEY or VIETER_API_KEY_FILE"))?;
    if !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "the API key (VIETER_API_KEY) holds characters that no HTTP header can carry";
        return Err(usage(why));
    }
    let or = |name, default: &str| Ok(value(name)?.unwrap_or_else(|| default.to_owned()));
    let seconds = or("VIETER_TIMEOUT", "3600")?;
    let timeout = seconds.parse::<NonZeroU32>();
    let timeout = timeout.map_err(|_| {
        let why = "is no time limit: --timeout (VIETER_TIMEOUT) takes 1 to 4294967295 seconds";
        usage(format!("{seconds:?} {why}"))
    })?;
    let level = or("VIETER_LOG", "info")?;
    let log_level = level.parse().map_err(|_| {
        let why = "is no log level: --log-level (VIETER_LOG) takes off, error, warn, info, debug or trace";
        usage(format!("{level:?} {why}"))
    })?;
    Ok(Settings {
        address: parse_address(address)?,
        api_key,
        base_image: or("VIETER_BASE_IMAGE", "archlinux:latest")?,
        arch: value("VIETER_ARCH")?,
        network: value("VIETER_NETWORK")?,
        timeout: Duration::from_secs(timeout.get().into()),
        docker_host: parse_host(&or("DOCKER_HOST", "unix:///var/run/docker.sock")?)?,
        ca_file: value("SSL_CERT_FILE")?.map(PathBuf::from),
        makepkg_conf: match value("VIETER_MAKEPKG_CONF")? {
            Some(path) => read_value("--makepkg-conf (VIETER_MAKEPKG_CONF)", path.as_ref())?,
            None => String::new(),
        },
        keyservers: or("VIETER_KEYSERVER", KEYSERVERS)?.replace(',', " "),
        force,
        log_level,
    })
}

/// The value of a variable, or of the file that its `_FILE` twin names; an empty one counts as absent. What is
/// around it (the line end of a file) is trimmed.
fn variable(name: &str, env: Env) -> Result<Option<String>, Error> {
    let direct = env(name).filter(|it| !it.is_empty());
    let file_name = format!("{name}_FILE");
    let file = env(&file_name).filter(|it| !it.is_empty());
    let not_utf8 = |_| usage(format!("the value of {name} is not UTF-8"));
    let value = match (direct, file) {
        (Some(_), Some(_)) => {
            let why = format!("both {name} and {file_name} are set: which one?");
            return Err(usage(why));
        }
        (None, None) => return Ok(None),
        (Some(value), None) => value.into_string().map_err(not_utf8)?,
        (None, Some(path)) => read_value(&file_name, &path)?,
    };
    let value = value.trim();
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// Reads a file that `name` names. Its text has to fit into one argument of a command, which is 128 KiB.
fn read_value(name: &str, path: &OsStr) -> Result<String, Error> {
    let doing = format!(
        "reading {}, which {name} names",
        std::path::Path::new(path).display()
    );
    match std::fs::read_to_string(path) {
        Ok(text) if text.len() < 100_000 => Ok(text),
        Ok(_) => Err(usage(format!("{doing}: it is larger than 100 kB"))),
        Err(error) => Err(usage(format!("{doing}: {error}"))),
    }
}

fn parse_address(address: String) -> Result<String, Error> {
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

fn parse_host(url: &str) -> Result<Host, Error> {
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
        assert_eq!(settings.base_image, "archlinux:latest");
        assert_eq!(settings.arch, None);
        assert_eq!(settings.network, None);
        assert_eq!(settings.timeout, Duration::from_secs(3600));
        assert_eq!(
            settings.docker_host,
            Host::Unix("/var/run/docker.sock".into())
        );
        assert_eq!(settings.log_level, LevelFilter::Info);
        assert!(!settings.force);
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
        assert_eq!(settings.arch.as_deref(), Some("aarch64"));
        assert_eq!(settings.address, "https://b/");
        assert_eq!(settings.timeout, Duration::from_secs(7));
        assert_eq!(settings.log_level, LevelFilter::Debug);
        assert!(settings.force);
        assert_eq!(
            parse_with(&["--arch", ""], &env).unwrap().arch.as_deref(),
            Some("armv7h")
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
                    .docker_host,
                host
            );
        }
    }
}
