//! Tar streams: an engine's (Go's writer of pax), ours, and bsdtar's.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use vieter::tar::{Bounds, Carrier, Member, Members, Own, of_files};

use super::source::{Dribble, Source};

/// A file in an engine's stream.
struct File {
    kind: u8,
    name: String,
    bytes: Vec<u8>,
    /// Of its extended header, beside its name.
    records: Vec<(&'static str, String)>,
}

const ENDING: &str = ".pkg.tar.zst";

fn file(source: &mut Source) -> File {
    let pieces = [
        "a",
        "-1",
        ".",
        "é",
        "\n",
        "\n12 size=0\n",
        " path=x.pkg.tar.zst\n",
        "=",
        " ",
        "\r",
        "9 ",
        ENDING,
    ];
    let mut name = source.word(&pieces, 6);
    if source.once_in(4) {
        name = "n".repeat(source.below(150)) + &name;
    }
    if source.once_in(2) {
        name += ENDING;
    }
    let record = |it: &mut Source| {
        let key = it.pick(&[
            "SCHILY.xattr.user.x",
            "mtime",
            "uname",
            "SCHILY.xattr.security.capability",
        ]);
        (
            key_of(key),
            it.word(
                &[
                    "1",
                    "\n",
                    "\n12 size=0\n",
                    "11 path=x\n",
                    "=",
                    "\0",
                    "size=",
                ],
                4,
            ),
        )
    };
    File {
        kind: *source
            .pick(&[b"0", b"0", b"0", b"5", b"2", b"1", b"6"])
            .first()
            .unwrap(),
        name,
        bytes: source.bytes(1500),
        records: source.many(2, record),
    }
}

fn key_of(key: &str) -> &'static str {
    [
        "SCHILY.xattr.user.x",
        "SCHILY.xattr.security.capability",
        "mtime",
        "uname",
    ]
    .into_iter()
    .find(|it| *it == key)
    .unwrap()
}

impl File {
    fn is_regular(&self) -> bool {
        self.kind == b'0'
    }

    /// As Go's writer has it: what a header can't say stands in an extended one before it, sorted.
    fn written(&self) -> Vec<u8> {
        let mut records = self.records.clone();
        let is_plain = self.name.is_ascii() && self.name.len() <= 100;
        if !is_plain {
            records.push(("path", self.name.clone()));
        }
        records.sort();
        records.dedup_by_key(|it| it.0);
        let mut written = vec![];
        if !records.is_empty() {
            let text: Vec<u8> = records
                .iter()
                .flat_map(|(key, value)| record(key, value))
                .collect();
            written.extend(entry(b'x', "PaxHeaders.0/x", &text));
        }
        let short: String = self.name.chars().filter(char::is_ascii).take(100).collect();
        let bytes = if self.is_regular() {
            &self.bytes[..]
        } else {
            b""
        };
        written.extend(entry(self.kind, &short, bytes));
        written
    }
}

/// A record of an extended header, whose length counts its own digits.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}").into_bytes()
}

fn entry(kind: u8, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..124].copy_from_slice(b"0000644\x000000000\x000000000\0");
    header[124..148].copy_from_slice(format!("{:011o}\0{:011o}\0", bytes.len(), 0).as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|it| u32::from(*it)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = bytes.len().next_multiple_of(512) - bytes.len();
    [&header[..], bytes, &vec![0; padding]].concat()
}

fn stream(files: &[File]) -> Vec<u8> {
    let written = files.iter().flat_map(File::written);
    written.chain([0; 1024]).collect()
}

/// The regular files of a stream of ours, read as strictly as can be.
fn strictly(mut tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut files, mut long) = (vec![], None);
    loop {
        let (header, rest) = tar.split_at(512);
        if header.iter().all(|it| *it == 0) {
            assert_eq!(tar, [0; 1024]);
            return files;
        }
        let text = |from, to| {
            std::str::from_utf8(&header[from..to])
                .unwrap()
                .trim_end_matches(['\0', ' '])
        };
        let size = usize::from_str_radix(text(124, 136), 8).unwrap();
        let (bytes, rest) = rest.split_at(size.next_multiple_of(512));
        let (bytes, padding) = bytes.split_at(size);
        assert!(padding.iter().all(|it| *it == 0));
        assert_eq!(header, &entry_of_ours(header[156], text(0, 100), size)[..]);
        match header[156] {
            b'0' => files.push((
                long.take().unwrap_or(text(0, 100).to_owned()),
                bytes.to_vec(),
            )),
            _ => {
                // One record, which says how long it is.
                let record = std::str::from_utf8(bytes).unwrap();
                let (length, path) = record.split_once(" path=").unwrap();
                assert_eq!(length.parse(), Ok(size));
                let path = path.strip_suffix('\n').unwrap();
                assert!(path.len() > 100);
                long = Some(path.to_owned());
            }
        }
        tar = rest;
    }
}

