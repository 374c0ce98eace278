//! Which entry of the list a package name belongs to, in each pacman repository, for one run: the first that has it. Not
//! here: who had it last night, which nobody remembers.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::list::Repo;
use crate::pkgbuild::Pkgbuild;
use crate::words::{PackageName, RepoName};

/// The names that were seen, and whose they are.
#[derive(Default)]
pub struct Owners(HashMap<(RepoName, String), Repo>);

impl Owners {
    /// Takes all names of a PKGBUILD for its entry: its packages, its pkgbase, and the debug package of that.
    ///
    /// # Errors
    /// One of them is another entry's.
    pub fn claim(&mut self, repo: &Repo, pkgbuild: &Pkgbuild) -> Result<()> {
        let base = &pkgbuild.pkgbase;
        let mut names: Vec<String> = pkgbuild.names.iter().map(PackageName::to_string).collect();
        names.extend([base.to_string(), format!("{base}-debug")]);
        let place = |name: &String| (repo.publish_to.clone(), name.clone());
        for name in &names {
            if let Some(owner) = self.0.get(&place(name)).filter(|owner| *owner != repo) {
                let what = format!("a package {name} in {}", repo.publish_to);
                let why = format!(
                    "it belongs to {}, and {} can't have it",
                    owner.name, repo.name
                );
                let advice = "take one of the two off the list, or give it another repo";
                return Err(Error::unusable(what, why).advise(advice));
            }
        }
        self.0
            .extend(names.iter().map(|name| (place(name), repo.clone())));
        Ok(())
    }

    /// An entry other than this one that has this name, in whatever pacman repository.
    pub fn other(&self, repo: &Repo, name: &PackageName) -> Option<&Repo> {
        let names_it = |place: &(RepoName, String)| place.1 == name.as_str();
        let owners = self.0.iter().filter(|(place, _)| names_it(place));
        let mut owners = owners.map(|(_, owner)| owner);
        owners.find(|owner| *owner != repo)
    }
}
