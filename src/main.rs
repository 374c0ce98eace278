//! Arguments, log, exit code: each part gets the settings that are its own.

use std::io::Write;
use std::process::ExitCode;

use env_logger::Target;
use log::LevelFilter;
use vieter::cli::{self, Action, Command, Settings};
use vieter::clock::{since_1970, utc};
use vieter::error::{Kind, Result};
use vieter::home::Home;
use vieter::report::Summary;
use vieter::{check, review, run, screen};

fn main() -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    let exit_code = match cli::parse(std::env::args_os().skip(1), &env) {
        Ok(Action::Print(text)) => {
            // A reader that has gone away is no reason to panic, or to fail.
            let _ = std::io::stdout().write_all(text.as_bytes());
            0
        }
        Ok(Action::Run(command, settings)) => {
            let ended = act(command, *settings);
            screen::end();
            ended.unwrap_or_else(|error| {
                log::error!("{error}");
                error.exit_code()
            })
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "vieter: {error}");
            error.exit_code()
        }
    };
    ExitCode::from(exit_code)
}

/// Does what a command says, and gives the exit code.
fn act(command: Command, settings: Settings) -> Result<u8> {
    start_log(settings.log_level);
    screen::start(settings.is_seen, settings.is_verbose);
    match command {
        Command::Build(home) => {
            // It makes the folder that the report may be in.
            let home = Home::open(home);
            let mut summary = Summary::new(settings.told)?;
            let ended = home.and_then(|home| run::run(&settings.run, home, &mut summary));
            // An old report isn't to be taken for that of a run which couldn't begin.
            let begun = match &ended {
                Err(error) if error.kind == Kind::Busy => Ok(()),
                _ => summary.begin(),
            };
            if ended.is_ok() || summary.has_lines() {
                summary.end();
            }
            if let (Err(_), Err(error)) = (&ended, &begun) {
                log::warn!("{error}");
            }
            ended.and(begun).map(|()| summary.exit_code())
        }
        Command::Check(home) => check::check(&settings.run, Home::open(home)?),
        Command::Review(asking, home) => {
            let home = home.map(Home::open).transpose()?;
            review::review(&settings.run, asking, home)
        }
    }
}

/// Our own messages only: ureq's would show the headers of requests, and one of them is the key.
fn start_log(level: LevelFilter) {
    let mut log = env_logger::Builder::new();
    log.filter_module("vieter", level).format(|out, record| {
        let time = utc(since_1970());
        writeln!(out, "{time} {:<5} {}", record.level(), record.args())
    });
    log.target(Target::Pipe(Box::new(screen::Log)));
    log.init();
}
