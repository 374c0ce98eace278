//! The page of a folder, `DIR/index.html`: which packages there are, how pacman gets at them, and what couldn't be built. All that
//! comes from outside is escaped, and no link leads anywhere but to `http://`, `https://` and the logs below the folder.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::database::Database;
use super::folder::Shelf;
use super::records::{Record, Records};
use super::staging::Staging;
use crate::clock::utc;
use crate::error::Result;
use crate::http::encode;
use crate::owners::Key;
use crate::report::Failed;
use crate::words::Commit;

/// What it is called.
const FILE: &str = "index.html";

/// What is the same on each.
const TEMPLATE: &str = include_str!("page.html");

/// The line by which one of ours is known.
const MARK: &str = "<!-- made by vieter;";

/// A repository on it.
pub struct Section<'s> {
    /// Where it is.
    pub shelf: Shelf<'s>,
    /// What is in it.
    pub database: Database,
    /// What is remembered of it.
    pub records: Records,
}

impl Section<'_> {
    /// Whether there is nothing to be shown.
    pub fn is_empty(&self) -> bool {
        self.database.packages().next().is_none() && self.records.failures.is_empty()
    }
}

/// Writes the page of a folder anew, unless there is one that isn't ours.
///
/// # Errors
/// Those of the file system.
pub fn write(dir: &Path, sections: &[Section]) -> Result<()> {
    let path = dir.join(FILE);
    let sections: String = sections.iter().map(|it| section(dir, it)).collect();
    let page = TEMPLATE.replace("@REPOSITORIES@", &sections);
    match fs::read_to_string(&path) {
        Ok(text) if text == page => return Ok(()),
        Ok(text) if text.contains(MARK) => (),
        Err(error) if error.kind() == ErrorKind::NotFound => (),
        _ => {
            log::warn!("{} isn't ours, so it stays as it is", path.display());
            return Ok(());
        }
    }
    let staging = Staging::new(dir, None)?;
    staging.write(FILE, page.as_bytes())?;
    staging.place_alone(FILE)
}

fn section(dir: &Path, section: &Section) -> String {
    let (shelf, records) = (&section.shelf, &section.records);
    let (repo, arch) = (escaped(shelf.repo.as_str()), escaped(shelf.arch.as_str()));
    let level = match shelf.folder.settings.sign_command {
        Some(_) => "Required DatabaseOptional",
        None => "Optional TrustAll",
    };
    // A space, or pacman's own `$`, would end it.
    let parts = dir.iter().map(|part| encode(&part.to_string_lossy()));
    let file = parts.collect::<Vec<_>>().join("/");
    let file = escaped(file.trim_start_matches("%2F"));
    let mut html = format!(
        "<h2>{repo} <span class=\"dim\">{arch}</span></h2>\n<p>For /etc/pacman.conf, on this machine; elsewhere with the \
         address of this page in place of file://{file}:</p>\n\
         <pre>[{repo}]\nServer = file://{file}/$repo/$arch\nSigLevel = {level}</pre>\n"
    );
    if !records.failures.is_empty() {
        html += "<h3>Not built</h3>\n<table><tbody>\n";
        html.extend(records.failures.iter().map(|it| failure(dir, it)));
        html += "</tbody></table>\n";
    }
    html += "<table><thead><tr><th>Package</th><th>Version</th><th>Size</th><th>Built</th><th>From</th></tr></thead><tbody>\n";
    for package in section.database.packages() {
        let record = records.packages.get(package.name.as_str());
        html += &format!(
            "<tr><td class=\"name\">{}</td><td data-what=\"version\">{}</td><td data-what=\"size\">{}</td>{}</tr>\n",
            escaped(&package.name),
            escaped(&package.version),
            size(package.size),
            record.map_or("<td></td><td></td>".to_owned(), origin)
        );
    }
    html + "</tbody></table>\n"
}

/// The cells with where a package came from.
fn origin(record: &Record) -> String {
    let commit = record.commit.as_ref().map_or("", Commit::as_str);
    format!(
        "<td data-what=\"built\">{}</td><td data-what=\"from\">{} <span class=\"dim\">{}</span></td>",
        time(record.time),
        link(&record.entry.url, &record.entry.name()),
        escaped(&format!("{commit:.12}"))
    )
}

/// The row of something that couldn't be built.
fn failure(dir: &Path, (entry, it): &(Key, Failed)) -> String {
    let log = it.log.as_ref().and_then(|log| fs::canonicalize(log).ok());
    let below = log.as_ref().and_then(|log| log.strip_prefix(dir).ok());
    let log = below.map_or(String::new(), |log| {
        let parts = log.iter().map(|part| encode(&part.to_string_lossy()));
        let path = parts.collect::<Vec<_>>().join("/");
        format!(", <a href=\"{path}\">log</a>")
    });
    format!(
        "<tr><td class=\"name\">{}</td><td>at {}, {}{log}, from {}<br><span class=\"dim\">{}</span></td></tr>\n",
        escaped(&it.name),
        escaped(&it.step.to_string()),
        time(it.time),
        link(&entry.url, &entry.name()),
        escaped(&it.error)
    )
}

/// A link to what may be linked to, or the text alone.
fn link(url: &str, text: &str) -> String {
    let (url, text) = (escaped(url), escaped(text));
    match url.starts_with("https://") || url.starts_with("http://") {
        true => format!("<a href=\"{url}\">{text}</a>"),
        false => text,
    }
}

fn time(seconds: u64) -> String {
    let time: String = utc(seconds).replace('T', " ").chars().take(16).collect();
    time + " UTC"
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A text as HTML shows it, in an attribute, too.
fn escaped(text: &str) -> String {
    // First the character that is in what stands for the others.
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_like_its_signature_is_somebody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let bystander = dir.path().join("index.html.sig");
        fs::write(&bystander, "theirs").unwrap();
        write(dir.path(), &[]).unwrap();
        assert!(dir.path().join(FILE).is_file());
        assert_eq!(fs::read(bystander).unwrap(), b"theirs");
    }

    #[test]
    fn what_comes_from_outside_is_text() {
        assert_eq!(
            escaped("<a href='x' title=\"&\">"),
            "&lt;a href=&#39;x&#39; title=&quot;&amp;&quot;&gt;"
        );
        assert_eq!(link("javascript:alert(1)", "x"), "x");
        assert_eq!(
            link("https://a/\"x", "<b>"),
            "<a href=\"https://a/&quot;x\">&lt;b&gt;</a>"
        );
        assert_eq!(
            (time(1_735_689_599), size(0)),
            ("2024-12-31 23:59 UTC".into(), "0.0 kB".into())
        );
    }
}
