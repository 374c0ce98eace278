//! Times as they are told.

use std::time::SystemTime;

/// An hour, in seconds.
const HOUR: u64 = 3600;
/// A day, in seconds.
pub const DAY: u64 = 24 * HOUR;

/// The time, in seconds since 1970.
pub fn since_1970() -> u64 {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    time.map_or(0, |it| it.as_secs())
}

/// Whether a time was less than so many days ago, or rather an hour less than that: a night's run may begin a bit earlier than the
/// last one's. One that is still to come wasn't.
pub fn is_within(days: u64, time: u64) -> bool {
    let age = since_1970().checked_sub(time);
    age.is_some_and(|it| it.saturating_add(HOUR) < days.saturating_mul(DAY))
}

/// How long ago a time was, in seconds since 1970.
pub fn ago(time: u64) -> String {
    match since_1970().saturating_sub(time) / HOUR {
        0 => "less than an hour ago".to_owned(),
        1 => "1 hour ago".to_owned(),
        hours @ 2..24 => format!("{hours} hours ago"),
        24..48 => "1 day ago".to_owned(),
        hours => format!("{} days ago", hours / 24),
    }
}

/// The day of the week of a time, in seconds since 1970, which began with a Thursday.
pub fn weekday(time: u64) -> &'static str {
    let days = "Thursday Friday Saturday Sunday Monday Tuesday Wednesday";
    let day = days.split(' ').nth((time / DAY % 7) as usize);
    day.unwrap_or_default()
}

/// A time, in seconds since 1970, as RFC 3339 has it. The date is Howard Hinnant's `civil_from_days`.
// No number of seconds is too large for it.
#[allow(clippy::arithmetic_side_effects)]
pub fn utc(seconds: u64) -> String {
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

/// The time of a date as HTTP has it (RFC 9110, section 5.6.7), in seconds since 1970: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn of_http_date(text: &str) -> Option<u64> {
    let (_, date) = text.split_once(", ")?;
    let words: Vec<&str> = date.split([' ', ':']).collect();
    let [day, month, year, hour, minute, second, "GMT"] = words.as_slice() else {
        return None;
    };
    let months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let before = months.split(' ').position(|it| it == *month)?;
    let month = before.saturating_add(1);
    let wanted = format!("{year}-{month:02}-{day}T{hour}:{minute}:{second}Z");
    // Times are in the order of their texts, up to the year 6325: each bit of it, from the largest one on.
    let bits = (0..37).rev().map(|bit| 1_u64 << bit);
    let time = bits.fold(0, |time, bit| match utc(time | bit) <= wanted {
        true => time | bit,
        false => time,
    });
    (utc(time) == wanted).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_by_their_names() {
        assert_eq!(weekday(0), "Thursday");
        assert_eq!(
            (weekday(951_782_399), weekday(951_782_400)),
            ("Monday", "Tuesday")
        );
        let told = |hours| ago(since_1970() - hours * HOUR);
        assert_eq!(
            (told(0).as_str(), told(1).as_str()),
            ("less than an hour ago", "1 hour ago")
        );
        assert_eq!(
            (told(23), told(24), told(72)),
            (
                "23 hours ago".into(),
                "1 day ago".into(),
                "3 days ago".into()
            )
        );
    }

    #[test]
    fn times_are_told_as_date_tells_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn a_date_of_https_is_a_time() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 31 Dec 2024 23:59:59 GMT", Some(1_735_689_599)),
            ("Sun, 31 Feb 2024 00:00:00 GMT", None),
            ("Sun, 06 ovD 1994 08:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Nov 9999999 08:49:37 GMT", None),
            ("soon", None),
        ] {
            assert_eq!(of_http_date(text), seconds, "{text}");
        }
    }
}
