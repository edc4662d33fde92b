//! What the answers to requests on their way shall tell. Bounded: the end of a request is not waited for, which would be one
//! more callback for each, so of those that never get an answer the oldest go first. It must not know what is told.

use std::collections::BTreeMap;

/// Headers of an answer.
pub(crate) type Told = Vec<(&'static str, Vec<u8>)>;

/// Most answers of one VM that something is kept for.
const MOST: usize = 10_000;

/// By the host's numbers of the requests, which grow.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: BTreeMap<u32, Told>,
}

impl Answers {
    /// Keeps headers for the answer to a request.
    pub(crate) fn keep(&mut self, context: u32, told: Told) {
        if told.is_empty() {
            return;
        }
        self.kept.insert(context, told);
        if self.kept.len() > MOST {
            self.kept.pop_first();
        }
    }

    /// Takes out what was kept for a request. Nearly always there is nothing.
    pub(crate) fn take(&mut self, context: u32) -> Told {
        self.kept.remove(&context).unwrap_or_default()
    }
}
