//! What became of each repository: the summary at the end of a run. Not here: why it came so (`job`).

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Kind};

/// The steps of a repository's build, in their order. Each is called by its name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Nothing more of it was done.
    Failed(Failure),
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
}

impl Line {
    /// Whether it is the dependencies that could not be installed: another repository may bring them.
    pub fn lacks_dependencies(&self) -> bool {
        let is_it = |failure: &Failure| {
            failure.step == Step::Dependencies && matches!(failure.error.kind, Kind::Exit(_))
        };
        matches!(&self.outcome, Outcome::Failed(failure) if is_it(failure))
    }

    /// Whether it has to come behind all entries that were not looked at yet.
    pub fn came_early(&self) -> bool {
        matches!(&self.outcome, Outcome::Failed(it) if it.error.kind == Kind::Early)
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
        let (name, took) = (&self.name, self.took.as_secs_f64());
        match &self.outcome {
            Outcome::Built => write!(f, "built       {name}  {took:.1} s"),
            Outcome::UpToDate => write!(f, "up to date  {name}  {took:.1} s"),
            Outcome::Failed(Failure { step, .. }) => {
                let url = self.url_behind("  ");
                write!(f, "failed      {name}  at {step}  {took:.1} s{url}")
            }
        }
    }
}

/// All of a run, in the order in which it happened.
#[derive(Default)]
pub struct Summary {
    lines: Vec<Line>,
}

impl Summary {
    /// Adds a line, and says it in the log.
    pub fn add(&mut self, line: Line) {
        match &line.outcome {
            Outcome::Failed(Failure { step, error }) => {
                let (name, url) = (&line.name, line.url_behind(" of "));
                log::error!("{name}{url}: failed at {step}: {error}");
            }
            _ => log::info!("{line}"),
        }
        self.lines.push(line);
    }

    /// 0 if all went well, 1 if a repository failed.
    pub fn exit_code(&self) -> u8 {
        let failed = |line: &Line| matches!(line.outcome, Outcome::Failed(_));
        u8::from(self.lines.iter().any(failed))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        let count = |is: fn(&Line) -> bool| self.lines.iter().filter(|it| is(it)).count();
        let built = count(|line| matches!(line.outcome, Outcome::Built));
        let up_to_date = count(|line| matches!(line.outcome, Outcome::UpToDate));
        let failed = count(|line| matches!(line.outcome, Outcome::Failed(_)));
        writeln!(f, "{built} built, {up_to_date} up to date, {failed} failed")
    }
}
