//! The command line and the environment, made into the settings of each part. Known to `main` alone: the parts get what
//! is theirs, so that the key is in nobody's hands but the server's.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::Parser;
use lexopt::prelude::*;
use log::LevelFilter;
use ureq::http::uri::{Authority, Uri};

use crate::docker::{Host, ImageRef};
use crate::error::{Error, Kind, Result};
use crate::text::masked;
use crate::words::PackageName;
use crate::{image, job, run, sandbox, server};

/// What a command line asks for.
pub enum Action {
    /// This text: `--help`, `--version`.
    Print(&'static str),
    /// A command, with the settings of all parts.
    Run(Command, Box<Settings>),
}

/// The commands, which take the same settings.
pub enum Command {
    /// `vieter build`
    Build,
    /// `vieter check`
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

const HELP: &str = include_str!("help.txt");
const VERSION: &str = concat!("vieter ", env!("CARGO_PKG_VERSION"), "\n");

/// The flags that take a value, by the variable that each wins over.
const FLAGS: [(&str, &str); 10] = [
    ("VIETER_ADDRESS", "address"),
    ("VIETER_BASE_IMAGE", "base-image"),
    ("VIETER_ARCH", "arch"),
    ("VIETER_NETWORK", "network"),
    ("VIETER_MEMORY", "memory"),
    ("VIETER_REPLACE", "replace"),
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
    let mut flags = HashMap::new();
    let mut force = false;
    let mut command = None;
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Short('h') | Long("help") => return Ok(Action::Print(HELP)),
            Short('V') | Long("version") => return Ok(Action::Print(VERSION)),
            Long("force") => force = true,
            Long(name) => {
                let known = FLAGS.iter().find(|(_, flag)| *flag == name);
                let (variable, _) = known.ok_or_else(|| usage(arg.unexpected()))?;
                let value = parser.value().and_then(|it| it.string()).map_err(usage)?;
                flags.insert(*variable, value);
            }
            Value(it) if command.is_none() && it == "build" => command = Some(Command::Build),
            Value(it) if command.is_none() && it == "check" => command = Some(Command::Check),
            Value(it) if command.is_none() => return Err(usage(format!("{it:?} is no command"))),
            arg => return Err(usage(arg.unexpected())),
        }
    }
    let command = command.ok_or_else(|| usage("what to do? build or check"))?;
    let settings = settings(&Values { flags, env }, force)?;
    Ok(Action::Run(command, Box::new(settings)))
}

fn usage(why: impl std::fmt::Display) -> Error {
    let why = masked(&why.to_string());
    Error::new(Kind::Usage, format!("{why} (see `vieter --help`)"))
}

/// The error that a value is which is not what it should be.
fn refused(value: &str, what: &str, takes: &str) -> Error {
    usage(format!("{value:?} is no {what}: {takes}"))
}

fn settings(values: &Values, force: bool) -> Result<Settings> {
    let level = values.or("VIETER_LOG", "info")?;
    let takes = "--log-level (VIETER_LOG) takes off, error, warn, info, debug or trace";
    let bad_level = |_| refused(&level, "log level", takes);
    Ok(Settings {
        log_level: level.parse().map_err(bad_level)?,
        run: run_settings(values, force)?,
        server: server_settings(values)?,
    })
}

fn run_settings(values: &Values, force: bool) -> Result<run::Settings> {
    let arch = values.get("VIETER_ARCH")?.map(|it| it.parse());
    let bad_arch = |why: Error| usage(format!("--arch (VIETER_ARCH): {why}"));
    let arch = arch.transpose().map_err(bad_arch)?;
    let engine = parse_host(&values.or("DOCKER_HOST", "unix:///var/run/docker.sock")?)?;
    let network = values.get("VIETER_NETWORK")?;
    let memory = values.get("VIETER_MEMORY")?;
    let memory = memory.map(|size| parse_memory(&size)).transpose()?;
    let base = ImageRef::new(values.or("VIETER_BASE_IMAGE", "archlinux:latest")?);
    let makepkg_conf = match values.get("VIETER_MAKEPKG_CONF")? {
        Some(path) => read_file("--makepkg-conf (VIETER_MAKEPKG_CONF)", path.as_ref())?,
        None => String::new(),
    };
    let timeout = parse_timeout(&values.or("VIETER_TIMEOUT", "3600")?)?;
    let keyservers = values.or("VIETER_KEYSERVER", KEYSERVERS)?;
    Ok(run::Settings {
        engine,
        arch,
        sandbox: sandbox::Settings { network, memory },
        image: image::Settings { base, makepkg_conf },
        builds: job::Settings {
            timeout,
            force,
            replace: parse_names(&values.or("VIETER_REPLACE", "")?)?,
            keyservers: keyservers.replace(',', " "),
        },
    })
}

