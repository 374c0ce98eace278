//! Without a server: a folder, what pacman makes of it, and whose the names in it are from night to night.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use crate::util::{BASE_IMAGE, Background, Lines, Run, World, end_of, run, sh_in, trivial};
use crate::wild::pkgbuild;

/// A world whose packages go to a folder.
pub struct Folder {
    pub world: World,
}

/// The files of a folder, by their paths: when they were changed, and what is in them.
pub type Files = BTreeMap<PathBuf, (SystemTime, Vec<u8>)>;

impl Folder {
    pub fn new() -> Folder {
        let world = World::new();
        Folder { world }
    }

    /// `DIR`
    pub fn dir(&self) -> PathBuf {
        self.world.dir.path().join("into")
    }

    /// `DIR/REPO/x86_64`, which is made if it isn't there.
    pub fn repo(&self, repo: &str) -> PathBuf {
        let dir = self.dir().join(repo).join("x86_64");
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// The names of what is in `DIR/REPO/x86_64`, without the four that every repository has.
    pub fn names(&self, repo: &str) -> Vec<String> {
        let usual = [".db", ".files", ".json"];
        let found = fs::read_dir(self.repo(repo)).unwrap();
        let names = found.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names
            .filter(|name| !usual.iter().any(|usual| name.ends_with(usual)))
            .collect();
        names.sort();
        names
    }

    /// All that is below `DIR`, but for what says how the last run was: the page, and what it is made of.
    pub fn files(&self) -> Files {
        let mut files = self.all_files();
        files.retain(|path, _| !path.ends_with("index.html") && !path.ends_with("vieter.json"));
        files
    }

    /// All that is below `DIR`.
    pub fn all_files(&self) -> Files {
        let mut files = Files::new();
        let mut dirs = vec![self.dir()];
        while let Some(dir) = dirs.pop() {
            for found in fs::read_dir(dir).unwrap() {
                let path = found.unwrap().path();
                match path.is_dir() {
                    true => dirs.push(path),
                    false => {
                        let changed = path.metadata().unwrap().modified().unwrap();
                        let bytes = fs::read(&path).unwrap();
                        files.insert(path, (changed, bytes));
                    }
                }
            }
        }
        files
    }

    /// A Git repository with this PKGBUILD; gives its URL.
    pub fn git(&self, name: &str, pkgbuild: &str) -> String {
        self.world.git(name, &[("PKGBUILD", pkgbuild)])
    }

    /// `vieter build --into DIR`, and no server in its environment.
    pub fn vieter(&self) -> Command {
        self.vieter_into(&self.dir())
    }

    /// The same for another folder.
    pub fn vieter_into(&self, dir: &Path) -> Command {
        let mut command = self.world.vieter();
        command
            .env_remove("VIETER_ADDRESS")
            .env_remove("VIETER_API_KEY")
            .arg("--into")
            .arg(dir);
        command
    }

    /// Runs it with these further arguments.
    pub fn build(&self, args: &[&str]) -> Run {
        run(self.vieter().args(args))
    }

    /// Runs it with a list of these lines, and these further arguments.
    pub fn build_list(&self, lines: &[&str], args: &[&str]) -> Run {
        run(self.vieter_with_list(lines).args(args))
    }

    /// The same, not yet run.
    pub fn vieter_with_list(&self, lines: &[&str]) -> Command {
        let list = self.world.dir.path().join("list");
        fs::write(&list, lines.join("\n")).unwrap();
        let mut command = self.vieter();
        command.arg("--list").arg(list);
        command
    }
}

/// What bash prints in a container that has a copy of a folder as `/repo`.
pub fn in_arch(dir: &Path, script: &str) -> String {
    let script = format!("mkdir /repo; tar -xC /repo; {script}");
    let options = ["--network", "host", "--security-opt=no-new-privileges"];
    let mut docker = Command::new("docker");
    let docker = docker.args(["run", "--rm", "-i"]).args(options);
    let docker = docker.args([&BASE_IMAGE, "bash", "-euc", &script]);
    let tar = Command::new("tar")
        .args(["-c", "."])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn();
    let files = tar.unwrap().stdout.unwrap();
    let output = end_of(docker.stdin(files).stdout(Stdio::piped()).spawn());
    assert!(output.status.success(), "{script}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Bash: makes `/repo`, or whatever else stands before `/$repo/$arch`, pacman's repository `$1`, with this `SigLevel`.
pub fn add_repo(server: &str, repo: &str, sig_level: &str) -> String {
    format!(
        "cp -n /etc/pacman.conf /etc/pacman.conf.old; cp /etc/pacman.conf.old /etc/pacman.conf
        printf '[{repo}]\\nServer = %s/$repo/$arch\\nSigLevel = {sig_level}\\n' '{server}' >> /etc/pacman.conf\n"
    )
}

/// What pacman on this machine sees in a repository, name and version a line each.
pub fn seen_by_pacman(dir: &Path, repo: &str) -> String {
    let dir = dir.display();
    let script = format!(
        "work=$(mktemp -d); trap 'rm -rf \"$work\"' EXIT
        printf '[options]\\nArchitecture = x86_64\\nSigLevel = Never\\n[{repo}]\\nServer = file://%s/$repo/$arch\\n' '{dir}' > \"$work/conf\"
        mkdir \"$work/db\"; pacman=(pacman --config \"$work/conf\" --dbpath \"$work/db\")
        \"${{pacman[@]}}\" -Sy >&2; \"${{pacman[@]}}\" -Fy >&2; \"${{pacman[@]}}\" -Sl {repo} | cut -d' ' -f 2,3"
    );
    sh_in(Path::new("/"), &script)
}

/// A plain web server on a folder.
pub struct WebServer {
    child: Child,
    pub url: String,
}

impl WebServer {
    pub fn start(dir: &Path) -> WebServer {
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1"])
            .arg("--directory")
            .arg(dir)
            .arg("0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let line = Lines::of(child.stdout.take().unwrap()).next().unwrap();
        let url = line.split(['(', ')']).nth(1).unwrap();
        let url = url.trim_end_matches('/').to_owned();
        WebServer { child, url }
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn one_command_makes_a_repository_that_pacman_installs_from() {
    let home = Folder::new();
    let hello = home.git("hello", &pkgbuild("hello", ""));
    // Another run is just publishing, and is waited for, but not before there is something to publish.
    let repo = home.repo("vieter");
    let lock = File::create(home.dir().join(".vieter.lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = Background::start(home.vieter().arg(&hello));
    waiting.wait_for("building hello 1-1");
    waiting.wait_for("waiting for another run that publishes");
    assert_eq!(fs::read_dir(&repo).unwrap().count(), 0);
    drop(lock);
    let (code, log) = waiting.wait_for_end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("built       hello 1-1  "), "{log}");
    assert_eq!(home.names("vieter"), ["hello-1-1-any.pkg.tar.zst"]);
    for plain in ["vieter.db", "vieter.files"] {
        let file = repo.join(plain);
        assert!(file.symlink_metadata().unwrap().is_file());
        assert_eq!(&fs::read(&file).unwrap()[257..262], b"ustar", "{plain}");
    }

    // Another run of the same list has built it, too, and was quicker.
    let copy = home.dir().with_extension("copy");
    fs::create_dir(&copy).unwrap();
    let lock = File::create(copy.join(".vieter.lock")).unwrap();
    lock.lock().unwrap();
    let mut later = Background::start(home.vieter_into(&copy).arg(&hello));
    later.wait_for("waiting for another run that publishes");
    sh_in(&home.dir(), &format!("cp -r vieter '{}'", copy.display()));
    drop(lock);
    let (code, log) = later.wait_for_end();
    assert!(
        code == Some(0) && log.contains("hello 1-1 is published already"),
        "{log}"
    );

    // Whoever has a copy of the folder, or a web server on it, can install from it.
    let web = WebServer::start(&home.dir());
    for server in ["file:///repo", &web.url] {
        let script = add_repo(server, "vieter", "Optional TrustAll")
            + "pacman -Sy --noconfirm hello >&2; cat /usr/share/hello/hello; pacman -Fy >&2; pacman -Fq usr/share/hello/hello";
        assert_eq!(in_arch(&home.dir(), &script), "hello\nvieter/hello");
    }

    // The second night touches nothing.
    let before = home.files();
    home.build(&[&hello])
        .exits(0)
        .reports("up to date  hello 1-1  ")
        .reports("0 built, 1 up to date, 0 failed");
    assert!(home.files() == before);
}

#[test]
fn a_list_of_files_may_be_larger_than_what_an_engine_sends_ahead() {
    let home = Folder::new();
    // Two megabytes of names.
    let many = "package() { d=$(printf '%0200d' 0); d=$pkgdir/$d/$d/$d/$d; install -d $d; printf \"$d/%0200d\\n\" {1..2200} | xargs touch; }";
    let many = home.git("many", &pkgbuild("many", many));
    home.build(&[&many])
        .exits(0)
        .reports("built       many 1-1  ");
    let files = home.repo("vieter").join("vieter.files");
    assert!(files.metadata().unwrap().len() > 2 << 20);
}

#[test]
fn packages_of_the_folder_are_dependencies_in_a_run_and_across_runs() {
    let home = Folder::new();
    let lib = home.git("lib", &pkgbuild("lib", ""));
    let user = "makedepends=('lib>=1')\nbuild() { cat /usr/share/lib/lib; }";
    let user = home.git("user", &pkgbuild("user", user));
    let other = home.git("other", &trivial("other"));
    let more = home.git("more", &pkgbuild("more", ""));
    // Back to front.
    home.build_list(&[&user, &lib, &other, &more], &[])
        .exits(0)
        .reports("built       lib 1-1  ")
        .reports("built       user 1-1  ")
        .reports("built       other 1.0-1  ")
        .reports("4 built, 0 up to date, 0 failed");

    // The next night: one is newer, another has lost its archive, and a third, which is new, needs one that is up to date.
    let repo = home.repo("vieter");
    home.git("other", &pkgbuild("other", "pkgver=2"));
    fs::remove_file(repo.join("user-1-1-any.pkg.tar.zst")).unwrap();
    // And a fourth has lost a part of its own.
    let broken = File::options()
        .write(true)
        .open(repo.join("more-1-1-any.pkg.tar.zst"));
    broken.unwrap().set_len(100).unwrap();
    let app = "depends=(lib user)\nbuild() { cat /usr/share/{lib/lib,user/user}; }";
    let app = home.git("app", &pkgbuild("app", app));
    home.build_list(&[&app, &user, &lib, &other, &more], &[])
        .exits(0)
        .reports("up to date  lib 1-1  ")
        .reports("built       user 1-1  ")
        .reports("built       app 1-1  ")
        .reports("built       other 2-1  ")
        .reports("built       more 1-1  ")
        .reports("4 built, 1 up to date, 0 failed");
    assert_eq!(
        home.names("vieter"),
        [
            "app-1-1-any.pkg.tar.zst",
            "lib-1-1-any.pkg.tar.zst",
            "more-1-1-any.pkg.tar.zst",
            "other-2-1-any.pkg.tar.zst",
            "user-1-1-any.pkg.tar.zst"
        ]
    );
    assert_eq!(
        seen_by_pacman(&home.dir(), "vieter"),
        "app 1-1\nlib 1-1\nmore 1-1\nother 2-1\nuser 1-1"
    );
    // Each of them is what the database says: pacman compares sizes and sums.
    let script = add_repo("file:///repo", "vieter", "Optional TrustAll")
        + "pacman -Sy --noconfirm app other more >&2; pacman -Qq app lib more other user";
    assert_eq!(in_arch(&home.dir(), &script), "app\nlib\nmore\nother\nuser");
}

#[test]
fn a_name_stays_its_entrys_until_that_leaves_the_list_and_what_nobody_makes_can_go() {
    let home = Folder::new();
    let mine = home.git("mine", &pkgbuild("name", ""));
    let twin = home.git(
        "twin",
        "pkgbase=twin\npkgname=(left right twin)\npkgver=1\npkgrel=1\narch=(any)\npackage_left() { :; }\npackage_right() { :; }\npackage_twin() { :; }\n",
    );
    let old = home.git("old", &pkgbuild("old", ""));
    home.build_list(&[&mine, &twin, &old], &[]).exits(0);

    // The next night another entry stands before the owner, one is no more, and one makes two packages less, one of which is called as
    // its pkgbase is.
    let theirs = home.git("theirs", &pkgbuild("name", "pkgver=2"));
    home.git(
        "twin",
        "pkgbase=twin\npkgname=left\npkgver=1\npkgrel=1\narch=(any)\npackage() { :; }\n",
    );
    let before = home.files();
    // A dry run says as much, and what it would build, and changes nothing at all.
    let all = home.all_files();
    home.build_list(&[&theirs, &mine, &twin], &["--dry-run"])
        .exits(1)
        .reports("failed      name 2-1  at version  ")
        .reports("up to date  name 1-1  ")
        .reports("gone        vieter/old 1-1")
        .reports("0 built, 2 up to date, 1 failed, 3 gone");
    home.build_list(&[&theirs, &twin], &["--dry-run", "--prune"])
        .exits(0)
        .reports("would build  name 2-1  (1-1 is published)  ")
        .reports("gone        vieter/old 1-1")
        .reports("gone        vieter/right 1-1")
        .reports("gone        vieter/twin 1-1")
        .reports("0 built, 1 up to date, 0 failed, 1 would be built, 3 gone");
    assert!(home.all_files() == all);
    let run = home
        .build_list(&[&theirs, &mine, &twin], &["--prune"])
        .exits(1)
        .reports("failed      name 2-1  at version  ")
        .reports("up to date  name 1-1  ")
        .reports("up to date  twin 1-1  ")
        .reports("gone        vieter/old 1-1")
        .reports("gone        vieter/right 1-1")
        .reports("gone        vieter/twin 1-1")
        .reports("0 built, 2 up to date, 1 failed, 3 gone")
        .says("it belongs to ");
    let names_both = |line: &str| line.contains(&theirs) && line.contains(&mine);
    assert!(run.stderr.lines().any(names_both));
    assert!(home.files() == before);

    // With its owner off the list, the name is free. What is chosen says nothing of the rest of the list.
    let list = [&*theirs, &*twin];
    let run = home
        .build_list(&list, &["--prune", "theirs"])
        .exits(0)
        .reports("built       name 2-1  ");
    assert!(!run.stdout.contains("removed"));
    let (name, left) = ("name-2-1-any.pkg.tar.zst", "left-1-1-any.pkg.tar.zst");
    let [old, right, twin] = ["old", "right", "twin"].map(|it| format!("{it}-1-1-any.pkg.tar.zst"));
    assert_eq!(home.names("vieter"), [left, name, &old, &right, &twin]);

    // An empty list is a mistake rather than the wish to have nothing.
    let before = home.files();
    home.build_list(&["# nothing"], &["--prune"]);
    assert!(home.files() == before);

    // What is asked for by hand, without a list, belongs to whom it belonged.
    home.build(&[&mine])
        .exits(1)
        .reports("failed      name 1-1  at version  ")
        .says(&theirs);
    assert!(home.files() == before);

    run_with_prune(&home, &list)
        .exits(0)
        .reports("removed     vieter/old 1-1")
        .reports("removed     vieter/right 1-1")
        .reports("removed     vieter/twin 1-1")
        .reports("0 built, 2 up to date, 0 failed, 3 removed");
    assert_eq!(home.names("vieter"), [left, name]);
    assert_eq!(seen_by_pacman(&home.dir(), "vieter"), "left 1-1\nname 2-1");
}

fn run_with_prune(home: &Folder, list: &[&str]) -> Run {
    run(home.vieter_with_list(list).env("VIETER_PRUNE", "yes"))
}
