//! Text from strangers, made fit for a terminal or a log: what commands in a container print, and what stands in
//! messages. Not here: what any of it means.

use std::collections::VecDeque;
use std::io::{BufReader, Read};

use crate::build_log::BuildLog;
use crate::screen;

/// How much of the end is kept, in bytes, and how many lines of it a message shows.
const KEPT_BYTES: usize = 16 * 1024;
const SHOWN_LINES: usize = 40;

/// The longest line that is shown, in characters.
const MAX_LINE: usize = 500;

/// What a command prints: passed to the log line by line, its end kept for the message of a failure.
#[derive(Default)]
pub struct Output {
    end: VecDeque<u8>,
    line: Vec<u8>,
    file: Option<BuildLog>,
}

impl Output {
    /// Of a command whose lines go to this file as well.
    pub fn to(file: Option<BuildLog>) -> Output {
        Output {
            file,
            ..Output::default()
        }
    }

    /// Takes the next bytes. Lines that are complete go to the log, at level debug, and to the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.end.extend(bytes);
        let too_many = self.end.len().saturating_sub(KEPT_BYTES);
        self.end.drain(..too_many);
        if !log::log_enabled!(log::Level::Debug) && self.file.is_none() && !screen::is_wanted() {
            return;
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() > KEPT_BYTES {
                self.end_line();
            }
        }
        // A progress meter has no line ends.
        if self.line.ends_with(b"\r") && screen::is_wanted() {
            screen::said(&shown_line(&self.line));
        }
    }

    fn end_line(&mut self) {
        let line = last_of_line(&self.line);
        let shown = cut(&line, MAX_LINE);
        // First, so that what is shown is kept, whatever comes then.
        if let Some(file) = &self.file {
            file.line(&line);
        }
        log::debug!("| {shown}");
        screen::said(&shown);
        self.line.clear();
    }

    /// Ends a line that has no end.
    pub fn finish(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    /// The last lines, printable.
    pub fn last_lines(&self) -> String {
        let bytes: Vec<u8> = self.end.iter().copied().collect();
        let lines = bytes.split(|byte| *byte == b'\n').map(shown_line);
        let mut lines: Vec<String> = lines.filter(|it| !it.trim().is_empty()).collect();
        let too_many = lines.len().saturating_sub(SHOWN_LINES);
        lines.drain(..too_many);
        lines.join("\n")
    }
}

/// A line that a command printed, as it is shown.
fn shown_line(line: &[u8]) -> String {
    cut(&last_of_line(line), MAX_LINE)
}

/// A progress meter writes its line over and over; what counts is what stood there last.
fn last_of_line(line: &[u8]) -> String {
    let line = printable(line);
    let line = line.trim_end_matches('\r');
    line.rsplit('\r').next().unwrap_or(line).to_owned()
}

/// The beginning of a text, at most `limit` characters.
fn cut(text: &str, limit: usize) -> String {
    let mut beginning: String = text.chars().take(limit).collect();
    if beginning.len() < text.len() {
        beginning.push('…');
    }
    beginning
}

/// The same text with the passwords of URLs masked: what stands between `://` and an `@` may be one.
pub fn masked(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or("").to_owned();
    for part in parts {
        shown += "://";
        match may_be_secret(part).rsplit_once('@') {
            Some((user, _)) if user != "git" => {
                shown += "***";
                shown += part.strip_prefix(user).unwrap_or("");
            }
            _ => shown += part,
        }
    }
    shown
}

/// The beginning of what follows a `://`, as far as a password's `@` may stand in it.
fn may_be_secret(part: &str) -> &str {
    // Whatever white space is shown as an escape doesn't end a password, as its escape wouldn't.
    let is_shown = |c: char| "\r\t".contains(c) || !c.is_control() && !is_invisible(c);
    let until = |ends: &str| {
        let is_end = |c: char| c.is_whitespace() && is_shown(c) || ends.contains(c);
        part.split(is_end).next().unwrap_or(part)
    };
    // Quotes stand around a URL, as a rule, and escapes begin with what ends it, too.
    let quoted = until("/?#\"'\\");
    let quoted = quoted.split(char::is_whitespace).next().unwrap_or(quoted);
    let (authority, word) = (until("/?#"), until(""));
    let port = quoted.split_once(':').map_or("", |(_, port)| port);
    if port.bytes().all(|it| it.is_ascii_digit()) || quoted.starts_with('[') {
        return quoted;
    }
    // It is no port, but a password. One with a slash in it makes the URL none, and git says so, with the URL.
    match authority.contains('@') {
        true => authority,
        false => word,
    }
}

/// One line of text from outside, fit for a log: control characters are shown as an escape (`\u{1b}`) or, at the
/// end, dropped, so that no stranger moves our reader's cursor or forges a log line. Carriage returns stay.
pub fn printable(bytes: &[u8]) -> String {
    let text = masked(&String::from_utf8_lossy(bytes));
    escape(text.trim_end_matches('\n'), &['\r', '\t'])
}

