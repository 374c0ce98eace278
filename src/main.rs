//! Arguments, log, exit code: each part gets the settings that are its own.

use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use log::LevelFilter;
use vieter::cli::{self, Action};
use vieter::error::Error;
use vieter::server::Server;
use vieter::{check, run};

/// What is printed at the end, and the exit code.
struct End {
    text: String,
    exit_code: u8,
}

fn main() -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    let end = match cli::parse(std::env::args_os().skip(1), &env) {
        Ok(action) => act(action),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "vieter: {error}");
            End::new("", error.exit_code())
        }
    };
    // A reader that has gone away is no reason to panic, or to fail.
    let _ = std::io::stdout().write_all(end.text.as_bytes());
    ExitCode::from(end.exit_code)
}

fn act(action: Action) -> End {
    match action {
        Action::Help => End::new(cli::HELP, 0),
        Action::Version => End::new(concat!("vieter ", env!("CARGO_PKG_VERSION"), "\n"), 0),
        Action::Check(settings) => {
            start_log(settings.log_level);
            match check::check(&settings.run, Server::new(settings.server)) {
                Ok(checked) => End::new(checked.text, checked.exit_code),
                Err(error) => End::failed(&error),
            }
        }
        Action::Build(settings) => {
            start_log(settings.log_level);
            match run::run(&settings.run, Server::new(settings.server)) {
                Ok(summary) => End::new(summary.to_string(), summary.exit_code()),
                Err(error) => End::failed(&error),
            }
        }
    }
}

impl End {
    fn new(text: impl Into<String>, exit_code: u8) -> End {
        let text = text.into();
        End { text, exit_code }
    }

    fn failed(error: &Error) -> End {
        log::error!("{error}");
        End::new("", error.exit_code())
    }
}

/// Our own messages only: ureq's would show the headers of requests, and one of them is the key.
fn start_log(level: LevelFilter) {
    env_logger::Builder::new()
        .filter_module("vieter", level)
        .format(|out, record| {
            let time = utc(SystemTime::now());
            writeln!(out, "{time} {:<5} {}", record.level(), record.args())
        })
        .init();
}

#[allow(clippy::arithmetic_side_effects)] // Of seconds since 1970, which no clock makes too many.
/// A time as RFC 3339 has it, to the second. The date is Howard Hinnant's `civil_from_days`.
fn utc(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |it| it.as_secs());
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
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
