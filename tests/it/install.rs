//! What `make install` installs: that all of it is there and goes again, that shells and man take it, and that it says what `--help`
//! says; and vieter as a package that vieter builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::folder::{Folder, WebServer, add_repo, in_arch};
use crate::util::{run, sh_in, vieter};

/// The repository that this is.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a target of the Makefile for `/usr` in a folder.
fn make(target: &str, root: &Path) {
    let (binary, root) = (vieter().get_program().to_owned(), root.display());
    let (binary, root) = (
        format!("BINARY={}", binary.display()),
        format!("DESTDIR={root}"),
    );
    let mut make = Command::new("make");
    make.current_dir(here())
        .args(["-s", target, "PREFIX=/usr", &binary, &root]);
    run(&mut make).exits(0);
}

/// An installation; gives its folder, whose name has a space.
fn installed() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("the root");
    make("install", &root);
    (dir, root)
}

/// The flags of the help, in order.
fn flags(help: &str) -> Vec<&str> {
    let options = help.split_once("Options.").unwrap().1;
    let options = options.split_once("\n\n").unwrap().0;
    let lines = options.lines().skip(1);
    // In the first column, perhaps behind a short one.
    let in_line = |line| str::split(line, ' ').find(|word| word.starts_with("--"));
    let mut flags: Vec<&str> = lines.filter_map(in_line).collect();
    flags.sort_unstable();
    flags
}

#[test]
fn what_is_installed_is_where_others_look_for_it_and_goes_again() {
    let (_dir, root) = installed();
    let files = "find . -type f -printf '%m %P\\n' | sort -k 2";
    assert_eq!(
        sh_in(&root, files),
        "755 usr/bin/vieter\n\
        644 usr/share/bash-completion/completions/vieter\n\
        644 usr/share/doc/vieter/README.md\n\
        644 usr/share/fish/vendor_completions.d/vieter.fish\n\
        644 usr/share/licenses/vieter/LICENSE\n\
        644 usr/share/man/man1/vieter.1\n\
        644 usr/share/zsh/site-functions/_vieter"
    );
    make("uninstall", &root);
    assert_eq!(sh_in(&root, files), "");
    // Nothing there is nothing to remove.
    make("uninstall", &root);
}

#[test]
fn the_help_is_a_screen_and_the_man_page_says_the_same_on_another_half() {
    let help = run(vieter().arg("--help")).exits(0).stdout;
    assert!(help.lines().count() <= 55);
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(help.contains("\nExamples:\n  vieter build --into ~/repo "));

    let (_dir, root) = installed();
    let page = root.join("usr/share/man/man1/vieter.1");
    let lint = run(Command::new("mandoc")
        .args(["-Tlint", "-Wstyle"])
        .arg(&page))
    .exits(0);
    assert_eq!((&*lint.stdout, &*lint.stderr), ("", ""));
    let shown = run(Command::new("mandoc")
        .args(["-Tascii", "-Owidth=100"])
        .arg(&page))
    .exits(0);
    // Bold and italic are written over what is there.
    let shown: Vec<char> = shown.stdout.chars().collect();
    let shown: String = (0..shown.len())
        .filter(|&at| shown[at] != '\u{8}' && shown.get(at + 1) != Some(&'\u{8}'))
        .map(|at| shown[at])
        .collect();
    assert!(shown.lines().count() <= 85, "{shown}");
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|it: char| it.is_whitespace() || "()[]:,.;".contains(it));
        words.map(str::to_owned).collect()
    };
    let (on_page, of_help) = (words(&shown), words(&help));
    let headings = ["Usage", "Options", "Examples", "Exit", "codes"];
    for word in of_help.iter().filter(|it| !headings.contains(&it.as_str())) {
        assert!(
            on_page.contains(word),
            "{word} isn't on the man page:\n{shown}"
        );
    }
    assert!(shown.contains(concat!("\nvieter ", env!("CARGO_PKG_VERSION"))));
    // Hyphens that can be copied.
    assert!(fs::read_to_string(&page).unwrap().contains("\\-\\-into"));
}

