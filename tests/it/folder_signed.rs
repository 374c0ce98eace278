//! Signed folders: by a key that stays on the host, so that pacman need trust nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::folder::{Folder, WebServer, add_repo, in_arch};
use crate::util::{KEY, run, sh_in};
use crate::wild::pkgbuild;

/// A key of its own, in a folder of its own.
struct SigningKey {
    home: PathBuf,
    fingerprint: String,
    public: String,
    /// What the file with the secret is called.
    grip: String,
}

impl SigningKey {
    fn make(dir: &Path) -> SigningKey {
        let home = dir.join("gnupg");
        let output = sh_in(
            dir,
            "export GNUPGHOME=$PWD/gnupg; mkdir -m 700 gnupg
            gpg --batch -q --passphrase '' --quick-gen-key 'Folder <f@example.com>' ed25519 sign never 2>/dev/null
            gpg --list-keys --with-colons --with-keygrip | awk -F: '/^fpr/ {fpr=$10} /^grp/ {grp=$10} END {print fpr; print grp}'
            gpg --armor --export",
        );
        let mut parts = output.splitn(3, '\n').map(str::to_owned);
        let mut part = || parts.next().unwrap();
        SigningKey {
            home,
            fingerprint: part(),
            grip: part(),
            public: part(),
        }
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        sh_in(&self.home, "gpgconf --homedir . --kill all");
    }
}

/// A program of these lines of bash that is called as a sign command.
fn program(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn all_is_signed_on_the_host_or_not_published() {
    let home = Folder::new();
    let work = home.world.dir.path();
    let key = SigningKey::make(work);
    let gpg = format!(
        "gpg --homedir {} --batch --detach-sign --no-armor -u {}",
        key.home.display(),
        key.fingerprint
    );
    // Sees what can be seen, fails for one package, and forgets another.
    let sign = format!(
        r#"
set -eu
cd {work}
case $1 in
  *bad-1-1*) echo "no, not this one"; exit 7 ;;
  *none-1-1*) exit 0 ;;
esac
env > environment; printf '%s\n' "$#" >> environment
if [[ ! -e containers ]]; then
  for id in $(docker ps -q --filter label=vieter.run); do
    docker inspect "$id" >> containers
    docker export "$id" | tar -t >> contents
  done
fi
exec {gpg} "$1"
"#,
        work = work.display()
    );
    let sign = program(work, "sign", &sign);
    let url = |name: &str| home.git(name, &pkgbuild(name, ""));
    let (good, bad, none) = (url("good"), url("bad"), url("none"));
    // The key of a server that isn't used is nobody's business either.
    let mut vieter = home.vieter_with_list(&[&good]);
    vieter.env("VIETER_API_KEY", KEY);
    run(vieter.args(["--sign-command", &sign]))
        .exits(0)
        .reports("built       good 1-1  ");
    let signed = ["good-1-1-any.pkg.tar.zst", "vieter.db", "vieter.files"];
    let repo = home.repo("vieter");
    for file in signed {
        let verify = format!(
            "gpg --homedir {} --verify {file}.sig {file}",
            key.home.display()
        );
        sh_in(&repo, &verify);
    }
    let read = |file: &str| fs::read_to_string(work.join(file)).unwrap();
    let environment = read("environment");
    assert!(!environment.contains("VIETER_API_KEY"), "{environment}");
    assert!(environment.ends_with("\n1\n"), "{environment}");
    let (containers, contents) = (read("containers"), read("contents"));
    assert!(containers.contains("vieter-build") && contents.contains("usr/bin/pacman"));
    for secret in [&*key.fingerprint, &key.home.display().to_string()] {
        assert!(!containers.contains(secret), "{containers}");
    }
    assert!(!contents.contains(&key.grip));

    // Who wants a signature for each archive, and who wants one for the database as well.
    let web = WebServer::start(&home.dir());
    for (server, sig_level) in [
        ("file:///repo", "Required DatabaseOptional"),
        (web.url.as_str(), "Required"),
    ] {
        let script = format!(
            "pacman-key --init; pacman-key -a - <<'KEY'\n{}\nKEY\npacman-key --lsign-key {} >&2\n",
            key.public, key.fingerprint
        ) + &add_repo(server, "vieter", sig_level)
            + "pacman -Sy --noconfirm good >&2; cat /usr/share/good/good";
        let script = script.replace("pacman-key -", "pacman-key >&2 -");
        assert_eq!(in_arch(&home.dir(), &script), "good");
    }

    // What can't be signed isn't there, and the rest stays as it is.
    let (before, names) = (home.files(), home.names("vieter"));
    let mut vieter = home.vieter_with_list(&[&bad, &none]);
    vieter.env("VIETER_SIGN_COMMAND", &sign);
    run(&mut vieter)
        .exits(1)
        .reports("failed      bad 1-1  at publish  ")
        .reports("failed      none 1-1  at publish  ")
        .says("no, not this one")
        .says("it left no .sig");
    assert!(home.files() == before);
    assert_eq!(home.names("vieter"), names);
}
