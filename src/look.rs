//! A look at a Git repository without Git and without a container: which commit a reference of it has now. It is one request,
//! `GET <url>/info/refs?service=git-upload-pack` (gitprotocol-http(5)), without credentials; redirects aren't followed, and
//! whatever is odd is no answer, as a container finds it out, too. Not here: what is remembered of the last look (`memory`).

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{BufReader, Error as IoError, ErrorKind, Read, Result as IoResult};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::http::{Client, Deadline};
use crate::list::{Repo, RepoKind};
use crate::text::one_line;
use crate::words::Commit;

/// The most that is read of an answer, in bytes.
const MAX_REFS: u64 = 4 * 1024 * 1024;

/// How long an answer may take, and those of all sources of a PKGBUILD.
pub const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(30);

/// The commit, or the tag, that a reference of a Git repository had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    url: String,
    /// `HEAD`, or what begins with `refs/`.
    reference: String,
    commit: Commit,
}

/// What asks Git servers.
pub struct Looker {
    /// Asks whomever the list names.
    anybody: Agent,
    /// Asks whomever a stranger's PKGBUILD names: not what is near us, as we aren't in the network that builds are in.
    outside: Agent,
    /// The servers that didn't answer once: a list may have a thousand entries there.
    silent: RefCell<HashSet<String>>,
}

impl Default for Looker {
    fn default() -> Looker {
        // A proxy would look up addresses for us.
        let direct = Client::config().proxy(None).build();
        Looker {
            anybody: Client::config().build().new_agent(),
            outside: Agent::with_parts(direct, DefaultConnector::default(), Outside),
            silent: RefCell::default(),
        }
    }
}

impl Looker {
    /// The commit that a build of this entry would be of; `None` if that can't be known so.
    pub fn commit(&self, repo: &Repo, by: Deadline) -> Option<Commit> {
        if repo.kind != RepoKind::Git {
            return None;
        }
        let reference = match repo.branch.as_str() {
            "" => "HEAD".to_owned(),
            // If it is a tag's name, a container looks.
            branch => format!("refs/heads/{branch}"),
        };
        self.ask(
            &self.anybody,
            &repo.url,
            &reference,
            by.within(PATIENCE_FOR_ALL),
        )
    }

    /// The commits that the Git sources of an entry's PKGBUILD have now. `None` if it has others than can be asked so, or none.
    pub fn sources(&self, repo: &Repo, sources: &[String], by: Deadline) -> Option<Vec<Head>> {
        let by = by.within(PATIENCE_FOR_ALL);
        let mut heads = vec![];
        let mut has_git = false;
        for source in sources {
            match Source::of(source) {
                Source::Plain => (),
                Source::Fixed => has_git = true,
                Source::Git { url, reference } => {
                    has_git = true;
                    heads.push(self.head(repo, url, reference, by)?);
                }
                Source::Unknown => return None,
            }
        }
        has_git.then_some(heads)
    }

    /// Whether these have the commits still that they had; `None` if one can't be asked.
    pub fn are_unchanged(&self, repo: &Repo, heads: &[Head], by: Deadline) -> Option<bool> {
        let by = by.within(PATIENCE_FOR_ALL);
        for head in heads {
            if self.head(repo, head.url.clone(), head.reference.clone(), by)? != *head {
                return Some(false);
            }
        }
        Some(true)
    }

    fn head(&self, repo: &Repo, url: String, reference: String, by: Deadline) -> Option<Head> {
        // A host that the list names is as near as whoever wrote the list wants it to be.
        let agent = match host(&url) == host(&repo.url) {
            true => &self.anybody,
            false => &self.outside,
        };
        let commit = self.ask(agent, &url, &reference, by)?;
        Some(Head {
            url,
            reference,
            commit,
        })
    }

