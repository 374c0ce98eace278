//! Values of flags and variables: where they come from, and what they have to look like. Not here: which there are, and
//! what each is for (`cli`).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use ureq::http::uri::{Authority, Uri};

use crate::docker::Host;
use crate::error::{Error, Kind, Result};
use crate::text::masked;
use crate::words::PackageName;

/// The largest file that a variable or a flag may name, in bytes: its text has to fit into one argument of a command,
/// which is 128 KiB.
const MAX_FILE: usize = 100_000;

/// What gives a variable's value, such as the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The values of flags and variables.
pub struct Values<'a> {
    /// By the variable that the flag wins over.
    pub flags: HashMap<&'static str, String>,
    /// The flags without a value.
    pub switches: Vec<String>,
    /// The environment, as a rule.
    pub env: Env<'a>,
    /// The variables of containers that flags give.
    pub pairs: Vec<String>,
    /// What is chosen.
    pub what: Vec<String>,
}

impl Values<'_> {
    /// The value that a flag gives, or its variable, or the file that the variable's `_FILE` twin names. An empty one
    /// counts as absent. What is around a variable's or a file's (the line end) is trimmed.
    pub fn get(&self, name: &str) -> Result<Option<String>> {
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

    /// Whether a flag without a value is given.
    pub fn has(&self, switch: &str) -> bool {
        self.switches.iter().any(|it| it == switch)
    }

    /// Whether a value is given, if only an empty one.
    pub fn is_said(&self, name: &str) -> bool {
        let twin = format!("{name}_FILE");
        self.flags.contains_key(name) || (self.env)(name).is_some() || (self.env)(&twin).is_some()
    }

    /// The same as [`Values::get`], or what counts if there is none.
    pub fn or(&self, name: &str, default: &str) -> Result<String> {
        Ok(self.get(name)?.unwrap_or_else(|| default.to_owned()))
    }
}

/// Reads a file that `name` names.
pub fn read_file(name: &str, path: &OsStr) -> Result<String> {
    let doing = format!("reading {}, which {name} names", Path::new(path).display());
    match std::fs::read_to_string(path) {
        Ok(text) if text.len() < MAX_FILE => Ok(text),
        Ok(_) => Err(usage(format!("{doing}: it is larger than 100 kB"))),
        Err(error) => Err(usage(format!("{doing}: {error}"))),
    }
}

/// The error that bad usage is.
pub fn usage(why: impl std::fmt::Display) -> Error {
    let why = masked(&why.to_string());
    Error::new(Kind::Usage, format!("{why} (see `vieter --help`)"))
}

/// The error that a value is which is not what it should be.
pub fn refused(value: &str, what: &str, takes: &str) -> Error {
    usage(format!("{value:?} is no {what}: {takes}"))
}

/// A time limit, in seconds.
pub fn parse_timeout(seconds: &str) -> Result<Duration> {
    let takes = "--timeout (VIETER_TIMEOUT) takes 1 to 4294967295 seconds";
    match seconds.parse::<u32>() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds.into())),
        _ => Err(refused(seconds, "time limit", takes)),
    }
}

/// A server's address, which holds no secret.
pub fn parse_address(address: String) -> Result<String> {
    let takes = "--address (VIETER_ADDRESS) takes http://HOST[:PORT] or https://HOST[:PORT]";
    let is_plain = !address.contains(['?', '#', '@']);
    let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    // A port that is none would count as the usual one.
    let has_good_port = |uri: &Uri| {
        let named = uri.authority().and_then(|it| it.as_str().rsplit_once(':'));
        uri.port_u16().is_some() || named.is_none_or(|(_, port)| port.ends_with(']'))
    };
    match address.parse::<Uri>() {
        Ok(uri) if is_plain && is_http(&uri) && has_good_port(&uri) => Ok(address),
        _ => Err(refused(&address, "address of a server", takes)),
    }
}

/// Where an engine listens.
pub fn parse_host(url: &str) -> Result<Host> {
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

/// A size as Docker writes it: a number of bytes, or of `k`, `m` or `g`, each 1024 times the one before.
pub fn parse_memory(size: &str) -> Result<u64> {
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

/// Packages' names, separated by commas or blanks.
pub fn parse_names(names: &str) -> Result<Vec<PackageName>> {
    let names = names.split([',', ' ']).filter(|name| !name.is_empty());
    let parsed: Result<_> = names.map(str::parse).collect();
    parsed.map_err(|error| usage(format!("--replace (VIETER_REPLACE): {error}")))
}

/// A mirror's URL, as in a mirrorlist, where it is a line's end.
pub fn parse_mirror(url: String) -> Result<String> {
    let is_one = url.starts_with("http://") || url.starts_with("https://");
    let takes =
        "--mirror (VIETER_MIRROR) takes a URL as in a mirrorlist: https://HOST/$repo/os/$arch";
    match is_one && !url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Ok(url),
        false => Err(refused(&url, "mirror", takes)),
    }
}

/// Refuses what is no variable with its value. The value isn't shown, as it may be a secret.
pub fn check_pair(pair: &str) -> Result<()> {
    let (name, value) = pair.split_once('=').unwrap_or(("", pair));
    let is_in_name = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    let is_name = name.bytes().all(is_in_name) && !name.starts_with(|c: char| c.is_ascii_digit());
    match !name.is_empty() && is_name && !value.contains('\0') {
        true => Ok(()),
        false => Err(usage(
            "--env (VIETER_ENV) takes NAME=VALUE, as in http_proxy=http://proxy:3128",
        )),
    }
}
