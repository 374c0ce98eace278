//! `vieter check`: whether a run could be done, for people and for a container's health check.

use crate::cli::Settings;
use crate::docker::Engine;
use crate::error::{Error, Kind};
use crate::run;
use crate::server::Server;

/// Says, one line each, how the engine, the server and its list are, and whether a run is on. Gives the text, and
/// the exit code: 0, or 3 if a run could not be done.
pub fn check(settings: &Settings) -> (String, u8) {
    let mut checked = (String::new(), 0);
    let mut say = |what: &str, how: Result<String, Error>| {
        let (mark, how) = match how {
            Ok(how) => ("ok", how),
            Err(error) => ("FAILED", error.to_string()),
        };
        checked.0 += &format!("{what:<12}  {mark:<6}  {how}\n");
        checked.1 = if mark == "ok" { checked.1 } else { 3 };
    };
    let mut arch = settings.arch.clone();
    match Engine::open(&settings.docker_host) {
        Ok(engine) => {
            arch = arch.or_else(|| engine.architecture().ok());
            let is_on = match run::refuse_if_held(&engine) {
                Err(error) if error.kind == Kind::Busy => Ok(error.to_string()),
                other => other.map(|_| "none is on".to_owned()),
            };
            say("engine", Ok(format!("{} answers", engine.name())));
            say("run", is_on);
        }
        Err(error) => say("engine", Err(error)),
    }
    let arch = arch.unwrap_or_else(|| "unknown".to_owned());
    match Server::new(settings).list(&arch) {
        Ok(entries) => {
            say(
                "server",
                Ok(format!("{} answers and takes the key", settings.address)),
            );
            say(
                "repositories",
                Ok(format!("{} for the architecture {arch}", entries.len())),
            );
        }
        Err(error) => say("server", Err(error)),
    }
    checked
}
