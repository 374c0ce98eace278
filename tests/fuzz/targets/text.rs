//! Text from strangers, the words, and image references.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use vieter::docker::ImageRef;
use vieter::http::encode;
use vieter::text::{Output, masked, one_line, printable};
use vieter::words::{Arch, Commit, PackageName, RepoName, RunId, Version};

use super::assert_one_line;
use super::source::Source;

const PASSWORD: &str = "s3cr3t";

const PIECES: [&str; 34] = [
    "a",
    "B",
    "0",
    " ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{9b}",
    "é",
    "漢",
    "😀",
    "\u{a0}",
    "\u{ad}",
    "\u{180e}",
    "\u{200b}",
    "\u{2028}",
    "\u{202e}",
    "\u{2066}",
    "\u{206a}",
    "\u{feff}",
    "\u{e0041}",
    "https://",
    "://",
    "@",
    "/",
    "git@",
    "\"",
    "#",
    "…",
];

fn bytes(source: &mut Source) -> Vec<u8> {
    let mut bytes = vec![];
    for _ in 0..source.below(60) {
        match source.below(8) {
            0 => bytes.extend(source.bytes(6)),
            1 => {
                let before = source.pick(&["", "a/", "a'", "a?/@"]);
                bytes.extend(format!("https://me:{before}{PASSWORD}@host/x ").bytes());
            }
            2 => bytes.resize(bytes.len() + source.below(3000), b'x'),
            _ => bytes.extend(source.pick(&PIECES).bytes()),
        }
    }
    bytes
}

pub fn text(data: &[u8]) {
    let source = &mut Source(data);
    let bytes = bytes(source);
    let text = String::from_utf8_lossy(&bytes).into_owned();

    let shown = printable(&bytes);
    assert_one_line(&shown.replace(['\r', '\t'], ""));
    assert_eq!(printable(shown.as_bytes()), shown);
    assert_eq!(masked(&masked(&text)), masked(&text));
    for shown in [&shown, &masked(&text)] {
        assert!(!shown.contains(&format!("{PASSWORD}@")), "{shown:?}");
    }

    let limit = source.below(600);
    let line = one_line(&text, limit);
    assert_one_line(&line);
    assert!(line.chars().count() <= limit + 1);
    assert_eq!(one_line(&line, limit + 1), line);

    // What a command prints is the same however it arrives, and its end is there.
    let (mut whole, mut pieces) = (Output::default(), Output::default());
    whole.push(&bytes);
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(1 + source.below(3000)));
        pieces.push(piece);
        rest = after;
    }
    let last_lines = whole.last_lines();
    assert_eq!(pieces.last_lines(), last_lines);
    assert!(last_lines.lines().count() <= 40);
    for line in last_lines.lines() {
        assert_one_line(&line.replace('\t', ""));
        assert!(line.chars().count() <= 501);
    }
}

/// Takes a text for a word. One that is taken is what it prints as.
fn word<T: FromStr<Err = vieter::error::Error> + Display + PartialEq + Debug>(
    text: &str,
) -> Option<T> {
    match text.parse::<T>() {
        Ok(word) => {
            let printed = word.to_string();
            assert_eq!(printed.parse::<T>().unwrap(), word);
            Some(word)
        }
        Err(error) => {
            assert_one_line(&error.to_string());
            None
        }
    }
}

