//! Arguments, log, exit code: each part gets the settings that are its own.

use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use log::LevelFilter;
use vieter::cli::{self, Action, Command, Settings};
use vieter::error::Result;
use vieter::server::Server;
use vieter::{check, run};

fn main() -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    let exit_code = match cli::parse(std::env::args_os().skip(1), &env) {
        Ok(Action::Print(text)) => print(text, 0),
        Ok(Action::Run(command, settings)) => act(command, *settings).unwrap_or_else(|error| {
            log::error!("{error}");
            error.exit_code()
        }),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "vieter: {error}");
            error.exit_code()
        }
    };
    ExitCode::from(exit_code)
}

/// Does what a command says, prints what came of it, and gives the exit code.
fn act(command: Command, settings: Settings) -> Result<u8> {
    start_log(settings.log_level);
    let server = Server::new(settings.server);
    match command {
        Command::Build => {
            let summary = run::run(&settings.run, server)?;
            Ok(print(&summary.to_string(), summary.exit_code()))
        }
        Command::Check => {
            let checked = check::check(&settings.run, server)?;
            Ok(print(&checked.text, checked.exit_code))
        }
    }
}

/// Prints the last thing before the program ends with this exit code. A reader that has gone away is no reason to panic,
/// or to fail.
fn print(text: &str, exit_code: u8) -> u8 {
    let _ = std::io::stdout().write_all(text.as_bytes());
    exit_code
}

/// Our own messages only: ureq's would show the headers of requests, and one of them is the key.
fn start_log(level: LevelFilter) {
    let mut log = env_logger::Builder::new();
    log.filter_module("vieter", level).format(|out, record| {
        let time = utc(SystemTime::now());
        writeln!(out, "{time} {:<5} {}", record.level(), record.args())
    });
    log.init();
}

/// A time as RFC 3339 has it, to the second. The date is Howard Hinnant's `civil_from_days`.
// Of seconds since 1970, which no clock makes too many.
#[allow(clippy::arithmetic_side_effects)]
fn utc(time: SystemTime) -> String {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since_1970.map_or(0, |it| it.as_secs());
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_told_as_date_tells_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(
                utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
                text
            );
        }
    }
}
