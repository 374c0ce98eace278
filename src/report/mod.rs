//! What became of each repository: a line as soon as it is known, and the counts at the end of a run. Not here: why it came so (`job`).

mod json;

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::json::Report;
use crate::clock::{ago, since_1970, weekday};
use crate::error::{Error, Kind, Result};
use crate::list::Repo;
use crate::look::Head;
use crate::screen;
use crate::text::one_line;

/// The steps of a repository's build, in their order. Each is called by its name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Its entry in the list.
    List,
    /// A container for it.
    Container,
    /// `git clone`, or the download of a PKGBUILD.
    Clone,
    /// The keys in `validpgpkeys`.
    Keys,
    /// The PKGBUILD's names and version, `pkgver()` included.
    Version,
    /// Whether that version is published.
    Check,
    /// The packages that the build needs.
    Dependencies,
    /// `makepkg`.
    Build,
    /// The archives, to where they are published.
    Publish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// Why a repository failed.
pub struct Failure {
    /// Where.
    pub step: Step,
    /// How.
    pub error: Error,
}

/// What is printed when something couldn't be downloaded, or a key couldn't: by makepkg, by pacman, by what a PKGBUILD runs.
const NO_DOWNLOAD: [&str; 6] = [
    "Failure while downloading",
    "Could not download sources",
    "failed retrieving file",
    "failed to retrieve",
    "unknown public key",
    "Could not resolve host",
];

impl Failure {
    /// Whether it would most likely fail again as long as nothing has changed: neither a network nor a server was in it, nor
    /// another entry of the list.
    pub fn may_wait(&self) -> bool {
        let is_own = match self.error.kind {
            Kind::Exit(_) => !NO_DOWNLOAD.iter().any(|it| self.error.output.contains(it)),
            Kind::OutOfTime => self.step == Step::Build,
            Kind::Unusable => true,
            _ => false,
        };
        is_own && matches!(self.step, Step::Version | Step::Dependencies | Step::Build)
    }
}

/// The exit code when nothing has failed, but a person has to look at something.
pub const TO_REVIEW: u8 = 5;

/// Gives an error the step that it happened at.
pub fn at(step: Step) -> impl Fn(Error) -> Failure {
    move |error| Failure { step, error }
}

/// What happened to a repository.
pub enum Outcome {
    /// At least one archive was published.
    Built,
    /// All that it makes was published already.
    UpToDate,
    /// It lacks what would be built now, but for that nothing is to be built (`--dry-run`).
    WouldBuild,
    /// Nothing more of it was done.
    Failed(Failure),
    /// The run ended before it was done with, and before it was reached if there is no failure.
    NotBuilt(Option<Failure>),
    /// Nothing of it was run, as no commit of it is approved that is there: why.
    Held(String),
    /// A package that no entry of the list makes any more.
    Gone,
    /// One that was removed for that.
    Removed,
}

impl Outcome {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Built => "built",
            Outcome::UpToDate => "up to date",
            Outcome::WouldBuild => "would build",
            Outcome::Failed(_) => "failed",
            Outcome::NotBuilt(_) => "not built",
            Outcome::Held(_) => "held",
            Outcome::Gone => "gone",
            Outcome::Removed => "removed",
        }
    }
}

/// What is known of a repository, beside what happened to it.
#[derive(Clone, Default)]
pub struct Facts {
    /// Its entry of the list.
    pub entry: Option<Rc<Repo>>,
    /// The commit that it is of.
    pub commit: Option<String>,
    /// Its pkgbase.
    pub pkgbase: Option<String>,
    /// The version that it makes.
    pub version: Option<String>,
    /// The version that is published, if that was asked.
    pub published: Option<String>,
    /// Its packages.
    pub names: Vec<String>,
    /// The Git sources that its version depends on; `None` if they can't be known.
    pub sources: Option<Vec<Head>>,
    /// That it failed before, and isn't tried again yet.
    pub waits: Option<Waits>,
    /// What came after the approved commit.
    pub to_review: Option<ToReview>,
    /// Whether its commit was approved in this run, as an update.
    pub is_update: bool,
    /// The file with all that was printed.
    pub log: Option<PathBuf>,
    /// The archives that were published.
    pub archives: Vec<Archived>,
}

impl Facts {
    /// What there is to say of its approval, as it stands behind its name.
    fn of_approval(&self) -> String {
        match &self.to_review {
            Some(to_review) => format!("  ({to_review})"),
            None if self.is_update => "  (an update)".to_owned(),
            None => String::new(),
        }
    }
}

/// A failure that isn't tried again yet.
#[derive(Clone)]
pub struct Waits {
    /// What it was.
    pub failed: Failed,
    /// When it is tried again, in seconds since 1970.
    pub next: u64,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ago = ago(self.failed.time);
        write!(f, "{ago}, next try on {}", weekday(self.next))
    }
}

