//! Archives as strangers may write them, that two readers of tars take for different things: each is read well enough by the bsdtar that
//! archives are listed with, and none passes src/scripts/walk.pl, which looks at the headers themselves. Those that makepkg writes pass.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::util::sh_in;

const WALK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scripts/walk.pl");
const INFO: &[u8] = b"pkgname = honest\n";
/// What an archive ends with.
const END: [u8; 1024] = [0; 1024];

/// Where the fields of a header are.
const MODE: usize = 100;
const SIZE: usize = 124;
const TIME: usize = 136;
const CHECKSUM: usize = 148;
const KIND: usize = 156;
const LINK: usize = 157;
const MAGIC: usize = 257;
const FOLDERS: usize = 345;
const REST: usize = 500;

/// A header of these fields, and of makepkg's where nothing is said.
fn header(name: &[u8], kind: u8, size: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(MODE, b"000644 \x00000000 \x00000000 \x00");
    put(SIZE, format!("{size:011o} ").as_bytes());
    put(TIME, b"15000000000 ");
    put(CHECKSUM, b"        ");
    put(KIND, &[kind]);
    put(MAGIC, b"ustar\x0000");
    put(329, b"000000 \x00000000 \x00");
    for (at, bytes) in fields {
        put(*at, bytes);
    }
    if !fields.iter().any(|(at, _)| *at == CHECKSUM) {
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[CHECKSUM..CHECKSUM + 8].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    header
}

/// Such a header and what stands behind it.
fn member(name: &[u8], kind: u8, bytes: &[u8], fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut member = header(name, kind, bytes.len(), fields);
    member.extend(bytes);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    member(name.as_bytes(), b'0', bytes, &[])
}

fn info() -> Vec<u8> {
    file(".PKGINFO", INFO)
}

/// An extended header of these records.
fn extended(records: &[&[u8]]) -> Vec<u8> {
    // A record begins with its own length.
    let whole = |record: &[u8], length: usize| {
        let whole = [format!("{length} ").as_bytes(), record, b"\n"].concat();
        (whole.len() == length).then_some(whole)
    };
    let records = records
        .iter()
        .map(|record| (0..).find_map(|length| whole(record, length)).unwrap());
    let records: Vec<u8> = records.flatten().collect();
    member(b"PaxHeader/x", b'x', &records, &[])
}

/// An archive of a .BUILDINFO, as makepkg's begin, and of these.
fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let first = file(".BUILDINFO", b"format = 2\n");
    [&first[..], &members.concat(), &END].concat()
}

/// Runs a command on an archive.
fn run_on(archive: &[u8], command: &[&str]) -> Output {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who has refused it doesn't read on.
    let _ = child.stdin.take().unwrap().write_all(archive);
    child.wait_with_output().unwrap()
}

/// Whether an archive passes, and what was said if not.
fn walk(archive: &[u8]) -> Result<(), String> {
    let walk = run_on(archive, &["perl", WALK]);
    assert!(walk.stdout.is_empty());
    match walk.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8(walk.stderr).unwrap()),
    }
}

