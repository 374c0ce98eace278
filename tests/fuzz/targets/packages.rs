//! What a PKGBUILD's reader prints, and the `.PKGINFO` of an archive.

use vieter::archive::Archive;
use vieter::error::Result;
use vieter::inbox::Listed;
use vieter::pkgbuild::{Pkgbuild, parse};
use vieter::words::Arch;

use super::assert_one_line;
use super::source::Source;

/// What a PKGBUILD says, before it is printed.
struct Model {
    pkgbase: String,
    names: Vec<String>,
    version: [String; 3],
    flags: [&'static str; 2],
    keys: Vec<String>,
    sources: Vec<String>,
    dependencies: Vec<String>,
}

fn name(source: &mut Source) -> String {
    let first = source.pick(&["a", "lib", "0", "@", "_", "+"]).to_owned();
    first + &source.text(&["a", "Z", "0", ".", "-", "+", "_", "@", "debug"], 5)
}

fn model(source: &mut Source) -> Model {
    let mut names = source.many(3, name);
    names.push(name(source));
    Model {
        pkgbase: name(source),
        names,
        version: [
            source.pick(&["", "0", "1", "20"]).to_owned(),
            source.word(&["1", "0", ".", "r5", "+", "_", "~git"], 4),
            source.pick(&["1", "2.1", "10"]).to_owned(),
        ],
        flags: [source.pick(&["", "yes"]), source.pick(&["", "yes"])],
        keys: source.many(3, |it| {
            it.text(&["0123456789ABCDEF", "abc", "--recv-keys", "0x"], 3)
        }),
        sources: source.many(2, |it| {
            it.text(&["git+https://", "a", "::", "#tag=", "é"], 4)
        }),
        dependencies: source.many(5, |it| it.text(&["a", "b>=1", "é", "c: d", " "], 3)),
    }
}

impl Model {
    fn printed(&self) -> Vec<u8> {
        let (names, keys) = (self.names.len().to_string(), self.keys.len().to_string());
        let sources = self.sources.len().to_string();
        let mut fields = vec![self.flags[0], self.flags[1], &self.pkgbase];
        fields.extend(self.version.iter().map(String::as_str));
        fields.push(&names);
        fields.extend(self.names.iter().map(String::as_str));
        fields.push(&keys);
        fields.extend(self.keys.iter().map(String::as_str));
        fields.push(&sources);
        fields.extend(self.sources.iter().map(String::as_str));
        fields.extend(self.dependencies.iter().map(String::as_str));
        fields
            .iter()
            .flat_map(|it| [it.as_bytes(), b"\0"].concat())
            .collect()
    }

    /// Asserts that this is what was read.
    fn is(&self, read: &Pkgbuild) {
        assert_eq!(read.pkgbase.as_str(), self.pkgbase);
        assert_eq!(texts(&read.names), self.names);
        assert_eq!(
            [read.has_pkgver, read.may_replace],
            self.flags.map(|it| it == "yes")
        );
        let is_key =
            |key: &&String| !key.is_empty() && key.bytes().all(|it| it.is_ascii_hexdigit());
        assert_eq!(
            read.keys,
            self.keys.iter().filter(is_key).cloned().collect::<Vec<_>>()
        );
        assert_eq!(read.sources, self.sources);
        let mut dependencies = self.dependencies.clone();
        dependencies.retain(|it| !it.is_empty());
        dependencies.sort();
        dependencies.dedup();
        assert_eq!(read.dependencies, dependencies);
    }

