//! `vieter check`: whether a run could be done, for people and for a container's health check.

use crate::approvals::Approvals;
use crate::docker::Engine;
use crate::error::{Kind, Result};
use crate::home::Home;
use crate::list::{Entry, List};
use crate::lock;
use crate::run::Settings;
use crate::screen;
use crate::shard::Shard;
use crate::words::Arch;

/// Says how the engine, the server and its list are, and whether a run is on, a line each. Gives the exit code: 0, or 3 if a run
/// could not be done.
///
/// # Errors
/// None that comes from outside: those are in what is said.
pub fn check(settings: &Settings, mut home: Home) -> Result<u8> {
    let mut exit_code = 0;
    let mut say = |what: &str, how: Result<String>| {
        let (mark, how) = match how {
            Ok(how) => ("ok", how),
            Err(error) => {
                exit_code = 3;
                ("FAILED", error.to_string())
            }
        };
        screen::tell(format_args!("{what:<12}  {mark:<6}  {how}\n"));
    };
    let mut arch = settings.arch.clone();
    match Engine::find(&settings.engines) {
        Ok(engine) => {
            say("engine", Ok(format!("{} answers", engine.name())));
            match settings.arch(&engine) {
                Ok(its) => arch = Some(its),
                Err(error) => say("architecture", Err(error)),
            }
            say("run", runs(&engine, settings.shard));
        }
        Err(error) => say("engine", Err(error)),
    }
    // There is nothing to be found for an architecture that isn't known, but the server can be asked.
    let arch = arch.map_or_else(|| "unknown".parse(), Ok)?;
    if home.sends_key_in_the_clear() {
        let advice = "anybody between here and there can read it: use https://";
        let how = format!("goes to another machine over plain http://; {advice}");
        say("key", Ok(how));
    }
    if let Some(approvals) = &settings.approvals {
        let opened = Approvals::open(approvals.clone());
        say("approvals", opened.map(|it| it.count().to_string()));
    }
    let (what, is_well) = home.what_is_well();
    match home.list(&arch) {
        Ok(servers) => {
            say(what, Ok(is_well));
            let list = settings.list.in_place_of(servers, &arch);
            let how = list.map(|it| what_is_on(&it.unwrap_or_default(), &arch));
            say("repositories", how);
        }
        Err(error) => say(what, Err(error)),
    }
    Ok(exit_code)
}

/// How much is on a list, and what isn't, or can't be used.
fn what_is_on(list: &List, arch: &Arch) -> String {
    let is_unusable = |it: &&Entry| matches!(it, Entry::Unusable { .. });
    let unusable = list.entries.iter().filter(is_unusable).count();
    let on = format!("{} for the architecture {arch}", list.entries.len());
    match list.is_for_others() {
        Some((count, others)) => format!("{on}, and {count} for {others}"),
        None if unusable > 0 => format!("{on}, of which {unusable} can't be used"),
        None => on,
    }
}

/// Which runs are on beside one like this.
fn runs(engine: &Engine, shard: Option<Shard>) -> Result<String> {
    match lock::refuse_if_on(engine, shard) {
        Err(error) if error.kind == Kind::Busy => return Ok(error.to_string()),
        other => other?,
    }
    let containers = lock::running(engine)?;
    let is_excluded = lock::excluding(&containers, shard).is_some();
    let held = lock::held(&containers);
    let names: Vec<&str> = held.iter().map(|it| lock::called(it)).collect();
    let names = names.join(", ");
    Ok(match held.is_empty() {
        true => "none is on".to_owned(),
        false if is_excluded => format!("another is on, which this can't be beside: {names}"),
        false => format!("others are on: {names}"),
    })
}
