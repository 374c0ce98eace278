//! The settings of each part, made of the values of flags and variables. Not here: how a command line is read (`cli`), and
//! what a value has to look like (`values`).

use std::path::PathBuf;

use super::values::{
    Values, check_pair, parse_address, parse_host, parse_memory, parse_mirror, parse_names,
    parse_timeout, read_file, refused, usage,
};
use crate::docker::{Host, ImageRef};
use crate::error::{Error, Result};
use crate::home::folder;
use crate::shard::Shard;
use crate::{approvals, home, image, job, list, run, sandbox, server};

/// The keyservers that most keys are on.
const KEYSERVERS: &str = "hkps://keyserver.ubuntu.com hkps://keys.openpgp.org";

/// What a run needs, whatever it is for: the engine, the list, the image, the builds, the files that are kept.
///
/// # Errors
/// Values that can't be.
pub fn run_settings(values: &Values) -> Result<run::Settings> {
    let arch = values.get("VIETER_ARCH")?.map(|it| it.parse());
    let bad_arch = |why: Error| usage(format!("--arch (VIETER_ARCH): {why}"));
    let arch = arch.transpose().map_err(bad_arch)?;
    let engines = match values.get("DOCKER_HOST")? {
        Some(url) => vec![parse_host(&url)?],
        None => usual_hosts(values)?,
    };
    let network = values.get("VIETER_NETWORK")?;
    let memory = values.get("VIETER_MEMORY")?;
    let memory = memory.map(|size| parse_memory(&size)).transpose()?;
    let base = ImageRef::new(values.or("VIETER_BASE_IMAGE", "archlinux:latest")?);
    let makepkg_conf = match values.get("VIETER_MAKEPKG_CONF")? {
        Some(path) => read_file("--makepkg-conf (VIETER_MAKEPKG_CONF)", path.as_ref())?,
        None => String::new(),
    };
    let (report, log_dir) = (values.get("VIETER_REPORT")?, values.get("VIETER_LOG_DIR")?);
    let log_dir = log_dir.map(PathBuf::from);
    let timeout = parse_timeout(&values.or("VIETER_TIMEOUT", "3600")?)?;
    let keyservers = values.or("VIETER_KEYSERVER", KEYSERVERS)?;
    let repo = values.or("VIETER_REPO", "vieter")?.parse();
    Ok(run::Settings {
        engines,
        list: list::Settings {
            file: values.get("VIETER_LIST")?.map(PathBuf::from),
            repo: repo.map_err(|why| usage(format!("--repo (VIETER_REPO): {why}")))?,
            what: values.what.clone(),
        },
        arch,
        sandbox: sandbox::Settings {
            network,
            memory,
            env: env(values)?,
        },
        image: image::Settings {
            base,
            makepkg_conf,
            mirror: values.get("VIETER_MIRROR")?.map(parse_mirror).transpose()?,
            fresh: yes_or_no(values, "VIETER_FRESH", "fresh")?,
        },
        builds: job::Settings {
            timeout,
            force: values.has("force"),
            dry_run: values.has("dry-run"),
            sums: values.has("json") || report.is_some() || log_dir.is_some(),
            log_dir,
            replace: parse_names(&values.or("VIETER_REPLACE", "")?)?,
            keyservers: keyservers.replace(',', " "),
        },
        shard: shard(values)?,
        approvals: approvals(values)?,
        prune: prune(values)?,
        state: values.get("VIETER_STATE")?.map(PathBuf::from),
    })
}

/// Where packages go: a folder or a server, and what is for one of them alone.
///
/// # Errors
/// None or both of them, values that can't be, a server without a key.
pub fn home_settings(values: &Values) -> Result<home::Settings> {
    let sign_command = values.get("VIETER_SIGN_COMMAND")?;
    match (values.get("VIETER_INTO")?, values.get("VIETER_ADDRESS")?) {
        (Some(_), Some(_)) => {
            let both =
                "packages go to --into (VIETER_INTO) or to --address (VIETER_ADDRESS): which one?";
            Err(usage(both))
        }
        // Not all shells, nor systemd, make a home of it.
        (Some(dir), None) if dir.starts_with('~') => {
            let takes = "--into (VIETER_INTO) takes a path; write $HOME for ~";
            Err(refused(&dir, "folder", takes))
        }
        (Some(dir), None) => {
            let dir = PathBuf::from(dir);
            Ok(home::Settings::Folder(folder::Settings {
                dir,
                sign_command,
            }))
        }
        (None, _) if sign_command.is_some() => {
            let why =
                "--sign-command (VIETER_SIGN_COMMAND) is for --into: a server takes no signatures";
            Err(usage(why))
        }
        (None, address) => Ok(home::Settings::Server(server_settings(values, address)?)),
    }
}

