//! `kill -9` in the middle of a publish to a folder: pacman finds a whole repository at each moment, and the next run goes on.
//!
//! `VIETER_TEST_KILLS` says how often the run is killed (4), `VIETER_TEST_SEED` when. Unless that is 50 times, it is halted at each
//! other moment at which anything in the folder has changed, too, and what a kill would have left there is looked at as well.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use vieter::http::Deadline;

use crate::folder::{Folder, seen_by_pacman};
use crate::random::Random;
use crate::util::{BOUND, Lines, run, sh_in};

/// Signs a file, in a way: what its signature is of can be seen.
const SIGN: &str = r#"sh -c 'sha256sum < "$0" > "$0.sig"'"#;

/// Bash: fails unless all that the database names is there, as it says, and signed, and no signature is of anything else.
const WHOLE: &str = r#"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
signed() { [[ $(< "$1.sig") == "$(sha256sum < "$1")" ]] || { echo "$1.sig is of something else" >&2; exit 1; }; }
bsdtar -C "$work" -xf vieter.db
for desc in "$work"/*/desc; do
    field() { sed -n "/^%$1%\$/{n;p}" "$desc"; }
    file=$(field FILENAME)
    [[ $(stat -c %s "$file") == "$(field CSIZE)" ]] || { echo "$file is of another size" >&2; exit 1; }
    echo "$(field SHA256SUM)  $file" | sha256sum --check --quiet
    signed "$file"
done
for file in vieter.db vieter.files; do
    [[ ! -e $file.sig ]] || signed "$file"
done
"#;

/// A package of three archives.
fn pkgbuild(release: u64) -> String {
    let mut text =
        format!("pkgbase=three\npkgname=(a b c)\npkgver=1\npkgrel={release}\narch=(any)\n");
    for name in ["a", "b", "c"] {
        text += &format!(
            "package_{name}() {{ install -d \"$pkgdir/usr/{name}\"; head -c 300000 /dev/urandom > \"$pkgdir/usr/{name}/it\"; }}\n"
        );
    }
    text
}

/// Which of its releases is published, in a folder that is whole.
fn published(dir: &Path) -> u64 {
    sh_in(&dir.join("vieter/x86_64"), WHOLE);
    let seen = seen_by_pacman(dir, "vieter");
    let mut lines = seen.lines();
    let mut release = |name: &str| lines.next()?.strip_prefix(name)?.parse().ok();
    let [a, b, c] = ["a 1-", "b 1-", "c 1-"].map(|it| release(it).expect(&seen));
    assert!(a == b && b == c, "{seen}");
    a
}

/// What is seen of a repository's folder from outside.
fn seen(dir: &Path) -> BTreeSet<(PathBuf, u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let dirs = [dir.to_owned(), dir.join(".vieter")];
    let found = dirs.iter().filter_map(|it| fs::read_dir(it).ok()).flatten();
    let files = found.filter_map(|it| {
        let path = it.ok()?.path();
        let data = path.symlink_metadata().ok()?;
        // What a folder has is seen in it.
        let size = if data.is_dir() { 0 } else { data.len() };
        Some((path, data.ino(), size))
    });
    files.collect()
}

/// A run that is watched while it publishes.
struct Watched<'h> {
    home: &'h Folder,
    child: Child,
    /// What a kill would have left at its moments so far.
    copies: Option<PathBuf>,
    moments: u64,
}

impl Watched<'_> {
    /// Lets it publish until its `last` moment, which it doesn't survive; gives whether it came to that, how many moments it had,
    /// and what it has printed.
    fn run(mut self, last: u64) -> (bool, u64, Vec<String>) {
        let mut log = Lines::of(self.child.stderr.take().unwrap());
        let printed = Lines::of(self.child.stdout.take().unwrap());
        log.by_ref().find(|line| {
            eprintln!("{line}");
            line.contains(" building ")
        });
        let (pid, dir) = (Pid::from_child(&self.child), self.home.repo("vieter"));
        let mut before = seen(&dir);
        let mut was_killed = false;
        let bound = Deadline::after(BOUND);
        while !was_killed && self.child.try_wait().unwrap().is_none() {
            if bound.has_passed() {
                self.child.kill().unwrap();
                panic!("a run hangs");
            }
            if seen(&dir) == before {
                // Not longer, or it would miss moments; not shorter, or it would take a core.
                thread::sleep(Duration::from_micros(200));
                continue;
            }
            self.moments += 1;
            was_killed = self.moments == last;
            if was_killed {
                kill_process(pid, Signal::KILL).unwrap();
            } else if let Some(copies) = &self.copies {
                kill_process(pid, Signal::STOP).unwrap();
                waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
                let to = copies.join(format!("{}/vieter", self.moments));
                fs::create_dir_all(&to).unwrap();
                sh_in(&to, &format!("cp -a '{}' .", dir.display()));
                before = seen(&dir);
                kill_process(pid, Signal::CONT).unwrap();
            } else {
                before = seen(&dir);
            }
        }
        let status = self.child.wait().unwrap();
        log.for_each(|line| eprintln!("{line}"));
        assert!(was_killed || status.success(), "{status}");
        (was_killed, self.moments, printed.collect())
    }
}

#[test]
fn whenever_a_publish_is_killed_pacman_finds_a_whole_repository() {
    let set = |name: &str| Some(std::env::var(name).ok()?.parse::<u64>().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = set("VIETER_TEST_SEED").unwrap_or(now.as_nanos() as u64);
    let kills = set("VIETER_TEST_KILLS").unwrap_or(4);
    eprintln!("VIETER_TEST_SEED={seed}");
    let mut random = Random(seed);
    let home = Folder::new();
    let copies = home.world.dir.path().join("copies");
    let three = home.git("three", &pkgbuild(1));
    let vieter_into = |dir: &Path| {
        let mut vieter = home.vieter_into(dir);
        vieter.args(["--sign-command", SIGN, &three]);
        vieter
    };
    let vieter = || vieter_into(&home.dir());
    let watched = || {
        let mut vieter = vieter();
        let piped = vieter.stdout(Stdio::piped()).stderr(Stdio::piped());
        Watched {
            home: &home,
            child: piped.spawn().unwrap(),
            copies: (kills < 50).then(|| copies.clone()),
            moments: 0,
        }
    };
    run(&mut vieter())
        .exits(0)
        .reports("built       three 1-1  ");

    let (mut release, mut announced, mut killed, mut halted) = (1, 1, 0, 0);
    // How many moments a publish has: the first comes to its end.
    let mut usual = None;
    while killed < kills {
        // One that was killed before anything was published is done again, or is out of date by now.
        if published(&home.dir()) == release || random.below(2) == 0 {
            release += 1;
            home.git("three", &pkgbuild(release));
        }
        let last = usual.map_or(u64::MAX, |it: u64| 1 + random.below(it + 1));
        let (was_killed, moments, printed) = watched().run(last);
        usual = usual.max(Some(moments));
        eprintln!(
            "--- release {release}: killed at moment {last} of about {usual:?}: {was_killed}\n{printed:?}"
        );
        killed += u64::from(was_killed);
        let mut last_published = announced;
        // Where archives are in their places that the database doesn't name yet.
        let mut half_done = None;
        for copy in (1..=moments).map(|it| copies.join(it.to_string())) {
            if !copy.exists() {
                break;
            }
            let published = published(&copy);
            assert!(published >= last_published, "{published} in {copy:?}");
            last_published = published;
            halted += 1;
            let new = copy.join(format!("vieter/x86_64/a-1-{release}-any.pkg.tar.zst"));
            if killed == 0 && published < release && new.exists() {
                half_done = Some(copy);
            }
        }
        if let Some(half) = half_done {
            eprintln!("--- going on in {half:?}");
            run(&mut vieter_into(&half)).exits(0);
            assert_eq!(published(&half), release);
        }
        let _ = fs::remove_dir_all(&copies);
        let is_announced =
            |line: &String| line.starts_with(&format!("built       three 1-{release}  "));
        if printed.iter().any(is_announced) {
            announced = release;
        }
        let published = published(&home.dir());
        assert!(published >= announced.max(last_published), "{published}");
        assert!(published == release || !printed.iter().any(|it| it.starts_with("up to date")));
    }
    eprintln!("killed {killed} times, halted {halted} times");
    assert!(killed + halted >= 50);
    // Whatever the last one has left goes with the next release.
    release += 1;
    home.git("three", &pkgbuild(release));
    run(&mut vieter()).exits(0);
    assert_eq!(published(&home.dir()), release);
    let archive = |name: &str| {
        let archive = format!("{name}-1-{release}-any.pkg.tar.zst");
        [archive.clone(), archive + ".sig"]
    };
    let mut expected = ["a", "b", "c"].map(archive).concat();
    expected.extend(["vieter.db.sig".to_owned(), "vieter.files.sig".to_owned()]);
    assert_eq!(home.names("vieter"), expected);
}