#[test]
fn what_two_readers_may_take_for_different_things_is_refused() {
    let long = "l".repeat(300);
    let big = vec![b'x'; 70 << 10];
    let far = vec![0; (64 << 20) + 512];
    let other = |fields: &[(usize, &[u8])]| member(b".other", b'0', b"", fields);
    let not_ours = "it isn't a tar of makepkg's";
    let behind = |header: Vec<u8>| archive(&[header, file(".other", b""), info()]);
    let with_key = |record: &[u8]| behind(extended(&[record]));
    let with_records = |records: &[u8]| behind(member(b"PaxHeader/x", b'x', records, &[]));
    let attacks: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "GNU's long name, behind an extended header too",
            "a header of the type L",
            archive(&[
                extended(&[b"path=.one"]),
                member(b"././@LongLink", b'L', long.as_bytes(), &[]),
                file(".two", b""),
                info(),
            ]),
        ),
        (
            "GNU's long link",
            "a header of the type K",
            archive(&[
                member(b"././@LongLink", b'K', long.as_bytes(), &[]),
                member(b".link", b'2', b"", &[(LINK, b"to")]),
                info(),
            ]),
        ),
        (
            "a header for all that follow",
            "a header of the type g",
            archive(&[member(b"g", b'g', b"15 path=.other\n", &[]), info()]),
        ),
        (
            "a sparse file of GNU's",
            "a header of the type S",
            archive(&[member(b".sparse", b'S', b"x", &[]), info()]),
        ),
        (
            "a sparse file by its extended header",
            "has the key GNU.sparse.realsize",
            with_key(b"GNU.sparse.realsize=0"),
        ),
        (
            "another size in an extended header",
            "has the key size",
            with_key(b"size=0"),
        ),
        (
            "a key twice",
            "or has it twice",
            behind(extended(&[b"path=.one", b"path=.two"])),
        ),
        (
            "a key with a NUL",
            "an extended header of it can't be read",
            with_key(b"com\0ment=x"),
        ),
        (
            "a record that is longer than it says",
            "an extended header of it can't be read",
            with_records(b"9 path=.other\n"),
        ),
        (
            "a record that is shorter than it says",
            "an extended header of it can't be read",
            with_records(b"99 path=.other\n"),
        ),
        (
            "a record without an end",
            "an extended header of it can't be read",
            with_records(b"14 path=.other"),
        ),
        (
            "an extended header behind another",
            "or one follows another",
            archive(&[
                extended(&[b"mtime=1"]),
                extended(&[b"path=.two"]),
                file(".other", b""),
                info(),
            ]),
        ),
        (
            "a large extended header",
            "an extended header of it is too large",
            with_key(&[b"SCHILY.xattr.user.x=", &big[..]].concat()),
        ),
        (
            "an extended header that names a .PKGINFO",
            "names a .PKGINFO, or nothing",
            with_key(b"path=./.PKGINFO/x"),
        ),
        (
            "an extended header that names a .PKGINFO at the root",
            "names a .PKGINFO, or nothing",
            archive(&[info(), extended(&[b"path=/.PKGINFO"]), file(".other", b"")]),
        ),
        (
            "an extended header of the .PKGINFO that names nothing",
            "names a .PKGINFO, or nothing",
            archive(&[extended(&[b"path="]), info()]),
        ),
        (
            "a .PKGINFO that has another name, too",
            "has two names",
            archive(&[extended(&[b"path=.other"]), info(), info()]),
        ),
        (
            "a link called .PKGINFO",
            "its .PKGINFO is no file",
            archive(&[info(), member(b".PKGINFO", b'2', b"", &[(LINK, b"other")])]),
        ),
        (
            "a name with a line end",
            "a name in it has a line end",
            archive(&[file(".a\nb", b""), info()]),
        ),
        (
            "a link's name with a line end",
            "a name in it has a line end",
            archive(&[member(b".link", b'2', b"", &[(LINK, b"a\nb")]), info()]),
        ),
        (
            "a file that is called as a folder",
            "called as a folder is",
            archive(&[file("folder/", &info()), info()]),
        ),
        (
            "a file that an extended header calls as a folder",
            "called as a folder is",
            archive(&[
                extended(&[b"path=folder/"]),
                file(".other", &info()),
                info(),
            ]),
        ),
        (
            "a link with bytes",
            "what is no file of it has bytes",
            archive(&[info(), member(b".link", b'1', b"x", &[(LINK, b".PKGINFO")])]),
        ),
        (
            "a .PKGINFO far behind the beginning",
            "its .PKGINFO is too far behind",
            archive(&[file(".other", &far), info()]),
        ),
        (
            "a size in another base",
            not_ours,
            archive(&[other(&[(SIZE, b"\x80\0\0\0\0\0\0\0\0\0\0\0")]), info()]),
        ),
        (
            "a time that is no number",
            not_ours,
            archive(&[other(&[(TIME, b"x")]), info()]),
        ),
        (
            "another format behind the folders' names",
            not_ours,
            archive(&[other(&[(REST, b"tar\0")]), info()]),
        ),
        (
            "GNU's format",
            not_ours,
            archive(&[other(&[(MAGIC, b"ustar  \0")]), info()]),
        ),
        (
            "a format before ustar",
            not_ours,
            archive(&[other(&[(MAGIC, b"\0\0\0\0\0\0\0\0")]), info()]),
        ),
        (
            "folders whose end isn't there",
            "a name in it has a line end",
            archive(&[other(&[(FOLDERS, b"a\nb")]), info()]),
        ),
        (
            "a first name that is a text's beginning",
            not_ours,
            [&file("#mtree", b"x")[..], &info(), &END].concat(),
        ),
        (
            "another archive behind the end",
            "there is more behind its end",
            [&archive(&[info()])[..], &archive(&[info()])].concat(),
        ),
        (
            "an extended header before the end",
            "it ended early",
            archive(&[info(), extended(&[b"path=.other"])]),
        ),
        (
            "no end",
            "it ended early",
            [file(".BUILDINFO", b""), info()].concat(),
        ),
    ];
    for (what, why, bytes) in attacks {
        let read = run_on(&bytes, &["bsdtar", "-nxOqf", "-", ".PKGINFO"]);
        assert_eq!(read.stdout, INFO, "{what}: {read:?}");
        let said = walk(&bytes).expect_err(what);
        assert!(said.contains(why), "{what}: {said}");
    }
    // These bsdtar refuses as well.
    for (what, bytes) in [
        ("nothing", vec![]),
        ("a checksum of others", {
            archive(&[member(b".other", b'0', b"", &[(CHECKSUM, b"000000\0 ")])])
        }),
        ("half a header", file(".BUILDINFO", b"")[..300].to_vec()),
    ] {
        walk(&bytes).expect_err(what);
    }
}

