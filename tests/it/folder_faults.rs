//! Folders as they must not be, and what others have in them: nothing is lost, and nobody else's file is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::folder::{Folder, add_repo, in_arch, seen_by_pacman};
use crate::util::{Run, run, sh_in, trivial};
use crate::wild::pkgbuild;

/// Bash: makes a package archive by hand, `archive NAME VERSION`.
const ARCHIVE: &str = r#"
archive() {
  local dir=$(mktemp -d)
  printf 'pkgname = %s\npkgbase = %s\npkgver = %s\npkgdesc = by hand\narch = any\nsize = 2\n' "$1" "$1" "$2" > "$dir/.PKGINFO"
  mkdir -p "$dir/usr/share/$1"; echo "$1" > "$dir/usr/share/$1/$1"
  bsdtar -C "$dir" -cf - .PKGINFO usr | zstd -q > "$1-$2-any.pkg.tar.zst"
  rm -r "$dir"
}
"#;

/// Runs a command in a mount namespace of its own, between these two pieces of bash.
fn among_mounts(command: &Command, before: &str, after: &str) -> Run {
    let mut bash = Command::new("unshare");
    let set = |(name, value): (_, Option<_>)| Some((name, value?));
    bash.env_clear().envs(command.get_envs().filter_map(set));
    bash.args(["--mount", "bash", "-euc"])
        .arg(format!(
            "{before}\ncode=0; \"$@\" || code=$?\n{after}\nexit $code"
        ))
        .arg("bash")
        .arg(command.get_program())
        .args(command.get_args());
    run(&mut bash)
}

#[test]
fn what_others_have_in_a_repository_stays_as_it_is() {
    let home = Folder::new();
    // As repo-add makes it where somebody asks for compression, with a package of nobody's list, and another that was signed.
    let mine = home.repo("mine");
    sh_in(
        &mine,
        &format!(
            "{ARCHIVE}
            archive theirs 1-1; archive signed 1:2.0-1; printf signature > signed-1:2.0-1-any.pkg.tar.zst.sig
            repo-add -q mine.db.tar.gz *.zst; echo note > notes.txt; mkdir folder; echo > folder/file
            ln -s folder/file a-link; echo theirs > vieter.json.sig"
        ),
    );
    // What is called like a signature of ours, but is of what is never signed.
    fs::write(home.dir().join("index.html.sig"), "theirs").unwrap();
    // A file that is called as an archive of ours will be.
    let squatter = mine.join("taken-1-1-any.pkg.tar.zst");
    fs::write(&squatter, "somebody else's").unwrap();
    let desc = |kind: &str| {
        let script =
            format!("bsdtar -xOf mine.{kind} {{theirs-1-1,signed-1:2.0-1}}/desc | sort -u");
        sh_in(&mine, &script)
    };
    let (theirs, names, descs) = (
        home.files(),
        home.names("mine"),
        [desc("db"), desc("files")],
    );

    let ours = home.git("ours", &pkgbuild("ours", ""));
    let beside = home.git("beside", &pkgbuild("beside", "depends=(theirs)"));
    let taken = home.git("taken", &pkgbuild("taken", ""));
    // Its packages are its own, and nothing that somebody has put there by hand.
    let thief = home.git("thief", &pkgbuild("theirs", "pkgrel=2"));
    // Nor does it replace that, whatever its pkgbase is called.
    let heir = "pkgbase=signed\nreplaces=(signed)";
    let heir = home.git("heir", &pkgbuild("heir", heir));
    // The first one, so that pacman takes the database as it is.
    let lines = [&beside, &ours, &taken, &thief, &heir].map(|url| format!("{url} repo=mine"));
    let lines = lines.each_ref().map(String::as_str);
    home.build_list(&lines, &["--prune"])
        .exits(1)
        .reports("built       ours 1-1  ")
        .reports("built       beside 1-1  ")
        .reports("failed      taken 1-1  at publish  ")
        .reports("failed      theirs 1-2  at publish  ")
        .reports("failed      signed 1-1  at publish  ")
        .says("it replaces signed: that is published, and of signed")
        .reports("2 built, 0 up to date, 3 failed")
        .says("say --replace theirs, once")
        .says(&format!("{}: ", squatter.display()))
        .says("raise pkgrel");

    for (path, (_, bytes)) in &theirs {
        let is_live = path.ends_with("mine.db") || path.ends_with("mine.files");
        assert!(is_live || fs::read(path).unwrap() == *bytes, "{path:?}");
    }
    let new = ["ours-1-1-any.pkg.tar.zst", "beside-1-1-any.pkg.tar.zst"];
    let mut names: Vec<_> = names.iter().map(String::as_str).chain(new).collect();
    names.sort_unstable();
    assert_eq!(home.names("mine"), names);
    assert_eq!([desc("db"), desc("files")], descs);
    let seen = "beside 1-1\nours 1-1\nsigned 1:2.0-1\ntheirs 1-1";
    assert_eq!(seen_by_pacman(&home.dir(), "mine"), seen);
    let script = add_repo("file:///repo", "mine", "Never")
        + "pacman -Sy --noconfirm beside ours >&2; cat /usr/share/{theirs/theirs,ours/ours}; pacman -Fy >&2; pacman -Fq theirs";
    let seen = "theirs\nours\nmine/theirs";
    assert_eq!(in_arch(&home.dir(), &script), seen);

    // Ours go when they are old, or not ours any more, and theirs stay still.
    home.git("ours", &pkgbuild("ours", "pkgver=2"));
    home.build_list(&lines[1..2], &["--prune"])
        .exits(0)
        .reports("built       ours 2-1  ")
        .reports("removed     mine/beside 1-1")
        .reports("1 built, 0 up to date, 0 failed, 1 removed");
    let seen = "ours 2-1\nsigned 1:2.0-1\ntheirs 1-1";
    assert_eq!(seen_by_pacman(&home.dir(), "mine"), seen);
    assert!(fs::read(&squatter).unwrap() == b"somebody else's");
    assert_eq!([desc("db"), desc("files")], descs);
}

