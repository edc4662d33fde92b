//! What the answers to requests on their way shall tell. It must not know what is told.

use std::collections::BTreeMap;

/// Headers of an answer.
pub(crate) type Told = Vec<(&'static str, Vec<u8>)>;

/// By the host's numbers of the requests; forgotten with them.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: BTreeMap<u32, Told>,
}

impl Answers {
    /// Keeps headers for the answer to a request.
    pub(crate) fn keep(&mut self, context: u32, told: Told) {
        if !told.is_empty() {
            self.kept.insert(context, told);
        }
    }

    /// Takes out what was kept for a request.
    pub(crate) fn take(&mut self, context: u32) -> Told {
        self.kept.remove(&context).unwrap_or_default()
    }
}
