//! Which repository comes next, without any I/O: those that weren't tried, in the order of the list, and then those that
//! lacked something that others may bring, each again when there is hope. Not here: how one is built (`job`).

use std::collections::VecDeque;

/// What is not done with, and what became of it when it was tried: `T` is a repository, `R` a report.
pub struct Queue<T, R>(VecDeque<Waiting<T, R>>);

/// Something that is not done with.
struct Waiting<T, R> {
    item: T,
    /// Elsewhere, as a list may be long.
    tried: Option<Box<Tried<R>>>,
}

/// Something that lacked what others may bring.
struct Tried<R> {
    until: Until,
    /// What is said of it if it isn't tried again.
    report: R,
}

/// What something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// That more archives than so many have been published.
    Published(usize),
    /// That everything has been tried.
    AllWereTried,
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

    /// Puts back what was taken, as if it hadn't been tried.
    pub fn put_back(&mut self, item: T) {
        self.0.push_front(Waiting { item, tried: None });
    }

    /// How much is not done with.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all is done with.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something was never tried.
    pub fn has_untried(&self) -> bool {
        self.0.iter().any(|waiting| waiting.tried.is_none())
    }

    /// Takes the first that is due, now that so many archives have been published, and what was said of it if it was tried.
    pub fn next(&mut self, published: usize) -> Option<(T, Option<R>)> {
        let all_were_tried = !self.has_untried();
        let is_due = |waiting: &Waiting<T, R>| match waiting.tried.as_ref().map(|it| it.until) {
            None => true,
            Some(Until::Published(then)) => then < published,
            Some(Until::AllWereTried) => all_were_tried,
        };
        let position = self.0.iter().position(is_due)?;
        let Waiting { item, tried } = self.0.remove(position)?;
        Some((item, tried.map(|it| it.report)))
    }

    /// Puts back what was tried, and waits.
    pub fn wait(&mut self, item: T, until: Until, report: R) {
        let tried = Some(Box::new(Tried { until, report }));
        self.0.push_back(Waiting { item, tried });
    }

    /// All that isn't done with.
    pub fn into_items(self) -> impl Iterator<Item = T> {
        self.0.into_iter().map(|it| it.item)
    }

    /// What waits for more to be published, and what became of it.
    pub fn lacking(&self) -> impl Iterator<Item = (&T, &R)> {
        let lacks = |it: &Tried<R>| matches!(it.until, Until::Published(_));
        let waiting = self.0.iter();
        waiting.filter_map(move |it| {
            let tried = it.tried.as_ref().filter(|it| lacks(it))?;
            Some((&it.item, &tried.report))
        })
    }

    /// Gives up what waited in vain, when nothing is due any more.
    pub fn give_up(&mut self) -> impl Iterator<Item = R> {
        std::mem::take(&mut self.0)
            .into_iter()
            .filter_map(|it| it.tried)
            .map(|it| it.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next<T>(queue: &mut Queue<T, &str>, published: usize) -> Option<T> {
        queue.next(published).map(|(item, _)| item)
    }

    #[test]
    fn what_was_not_tried_comes_in_order_and_first() {
        let mut queue = Queue::empty();
        for item in ["a", "b", "c"] {
            queue.add(item);
        }
        assert_eq!(next(&mut queue, 0), Some("a"));
        queue.wait("a", Until::Published(0), "a lacks b");
        // Something was published, so a is due again; but b and c have not had their turn.
        assert_eq!(next(&mut queue, 1), Some("b"));
        assert_eq!(next(&mut queue, 1), Some("c"));
        assert_eq!(next(&mut queue, 1), Some("a"));
        assert!(queue.is_empty());
        assert_eq!(next(&mut queue, 1), None);
    }

    #[test]
    fn what_waits_is_due_only_when_something_was_published_since() {
        let mut queue = Queue::empty();
        queue.add("a");
        assert_eq!(next(&mut queue, 3), Some("a"));
        queue.wait("a", Until::Published(3), "lacks b");
        assert_eq!(next(&mut queue, 3), None);
        assert_eq!((queue.len(), queue.is_empty()), (1, false));
        assert_eq!(next(&mut queue, 4), Some("a"));
        queue.wait("a", Until::Published(4), "lacks c");
        assert_eq!(next(&mut queue, 4), None);
        assert_eq!(queue.give_up().collect::<Vec<_>>(), ["lacks c"]);
    }

    #[test]
    fn what_waits_for_all_others_comes_behind_their_first_try() {
        let mut queue = Queue::empty();
        for item in ["a", "b"] {
            queue.add(item);
        }
        assert_eq!(next(&mut queue, 0), Some("a"));
        queue.wait("a", Until::AllWereTried, "came early");
        assert!(queue.has_untried());
        assert_eq!(next(&mut queue, 0), Some("b"));
        queue.wait("b", Until::Published(0), "lacks c");
        assert!(!queue.has_untried());
        assert_eq!(next(&mut queue, 0), Some("a"));
        assert_eq!(next(&mut queue, 0), None);
    }

    #[test]
    fn what_was_never_tried_has_no_report() {
        let mut queue: Queue<_, &str> = Queue::empty();
        queue.add("a");
        assert_eq!(queue.give_up().count(), 0);
    }
}
