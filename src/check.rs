//! `vieter check`: whether a run could be done, for people and for a container's health check.

use crate::approvals::Approvals;
use crate::docker::Engine;
use crate::error::{Kind, Result};
use crate::home::Home;
use crate::list::List;
use crate::lock;
use crate::run::Settings;
use crate::shard::Shard;

/// What was looked at, a line each, and whether all of it is well.
#[derive(Default)]
pub struct Checked {
    /// The lines.
    pub text: String,
    /// 0, or 3 if a run could not be done.
    pub exit_code: u8,
}

impl Checked {
    fn say(&mut self, what: &str, how: Result<String>) {
        if how.is_err() {
            self.exit_code = 3;
        }
        let mark = if how.is_ok() { "ok" } else { "FAILED" };
        let how = how.unwrap_or_else(|error| error.to_string());
        self.text += &format!("{what:<12}  {mark:<6}  {how}\n");
    }
}

/// Says which runs are on beside one like this.
fn others(engine: &Engine, shard: Option<Shard>) -> Result<String> {
    let containers = engine.labelled_containers()?;
    let is_excluded = lock::excluding(&containers, shard).is_some();
    let held = lock::held(&containers);
    let names = held.iter().filter_map(|it| it.names.first());
    let names: Vec<&str> = names.map(|it| it.trim_start_matches('/')).collect();
    let names = names.join(", ");
    Ok(match held.is_empty() {
        true => "none is on".to_owned(),
        false if is_excluded => format!("another is on, which this can't be beside: {names}"),
        false => format!("others are on: {names}"),
    })
}

/// Says how the engine, the server and its list are, and whether a run is on.
///
/// # Errors
/// None that comes from outside: those are in what is said.
pub fn check(settings: &Settings, mut home: Home) -> Result<Checked> {
    let mut checked = Checked::default();
    let mut arch = settings.arch.clone();
    match Engine::find(&settings.engines) {
        Ok(engine) => {
            checked.say("engine", Ok(format!("{} answers", engine.name())));
            if arch.is_none() {
                match engine.architecture() {
                    Ok(its) => arch = Some(its),
                    Err(error) => checked.say("architecture", Err(error)),
                }
            }
            let run = match lock::refuse_if_on(&engine, settings.shard) {
                Err(error) if error.kind == Kind::Busy => Ok(error.to_string()),
                other => other.and_then(|()| others(&engine, settings.shard)),
            };
            checked.say("run", run);
        }
        Err(error) => checked.say("engine", Err(error)),
    }
    // There is nothing to be found for an architecture that isn't known, but the server can be asked.
    let arch = arch.map_or_else(|| "unknown".parse(), Ok)?;
    if home.sends_key_in_the_clear() {
        let advice = "anybody between here and there can read it: use https://";
        checked.say(
            "key",
            Ok(format!(
                "goes to another machine over plain http://; {advice}"
            )),
        );
    }
    if let Some(approvals) = &settings.approvals {
        let opened = Approvals::open(approvals.clone());
        checked.say("approvals", opened.map(|it| it.count().to_string()));
    }
    let (what, is_well) = home.what_is_well();
    match home.list(&arch) {
        Ok(servers) => {
            checked.say(what, Ok(is_well));
            let list = settings.list.in_place_of(servers, &arch);
            let count = |list: Option<List>| {
                let count = list.map_or(0, |it| it.entries.len());
                format!("{count} for the architecture {arch}")
            };
            checked.say("repositories", list.map(count));
        }
        Err(error) => checked.say(what, Err(error)),
    }
    Ok(checked)
}
