//! The plugins of one VM. There can be several: Envoy keeps the old one until its requests are done when a
//! configuration changes, and one VM serves all plugins of the same module.

use std::collections::BTreeMap;

use tollgate_core::struct_value;
use tollgate_protocol::{Code, config::PluginConfig};

use crate::{
    host::{self, BufferType, LogLevel},
    plugin::{Flow, Plugin, TICK_MS},
};

/// A plugin that has not ticked while others ticked this often is gone: its root context was deleted.
const MISSED_TICKS: u64 = 300;

struct Entry {
    plugin: Plugin,
    last_tick: u64,
}

/// One VM.
#[derive(Default)]
pub(crate) struct Vm {
    plugins: BTreeMap<u32, Entry>,
    ticks: u64,
    latest: Option<(u32, u32)>,
}

impl Vm {
    /// A context was made; a request's one is used right after it was made.
    pub(crate) fn created(&mut self, context: u32, root: u32) {
        self.latest = (root != 0).then_some((context, root));
    }

    /// A plugin is configured, or configured anew. `false` refuses the configuration: Envoy keeps the former one.
    pub(crate) fn configure(&mut self, root: u32, size: usize) -> bool {
        let bytes = host::buffer(BufferType::PluginConfiguration, size).unwrap_or_default();
        // A StringValue arrives as its text, a Struct in its binary form.
        let config = match struct_value::read(&bytes).filter(|_| !bytes.is_empty()) {
            Some(value) => PluginConfig::from_value(value),
            None => PluginConfig::parse(&bytes),
        };
        let config = match config {
            Ok(config) => config,
            Err(fault) => {
                host::log(LogLevel::Critical, &format!("tollgate: {fault}"));
                return false;
            }
        };
        let Some(plugin) = Plugin::start(root, config) else {
            host::log(LogLevel::Critical, "tollgate: the host offers no randomness (wasi random_get)");
            return false;
        };
        self.plugins.insert(root, Entry { plugin, last_tick: self.ticks });
        host::tick_every(TICK_MS);
        true
    }

    /// Time passes for one plugin.
    pub(crate) fn tick(&mut self, root: u32) {
        self.ticks = self.ticks.saturating_add(1);
        let ticks = self.ticks;
        if let Some(entry) = self.plugins.get_mut(&root) {
            entry.last_tick = ticks;
            entry.plugin.tick();
        }
        if self.plugins.len() > 1 {
            self.plugins.retain(|_, entry| ticks.saturating_sub(entry.last_tick) < MISSED_TICKS);
        }
    }

    /// A request's headers are there.
    pub(crate) fn request(&mut self, context: u32) -> Flow {
        let root = match self.latest {
            Some((latest, root)) if latest == context => Some(root),
            _ if self.plugins.len() == 1 => self.plugins.keys().next().copied(),
            _ => None,
        };
        match root.and_then(|root| self.plugins.get_mut(&root)) {
            Some(entry) => entry.plugin.request(context),
            None => shut(),
        }
    }

    /// The headers of an answer are there.
    pub(crate) fn answer(&mut self, context: u32) {
        self.plugins.values_mut().for_each(|entry| entry.plugin.answer(context));
    }

    /// A piece of an answer's body is there.
    pub(crate) fn answer_body(&mut self, context: u32, size: usize) {
        self.plugins.values_mut().for_each(|entry| entry.plugin.metering().body(context, size));
    }

    /// The trailers of an answer are there.
    pub(crate) fn answer_trailers(&mut self, context: u32) {
        self.plugins.values_mut().for_each(|entry| entry.plugin.metering().trailers(context));
    }

    /// A context is gone: a request is over.
    pub(crate) fn ended(&mut self, context: u32) {
        self.plugins.values_mut().for_each(|entry| entry.plugin.ended(context));
    }

    /// A call was answered.
    pub(crate) fn call_answered(&mut self, root: u32, token: u32, headers: u32, body_size: usize) {
        if let Some(entry) = self.plugins.get_mut(&root) {
            entry.plugin.call_answered(token, headers, body_size);
        }
    }
}

/// Nobody is there to decide: the request is answered with a bare 503, never let through.
pub(crate) fn shut() -> Flow {
    let code = Code::NotReady;
    let _ = host::reply(code.status(), code.grpc_status(), code.as_str(), &[("retry-after", b"1")], b"");
    Flow::Pause
}