/// The header that a file of ours has, or a record about one: root's, for all to read.
fn entry_of_ours(kind: u8, name: &str, size: usize) -> Vec<u8> {
    assert!([b'0', b'x'].contains(&kind));
    let mut header = entry(kind, name, b"");
    header[100..108].copy_from_slice(b"0000444\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|it| u32::from(*it)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn is_wanted(member: &Member) -> bool {
    member.name.ends_with(ENDING)
}

const BOUNDS: Bounds = Bounds {
    files: 5,
    bytes: 4000,
};

/// Carries from a stream; `None` if that fails, in whatever way.
fn carry(tar: &[u8], source: &mut Source) -> Option<(Vec<Member>, Vec<u8>)> {
    let mut carrier = Carrier::new(Dribble::new(tar, source), is_wanted, BOUNDS);
    let mut out = vec![];
    loop {
        let mut buffer = vec![0; 3000 - source.below(3000)];
        match carrier.read(&mut buffer) {
            Ok(0) => return Some((carrier.carried, out)),
            Ok(n) => out.extend(&buffer[..n]),
            Err(_) => return None,
        }
    }
}

pub fn tar(data: &[u8]) {
    let source = &mut Source(data);
    let files = source.many(5, file);
    let written = stream(&files);

    // Each regular file is seen, and what is read of it is its own, all or not all of it.
    let mut members = Members::new(Dribble::new(&written, source));
    for file in files.iter().filter(|it| it.is_regular()) {
        let (name, size) = (file.name.clone(), file.bytes.len() as u64);
        assert_eq!(members.next_file().unwrap(), Some(Member { name, size }));
        let most = source.below(2000) as u64;
        let mut read = vec![];
        members.by_ref().take(most).read_to_end(&mut read).unwrap();
        assert_eq!(read, file.bytes[..file.bytes.len().min(most as usize)]);
    }
    assert_eq!(members.next_file().unwrap(), None);

    // What is wanted is carried, in headers of ours, unless it is too much.
    let wanted = || {
        files
            .iter()
            .filter(|it| it.is_regular() && it.name.ends_with(ENDING))
    };
    let regular = || files.iter().filter(|it| it.is_regular());
    let bytes: usize = regular().map(|it| it.bytes.len()).sum();
    let carried = carry(&written, source);
    let is_too_much = regular().count() as u64 > BOUNDS.files || bytes as u64 > BOUNDS.bytes;
    assert_eq!(carried.is_none(), is_too_much);
    if let Some((carried, out)) = carried {
        assert!(
            carried
                .iter()
                .map(|it| &it.name)
                .eq(wanted().map(|it| &it.name))
        );
        let expected = wanted()
            .enumerate()
            .map(|(n, it)| (n.to_string(), it.bytes.clone()));
        assert_eq!(strictly(&out), expected.collect::<Vec<_>>());
    }

    // Of a stream that was changed on its way comes one that is in order, or none.
    if let Some((carried, out)) = carry(&source.mutated(written), source) {
        let sizes = strictly(&out).into_iter().map(|it| it.1.len() as u64);
        assert!(sizes.eq(carried.iter().map(|it| it.size)) && carried.iter().all(is_wanted));
    }

    let bytes = source.bytes(1500);
    let names = ["database".to_owned(), "n".repeat(90 + source.below(300))];
    let own =
        |name: &String| -> Own { (name.clone(), bytes.len() as u64, Box::new(bytes.as_slice())) };
    let mut tar = vec![];
    of_files(names.iter().map(own).collect())
        .read_to_end(&mut tar)
        .unwrap();
    assert_eq!(strictly(&tar), names.map(|name| (name, bytes.clone())));
}

/// What bsdtar makes of this tar stream.
fn bsdtar_of(tar: &[u8], args: &[&str]) -> Vec<u8> {
    let mut child = Command::new("bsdtar")
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || input.write_all(tar).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    output.stdout
}

/// bsdtar reads what we write, and we read what it writes.
pub fn bsdtar(data: &[u8]) {
    let source = &mut Source(data);
    let files = source.many(5, file);
    if let Some((carried, out)) = carry(&stream(&files), source) {
        let names: String = (0..carried.len()).map(|n| format!("{n}\n")).collect();
        assert_eq!(
            String::from_utf8(bsdtar_of(&out, &["-tf", "-"])).unwrap(),
            names
        );
        let bytes: Vec<u8> = strictly(&out).into_iter().flat_map(|it| it.1).collect();
        assert_eq!(bsdtar_of(&out, &["-xOf", "-"]), bytes);
    }

    let dir = tempfile::tempdir().unwrap();
    let mut files: Vec<(String, Vec<u8>)> = files
        .into_iter()
        .map(|it| (format!("x{}", it.name), it.bytes))
        .collect();
    files.sort();
    files.dedup_by(|a, b| a.0 == b.0);
    for (name, bytes) in &files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let dir = dir.path().to_str().unwrap();
    let tar = bsdtar_of(b"", &["--format=pax", "-C", dir, "-cf", "-", "."]);
    let mut members = Members::new(&tar[..]);
    let mut seen = vec![];
    while let Some(member) = members.next_file().unwrap() {
        let mut bytes = vec![];
        members.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, member.size);
        // Of a name that is too long bsdtar puts the folder elsewhere, which Go doesn't.
        let name = member.name.strip_prefix("./").unwrap_or(&member.name);
        seen.push((name.to_owned(), bytes));
    }
    seen.sort();
    assert_eq!(seen, files);
}
