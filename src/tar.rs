//! A stranger's tar stream, and one of our own that only has what we want of it: the engine gives a container's files as
//! such streams and takes them so (Engine API, `GET` and `PUT /containers/{id}/archive`), and its `PUT` believes what it
//! gets. Not here: which files are wanted (`inbox`).

use std::fs::File;
use std::io::{Cursor, Error, ErrorKind, Read, Result};

/// Tar goes in blocks of this many bytes: a header, then the file filled up with zeros.
const BLOCK: u64 = 512;

/// The largest file that is carried, in bytes: what eleven octal digits can say. No package comes near.
const MAX_SIZE: u64 = 0o777_7777_7777;

/// The longest extended header that is read, in bytes.
const MAX_EXTENDED: u64 = 64 * 1024;

/// A regular file in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the stream calls it.
    pub name: String,
    /// In bytes.
    pub size: u64,
}

/// Goes through the regular files of a tar stream (POSIX pax as Go writes it, with an extended header for each name that a
/// header's first field can't hold); all else in it is passed over.
/// Reading gives the bytes of the file that was come to last.
pub struct Members<R> {
    reader: R,
    /// Bytes of the current file that are not read yet.
    left: u64,
    /// Zeros behind it.
    padding: u64,
}

impl<R: Read> Members<R> {
    /// Reads from the beginning of a stream.
    pub fn new(reader: R) -> Self {
        let (left, padding) = (0, 0);
        Members {
            reader,
            left,
            padding,
        }
    }

    /// Goes to the next regular file; `None` at the stream's end.
    ///
    /// # Errors
    /// Those of the reader; a header that is none, and a file that is larger than 8 GiB.
    pub fn next_file(&mut self) -> Result<Option<Member>> {
        let mut extended = vec![];
        loop {
            self.pass_over()?;
            let mut header = [0; BLOCK as usize];
            let read = self.reader.read_exact(&mut header);
            read.map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => Error::other("it ended early"),
                _ => error,
            })?;
            let field = |from, to| header.get(from..to).unwrap_or_default();
            let text = |from, to| {
                let bytes = field(from, to).split(|byte| *byte == 0).next();
                String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
            };
            if header.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let size = u64::from_str_radix(text(124, 136).trim(), 8).ok();
            let size = value(&extended, "size").map_or(size, |size| size.parse().ok());
            let size = size.filter(|size| *size <= MAX_SIZE);
            let size =
                size.ok_or_else(|| Error::other("a file in it is too large, or it is no tar"))?;
            self.left = size;
            self.padding = padding(size);
            match field(156, 157) {
                b"x" if size <= MAX_EXTENDED => {
                    extended.clear();
                    self.read_to_end(&mut extended)?;
                }
                b"0" | b"\0" => {
                    // ustar has a field for the folders of a long path.
                    let folders = if field(257, 262) == b"ustar" {
                        text(345, 500)
                    } else {
                        String::new()
                    };
                    let slash = if folders.is_empty() { "" } else { "/" };
                    let short = || format!("{folders}{slash}{}", text(0, 100));
                    let name = value(&extended, "path").unwrap_or_else(short);
                    return Ok(Some(Member { name, size }));
                }
                _ => extended.clear(),
            }
        }
    }

    /// Passes over what is left of the current file.
    fn pass_over(&mut self) -> Result<()> {
        let behind = self.left.saturating_add(self.padding);
        let passed = std::io::copy(&mut self.reader.by_ref().take(behind), &mut std::io::sink())?;
        (self.left, self.padding) = (0, 0);
        match passed == behind {
            true => Ok(()),
            false => Err(Error::other("it ended in the middle of a file")),
        }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.reader.by_ref().take(self.left).read(buffer)?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(Error::other("it ended in the middle of a file"));
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// The value of this key in an extended header. Its records, `LENGTH KEY=VALUE` and a line end, are as long as they say:
/// there may be line ends in a file's name, and what looks like another record behind them.
fn value(extended: &[u8], key: &str) -> Option<String> {
    let mut rest = extended;
    loop {
        let length = rest.split(|byte| *byte == b' ').next()?;
        let length = std::str::from_utf8(length).ok()?.parse().ok()?;
        let (record, behind) = rest.split_at_checked(length)?;
        let record = String::from_utf8_lossy(record);
        let (_, pair) = record.split_once(' ')?;
        if let Some(value) = pair.strip_prefix(key).and_then(|it| it.strip_prefix('=')) {
            return Some(value.strip_suffix('\n').unwrap_or(value).to_owned());
        }
        rest = behind;
    }
}

/// How many zeros stand behind a file.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK).saturating_sub(size)
}