#[test]
fn a_database_that_is_none_is_told_and_nothing_is_lost() {
    let home = Folder::new();
    let keeper = home.git("keeper", &pkgbuild("keeper", ""));
    home.build(&[&keeper]).exits(0);
    let copy = |repo: &str, change: &str| {
        let (from, to) = (home.repo("vieter"), home.repo(repo));
        let from = from.display();
        let script = format!(
            "cp -a '{from}/.' .; for kind in db files; do mv vieter.$kind {repo}.$kind; done; {change}"
        );
        sh_in(&to, &script);
    };
    // Each is a repository, how it is broken, and a piece of what is said of it.
    let broken = [
        ("lost", "rm lost.db", "missing or empty"),
        ("empty", "> empty.db", "empty.db: "),
        ("text", "echo this is no database > text.db", "text.db: "),
        ("short", "truncate -s 700 short.db", "short.db: "),
        (
            "cut",
            "zstd -q < cut.db | head -c 90 > it; mv it cut.db",
            "cut.db: unpacking the database: ",
        ),
        ("half", "truncate -s 700 half.files", "half.files: "),
        ("memory", "echo '{' > vieter.json", "vieter.json: "),
    ];
    let mut lines = vec![keeper.clone()];
    for (repo, change, ..) in broken {
        copy(repo, change);
        lines.push(format!("{keeper} repo={repo}"));
    }
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let before = home.files();
    // What is there is never replaced by other bytes, forced or not.
    let run = home
        .build_list(&lines, &["--force"])
        .exits(3)
        .says("raise pkgrel")
        .reports("failed      keeper 1-1  at check  ")
        .reports("0 built, 0 up to date, 8 failed");
    let log: Vec<_> = run.stderr.lines().collect();
    for (repo, _, piece) in broken {
        let dir = format!("/into/{repo}/x86_64/");
        let is_told = |line: &&&str| {
            line.contains(": failed at ") && line.contains(&dir) && line.contains(piece)
        };
        assert_eq!(log.iter().filter(is_told).count(), 1, "{repo}");
    }
    assert!(home.files() == before);
}

