//! What commands in a container print: passed to the log line by line, the end of it kept for the message
//! of a failure. It comes from strangers, so it is made printable before it reaches a terminal or a log.

use std::collections::VecDeque;

/// How much of the end is kept, in bytes, and how many lines of it a message shows.
const KEPT_BYTES: usize = 16 * 1024;
const SHOWN_LINES: usize = 40;

/// The end of what a command has printed.
#[derive(Default)]
pub struct Output {
    end: VecDeque<u8>,
    line: Vec<u8>,
}

impl Output {
    /// Takes the next bytes. Lines that are complete go to the log, at level debug.
    pub fn push(&mut self, bytes: &[u8]) {
        self.end
            .extend(&bytes[bytes.len().saturating_sub(KEPT_BYTES)..]);
        self.end.drain(..self.end.len().saturating_sub(KEPT_BYTES));
        if !log::log_enabled!(log::Level::Debug) {
            return;
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() > KEPT_BYTES {
                log::debug!("| {}", last_overwrite(&printable(&self.line)));
                self.line.clear();
            }
        }
    }

    /// The last lines, printable.
    pub fn last_lines(&self) -> String {
        let bytes: Vec<u8> = self.end.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let shown = |line: &str| last_overwrite(&printable(line.as_bytes())).to_owned();
        let mut lines: Vec<String> = text.lines().map(shown).collect();
        lines.retain(|line| !line.trim().is_empty());
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

/// A progress meter writes its line over and over; what counts is what stood there last.
fn last_overwrite(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    line.rsplit('\r').next().unwrap_or(line)
}

/// One line of text from outside, fit for a log: control characters are shown as an escape (`\u{1b}`) or, at the
/// end, dropped, so that no stranger moves our reader's cursor or forges a log line. Carriage returns stay.
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = text.trim_end_matches('\n').chars().map(|c| match c {
        '\r' | '\t' => c.to_string(),
        c if c.is_control() || is_invisible(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    });
    shown.collect()
}

/// The characters of Unicode that reorder or hide what is around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A message from outside on one line, at most `limit` characters.
pub fn one_line(text: &str, limit: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line: String = printable(text.as_bytes()).chars().take(limit).collect();
    if line.len() < text.len() && line.chars().count() == limit {
        line.push('…');
    }
    line
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
    fn a_message_stays_on_its_line() {
        assert_eq!(one_line("a\nb\r\n  c", 10), "a b c");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("abc", 3), "abc");
    }
}