/// What came after the approved commit of an entry, and nobody has approved yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToReview {
    /// The approved commit.
    pub approved: String,
    /// The newest one.
    pub tip: String,
    /// How many there are between them, if that is known: none if the branch was set back.
    pub count: Option<u64>,
    /// Whether it was looked at whether they are an update, and nothing else.
    pub is_judged: bool,
}

impl fmt::Display for ToReview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(1) => f.write_str("1 commit to review"),
            Some(0) => f.write_str("its branch was set back; to review"),
            Some(count) => write!(f, "{count} commits to review"),
            None => f.write_str("commits to review"),
        }
    }
}

/// An archive that was published.
#[derive(Clone, Debug, Serialize)]
pub struct Archived {
    /// What it is called.
    pub file: String,
    /// In bytes.
    pub size: u64,
    /// Of its bytes, in hexadecimal digits.
    pub sha256: String,
}

/// One line of the summary.
pub struct Line {
    /// The pkgbase and its version, or, as long as they aren't known, the repository's URL.
    pub name: String,
    /// The repository's URL: a name can be anybody's.
    pub url: String,
    /// What happened to it.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
    /// What else is known of it.
    pub facts: Facts,
}

impl Line {
    /// Of a repository that was never looked at, of this URL.
    pub fn untouched(url: String, outcome: Outcome) -> Line {
        let (name, took, facts) = (url.clone(), Duration::ZERO, Facts::default());
        Line {
            name,
            url,
            outcome,
            took,
            facts,
        }
    }

    /// Of an entry of which nothing is run, for this reason.
    pub fn held(repo: &Rc<Repo>, why: String) -> Line {
        let mut line = Line::untouched(repo.name(), Outcome::Held(why));
        line.facts.entry = Some(repo.clone());
        line
    }

    fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Failed(failure) | Outcome::NotBuilt(Some(failure)) => Some(failure),
            _ => None,
        }
    }

    /// Whether it is the dependencies that could not be installed: another repository may bring them.
    pub fn lacks_dependencies(&self) -> bool {
        self.failure().is_some_and(|it| {
            it.step == Step::Dependencies && matches!(it.error.kind, Kind::Exit(_) | Kind::Waits)
        })
    }

    /// Whether the builder image has to be brought up to date before it can be built.
    pub fn needs_newer_image(&self) -> bool {
        self.failure()
            .is_some_and(|it| it.error.kind == Kind::Outdated)
    }

    /// Whether it has to come behind all entries that were not looked at yet.
    pub fn came_early(&self) -> bool {
        self.failure()
            .is_some_and(|it| it.error.kind == Kind::Early)
    }

    /// The URL, if the name isn't that.
    fn url_behind(&self, before: &str) -> String {
        match self.url == self.name {
            true => String::new(),
            false => format!("{before}{}", self.url),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, took) = (self.outcome.name(), self.took.as_secs_f64());
        let name = &format!("{}{}", self.name, self.facts.of_approval());
        if let Outcome::Held(why) = &self.outcome {
            return write!(f, "{what:<10}  {name}  ({why})");
        }
        match self.failure() {
            Some(Failure { step, .. }) => {
                let url = self.url_behind("  ");
                let log = self.facts.log.as_ref().map(|it| it.display());
                match &self.facts.waits {
                    Some(waits) => {
                        let log = log.map_or(String::new(), |it| format!("; log: {it}"));
                        write!(f, "{what:<10}  {name}  at {step}, {waits}{log}{url}")
                    }
                    None => {
                        let log = log.map_or(String::new(), |it| format!("  log: {it}"));
                        write!(f, "{what:<10}  {name}  at {step}  {took:.1} s{url}{log}")
                    }
                }
            }
            None if matches!(self.outcome, Outcome::WouldBuild) => {
                let published = self.facts.published.as_deref();
                let published = published.unwrap_or("nothing");
                write!(f, "{what}  {name}  ({published} is published)  {took:.1} s")
            }
            None if self.took.is_zero() => write!(f, "{what:<10}  {name}"),
            None => write!(f, "{what:<10}  {name}  {took:.1} s"),
        }
    }
}

/// How a run is told, beside the log.
#[derive(Clone, Default)]
pub struct Settings {
    /// Whether the lines are JSON, for programs.
    pub json: bool,
    /// Where to write what there is to tell, as JSON.
    pub report: Option<PathBuf>,
}

/// What is told of a run.
#[derive(Default)]
pub struct Summary {
    counts: Counts,
    json: bool,
    report: Option<Report>,
    /// The entries that were tried, and what failed of them.
    pub tried: Vec<Tried>,
}