#[test]
fn an_entry_has_a_thousand_packages_in_a_repository_at_most() {
    let home = Folder::new();
    let many = home.git("many", &pkgbuild("many", ""));
    let other = home.git("other", &pkgbuild("other", ""));
    home.build_list(&[&many, &other], &[]).exits(0);
    // As a thousand nights leave it on which its package is called something else.
    let file = home.repo("vieter").join("vieter.json");
    let mut records: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let mut old = records["packages"]["many"].clone();
    (old["version"], old["files"]) = (Value::Null, json!([]));
    for n in 0..1000 {
        records["packages"][format!("many-{n}")] = old.clone();
    }
    fs::write(&file, records.to_string()).unwrap();
    home.git("many", &pkgbuild("many", "pkgver=2"));
    home.build_list(&[&many, &other], &["--prune"])
        .exits(1)
        .reports("failed      many 2-1  at publish  ")
        .says("with these it would have over 1000 packages")
        .says("a run with --prune while it isn't on the list removes all of them")
        .reports("0 built, 1 up to date, 1 failed, 1000 gone");
    home.build_list(&[&other], &["--prune"])
        .exits(0)
        .reports("0 built, 1 up to date, 0 failed, 1001 removed");
    home.build_list(&[&many, &other], &[])
        .exits(0)
        .reports("built       many 2-1  ");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_at_the_start() {
    let home = Folder::new();
    let any = home.git("any", &trivial("any"));
    let file = home.world.dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    for dir in [
        file.clone(),
        file.join("below"),
        PathBuf::from("/proc/vieter"),
    ] {
        let mut vieter = home.world.vieter();
        vieter.env_remove("VIETER_ADDRESS");
        run(vieter.arg("--into").arg(&dir).arg(&any))
            .exits(3)
            .says(&dir.display().to_string())
            .says("--into (VIETER_INTO)");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    // Neither the file system's owner nor anybody else may write to it.
    let repo = home.repo("vieter").display().to_string();
    let dir = home.dir().display().to_string();
    let read_only =
        |dir: &str| format!("mount --bind '{dir}' '{dir}'; mount -o remount,bind,ro '{dir}'");
    among_mounts(home.vieter().arg(&any), &read_only(&dir), "")
        .exits(3)
        .says(&dir)
        .says("--into (VIETER_INTO)");
    assert_eq!(home.files().len(), 0);
    // Before it is built.
    among_mounts(home.vieter().arg(&any), &read_only(&repo), "")
        .exits(1)
        .reports("failed      any 1.0-1  at check  ")
        .says(&format!("writing to {repo}: Read-only file system"));
    assert_eq!(fs::read_dir(&repo).unwrap().count(), 0);
    // A file system that has no locks.
    let without = "set -- strace -f -qq -o /dev/null -e inject=flock:error=EOPNOTSUPP \"$@\"";
    among_mounts(home.vieter().arg(&any), without, "")
        .exits(3)
        .says("locking ")
        .says("--into (VIETER_INTO)");
}

#[test]
fn a_disk_that_is_full_fails_a_publish_and_loses_nothing() {
    let home = Folder::new();
    home.repo("vieter");
    let small = home.git("small", &pkgbuild("small", ""));
    let noise = "package() { install -d \"$pkgdir/usr\"; head -c 3000000 /dev/urandom > \"$pkgdir/usr/noise\"; }";
    let large = home.git("large", &pkgbuild("large", noise));
    let dir = home.dir().display().to_string();
    let out = home.world.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let before = format!("mount -t tmpfs -o size=1m tmpfs '{dir}'");
    let after = format!("cp -a '{dir}/.' '{}'", out.display());
    let last = home.git("last", &pkgbuild("last", ""));
    let vieter = home.vieter_with_list(&[&small, &large, &last]);
    among_mounts(&vieter, &before, &after)
        .exits(1)
        .reports("built       small 1-1  ")
        .reports("failed      large 1-1  at publish  ")
        .reports("built       last 1-1  ")
        .says("large-1-1-any.pkg.tar.zst")
        .says("No space left on device");
    assert_eq!(seen_by_pacman(&out, "vieter"), "last 1-1\nsmall 1-1");
    let kept = fs::read_dir(out.join("vieter/x86_64")).unwrap();
    let kept: Vec<_> = kept.map(|it| it.unwrap().file_name()).collect();
    // Two archives, two databases, and what is remembered.
    assert_eq!(kept.len(), 5, "{kept:?}");
    assert!(!Path::new(&dir).join("vieter/x86_64/vieter.db").exists());
}