/// The header of a regular file of root's, which nobody may change (kind `0`), or of what is said about the next one (`x`). The
/// name is of ASCII characters, and at most 100.
fn header(name: &str, size: u64, kind: char) -> Vec<u8> {
    let with = |checksum: &str| {
        let ids_and_size = format!("0000444\0{0:07}\0{0:07}\0{size:011o}\0{0:011}\0", 0);
        format!(
            "{name:\0<100}{ids_and_size}{checksum}{kind}{:\0<100}ustar\x0000{:\0<247}",
            "", ""
        )
    };
    let sum: u32 = with("        ").bytes().map(u32::from).sum();
    with(&format!("{sum:06o}\0 ")).into_bytes()
}

/// A file of ours that goes into a tar stream: its name, its size in bytes, and what is in it.
pub type Own<'a> = (String, u64, Box<dyn Read + 'a>);

/// A file of the host's, under this name.
///
/// # Errors
/// Those of the file system.
pub fn own(name: &str, file: File) -> Result<Own<'static>> {
    Ok((name.to_owned(), file.metadata()?.len(), Box::new(file)))
}

/// A tar stream of files of ours, each of which has as many bytes as is said.
pub fn of_files<'a>(files: Vec<Own<'a>>) -> Box<dyn Read + 'a> {
    let mut tar: Box<dyn Read + 'a> = Box::new(std::io::empty());
    for (name, size, bytes) in files {
        let mut before = vec![];
        // A name that its field can't hold stands in an extended header, which has its own length in it.
        if name.len() > 100 || !name.is_ascii() {
            let record = |length: usize| format!("{length} path={name}\n");
            let length = (0..9).fold(0, |length, _| record(length).len());
            let record = record(length);
            let mut extended = header("pax", record.len() as u64, 'x');
            extended.extend(record.bytes());
            extended.resize(extended.len().next_multiple_of(BLOCK as usize), 0);
            before = extended;
        }
        let short: String = name.chars().filter(char::is_ascii).take(100).collect();
        before.extend(header(&short, size, '0'));
        let behind = std::io::repeat(0).take(padding(size));
        let file = Cursor::new(before).chain(bytes.take(size)).chain(behind);
        tar = Box::new(tar.chain(file));
    }
    Box::new(tar.chain(std::io::repeat(0).take(2 * BLOCK)))
}

/// What is carried, or passed over, at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many files.
    pub files: u64,
    /// How many bytes, of all files together.
    pub bytes: u64,
}

/// A tar stream of those of a stranger's regular files that are wanted, in headers that we write: they are called
/// `0`, `1` and so on in it, whatever the stranger calls them.
pub struct Carrier<R> {
    members: Members<R>,
    is_wanted: fn(&Member) -> bool,
    bounds: Bounds,
    /// What is given out before anything else is read: the end of a file, a header.
    ready: Cursor<Vec<u8>>,
    has_ended: bool,
    /// How many files there were so far, and how many bytes in them, those included that aren't wanted.
    files: u64,
    bytes: u64,
    /// What was carried so far, as the stranger calls it, in the order of our names.
    pub carried: Vec<Member>,
}

impl<R: Read> Carrier<R> {
    /// Carries what `is_wanted` from `reader`, within these bounds.
    pub fn new(reader: R, is_wanted: fn(&Member) -> bool, bounds: Bounds) -> Self {
        Carrier {
            members: Members::new(reader),
            is_wanted,
            bounds,
            ready: Cursor::default(),
            has_ended: false,
            files: 0,
            bytes: 0,
            carried: vec![],
        }
    }

    /// Makes ready what stands between the file that has ended and the next one.
    fn go_on(&mut self) -> Result<()> {
        let mut ready = vec![
            0;
            self.carried
                .last()
                .map_or(0, |it| padding(it.size) as usize)
        ];
        let next = loop {
            let next = self.members.next_file()?;
            if let Some(member) = &next {
                self.files = self.files.saturating_add(1);
                self.bytes = self.bytes.saturating_add(member.size);
            }
            let (files, bytes) = (self.files, self.bytes);
            if files > self.bounds.files || bytes > self.bounds.bytes {
                let much =
                    format!("too many files, or too large ones: {files}, {bytes} bytes or more");
                return Err(Error::other(much));
            }
            match next {
                Some(member) if !(self.is_wanted)(&member) => (),
                next => break next,
            }
        };
        match next {
            Some(member) => {
                ready.extend(header(&self.carried.len().to_string(), member.size, '0'));
                self.carried.push(member);
            }
            None => {
                ready.extend([0; 2 * BLOCK as usize]);
                self.has_ended = true;
            }
        }
        self.ready = Cursor::new(ready);
        Ok(())
    }
}