    fn version(&self) -> String {
        let [epoch, pkgver, pkgrel] = &self.version;
        match epoch.as_str() {
            "" | "0" => format!("{pkgver}-{pkgrel}"),
            _ => format!("{epoch}:{pkgver}-{pkgrel}"),
        }
    }
}

fn texts(names: &[impl ToString]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub fn pkgbuild(data: &[u8]) {
    let source = &mut Source(data);
    let model = model(source);
    let read = parse(&model.printed()).unwrap();
    model.is(&read);
    assert_eq!(read.version().unwrap().to_string(), model.version());

    // Changed on its way, or printed by somebody else: what is taken reads the same when it is printed again.
    match parse(&source.mutated(model.printed())) {
        Ok(read) => {
            let flag = |is: bool| if is { "yes" } else { "" };
            let version = read.version().map_or("1-1".to_owned(), |it| it.to_string());
            let (epoch, rest) = version.split_once(':').unwrap_or(("", &version));
            let (pkgver, pkgrel) = rest.split_once('-').unwrap();
            let again = Model {
                pkgbase: read.pkgbase.to_string(),
                names: texts(&read.names),
                version: [epoch, pkgver, pkgrel].map(str::to_owned),
                flags: [flag(read.has_pkgver), flag(read.may_replace)],
                keys: read.keys.clone(),
                sources: read.sources.clone(),
                dependencies: read.dependencies.clone(),
            };
            again.is(&read);
            let read = parse(&again.printed()).unwrap();
            again.is(&read);
            assert_eq!(read.version().unwrap().to_string(), version);
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// A line that makepkg writes, other than those that stand for the package itself.
fn line(source: &mut Source) -> String {
    let word = |it: &mut Source| {
        // A name comes first.
        let rest = it.word(&["a", "lib.so", "=1-64", ">=2", "<3", ":", "%"], 3);
        format!("a{}", rest.replace('%', ""))
    };
    let text = |it: &mut Source| {
        format!(
            "x{}",
            it.text(&["a", " ", "=", "é", "pkgname = b", "#", "%", "$(id)"], 5)
        )
    };
    match source.below(6) {
        0 => format!("builddate = {}", source.below(100_000)),
        1 => format!("size = {}", source.below(100_000)),
        2 => format!("depend = {}", word(source)),
        3 => format!("optdepend = {}", text(source)),
        4 => format!("# {}", text(source)),
        _ => format!("pkgdesc = {}", text(source)),
    }
}

fn check(pkginfo: &str, pkgbuild: &Pkgbuild, arch: &Arch) -> Result<Archive> {
    let listed = Listed {
        names: ".PKGINFO".to_owned(),
        pkginfo: pkginfo.to_owned(),
        ..Listed::default()
    };
    Archive::check(&listed, pkgbuild, arch)
}

pub fn archive(data: &[u8]) {
    let source = &mut Source(data);
    let model = model(source);
    let pkgbuild = parse(&model.printed()).unwrap();
    let arch: Arch = "x86_64".parse().unwrap();
    let mut names = model.names.clone();
    names.push(format!("{}-debug", model.pkgbase));
    let name = names[source.below(names.len())].clone();
    let replaces = source.many(2, self::name);
    let mut lines = source.many(4, line);
    // Each of these is there once.
    for key in ["builddate", "size", "pkgdesc"] {
        let mut is_first = true;
        lines.retain(|it| !it.starts_with(key) || std::mem::take(&mut is_first));
    }
    lines.extend([
        format!("pkgname = {name}"),
        format!("pkgbase = {}", model.pkgbase),
        format!("pkgver = {}", model.version()),
        format!("arch = {}", source.pick(&["any", "x86_64"])),
    ]);
    lines.extend(
        replaces
            .iter()
            .map(|it| format!("replaces = {it}{}", source.pick(&["", "<2", ">=1:3-1"]))),
    );
    let pkginfo = lines.join("\n") + "\n";
    let checked = check(&pkginfo, &pkgbuild, &arch).unwrap();
    assert_eq!(
        (checked.name.as_str(), checked.version.to_string()),
        (&*name, model.version())
    );
    assert_eq!(texts(&checked.replaces), replaces);

    // A stranger's: his own lines, or white space that only some readers take for it, or other bytes. What is taken says the
    // same to whoever reads it: line ends of all kinds, white space of all kinds, the first or the last of a key.
    let way = source.below(3);
    for _ in 0..source.below(4) {
        let at = source.below(lines.len());
        match way {
            0 => {
                let key = source.pick(&[
                    "pkgname",
                    "pkgver",
                    "arch",
                    "pkgbase",
                    "replaces",
                    "license",
                    " pkgname ",
                    "\u{a0}pkgname",
                    "\u{b}arch",
                    "#pkgname",
                    "\u{85}pkgname",
                    "pkgname=victim #",
                    "pkgdesc",
                ]);
                let value = source.pick(&[
                    "victim",
                    "1-1",
                    "aarch64",
                    "%NAME%",
                    "../../x",
                    "",
                    "x\rpkgname = victim",
                    "a b",
                    "x\u{2028}pkgname = victim",
                ]);
                let equals = source.pick(&[" = ", "=", "", " =", "\t=\t"]);
                lines.insert(at, format!("{key}{equals}{value}"));
            }
            1 => {
                let space = source.pick(&["\u{a0}", "\u{3000}", "\u{2003}", "\u{b}", "\u{c}", " "]);
                lines[at] = match source.below(4) {
                    0 => format!("{space}{}", lines[at]),
                    1 => format!("{}{space}", lines[at]),
                    2 => lines[at].replacen(" =", &format!("{space}="), 1),
                    _ => lines[at].replacen("= ", &format!("={space}"), 1),
                };
            }
            _ => (),
        }
    }
    let ends = source.pick(&["\n", "\n", "\n", "\r\n", "\r"]);
    let mut forged = (lines.join(ends) + "\n").into_bytes();
    if way == 2 {
        forged = source.mutated(forged);
    }
    let forged = String::from_utf8_lossy(&forged).into_owned();
    match check(&forged, &pkgbuild, &arch) {
        Ok(archive) => {
            for trim in [str::trim, str::trim_ascii] {
                let values = |wanted: &str| -> Vec<String> {
                    let lines = forged.split(['\n', '\r', '\u{85}', '\u{b}']);
                    let pairs = lines.filter_map(|line| line.split_once('='));
                    let of_key = pairs.filter(|(key, _)| trim(key) == wanted);
                    of_key.map(|(_, value)| trim(value).to_owned()).collect()
                };
                assert_eq!(values("pkgname"), [archive.name.as_str()], "{forged:?}");
                assert_eq!(
                    values("pkgver"),
                    [archive.version.to_string()],
                    "{forged:?}"
                );
                assert!(
                    ["any", "x86_64"].contains(&&*values("arch").concat()),
                    "{forged:?}"
                );
                assert!(values("pkgbase").iter().all(|it| *it == model.pkgbase));
                assert_eq!(values("replaces").len(), archive.replaces.len());
            }
            assert!(names.contains(&archive.name.to_string()));
            assert_eq!(archive.version.to_string(), model.version());
            assert!(!forged.chars().any(|c| c.is_control() && c != '\n'));
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}