/// The variables of containers: those of the flags, or, if there are none, those of the variable, a word each.
fn env(values: &Values) -> Result<Vec<String>> {
    let mut pairs = values.pairs.clone();
    if pairs.is_empty() {
        let words = values.or("VIETER_ENV", "")?;
        pairs.extend(words.split_whitespace().map(str::to_owned));
    }
    pairs.iter().try_for_each(|pair| check_pair(pair))?;
    Ok(pairs)
}

/// What a flag without a value says, or the variable that takes its place.
fn yes_or_no(values: &Values, name: &str, switch: &str) -> Result<bool> {
    match values.or(name, "no")?.as_str() {
        "yes" => Ok(true),
        "no" => Ok(values.has(switch)),
        other => Err(refused(other, "answer", &format!("{name} takes yes or no"))),
    }
}

/// The part of the list that is built. One that is said to be, and isn't told, is no part: never all of the list.
fn shard(values: &Values) -> Result<Option<Shard>> {
    let takes =
        "--shard (VIETER_SHARD) takes I/N, the Ith part of N, from 1/N to N/N (N is at most 1000)";
    match values.get("VIETER_SHARD")? {
        Some(shard) => shard
            .parse()
            .map(Some)
            .map_err(|()| refused(&shard, "part of a list", takes)),
        None if values.is_said("VIETER_SHARD") => Err(refused("", "part of a list", takes)),
        None => Ok(None),
    }
}

/// Which commits may be built.
fn approvals(values: &Values) -> Result<Option<approvals::Settings>> {
    let updates = yes_or_no(values, "VIETER_APPROVE_UPDATES", "approve-updates")?;
    let file = values.get("VIETER_APPROVED")?.map(PathBuf::from);
    // One that is said to be there, and isn't told, is none: never an approval of everything.
    if file.is_none() && values.is_said("VIETER_APPROVED") {
        let takes = "--approved (VIETER_APPROVED) takes the file with the approvals";
        return Err(refused("", "file of approvals", takes));
    }
    if updates && file.is_none() {
        return Err(usage(
            "--approve-updates (VIETER_APPROVE_UPDATES) needs --approved (VIETER_APPROVED): the file with the approvals",
        ));
    }
    Ok(file.map(|file| approvals::Settings { file, updates }))
}

/// Whether what has gone from the list is removed.
fn prune(values: &Values) -> Result<bool> {
    let prune = yes_or_no(values, "VIETER_PRUNE", "prune")?;
    if prune && values.get("VIETER_SHARD")?.is_some() {
        return Err(usage(
            "--prune (VIETER_PRUNE) is for a run of the whole list: a part (--shard, VIETER_SHARD) doesn't know the others'",
        ));
    }
    if prune && values.get("VIETER_ADDRESS")?.is_some() {
        return Err(usage(
            "--prune (VIETER_PRUNE) is for --into: a server keeps what it has",
        ));
    }
    Ok(prune)
}

fn server_settings(values: &Values, address: Option<String>) -> Result<server::Settings> {
    let where_to = "where do packages go? into a folder (--into, VIETER_INTO) or to a server (--address, VIETER_ADDRESS)";
    let address = address.ok_or_else(|| usage(where_to))?;
    let key = values.get("VIETER_API_KEY")?;
    let key = key.ok_or_else(|| usage("no API key: set VIETER_API_KEY or VIETER_API_KEY_FILE"))?;
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "the API key (VIETER_API_KEY) holds characters that no HTTP header can carry";
        return Err(usage(why));
    }
    Ok(server::Settings {
        address: parse_address(address)?,
        api_key: key,
        ca_file: values.get("SSL_CERT_FILE")?.map(PathBuf::from),
    })
}

/// Where engines listen if nobody says otherwise: Docker's, the user's own Podman, the system's.
fn usual_hosts(values: &Values) -> Result<Vec<Host>> {
    let own = values.get("XDG_RUNTIME_DIR")?;
    let own = own.map(|dir| PathBuf::from(dir).join("podman/podman.sock"));
    let (docker, podman) = ("/var/run/docker.sock", "/run/podman/podman.sock");
    let paths = [Some(docker.into()), own, Some(podman.into())];
    Ok(paths.into_iter().flatten().map(Host::Unix).collect())
}
