//! A look at a Git repository without Git and without a container: which commit a reference of it has now. It is one request,
//! `GET <url>/info/refs?service=git-upload-pack` (gitprotocol-http(5)), without credentials; redirects aren't followed, and
//! whatever is odd is no answer, as a container finds it out, too. Not here: what is remembered of the last look (`memory`).

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{BufReader, Error as IoError, Read, Result as IoResult};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::{Method, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::error::{Error, Kind, Result};
use crate::http::{Client, Deadline};
use crate::list::{Repo, RepoKind};
use crate::server::connecting;
use crate::text::masked;
use crate::words::Commit;

/// The most that is read of an answer, in bytes, and how long it may take; and that of all sources of a PKGBUILD, and how many of
/// them are asked.
const MAX_REFS: u64 = 4 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(1);
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(30);
const MAX_SOURCES: usize = 16;

/// The commit that a reference of a Git repository had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    url: String,
    /// `HEAD`, or what begins with `refs/`.
    reference: String,
    commit: String,
}

/// What asks Git servers.
pub struct Looker {
    /// Asks whomever the list names.
    anybody: Agent,
    /// Asks whomever a stranger's PKGBUILD names: not what is near us, as we aren't in the network that builds are in.
    outside: Agent,
    /// The hosts that didn't answer once: a list may have a thousand entries there.
    silent: RefCell<HashSet<String>>,
}

impl Default for Looker {
    fn default() -> Looker {
        let near = |only_outside| Near { only_outside };
        // A proxy would look up addresses for us.
        let direct = Client::config().proxy(None).build();
        Looker {
            anybody: connecting(Client::config().build(), near(false)),
            outside: connecting(direct, near(true)),
            silent: RefCell::default(),
        }
    }
}

impl Looker {
    /// The commit that a build of this entry would be of; `None` if that can't be known so.
    pub fn commit(&self, repo: &Repo) -> Option<Commit> {
        if repo.kind != RepoKind::Git {
            return None;
        }
        let branch = &repo.branch;
        let references = match branch.is_empty() {
            true => vec!["HEAD".to_owned()],
            // A tag's name does for a branch's, but comes second, as with git clone.
            false => vec![
                format!("refs/heads/{branch}"),
                format!("refs/tags/{branch}"),
            ],
        };
        let by = Deadline::after(PATIENCE);
        self.ask(&self.anybody, &repo.url, &references, by)
    }

    /// The commits that the Git sources of an entry's PKGBUILD have now. `None` if it has others than can be asked so, or none.
    pub fn sources(&self, repo: &Repo, sources: &[String]) -> Option<Vec<Head>> {
        let by = Deadline::after(PATIENCE_FOR_ALL);
        let mut heads = vec![];
        let mut has_git = false;
        for source in sources {
            match Source::of(source) {
                Source::Plain => (),
                Source::Fixed => has_git = true,
                Source::Git { url, reference } => {
                    has_git = true;
                    if heads.len() == MAX_SOURCES {
                        return None;
                    }
                    heads.push(self.head(repo, url, reference, by)?);
                }
                Source::Unknown => return None,
            }
        }
        has_git.then_some(heads)
    }

    /// Whether these have the commits still that they had; `None` if one can't be asked.
    pub fn are_unchanged(&self, repo: &Repo, heads: &[Head]) -> Option<bool> {
        let by = Deadline::after(PATIENCE_FOR_ALL);
        for head in heads.iter().take(MAX_SOURCES) {
            if self.head(repo, head.url.clone(), head.reference.clone(), by)? != *head {
                return Some(false);
            }
        }
        Some(heads.len() <= MAX_SOURCES)
    }

    fn head(&self, repo: &Repo, url: String, reference: String, by: Deadline) -> Option<Head> {
        let host = |url: &str| Some(url.parse::<Uri>().ok()?.host()?.to_owned());
        // A host that the list names is as near as whoever wrote the list wants it to be.
        let agent = match host(&url) == host(&repo.url) {
            true => &self.anybody,
            false => &self.outside,
        };
        let commit = self.ask(agent, &url, std::slice::from_ref(&reference), by)?;
        let commit = commit.to_string();
        Some(Head {
            url,
            reference,
            commit,
        })
    }

    /// The commit that the first of these references has that is there.
    fn ask(&self, agent: &Agent, url: &str, references: &[String], by: Deadline) -> Option<Commit> {
        let uri: Uri = url.parse().ok()?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.authority()?.to_string();
        if !is_http || url.contains(['@', '?', '#']) || self.silent.borrow().contains(&host) {
            return None;
        }
        // Not its fault if the others have left it less.
        let has_time = by.left() >= PATIENCE.saturating_sub(SLACK);
        let by = by.within(PATIENCE);
        let found = read_refs(agent, url, references, by);
        if let Err(error) = &found {
            log::debug!("{error}");
            if has_time && (error.kind == Kind::NoAnswer || by.has_passed()) {
                self.silent.borrow_mut().insert(host);
            }
        }
        found.ok()?
    }
}

