//! `vieter check`: whether a run could be done, for people and for a container's health check.

use crate::cli::Settings;
use crate::docker::Engine;
use crate::error::Error;
use crate::run;
use crate::server::Server;

/// Says, one line each, how the engine, the server and its list are, and whether a run is on. Gives the text, and
/// the exit code: 0, or 3 if a run could not be done.
pub fn check(settings: &Settings) -> (String, u8) {
    let engine = Engine::open(&settings.docker_host);
    let arch = match (&settings.arch, &engine) {
        (Some(arch), _) => Ok(arch.clone()),
        (None, Ok(engine)) => engine.architecture(),
        (None, Err(_)) => Err(Error::unusable("architecture", "only the engine knows it")),
    };
    let mut server = Server::new(settings);
    let entries = server.list(arch.as_deref().unwrap_or(""));
    let lines = [
        (
            "engine",
            engine
                .as_ref()
                .map(|engine| engine.name.clone())
                .map_err(Error::to_string),
        ),
        (
            "server",
            match &entries {
                Ok(_) => Ok(format!("{} answers and takes the key", settings.address)),
                Err(error) => Err(error.to_string()),
            },
        ),
        (
            "repositories",
            match (&arch, &entries) {
                (Ok(arch), Ok(entries)) => Ok(format!("{} for {arch}", entries.len())),
                (Err(error), _) => Err(error.to_string()),
                (_, Err(_)) => Err("unknown".to_owned()),
            },
        ),
        (
            "run",
            match engine.as_ref().map(run::refuse_if_held) {
                Ok(Ok(_)) => Ok("none is on".to_owned()),
                Ok(Err(error @ Error::Busy(_))) => Ok(error.to_string()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("unknown".to_owned()),
            },
        ),
    ];
    let mut text = String::new();
    for (what, how) in &lines {
        let (mark, how) = match how {
            Ok(how) => ("ok", how),
            Err(how) => ("FAILED", how),
        };
        text += &format!("{what:<12}  {mark:<6}  {how}\n");
    }
    let is_well = lines.iter().all(|(_, how)| how.is_ok());
    (text, if is_well { 0 } else { 3 })
}