pub fn words(data: &[u8]) {
    let source = &mut Source(data);
    let pieces = [
        "a",
        "Z",
        "0",
        "7",
        "f",
        "-",
        ".",
        "..",
        "+",
        "_",
        "@",
        ":",
        "~",
        "^",
        "1.0",
        "-1",
        "lib",
        "local",
        "options",
        "/",
        " ",
        "\n",
        "\0",
        "é",
        "\u{ff11}",
        "0123456789",
        "abcdefabcdef",
        "%2f",
    ];
    let most = *source.pick(&[&3, &20, &150]);
    let text = source.text(&pieces, most);
    let is_clean = |text: &str| text.bytes().all(|it| it.is_ascii_graphic() && it != b'/');
    let is_safe = |text: &str| is_clean(text) && !text.is_empty() && !text.starts_with(['-', '.']);
    if let Some(name) = word::<PackageName>(&text) {
        assert!(name.as_str() == text && is_safe(&text) && text.len() <= 255);
    }
    if let Some(name) = word::<RepoName>(&text) {
        assert!(name.as_str() == text && is_safe(&text) && !["local", "options"].contains(&&*text));
        assert!(word::<PackageName>(&text).is_some());
    }
    if let Some(arch) = word::<Arch>(&text) {
        assert!(arch.as_str() == text && is_safe(&text) && Arch::of_machine(&text).is_ok());
    }
    if let Some(commit) = word::<Commit>(&text) {
        assert!(commit.as_str() == text && is_safe(&text));
    }
    assert_eq!(word::<RunId>(&text).unwrap().as_str(), text);

    // A version that is taken is its text, but for an epoch of 0; and what a PKGBUILD's variables make is taken.
    if let Some(version) = word::<Version>(&text) {
        let zeros = text.trim_start_matches('0');
        assert_eq!(
            version.to_string(),
            zeros.strip_prefix(':').unwrap_or(&text)
        );
        assert!(is_clean(&text));
    }
    let part = |source: &mut Source, pieces: &[&str]| source.word(pieces, 6);
    let epoch = source.text(&["0", "1", "9"], 3);
    let pkgver = part(
        source,
        &["1", "0", ".", "r", "+", "_", "~", "A", "git", "^"],
    );
    let mut pkgrel = part(source, &["1", "0", "9"]);
    if source.once_in(3) {
        pkgrel += &format!(".{}", part(source, &["1", "0"]));
    }
    let version = Version::new(&epoch, &pkgver, &pkgrel).unwrap();
    let before = match epoch.bytes().all(|it| it == b'0') {
        true => String::new(),
        false => format!("{epoch}:"),
    };
    assert_eq!(version.to_string(), format!("{before}{pkgver}-{pkgrel}"));
    assert_eq!(word::<Version>(&version.to_string()), Some(version));

    let encoded = encode(&text);
    assert!(
        encoded
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"-._~%".contains(&it))
    );
    let mut parts = encoded.split('%');
    let mut decoded = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        decoded.push(u8::from_str_radix(&part[..2], 16).unwrap());
        decoded.extend(part[2..].bytes());
    }
    assert_eq!(decoded, text.as_bytes());
}

pub fn image(data: &[u8]) {
    let source = &mut Source(data);
    let alphanumeric = ["a", "z", "0", "9", "lib", "arch"];
    let mut name = String::new();
    if source.once_in(2) {
        name = source
            .pick(&["localhost", "127.0.0.1", "[::1]", "reg.example.com"])
            .to_owned();
        if source.once_in(2) {
            name += &format!(":{}", source.below(65536));
        }
        name += "/";
    }
    let path = source.many(2, |it| {
        it.word(&alphanumeric, 3) + it.pick(&[".", "_", "__", "-", ""]) + "x"
    });
    name += &[&path[..], &["linux".to_owned()]].concat().join("/");
    let tag = source.word(&["a", "Z", "0", "_", "x-", "x."], 5);
    let digest = format!("sha256:{}", source.word(&["0123", "abcd", "f"], 16));
    let (text, tag) = match source.below(4) {
        0 => (name.clone(), "latest".to_owned()),
        1 => (format!("{name}:{tag}"), tag),
        2 => (format!("{name}@{digest}"), digest),
        _ => {
            let text = format!("{name}:{tag}@{digest}");
            name = format!("{name}:{tag}");
            (text, digest)
        }
    };
    let image = ImageRef::new(&*text);
    assert_eq!((image.name(), image.tag()), (&*name, &*tag), "{text}");
    assert_eq!(image.to_string(), text);

    // Whatever else somebody sets: the engine is never left to pull all tags.
    let text = String::from_utf8_lossy(&source.mutated(text.into_bytes())).into_owned();
    let image = ImageRef::new(&*text);
    assert_eq!(image.to_string(), text);
    assert!(!image.tag().is_empty(), "{text:?}");
    assert!(text.starts_with(image.name()));
}
