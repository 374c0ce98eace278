//! Which repository comes next, without any I/O: those that weren't tried, in the order of the list, and then those that
//! lacked dependencies, each again when something was published since. Not here: how one is built (`job`).

use std::collections::VecDeque;

/// What is not done with, and what became of it when it was tried: `T` is a repository, `R` a report.
pub struct Queue<T, R>(VecDeque<Waiting<T, R>>);

/// Something that is not done with.
struct Waiting<T, R> {
    item: T,
    tried: Option<Tried<R>>,
}

/// Something that lacked what others may publish.
struct Tried<R> {
    /// How many archives had been published when it was tried.
    published: usize,
    /// What is said of it if it isn't tried again.
    report: R,
}

impl<T, R> Queue<T, R> {
    /// A queue of nothing.
    pub fn empty() -> Self {
        Queue(VecDeque::new())
    }

    /// Adds what was not tried yet, at the end.
    pub fn add(&mut self, item: T) {
        self.0.push_back(Waiting { item, tried: None });
    }

    /// How much is not done with.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all is done with.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the first that is due, now that so many archives have been published.
    pub fn next(&mut self, published: usize) -> Option<T> {
        let is_due = |waiting: &Waiting<T, R>| match &waiting.tried {
            None => true,
            Some(tried) => tried.published < published,
        };
        let position = self.0.iter().position(is_due)?;
        self.0.remove(position).map(|waiting| waiting.item)
    }

    /// Puts back what lacked dependencies, with the number of archives that had been published then.
    pub fn wait(&mut self, item: T, published: usize, report: R) {
        let tried = Some(Tried { published, report });
        self.0.push_back(Waiting { item, tried });
    }

    /// What waited in vain, when nothing is due any more.
    pub fn into_reports(self) -> impl Iterator<Item = R> {
        self.0
            .into_iter()
            .filter_map(|it| it.tried)
            .map(|it| it.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_tried_comes_in_order_and_first() {
        let mut queue = Queue::empty();
        for item in ["a", "b", "c"] {
            queue.add(item);
        }
        assert_eq!(queue.next(0), Some("a"));
        queue.wait("a", 0, "a lacks b");
        // Something was published, so a is due again; but b and c have not had their turn.
        assert_eq!(queue.next(1), Some("b"));
        assert_eq!(queue.next(1), Some("c"));
        assert_eq!(queue.next(1), Some("a"));
        assert!(queue.is_empty());
        assert_eq!(queue.next(1), None);
    }

    #[test]
    fn what_waits_is_due_only_when_something_was_published_since() {
        let mut queue = Queue::empty();
        queue.add("a");
        assert_eq!(queue.next(3), Some("a"));
        queue.wait("a", 3, "lacks b");
        assert_eq!(queue.next(3), None);
        assert_eq!((queue.len(), queue.is_empty()), (1, false));
        assert_eq!(queue.next(4), Some("a"));
        queue.wait("a", 4, "lacks c");
        assert_eq!(queue.next(4), None);
        assert_eq!(queue.into_reports().collect::<Vec<_>>(), ["lacks c"]);
    }

    #[test]
    fn what_was_never_tried_has_no_report() {
        let mut queue: Queue<_, &str> = Queue::empty();
        queue.add("a");
        assert_eq!(queue.into_reports().count(), 0);
    }
}