/// Zsh: in a shell (`$1`) that is set up (`$2`), what TAB makes of a line (`$3`), which Control-X shows.
const TAB: &str = r#"
    zmodload zsh/zpty
    zpty shell $=1
    zpty -w shell "$2; echo REA''DY"
    zpty -r -m shell seen '*READY*' || exit 1
    zpty -w -n shell $3$'\t\x18'
    zpty -r -m shell seen '*<<*>>*' || exit 1
    print -r -- ${${seen##*<<}%%>>*}
    zpty -d shell
"#;

/// Runs a shell with this binary in its PATH, in a folder.
fn shell(root: &Path, name: &str, args: &[&str]) -> String {
    let path = format!(
        "{}:{}",
        root.join("usr/bin").display(),
        std::env::var("PATH").unwrap()
    );
    let mut shell = Command::new(name);
    shell
        .args(args)
        .env("PATH", path)
        .env("HOME", root)
        .env("TERM", "dumb")
        .current_dir(root);
    run(&mut shell).exits(0).stdout
}

#[test]
fn shells_complete_what_the_help_names() {
    let (_dir, root) = installed();
    let help = run(vieter().arg("--help")).exits(0).stdout;
    let flags = flags(&help);
    assert!(flags.len() > 20, "{flags:?}");
    fs::write(root.join("a-list"), "").unwrap();
    fs::create_dir(root.join("a-folder")).unwrap();

    let zsh = "fpath=($PWD/usr/share/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D; \
        show() { print -r \"<<$BUFFER>>\" }; zle -N show; bindkey ^X show";
    let bash = "source usr/share/bash-completion/completions/vieter; bind -x '\"\\C-x\": echo \"<<$READLINE_LINE>>\"'";
    for (line, completed) in [
        ("vieter bu", "vieter build"),
        ("vieter --into x ch", "vieter --into x check"),
        ("vieter build --int", "vieter build --into"),
        ("vieter build yay --js", "vieter build yay --json"),
        ("vieter build -v --js", "vieter build -v --json"),
        ("vieter build --into a", "vieter build --into a-folder/"),
        ("vieter build --into=a", "vieter build --into=a-folder/"),
        ("vieter build --list a-l", "vieter build --list a-list"),
        (
            "vieter build --log-level e",
            "vieter build --log-level error",
        ),
        (
            "vieter build --log-level=e",
            "vieter build --log-level=error",
        ),
        // What nobody can know.
        ("vieter build --repo a", "vieter build --repo a"),
        ("vieter build bu", "vieter build bu"),
    ] {
        for (shell_with, set_up) in [("zsh -f -i", zsh), ("bash --norc --noprofile -i", bash)] {
            let made = shell(&root, "zsh", &["-fc", TAB, "tab", shell_with, set_up, line]);
            let made = made.trim_end().trim_end_matches('=');
            assert_eq!(made, completed, "{shell_with}");
        }
        let source = "source usr/share/fish/vendor_completions.d/vieter.fish; complete -C $argv[1]";
        let offered = shell(&root, "fish", &["--no-config", "-c", source, line]);
        let word = completed.rsplit(' ').next().unwrap();
        match line == completed {
            true => assert_eq!(offered, ""),
            false => assert_eq!(offered.split(['\t', '\n']).next(), Some(word), "{offered}"),
        }
    }

    // All flags, none of them forgotten.
    let bash = "source usr/share/bash-completion/completions/vieter; COMP_WORDS=(vieter check -); COMP_CWORD=2; \
        _vieter vieter - check; printf '%s\\n' \"${COMPREPLY[@]}\" | sort";
    let fish = "source usr/share/fish/vendor_completions.d/vieter.fish; complete -C 'vieter check --' | cut -f 1 | sort";
    let zsh = "_call_program() { ${@:2} }; _arguments() { print -l -- ${${${(M)@:#(\\*|)--*}#\\*}%%[=\\[]*} | sort }; \
        words=(vieter); setopt extendedglob; source usr/share/zsh/site-functions/_vieter";
    for (name, args) in [
        ("bash", &["-c", bash][..]),
        ("fish", &["--no-config", "-c", fish]),
        ("zsh", &["-fc", zsh]),
    ] {
        let offered = shell(&root, name, args);
        assert_eq!(offered.lines().collect::<Vec<_>>(), flags, "{name}");
    }
}

/// A PKGBUILD of this machine's own compiler, and of the crates that Cargo.lock names, in the place of Arch's `rust`, which can't be had
/// here, nor can crates; and of what is in the base image without being a package in it.
fn rust(world: &Path, url: &str) -> String {
    let script = format!(
        "rust=$(rustc --print sysroot); host=$(rustc -vV | sed -n 's/^host: //p')
        mkdir -p bin lib/rust share
        (cd '{}' && cargo vendor --locked --quiet \"$OLDPWD/share/crates\" >/dev/null)
        cp \"$rust/bin/cargo\" lib/rust/
        cat > bin/cargo <<'CARGO'
#!/bin/sh
exec /usr/lib/rust/cargo --offline --config 'source.crates-io.replace-with=\"here\"' \\
    --config 'source.here.directory=\"/usr/share/crates\"' \"$@\"
CARGO
        chmod 755 bin/cargo
        tar -c -C \"$rust\" bin/rustc $(cd \"$rust\" && echo lib/lib{{LLVM,rustc}}*) \"lib/rustlib/$host\" -C \"$PWD\" bin/cargo lib/rust share > rust.tar",
        here().display()
    );
    sh_in(world, &script);
    format!(
        "pkgname=rust\npkgver=1\npkgrel=1\narch=(x86_64)\nprovides=(cargo glibc gcc-libs)\noptions=(!strip !debug)\n\
        package() {{ mkdir \"$pkgdir/usr\"; curl -sSf {url}/rust.tar | tar -x -C \"$pkgdir/usr\"; }}\n"
    )
}

#[test]
fn vieter_is_a_package_that_vieter_builds() {
    let home = Folder::new();
    let host = home.world.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    let web = WebServer::start(&host);
    let rust = home.git("rust", &rust(&host, &web.url));
    // The repository as it stands here, which is more than has been committed, and two commits of it.
    let own = home.world.git_dir("vieter");
    fs::create_dir_all(&own).unwrap();
    let copy = format!(
        "git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C '{}'",
        own.display()
    );
    sh_in(here(), &copy);
    home.world.git("vieter", &[]);
    let url = home.world.git("vieter", &[]);
    let own = sh_in(&own, "git rev-parse --short=7 HEAD");
    let number = env!("CARGO_PKG_VERSION");
    let version = format!("{number}.r2.g{own}-1");

    // As it isn't the compiler that is tried, it needn't do its best.
    let fast = ["--env", "CARGO_PROFILE_RELEASE_LTO=false"];
    let fast = [fast, ["--env", "CARGO_PROFILE_RELEASE_OPT_LEVEL=0"]].concat();
    let list = [format!("{url} path=cron"), rust];
    let list = list.each_ref().map(String::as_str);
    home.build_list(&list, &fast)
        .exits(0)
        .reports("built       rust 1-1  ")
        .reports(&format!("built       vieter {version}  "))
        .reports("2 built, 0 up to date, 0 failed");
    home.build_list(&list, &fast)
        .exits(0)
        .reports("0 built, 2 up to date, 0 failed");

    let script = add_repo("file:///repo", "vieter", "Optional TrustAll")
        + "pacman -Sydd --noconfirm vieter >&2; pacman -Q vieter; vieter --version; pacman -Qlq vieter | grep -v '/$' | sort";
    assert_eq!(
        in_arch(&home.dir(), &script),
        format!(
            "vieter {version}\nvieter {number}\n\
            /usr/bin/vieter\n\
            /usr/share/bash-completion/completions/vieter\n\
            /usr/share/doc/vieter/README.md\n\
            /usr/share/fish/vendor_completions.d/vieter.fish\n\
            /usr/share/licenses/vieter/LICENSE\n\
            /usr/share/man/man1/vieter.1.gz\n\
            /usr/share/zsh/site-functions/_vieter"
        )
    );
}
