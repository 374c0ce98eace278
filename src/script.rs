//! The scripts that run in containers, without the comments in their files: those are for readers, and would take 16 kB of the
//! binary, and of the requests that run them.

/// The text of a file below `src`, without the lines that are comments.
macro_rules! script {
    ($file:literal) => {{
        const TEXT: &str = include_str!($file);
        const CODE: &[u8] = &$crate::script::code::<{ $crate::script::code::<0>(TEXT).1 }>(TEXT).0;
        match std::str::from_utf8(CODE) {
            Ok(code) => code,
            Err(_) => TEXT,
        }
    }};
}
pub(crate) use script;

/// The first so many bytes of what isn't a comment, and how many there are. When it is compiled; what is out of bounds wouldn't be.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(crate) const fn code<const N: usize>(text: &str) -> ([u8; N], usize) {
    let (bytes, mut code, mut length) = (text.as_bytes(), [0; N], 0);
    let (mut at, mut is_begin, mut is_comment) = (0, true, false);
    while at < bytes.len() {
        if is_begin {
            let mut first = at;
            while bytes[first] == b' ' {
                first += 1;
            }
            is_comment = bytes[first] == b'#';
        }
        if !is_comment {
            if length < N {
                code[length] = bytes[at];
            }
            length += 1;
        }
        is_begin = bytes[at] == b'\n';
        at += 1;
    }
    (code, length)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_lines_that_are_comments_go() {
        const TEXT: &str = "# What\n#\n\nif x; then # why\n    # how\n    y '#'\nfi\n";
        const LENGTH: usize = super::code::<0>(TEXT).1;
        let (code, _) = super::code::<LENGTH>(TEXT);
        assert_eq!(&code, b"\nif x; then # why\n    y '#'\nfi\n");
    }
}
