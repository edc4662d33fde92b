//! The requests of this VM that are paused. Each has a deadline, and their number is bounded; a client that leaves
//! simply is not there any more when its turn comes.

use tollgate_core::engine::{Now, SubjectKey, Until};

/// How many requests of one VM may wait at one time.
const MOST: usize = 10_000;

/// A paused request.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// The host's number of the request.
    pub(crate) context: u32,
    until: Until,
    deadline: Now,
}

impl Waiter {
    /// Until when it waits for tokens, where it does.
    pub(crate) fn credits_deadline(&self) -> Option<Now> {
        matches!(self.until, Until::Credits(_)).then_some(self.deadline)
    }
}

/// All paused requests.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    waiters: Vec<Waiter>,
}

impl Waiting {
    /// Notes a paused request. `false`: there are too many.
    #[must_use]
    pub(crate) fn add(&mut self, context: u32, until: Until, deadline: Now) -> bool {
        if self.waiters.len() >= MOST {
            return false;
        }
        self.waiters.push(Waiter { context, until, deadline });
        true
    }

    /// Takes out those that wait for this subject.
    pub(crate) fn for_subject(&mut self, subject: SubjectKey) -> Vec<Waiter> {
        self.take(|waiter| waiter.until == Until::Identity(subject))
    }

    /// Takes out those that wait for tokens of this user.
    pub(crate) fn for_credits(&mut self, user: &str) -> Vec<Waiter> {
        self.take(|waiter| matches!(&waiter.until, Until::Credits(wanted) if **wanted == *user))
    }

    /// Takes out those that new settings may help.
    pub(crate) fn for_settings(&mut self) -> Vec<Waiter> {
        self.take(|waiter| matches!(waiter.until, Until::Settings | Until::Keys))
    }

    /// Takes out those whose time is over.
    pub(crate) fn overdue(&mut self, now: Now) -> Vec<Waiter> {
        self.take(|waiter| waiter.deadline <= now)
    }

    fn take(&mut self, which: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        if self.waiters.is_empty() {
            return Vec::new();
        }
        self.waiters.extract_if(.., |waiter| which(waiter)).collect()
    }
}
