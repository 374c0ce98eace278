//! What makepkg made: the list of package archives, and their bytes. Not here: where they go (`sink`).

use std::io::{self, Read};
use std::num::NonZeroU64;

use crate::docker::{Container, Exec};
use crate::error::{Error, Kind, Result};
use crate::sandbox::{ARCHIVES, User, command};
use crate::text::one_line;
use crate::words::{Arch, PackageName, Version};

/// A package archive in PKGDEST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// What the file is called, which says nothing about the package.
    file: String,
    /// In bytes.
    pub size: NonZeroU64,
    /// `pkgname` of its `.PKGINFO`.
    pub name: PackageName,
    /// `pkgver` of its `.PKGINFO`, which is the full version.
    pub version: Version,
    /// `arch` of its `.PKGINFO`.
    pub arch: Arch,
}

/// The archives that makepkg left in a build's container.
///
/// # Errors
/// That there are none, and archives that can't be read.
pub fn list(container: &Container) -> Result<Vec<Archive>> {
    let archives = parse_list(&container.read(&ARCHIVES.with([]))?)?;
    if archives.is_empty() {
        return Err(Error::unusable(ARCHIVES.doing, "makepkg made none"));
    }
    Ok(archives)
}

/// Takes what `scripts/archives.sh` prints.
fn parse_list(printed: &[u8]) -> Result<Vec<Archive>> {
    let text = String::from_utf8_lossy(printed);
    let mut fields = text.split_terminator('\0');
    let mut archives = vec![];
    while let Some(file) = fields.next() {
        let mut field = || fields.next().unwrap_or("");
        let archive = Archive::parse(file, field(), field());
        archives.push(archive.map_err(|error| error.during(one_line(file, 300)))?);
    }
    Ok(archives)
}

impl Archive {
    fn parse(file: &str, size: &str, pkginfo: &str) -> Result<Archive> {
        let pairs = || pkginfo.lines().filter_map(|line| line.split_once(" = "));
        let value = |key| pairs().find(|pair| pair.0 == key).map_or("", |pair| pair.1);
        let no_size = |_| Error::new(Kind::Unusable, "it has no size");
        Ok(Archive {
            file: file.to_owned(),
            size: size.parse::<NonZeroU64>().map_err(no_size)?,
            name: value("pkgname").parse()?,
            version: value("pkgver").parse()?,
            arch: value("arch").parse()?,
        })
    }

    /// Starts to read it, from its beginning; as often as it has to be.
    ///
    /// # Errors
    /// Those of the exec.
    pub fn open<'c>(&self, container: &'c Container<'c>) -> Result<ArchiveReader<'c>> {
        let path = format!("/build/packages/{}", self.file);
        let read = command(
            User::Builder,
            "reading an archive",
            vec!["cat", "--", &path],
        );
        let (exec, left) = (container.exec(&read)?, self.size.get());
        Ok(ArchiveReader { exec, left })
    }
}

/// Gives exactly the bytes that were announced. If the file has become longer or shorter, that is an error, not an end:
/// the last bytes are given out only when the file's end was seen behind them, so that no request with this body is ever
/// complete and wrong.
pub struct ArchiveReader<'c> {
    exec: Exec<'c>,
    left: u64,
}

impl ArchiveReader<'_> {
    /// How many bytes are to be read still.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Read for ArchiveReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = read_announced(&mut self.exec, &mut self.left, buffer)?;
        if read > 0 && self.left == 0 {
            self.exec
                .end()
                .map_err(|error| io::Error::other(error.to_string()))?;
        }
        Ok(read)
    }
}

/// Fills the buffer with what is left of the announced bytes: an engine's frames are small, and each piece would be a
/// packet of its own for the server. The last of them have to be the reader's last.
fn read_announced(reader: &mut dyn Read, left: &mut u64, buffer: &mut [u8]) -> io::Result<usize> {
    let wanted = buffer
        .len()
        .min(usize::try_from(*left).unwrap_or(usize::MAX));
    let read = reader.read_exact(buffer.get_mut(..wanted).unwrap_or_default());
    *left = left.saturating_sub(wanted as u64);
    let is_whole = read.is_ok() && (wanted == 0 || *left > 0 || reader.read(&mut [0])? == 0);
    match read {
        Ok(()) if is_whole => Ok(wanted),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => {
            let why = "the file changed its size, or its container ended, while it was read";
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_announced_bytes_are_read_or_none_of_the_last() {
        let read = |text: &str, size: u64| {
            let (mut reader, mut left, mut whole) = (text.as_bytes(), size, vec![]);
            loop {
                let mut buffer = [0; 3];
                match read_announced(&mut reader, &mut left, &mut buffer)? {
                    0 => return Ok::<Vec<u8>, io::Error>(whole),
                    n => whole.extend(&buffer[..n]),
                }
            }
        };
        assert_eq!(read("hello", 5).unwrap(), b"hello");
        assert_eq!(read("hello!", 6).unwrap(), b"hello!");
        for (text, size) in [("hello", 4), ("hello", 6), ("hello", 3), ("", 1)] {
            assert!(read(text, size).is_err(), "{size} of {text:?}");
        }
    }

    #[test]
    fn an_archive_is_what_its_pkginfo_says() {
        let info =
            "# Generated by makepkg\npkgname = foo\npkgbase = bar\npkgver = 1:2.0-1\narch = any\n";
        let archives = parse_list(format!("odd-9.pkg.tar\x0012\0{info}\0").as_bytes()).unwrap();
        let [archive] = archives.as_slice() else {
            panic!("{archives:?}");
        };
        assert_eq!((archive.name.as_str(), archive.size.get()), ("foo", 12));
        assert_eq!(archive.version.to_string(), "1:2.0-1");
        assert_eq!(archive.arch.as_str(), "any");
        for printed in [
            "a.pkg.tar\x0012\0\0",
            "a.pkg.tar\0",
            "a.pkg.tar\0many\0pkgname = a\npkgver = 1-1\narch = any\0",
            "a.pkg.tar\x001\0pkgname = a/b\npkgver = 1-1\narch = any\0",
            "a.pkg.tar\x001\0pkgname = a\npkgver = 1\narch = any\0",
        ] {
            assert!(parse_list(printed.as_bytes()).is_err(), "{printed:?}");
        }
    }
}