    /// Asks a Git server which commit a reference of a repository has, unless it was silent before.
    fn ask(&self, agent: &Agent, url: &str, reference: &str, by: Deadline) -> Option<Commit> {
        let uri: Uri = url.parse().ok()?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        // Its port as well, as a stranger's source may be at another one.
        let server = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
        if !is_http || url.contains(['@', '?', '#']) || self.silent.borrow().contains(&server) {
            return None;
        }
        // Not its fault if the others have left it less.
        let has_time = by.left() > PATIENCE;
        let by = by.within(PATIENCE);
        let path = "/info/refs?service=git-upload-pack";
        let request = agent.get(format!("{}{path}", url.trim_end_matches('/')));
        let request = request.config().timeout_global(Some(by.left())).build();
        let found = match request.call() {
            Ok(answer) if answer.status() == 200 => {
                find(answer.into_body().into_reader().take(MAX_REFS), reference)
            }
            Ok(answer) => Err(IoError::other(format!("answered {}", answer.status()))),
            Err(ureq::Error::HostNotFound) => Err(IoError::other("it is near, or nowhere")),
            Err(error) => Err(IoError::new(ErrorKind::NotConnected, error)),
        };
        if let Err(error) = &found {
            log::debug!("{}", one_line(&format!("{url}: {error}"), 500));
            let is_silent = error.kind() == ErrorKind::NotConnected || by.has_passed();
            if has_time && is_silent {
                self.silent.borrow_mut().insert(server);
            }
        }
        found.ok()?
    }
}

fn host(url: &str) -> Option<String> {
    Some(url.parse::<Uri>().ok()?.host()?.to_owned())
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
        // `bzr+lp:x` has no slashes.
        let scheme = location.split_once(':').map_or("", |(scheme, _)| scheme);
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
            // Anything else that git takes for one may lead elsewhere tomorrow.
            Some(("commit", id)) if id.bytes().all(|it| it.is_ascii_hexdigit()) => {
                return Source::Fixed;
            }
            Some(("branch", name)) => format!("refs/heads/{name}"),
            Some(("tag", name)) => format!("refs/tags/{name}"),
            _ => return Source::Unknown,
        };
        Source::Git { url, reference }
    }
}

/// Reads an advertisement of references, to its end.
fn find(advertised: impl Read, reference: &str) -> IoResult<Option<Commit>> {
    let mut reader = BufReader::new(advertised);
    let is_smart = packet(&mut reader)?.starts_with(b"# service=git-upload-pack");
    if !is_smart || !packet(&mut reader)?.is_empty() {
        return Err(IoError::other("it doesn't speak Git's smart protocol"));
    }
    let mut found = None;
    loop {
        let line = packet(&mut reader)?;
        if line.is_empty() {
            return Ok(found);
        }
        // Behind a NUL stands, in the first one, what the server can do.
        let line = String::from_utf8_lossy(&line);
        let line = line.split('\0').next().unwrap_or_default().trim_end();
        if let Some((id, name)) = line.split_once(' ')
            && name == reference
        {
            found = id.parse().ok();
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

/// Finds addresses as usual, but none that are near: of this machine, of its networks, of a cloud's metadata.
#[derive(Debug)]
struct Outside;

impl Resolver for Outside {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let all = DefaultResolver::default().resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        let is_kept = |it: &&SocketAddr| !is_near(it.ip());
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
    use crate::list::tests::repos;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn advertise(lines: &[&str]) -> Vec<u8> {
        let packet = |it: &&str| format!("{:04x}{it}", it.len() + 4);
        let lines: String = lines.iter().map(packet).collect();
        format!("001e# service=git-upload-pack\n0000{lines}0000").into_bytes()
    }

    fn found(refs: &[u8], name: &str) -> Option<String> {
        find(refs, name).unwrap().map(|it| it.to_string())
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
        assert_eq!(found(&refs, "HEAD").as_deref(), Some(A));
        assert_eq!(found(&refs, "refs/heads/other").as_deref(), Some(B));
        assert_eq!(found(&refs, "refs/tags/v1").as_deref(), Some(B));
        assert_eq!(found(&refs, "refs/heads/v1"), None);
        assert_eq!(found(&refs, "refs/heads/othe"), None);
        // What is cut off, or no such list at all, is no answer.
        for bad in [&refs[..refs.len() - 5], b"", b"zzzz", b"0003", b"<html>"] {
            assert!(find(bad, "HEAD").is_err());
        }
        assert!(find(&b"001e# service=git-receive-pack\n00000000"[..], "HEAD").is_err());
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
            ("n::bzr+lp:thing", "unknown"),
            ("lp:thing", "plain"),
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
        // It takes calls, and says nothing to them.
        let (sender, calls) = std::sync::mpsc::channel();
        std::thread::spawn(move || server.incoming().try_for_each(|_| sender.send(())));
        let looker = Looker::default();
        for repo in &repos(&list) {
            let by = Deadline::after(PATIENCE_FOR_ALL);
            assert!(looker.commit(repo, by).is_none());
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
