//! Where settings come from besides the file. The only place that reads the process environment; it must not know
//! what a setting means.

use std::collections::BTreeMap;

/// Something that has values by name.
pub trait Source {
    /// The value of `name`, or `None` where it is not set. An empty value counts as not set.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Environment;

impl Source for Environment {
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// A fixed map, for tests and for programs that configure the library themselves.
impl Source for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).filter(|value| !value.is_empty()).cloned()
    }
}