/// An entry, and how it failed, if it did.
pub type Tried = (Rc<Repo>, Option<Box<Failed>>);

/// What is remembered of a failure.
#[derive(Clone, Serialize, Deserialize)]
pub struct Failed {
    /// What the line called it: its pkgbase and version, or its URL.
    pub name: String,
    /// Where.
    pub step: Step,
    /// How, on a line.
    pub error: String,
    /// The file with what was printed.
    pub log: Option<PathBuf>,
    /// When, in seconds since 1970.
    pub time: u64,
}

impl Failed {
    /// What is remembered of a line's failure.
    pub fn of(line: &Line, Failure { step, error }: &Failure) -> Failed {
        if let Some(waits) = &line.facts.waits {
            return waits.failed.clone();
        }
        Failed {
            name: line.name.clone(),
            step: *step,
            error: one_line(&error.to_string(), 300),
            log: line.facts.log.clone(),
            time: since_1970(),
        }
    }
}

/// How many repositories of a run there are of each outcome.
#[derive(Default, PartialEq)]
struct Counts {
    built: usize,
    up_to_date: usize,
    failed: usize,
    not_built: usize,
    would_build: usize,
    held: usize,
    to_review: usize,
    gone: usize,
    removed: usize,
}

impl Summary {
    /// Of a run that begins.
    ///
    /// # Errors
    /// A report that can't be written.
    pub fn new(settings: Settings) -> Result<Summary> {
        let report = settings.report.map(Report::begin).transpose()?;
        Ok(Summary {
            report,
            json: settings.json,
            counts: Counts::default(),
            tried: vec![],
        })
    }

    /// Tells a line that is final, in the log and, at once, on the standard output: whatever ends the run, what was done
    /// stands there. A reader that has gone away is no reason to fail.
    pub fn add(&mut self, line: Line) {
        match line.failure() {
            Some(Failure { step, error }) => {
                let (name, url) = (&line.name, line.url_behind(" of "));
                let waits = line.facts.waits.as_ref();
                let waits = waits.map_or(String::new(), |it| format!(", {it}"));
                log::error!("{name}{url}: failed at {step}{waits}: {error}");
            }
            None => log::info!("{line}"),
        }
        match self.json {
            true => screen::tell(format_args!("{}\n", json::line(&line))),
            false => screen::tell(format_args!("{line}\n")),
        }
        let counts = &mut self.counts;
        let count = match line.outcome {
            Outcome::Built => &mut counts.built,
            Outcome::UpToDate => &mut counts.up_to_date,
            Outcome::WouldBuild => &mut counts.would_build,
            Outcome::Failed(_) => &mut counts.failed,
            Outcome::NotBuilt(_) => &mut counts.not_built,
            Outcome::Held(_) => &mut counts.held,
            Outcome::Gone => &mut counts.gone,
            Outcome::Removed => &mut counts.removed,
        };
        *count = count.saturating_add(1);
        if line.facts.to_review.is_some() {
            counts.to_review = counts.to_review.saturating_add(1);
        }
        if let Some(report) = &mut self.report {
            report.add(&line);
        }
        if let Some(entry) = &line.facts.entry {
            let failed = line.failure().map(|it| Box::new(Failed::of(&line, it)));
            self.tried.push((entry.clone(), failed));
        }
    }

    /// Tells the counts, once there is nothing more to be told.
    pub fn end(&mut self) {
        if !self.json {
            screen::tell(&self.counts);
        }
        if let Some(report) = &mut self.report {
            report.end();
        }
    }

    /// Whether anything was told.
    pub fn has_lines(&self) -> bool {
        self.counts != Counts::default()
    }

    /// Whether everything was built, or is up to date.
    pub fn is_well(&self) -> bool {
        self.counts.failed == 0 && self.counts.not_built == 0
    }

    /// 0 if all went well, 1 if a repository failed, 5 if none has, but something is to be reviewed.
    pub fn exit_code(&self) -> u8 {
        let Counts {
            failed,
            held,
            to_review,
            ..
        } = self.counts;
        match (failed, held, to_review) {
            (0, 0, 0) => 0,
            (0, _, _) => TO_REVIEW,
            _ => 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (built, up_to_date, failed) = (self.built, self.up_to_date, self.failed);
        write!(f, "{built} built, {up_to_date} up to date, {failed} failed")?;
        let others = [
            (self.not_built, "not built"),
            (self.would_build, "would be built"),
            (self.held, "held"),
            (self.to_review, "to review"),
            (self.gone, "gone"),
            (self.removed, "removed"),
        ];
        for (count, what) in others.iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        writeln!(f)
    }
}