#[test]
fn what_makepkg_writes_passes() {
    assert_eq!(walk(&archive(&[info()])), Ok(()));
    let dir = TempDir::new().unwrap();
    let tree = r#"
mkdir -p it/usr/share it/empty; cd it
echo 'pkgname = honest' > .PKGINFO; echo 'format = 2' > .BUILDINFO; echo '#mtree' | gzip > .MTREE
long=$(printf 'l%.0s' {1..90}); mkdir -p usr/$long/$long/$long
echo deep > usr/$long/$long/$long/$long$long; ln -s $long/$long/$long/$long$long usr/to; ln usr/$long/$long/$long/$long$long usr/same
echo > $'usr/gr\xc3\xbc\xc3\x9fe'; echo > $'usr/no\xfftext'; ln -s $'no\xfftext' usr/link
mkfifo usr/fifo; : > usr/none; head -c 100000 /dev/urandom > usr/large; chmod 4755 usr/large
touch -d '1901-01-01 00:00:00.5' usr/none; touch -d '2446-01-01' usr/share
setfattr -n user.x -v $'a\nb' usr/large 2>/dev/null || true
"#;
    sh_in(dir.path(), tree);
    // As makepkg calls it, and with numbers of users that ustar has no room for.
    for users in ["", "--uid 0 --gid 0", "--uid 2097152 --uname ''"] {
        let write = format!(
            "cd it; LANG=C bsdtar --no-fflags -cnf ../it.tar {users} .BUILDINFO .MTREE .PKGINFO usr empty"
        );
        sh_in(dir.path(), &write);
        let bytes = std::fs::read(dir.path().join("it.tar")).unwrap();
        assert_eq!(walk(&bytes), Ok(()), "{users}");
    }
}