impl<R: Read> Read for Carrier<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.ready.read(buffer)? {
                0 if self.members.left > 0 => return self.members.read(buffer),
                0 if self.has_ended => return Ok(0),
                0 => self.go_on()?,
                read => return Ok(read),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut entry = header(name, bytes.len() as u64, kind.chars().next().unwrap());
        entry.extend(bytes);
        entry.resize(entry.len().next_multiple_of(512), 0);
        entry
    }

    fn carry(stream: &[u8], files: u64, bytes: u64) -> Result<(Vec<Member>, Vec<u8>)> {
        let bounds = Bounds { files, bytes };
        let is_wanted = |member: &Member| member.name.ends_with(".pkg.tar");
        let mut carrier = Carrier::new(stream, is_wanted, bounds);
        let mut out = vec![];
        carrier.read_to_end(&mut out)?;
        Ok((carrier.carried, out))
    }

    #[test]
    fn only_wanted_regular_files_are_carried_and_under_our_names() {
        let long = format!("{}.pkg.tar", "n".repeat(150));
        let stream = [
            entry("5", "./", b""),
            entry("0", "./a.pkg.tar", b"first"),
            entry("2", "link.pkg.tar", b""),
            entry("1", "hard.pkg.tar", b""),
            entry("0", "notes", &[7; 1000]),
            entry("x", "pax", format!("168 path={long}\n").as_bytes()),
            entry("0", "short", &[9; 512]),
            entry("0", "other", b"x"),
            vec![0; 1024],
        ]
        .concat();
        let (carried, out) = carry(&stream, 4, 1518).unwrap();
        let names: Vec<_> = carried.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["./a.pkg.tar", long.as_str()]);
        let mut members = Members::new(out.as_slice());
        for (name, bytes) in [("0", b"first".to_vec()), ("1", vec![9; 512])] {
            assert_eq!(members.next_file().unwrap().unwrap().name, name);
            let mut read = vec![];
            members.read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
        assert_eq!(members.next_file().unwrap(), None);
        assert!(carry(&stream, 3, 1518).is_err() && carry(&stream, 4, 1517).is_err());
        // What bsdtar makes of it is seen in the tests on real parts.
        assert_eq!(out.len() % 512, 0);
    }

    #[test]
    fn a_files_name_that_looks_like_records_is_a_name() {
        let name = "a\n12 size=0\n20 path=x.pkg.tar\r";
        let record = format!("39 path={name}\n");
        assert_eq!(record.len(), 39);
        let stream = [
            entry("x", "pax", record.as_bytes()),
            entry("0", "short", &[9; 512]),
            vec![0; 1024],
        ]
        .concat();
        let mut members = Members::new(stream.as_slice());
        let (name, size) = (name.to_owned(), 512);
        assert_eq!(members.next_file().unwrap(), Some(Member { name, size }));
        assert_eq!(members.next_file().unwrap(), None);
        for broken in ["0 path=x\n", "99 path=x\n", " path=x\n", "1 ", "x"] {
            assert_eq!(value(broken.as_bytes(), "path"), None, "{broken}");
        }
    }

    #[test]
    fn files_of_ours_keep_names_of_any_length_and_alphabet() {
        let names = [
            "a".to_owned(),
            "größe-1-1-any.pkg.tar.zst".to_owned(),
            "ö".repeat(60),
            "n".repeat(150),
        ];
        let own = |name: &String| -> Own { (name.clone(), 5, Box::new(&b"bytes"[..])) };
        let mut stream = vec![];
        let mut tar = of_files(names.iter().map(own).collect());
        tar.read_to_end(&mut stream).unwrap();
        let mut members = Members::new(stream.as_slice());
        for name in names {
            assert_eq!(members.next_file().unwrap(), Some(Member { name, size: 5 }));
        }
        assert_eq!(members.next_file().unwrap(), None);
        assert_eq!(stream.len() % 512, 0);
    }

    #[test]
    fn a_stream_that_ends_early_or_is_none_is_an_error() {
        let stream = [entry("0", "a.pkg.tar", &[1; 2000]), vec![0; 1024]].concat();
        for end in [0, 100, 512, 600, 2512, 2560] {
            assert!(carry(&stream[..end], 9, 9999).is_err(), "cut at {end}");
        }
        assert!(carry(&[b'x'; 2048], 9, 9999).is_err());
    }
}