/// What a PKGBUILD's source is, by how makepkg reads it (PKGBUILD(5), "Using VCS sources").
enum Source {
    /// A file: what is in it is taken to be known by its name, and by the commit that names it.
    Plain,
    /// A commit of a Git repository.
    Fixed,
    /// A branch or a tag of one.
    Git { url: String, reference: String },
    /// Anything else that moves.
    Unknown,
}

impl Source {
    fn of(source: &str) -> Source {
        let location = source.split_once("::").map_or(source, |(_, it)| it);
        let Some((scheme, _)) = location.split_once("://") else {
            return match location.contains("lp:") {
                true => Source::Unknown,
                false => Source::Plain,
            };
        };
        match scheme.split('+').next() {
            Some("git") => (),
            Some("bzr" | "fossil" | "hg" | "svn") => return Source::Unknown,
            _ => return Source::Plain,
        }
        let (location, fragment) = location.split_once('#').unwrap_or((location, ""));
        let fragment = fragment.split('?').next().unwrap_or_default();
        let url = location.split('?').next().unwrap_or_default();
        let url = url.strip_prefix("git+").unwrap_or(url).to_owned();
        let reference = match fragment.split_once('=') {
            _ if fragment.is_empty() => "HEAD".to_owned(),
            Some(("commit", _)) => return Source::Fixed,
            Some(("branch", name)) => format!("refs/heads/{name}"),
            Some(("tag", name)) => format!("refs/tags/{name}"),
            _ => return Source::Unknown,
        };
        Source::Git { url, reference }
    }
}

fn read_refs(
    agent: &Agent,
    url: &str,
    references: &[String],
    by: Deadline,
) -> Result<Option<Commit>> {
    let base = url.trim_end_matches('/').to_owned();
    let client = Client::new(agent.clone(), base, masked(url));
    let path = "/info/refs?service=git-upload-pack";
    let answer = client.send(Method::GET, path, &[], (), by)?;
    if answer.status() != 200 {
        return Err(answer.refused());
    }
    let what = answer.what.clone();
    let found = find(answer.into_reader().take(MAX_REFS), references);
    found.map_err(|error| Error::unusable(what, error))
}

/// Reads an advertisement of references. A tag's commit, if it is an object of its own, stands behind it, with `^{}`.
fn find(advertised: impl Read, references: &[String]) -> IoResult<Option<Commit>> {
    let names = references
        .iter()
        .flat_map(|it| [format!("{it}^{{}}"), it.clone()]);
    let names: Vec<String> = names.collect();
    let mut reader = BufReader::new(advertised);
    let is_smart = packet(&mut reader)?.starts_with(b"# service=git-upload-pack");
    if !is_smart || !packet(&mut reader)?.is_empty() {
        return Err(IoError::other("it doesn't speak Git's smart protocol"));
    }
    let mut found: Option<(usize, Commit)> = None;
    loop {
        let line = packet(&mut reader)?;
        if line.is_empty() {
            return Ok(found.map(|(_, commit)| commit));
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let line = line.split('\0').next().unwrap_or_default().trim_end();
        let Some((id, name)) = line.split_once(' ') else {
            continue;
        };
        let rank = names.iter().position(|it| it == name);
        if let Some(rank) = rank.filter(|rank| found.as_ref().is_none_or(|it| it.0 > *rank)) {
            found = id.parse().ok().map(|commit| (rank, commit));
        }
    }
}

/// The next packet: its length in four hexadecimal digits, their own included, and what is in it; nothing for one that ends a
/// list.
fn packet(reader: &mut impl Read) -> IoResult<Vec<u8>> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let length = std::str::from_utf8(&length).ok();
    let length = length.and_then(|it| usize::from_str_radix(it, 16).ok());
    let length = match length {
        Some(0) => return Ok(vec![]),
        Some(length) => length.checked_sub(4),
        None => None,
    };
    let mut packet = vec![0; length.ok_or_else(|| IoError::other("it is no list of packets"))?];
    reader.read_exact(&mut packet)?;
    Ok(packet)
}

/// Finds addresses as usual, but, if it is to be so, none that are near: of this machine, of its networks, of a cloud's metadata.
#[derive(Debug)]
struct Near {
    only_outside: bool,
}

impl Resolver for Near {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let all = DefaultResolver::default().resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        let is_kept = |it: &&SocketAddr| !self.only_outside || !is_near(it.ip());
        all.iter().filter(is_kept).for_each(|it| kept.push(*it));
        match kept.is_empty() {
            true => Err(ureq::Error::HostNotFound),
            false => Ok(kept),
        }
    }
}

fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => {
            // 100.64.0.0/10 is between a provider and its customers (RFC 6598).
            let is_shared = matches!(it.octets(), [100, 64..=127, ..]);
            let is_own = it.is_private() || it.is_loopback() || it.is_link_local();
            is_own || is_shared || it.octets().starts_with(&[0]) || it.octets() >= [224, 0, 0, 0]
        }
        IpAddr::V6(it) => {
            let is_own = it.is_unique_local() || it.is_loopback() || it.is_unicast_link_local();
            // What stands for an IPv4 address may be any of those.
            let is_other = matches!(it.segments(), [0x64, 0xff9b, ..] | [0x2002, ..])
                || it.segments().starts_with(&[0; 6]);
            is_own || is_other || it.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn advertise(lines: &[&str]) -> Vec<u8> {
        let packet = |it: &&str| format!("{:04x}{it}", it.len() + 4);
        let lines: String = lines.iter().map(packet).collect();
        format!("001e# service=git-upload-pack\n0000{lines}0000").into_bytes()
    }

    fn found(refs: &[u8], names: &[&str]) -> Option<String> {
        let names: Vec<String> = names.iter().map(|it| it.to_string()).collect();
        find(refs, &names).unwrap().map(|it| it.to_string())
    }

    #[test]
    fn a_reference_has_a_commit() {
        let refs = advertise(&[
            &format!("{A} HEAD\0multi_ack symref=HEAD:refs/heads/main\n"),
            &format!("{A} refs/heads/main\n"),
            &format!("{B} refs/heads/other\n"),
            &format!("{B} refs/tags/v1\n"),
            &format!("{A} refs/tags/v1^{{}}\n"),
        ]);
        assert_eq!(found(&refs, &["HEAD"]).as_deref(), Some(A));
        assert_eq!(found(&refs, &["refs/heads/other"]).as_deref(), Some(B));
        assert_eq!(
            found(&refs, &["refs/heads/v1", "refs/tags/v1"]).as_deref(),
            Some(A)
        );
        assert_eq!(found(&refs, &["refs/heads/othe"]), None);
        // What is cut off, or no such list at all, is no answer.
        for bad in [&refs[..refs.len() - 5], b"", b"zzzz", b"0003", b"<html>"] {
            assert!(find(bad, &["refs/heads/x".to_owned()]).is_err());
        }
        assert!(find(&b"001e# service=git-receive-pack\n00000000"[..], &[]).is_err());
    }

    #[test]
    fn sources_are_read_as_makepkg_reads_them() {
        let read = |source: &str| match Source::of(source) {
            Source::Plain => "plain".to_owned(),
            Source::Fixed => "fixed".to_owned(),
            Source::Unknown => "unknown".to_owned(),
            Source::Git { url, reference } => format!("{url} {reference}"),
        };
        for (source, what) in [
            ("git+https://a/b.git", "https://a/b.git HEAD"),
            (
                "n::git+http://a/b#branch=x/y?signed",
                "http://a/b refs/heads/x/y",
            ),
            ("git+https://a/b?signed#tag=v1", "https://a/b refs/tags/v1"),
            ("git+https://a/b#commit=12", "fixed"),
            ("git+https://a/b#odd=12", "unknown"),
            ("git://a/b", "git://a/b HEAD"),
            ("git+ssh://git@a/b", "ssh://git@a/b HEAD"),
            ("x::hg+https://a/b", "unknown"),
            ("svn://a/b", "unknown"),
            ("bzr+lp:thing", "unknown"),
            ("fix.patch", "plain"),
            ("n.tar.gz::https://a/b.tar.gz", "plain"),
        ] {
            assert_eq!(read(source), what, "{source}");
        }
    }

    #[test]
    fn a_host_that_does_not_answer_is_asked_once() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let list = format!("http://{0}/a\nhttp://{0}/b", server.local_addr().unwrap());
        let (repo, arch) = ("mine".parse().unwrap(), "any".parse().unwrap());
        let list = crate::list::read_from(list.as_bytes(), "L", &repo, &arch).unwrap();
        // It takes calls, and says nothing to them.
        let (sender, calls) = std::sync::mpsc::channel();
        std::thread::spawn(move || server.incoming().try_for_each(|_| sender.send(())));
        let looker = Looker::default();
        for entry in &list.entries {
            let crate::list::Entry::Repo(repo) = entry else {
                panic!("no entry");
            };
            assert!(looker.commit(repo).is_none());
        }
        assert_eq!(calls.try_iter().count(), 1);
    }

    #[test]
    fn what_is_near_is_known() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "172.20.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1"] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }
}
