//! Code from strangers: what a PKGBUILD can see, become, and smuggle out.

use crate::util::{KEY, World, trivial, unpack};

#[test]
fn a_pkgbuild_finds_no_key_and_no_way_to_root() {
    let world = World::new();
    let back_to_front: String = KEY.chars().rev().collect();
    let pkgbuild = format!(
        r#"
pkgname=thief
pkgver=1
pkgrel=1
arch=(any)
pkgver() {{ echo 1; }}
loot() {{
  local back='{back_to_front}' key= i
  for ((i = 0; i < ${{#back}}; i++)); do key=${{back:i:1}}$key; done
  # It has to be able to find something.
  echo "control: $key" > "$startdir/planted"
  grep -qsF -- "$key" "$startdir/planted" && echo "the search works"
  rm "$startdir/planted"
  local seen=$(env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\0' '\n')
  [[ $seen != *"$key"* ]] || echo "key found in an environment or a command line"
  find / /dev/shm /run -xdev -type f -print0 2>/dev/null | xargs -0 grep -lsF -D skip -- "$key" | sed 's/^/key found in /'
  echo "search done"
  ls /var/run/docker.sock /run/docker.sock && echo "socket found"
  grep -E '^(Uid|CapPrm|CapEff|CapAmb|NoNewPrivs):' /proc/self/status
  sudo -n id; su -c id; su builder -c id </dev/null
  cp /bin/bash "$startdir/rootsh"; chmod 6755 "$startdir/rootsh"; "$startdir/rootsh" -pc id
  chown root "$startdir/rootsh" && echo "root: chown"
  pacman -S --noconfirm libgreet && echo "root: pacman"
  for file in /etc/pacman.conf /usr/bin/pacman /root/x; do echo >> $file && echo "root: wrote $file"; done
}}
build() {{ loot > "$startdir/loot" 2>&1 || true; }}
package() {{
  install -D "$startdir/loot" "$pkgdir/usr/share/loot"
  ln -s /etc/passwd "$PKGDEST/passwd-1-1-any.pkg.tar.zst"
  ln -s /dev/zero "$PKGDEST/zero-1-1-any.pkg.tar.zst"
  mkfifo "$PKGDEST/fifo-1-1-any.pkg.tar.zst"
  mkdir "$PKGDEST/dir-1-1-any.pkg.tar.zst"
  echo source > "$PKGDEST/thing.pkg"
  echo newline > "$PKGDEST"/$'new\nline-1-1-any.pkg.tar.zst'
  for odd in a.pkg.tar.zst.sig a.pkg.tar.sig a.pkg.tarball .pkg.tar.zst a.pkg.tar.z-t; do echo > "$PKGDEST/$odd"; done
  # A process that outlives makepkg and keeps its output open.
  sleep 1000 &
}}
"#
    );
    world.package("thief", &pkgbuild);
    world.build(&[]).exits(0).reports("built       thief 1-1  ");
    assert_eq!(world.server.published("bur"), ["thief-1-1-any.pkg.tar.zst"]);
    let loot = unpack(
        &world.server.file("bur", "thief-1-1-any.pkg.tar.zst"),
        "usr/share/loot",
    );
    assert!(loot.contains("the search works") && loot.contains("search done"));
    assert!(!loot.contains("key found") && !loot.contains(KEY), "{loot}");
    assert!(!loot.contains("socket found"), "{loot}");
    assert!(
        !loot.contains("uid=0") && !loot.contains("root: "),
        "{loot}"
    );
    assert!(loot.contains("NoNewPrivs:\t1"), "{loot}");
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert!(
            loot.contains(&format!("{set}:\t0000000000000000")),
            "{loot}"
        );
    }
    // One that no person on the host is likely to have, as the kernel's limits are a uid's, and that rootless engines
    // have too.
    let uid = loot.lines().find_map(|line| line.strip_prefix("Uid:\t"));
    let uids = uid.unwrap().split('\t').map(|it| it.parse().unwrap());
    let uids: Vec<u32> = uids.collect();
    assert!(uids.iter().all(|it| (1001..65534).contains(it)), "{uids:?}");
    assert_eq!(uids, [uids[0]; 4]);
}

#[test]
fn a_build_that_writes_into_the_streams_of_its_exec_changes_nothing() {
    let world = World::new();
    world.package(
        "forger",
        r#"
pkgname=forger
pkgver=1
pkgrel=1
arch=(any)
package() {
  # Nonsense; what a PKGBUILD's reader prints of another package; and its end. Into the exec's own stream alone: in the pipes
  # that makepkg has between its parts, and in the files that it writes, it would only spoil itself.
  exec 9>&1
  forge() {
    local wrote=
    for out in /proc/[0-9]*/fd/1; do
      [ "$out" -ef /dev/fd/9 ] || continue
      wrote=yes
      printf '\0\e[31mred\0many\0' > "$out"
      printf '%s\0' '' '' other '' 9 9 1 other 0 '' 'that was all' > "$out"
    done
    [ "$wrote" ]
  }
  forge 2>/dev/null || exit 1
  ( while :; do forge; done ) >/dev/null 2>&1 &
}
# So the PKGBUILD is read once more, after the build.
pkgver() { echo 1; }
"#,
    );
    // Who closes them has makepkg fail, which can't say anything any more.
    world.package(
        "closed",
        &(trivial("closed") + "build() { exec >&- 2>&-; }\n"),
    );
    let run = world
        .build(&[])
        .exits(1)
        .reports("built       forger 1-1  ")
        .reports("failed      closed 1.0-1  at build  ");
    assert!(!run.stderr.contains('\u{1b}'));
    assert_eq!(
        world.server.published("bur"),
        ["forger-1-1-any.pkg.tar.zst"]
    );
}

#[test]
fn nothing_from_the_list_or_a_pkgbuild_is_taken_for_an_option_or_a_command() {
    let world = World::new();
    world.list("--upload-pack=touch /build/pwned", "bur");
    world.list("ext::sh -c 'touch /build/pwned'", "bur");
    world.server.list(serde_json::json!({
        "url": "git://127.0.0.1:1/x", "branch": "--upload-pack=touch /build/pwned", "arch": ["x86_64"], "repo": "bur"
    }));
    world.list(
        "git://127.0.0.1:1/y\n2026-01-01T00:00:00Z INFO forged \u{1b}[2J",
        "bur",
    );
    world.package(
        "optional",
        "pkgname=optional\npkgver=1\npkgrel=1\narch=(any)\npackage() { :; }\n\
        depends=(--config=/build/evil.conf $'\\e[2Jowned')\n",
    );
    world.package(
        "screen",
        "pkgname=screen\npkgver=1\npkgrel=1\narch=(any)\nprintf '\\e[2J\\e]0;owned\\a'\nprintf '\\e[31mred\\n' >&2\nexit 1\n",
    );
    let run = world
        .build(&[])
        .exits(1)
        .reports("failed      --upload-pack=touch /build/pwned  at list")
        .reports("failed      ext::sh -c 'touch /build/pwned'  at clone")
        .reports("failed      git://127.0.0.1:1/x  at clone")
        .reports(
            "failed      git://127.0.0.1:1/y 2026-01-01T00:00:00Z INFO forged \\u{1b}[2J  at clone",
        )
        .reports("failed      optional 1-1  at dependencies")
        .says("\"--upload-pack=touch /build/pwned\" is an option, and no URL")
        .says("transport 'ext' not allowed")
        .says("database not found: --config=")
        .says("\\u{1b}[31mred");
    assert!(!run.stderr.contains('\x1b') && !run.stdout.contains('\x1b'));
    assert!(!run.stderr.contains("\n2026-01-01"));
}
