//! Where an engine listens, and which engines will do. Not here: what is asked of them (`engine`).

use std::path::PathBuf;

use super::socket;
use super::types::Version;
use crate::http::Client;
use crate::last_word::LastWord;

/// The API versions that this program speaks: Engine 20.10's, up to the newest that it was written with.
/// The highest that both sides know is used, as engines drop old versions (29 refuses all below 1.44).
const OLDEST_API: &str = "1.41";
const NEWEST_API: &str = "1.52";

/// What Podman calls itself, and its oldest version that was tried and works; 4.3 refuses to attach to a container before it
/// is started.
const PODMAN: &str = "Podman Engine";
const OLDEST_PODMAN: &str = "5.4";

/// Where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `unix:///path/to/the.sock`
    Unix(PathBuf),
    /// `tcp://host:port`, without TLS: a filtering proxy in front of the engine, as a rule.
    Tcp(String),
}

impl Host {
    /// A client of the engine, before anybody knows which versions of the API it speaks.
    pub(super) fn client(&self) -> Client {
        // A proxy may end a connection that is kept just when the next request comes.
        let config = Client::config().proxy(None).max_idle_connections(0).build();
        let (agent, host, address) = match self {
            Host::Unix(path) => {
                let address = path.display().to_string();
                (socket::agent(path, config), "engine", address)
            }
            Host::Tcp(address) => {
                let agent = LastWord::default().agent(config);
                (agent, address.as_str(), address.clone())
            }
        };
        let name = format!("the engine at {address}");
        Client::new(agent, format!("http://{host}"), name)
    }
}

/// The highest API version that both an engine and we speak, by what it says of itself.
///
/// # Errors
/// Why it won't do.
pub(super) fn agree(engine: &Version) -> Result<&str, String> {
    let newest = engine.api_version.as_deref().unwrap_or("?");
    let oldest = engine.min_api_version.as_deref().unwrap_or("?");
    // What doesn't say its oldest is taken to speak all.
    let has_dropped_ours = two_numbers(oldest).is_some_and(|it| Some(it) > two_numbers(NEWEST_API));
    if has_dropped_ours || two_numbers(newest) < two_numbers(OLDEST_API) {
        let theirs = format!("it speaks API {oldest} to {newest}");
        let ours = format!("this program {OLDEST_API} to {NEWEST_API}");
        return Err(format!("{theirs}, {ours}"));
    }
    let is_podman = engine.components.iter().any(|it| it.name == PODMAN);
    let own = engine.own_version();
    if is_podman && two_numbers(&own) < two_numbers(OLDEST_PODMAN) {
        let why = format!("it is Podman {own}, and {OLDEST_PODMAN} is the oldest that works");
        return Err(why);
    }
    let is_older = two_numbers(newest) < two_numbers(NEWEST_API);
    Ok(if is_older { newest } else { NEWEST_API })
}

/// The first two numbers of a version; what is none is less than any.
fn two_numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_api_version_is_used() {
        let agree = |newest: &str, oldest: &str| {
            super::agree(&Version {
                api_version: Some(newest.to_owned()),
                min_api_version: Some(oldest.to_owned()),
                version: None,
                components: vec![],
            })
            .map(str::to_owned)
        };
        assert_eq!(agree("1.41", "1.12").unwrap(), "1.41");
        assert_eq!(agree("1.47", "1.24").unwrap(), "1.47");
        assert_eq!(agree("1.99", "1.44").unwrap(), "1.52");
        assert!(agree("1.40", "1.12").is_err());
        assert!(agree("2.10", "2.0").is_err());
        assert!(agree("latest", "").is_err());
        assert_eq!(agree("1.41", "").unwrap(), "1.41");
    }
}