/// A line for somebody who has to see all of it: nothing is masked, and no carriage return writes over what stands before it.
pub fn escaped(line: &str) -> String {
    escape(line, &['\t'])
}

/// The same text with all that can't be seen shown as an escape, but for what is kept.
fn escape(text: &str, kept: &[char]) -> String {
    escape_as(text, kept, |c| c.escape_unicode().to_string())
}

/// The same, with escapes of this form.
fn escape_as(text: &str, kept: &[char], escape: impl Fn(char) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if kept.contains(&c) => shown.push(c),
            c if c.is_control() || is_invisible(c) => shown.push_str(&escape(c)),
            c => shown.push(c),
        }
    }
    shown
}

/// What JSON is read from, of whatever origin: for each type of reader, the binary would have a parser of its own.
pub fn json_reader<'r>(reader: impl Read + 'r) -> BufReader<Box<dyn Read + 'r>> {
    BufReader::with_capacity(4096, Box::new(reader))
}

/// JSON, whose strings may have anything in them, with what can't be seen as JSON escapes it.
pub fn json_escaped(json: &str) -> String {
    escape_as(json, &[], |c| {
        let mut units = [0; 2];
        let units = c.encode_utf16(&mut units).iter();
        units.map(|unit| format!("\\u{unit:04x}")).collect()
    })
}

/// The characters of Unicode that reorder or hide what is around them, or are taken for something else.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        // Blanks that are none to a shell, before a `#`, say.
        || c.is_whitespace() && !c.is_ascii()
        || c == '\u{2800}'
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
        // Blank letters, and variation selectors, in which whole texts are hidden.
        || matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}')
        || matches!(c, '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(c, '\u{70f}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}')
}

/// A message from outside on one line, at most `limit` characters.
pub fn one_line(text: &str, limit: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&printable(text.as_bytes()), limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_and_only_so_much() {
        let mut output = Output::default();
        for n in 0..100_000 {
            output.push(format!("line {n}\n").as_bytes());
        }
        let shown = output.last_lines();
        assert_eq!(shown.lines().count(), SHOWN_LINES);
        assert!(shown.ends_with("line 99999"));
        assert!(output.end.len() <= KEPT_BYTES);
        output.push(&vec![b'x'; 3 * KEPT_BYTES]);
        assert_eq!(output.end.len(), KEPT_BYTES);
    }

    #[test]
    fn shows_what_a_progress_meter_left_and_escapes_the_rest() {
        let mut output = Output::default();
        output.push(b" 10%\r 50%\r100%\r\n\n\x1b[2Jgone\xff\n");
        assert_eq!(output.last_lines(), "100%\n\\u{1b}[2Jgone\u{fffd}");
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        let said = "fatal: 'https://me:s3cret@host/a?b' or https://token@host ssh://git@host/x";
        let shown = "fatal: 'https://***@host/a?b' or https://***@host ssh://git@host/x";
        assert_eq!(printable(said.as_bytes()), shown);
        assert_eq!(masked("a://b@c@d/e://"), "a://***@d/e://");
        // Not as URLs are to be written, but who reads the message has written it so.
        for url in [
            "me:s/cret@host/x",
            "me:s?c@host/x",
            "me:s'c@host/x",
            "me:s#/c@t@host/x",
        ] {
            let said = format!("unable to access 'https://{url}/': that");
            assert_eq!(
                masked(&said),
                "unable to access 'https://***@host/x/': that"
            );
        }
        // What works as a URL shows its host, whatever stands in its path.
        let hostile = "https://a:y'x@evil/b@host/x";
        assert_eq!(masked(hostile), "https://***@evil/b@host/x");
        for kept in [
            "http://host:80/a@b",
            "http://host:/a@b",
            "https://[::1]:80/a@b",
            "https://[::1]/a@b",
            "https://host/a:b@c",
            "file:///a:b/c@d",
            "ssh://git@host:22/a@b",
            "\"https://host\",\"a@b\"",
            "https://host:x a@b",
        ] {
            assert_eq!(masked(kept), kept);
        }
    }

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(one_line("a\nb\r\n  c", 10), "a b c");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("abc", 3), "abc");
        assert_eq!(one_line("a\u{180e}\u{206a}", 99), "a\\u{180e}\\u{206a}");
        assert_eq!(
            one_line("\u{e0100}\u{fe01}\u{3164}", 99),
            "\\u{e0100}\\u{fe01}\\u{3164}"
        );
    }

    #[test]
    fn json_stays_json_and_shows_what_cannot_be_seen() {
        let hostile = "{\"url\":\"\u{9b}2J\u{202e}\u{e0041}é\"}";
        let shown = json_escaped(hostile);
        assert_eq!(shown, r#"{"url":"\u009b2J\u202e\udb40\udc41é"}"#);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(hostile));
    }
}