fn parse_timeout(seconds: &str) -> Result<Duration> {
    let takes = "--timeout (VIETER_TIMEOUT) takes 1 to 4294967295 seconds";
    match seconds.parse::<u32>() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds.into())),
        _ => Err(refused(seconds, "time limit", takes)),
    }
}

fn server_settings(values: &Values) -> Result<server::Settings> {
    let address = values.get("VIETER_ADDRESS")?;
    let address = address.ok_or_else(|| usage("no server: set --address or VIETER_ADDRESS"))?;
    let key = values.get("VIETER_API_KEY")?;
    let key = key.ok_or_else(|| usage("no API key: set VIETER_API_KEY or VIETER_API_KEY_FILE"))?;
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "the API key (VIETER_API_KEY) holds characters that no HTTP header can carry";
        return Err(usage(why));
    }
    Ok(server::Settings {
        address: parse_address(address)?,
        api_key: key,
        ca_file: values.get("SSL_CERT_FILE")?.map(PathBuf::from),
    })
}

fn parse_address(address: String) -> Result<String> {
    let takes = "--address (VIETER_ADDRESS) takes http://HOST[:PORT] or https://HOST[:PORT]";
    let is_plain = !address.contains(['?', '#', '@']);
    match address.parse::<Uri>() {
        Ok(uri) if is_plain && matches!(uri.scheme_str(), Some("http" | "https")) => Ok(address),
        _ => Err(refused(&address, "address of a server", takes)),
    }
}

fn parse_host(url: &str) -> Result<Host> {
    let takes = "--docker-host (DOCKER_HOST) takes unix:///PATH or tcp://HOST:PORT";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let address = rest.trim_end_matches('/');
    let has_port = |it: Authority| it.port_u16().is_some() && it.as_str() == address;
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Host::Unix(rest.into())),
        "tcp" if !address.contains('@') && address.parse().is_ok_and(has_port) => {
            Ok(Host::Tcp(address.to_owned()))
        }
        _ => Err(refused(url, "address of an engine", takes)),
    }
}

/// The values of flags and variables.
struct Values<'a> {
    /// By the variable that the flag wins over.
    flags: HashMap<&'static str, String>,
    env: Env<'a>,
}

impl Values<'_> {
    /// The value that a flag gives, or its variable, or the file that the variable's `_FILE` twin names. An empty one
    /// counts as absent. What is around a variable's or a file's (the line end) is trimmed.
    fn get(&self, name: &str) -> Result<Option<String>> {
        if let Some(flag) = self.flags.get(name).filter(|it| !it.is_empty()) {
            return Ok(Some(flag.clone()));
        }
        let file_name = format!("{name}_FILE");
        let set = |name: &str| (self.env)(name).filter(|it| !it.is_empty());
        let not_utf8 = |_| usage(format!("the value of {name} is not UTF-8"));
        let both = format!("both {name} and {file_name} are set: which one?");
        let value = match (set(name), set(&file_name)) {
            (Some(_), Some(_)) => return Err(usage(both)),
            (Some(value), None) => value.into_string().map_err(not_utf8)?,
            (None, Some(path)) => read_file(&file_name, &path)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(value.trim().to_owned()).filter(|it| !it.is_empty()))
    }

    fn or(&self, name: &str, default: &str) -> Result<String> {
        Ok(self.get(name)?.unwrap_or_else(|| default.to_owned()))
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

/// A size as Docker writes it: a number of bytes, or of `k`, `m` or `g`, each 1024 times the one before.
fn parse_memory(size: &str) -> Result<u64> {
    let takes = "--memory (VIETER_MEMORY) takes 6m or more, as in 512m or 8g";
    let lower = size.to_ascii_lowercase();
    let number = lower.trim_end_matches(['b', 'k', 'm', 'g']);
    let unit: u64 = match lower.strip_prefix(number).unwrap_or("") {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => 0,
    };
    let bytes = number.parse().ok().and_then(|it: u64| it.checked_mul(unit));
    // The engine takes no less.
    let bytes = bytes.filter(|bytes| *bytes >= 6 << 20);
    bytes.ok_or_else(|| refused(size, "size", takes))
}

fn parse_names(names: &str) -> Result<Vec<PackageName>> {
    let names = names.split([',', ' ']).filter(|name| !name.is_empty());
    let parsed: Result<_> = names.map(str::parse).collect();
    parsed.map_err(|error| usage(format!("--replace (VIETER_REPLACE): {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Arch;

    fn parse_with(args: &[&str], env: &[(&str, &str)]) -> Result<Box<Settings>, String> {
        let env = |name: &str| {
            let found = env.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| value.into())
        };
        let args = ["build"].iter().chain(args).map(OsString::from);
        match parse(args, &env) {
            Ok(Action::Run(Command::Build, settings)) => Ok(settings),
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
