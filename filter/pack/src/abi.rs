//! The part of the proxy-wasm ABI 0.2.1 that an HTTP filter meets.

use walrus::ValType;

/// By which exports the host knows a module and hands it memory, besides its callbacks.
pub(crate) const MARKER: &str = "proxy_abi_version_0_2_1";
pub(crate) const MEMORY: &str = "memory";
/// The SDK's allocator has the first name on `wasm32-unknown-unknown` and the second elsewhere.
pub(crate) const ALLOCATORS: [&str; 2] = ["malloc", "proxy_on_memory_allocate"];
/// Runs once when the VM starts.
pub(crate) const INITIALIZE: &str = "_initialize";

/// How the filter names its callbacks, and how the host does.
pub(crate) const OURS: &str = "tollgate_on_";
pub(crate) const THEIRS: &str = "proxy_on_";

/// The clock and the seed of hash maps: all that `std` may ask of the host by itself.
const WASI_MODULE: &str = "wasi_snapshot_preview1";
const WASI_FUNCTIONS: [&str; 2] = ["random_get", "clock_time_get"];

/// How many `i32` a callback takes, and whether it returns one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature {
    takes: usize,
    returns: bool,
}

impl Signature {
    pub(crate) fn params(self) -> Vec<ValType> {
        vec![ValType::I32; self.takes]
    }

    pub(crate) fn results(self) -> Vec<ValType> {
        vec![ValType::I32; usize::from(self.returns)]
    }
}

/// The signature of `proxy_on_<event>`; the host refuses a module where one differs, and never calls an unknown one.
pub(crate) fn callback(event: &str) -> Option<Signature> {
    let (takes, returns) = match event {
        "context_create" => (2, false),
        "vm_start" | "configure" => (2, true),
        "tick" | "log" | "delete" => (1, false),
        "done" => (1, true),
        "queue_ready" => (2, false),
        "request_headers" | "request_body" => (3, true),
        "response_headers" | "response_body" => (3, true),
        "request_trailers" | "response_trailers" => (2, true),
        "http_call_response" => (5, false),
        "grpc_receive_initial_metadata" | "grpc_receive_trailing_metadata" => (3, false),
        "grpc_receive" | "grpc_close" => (3, false),
        "foreign_function" => (3, false),
        _ => return None,
    };
    Some(Signature { takes, returns })
}

/// Whether Envoy offers this import to a filter.
pub(crate) fn is_host_function(module: &str, name: &str) -> bool {
    match module {
        "env" => name.starts_with("proxy_"),
        WASI_MODULE => WASI_FUNCTIONS.contains(&name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_callbacks_of_a_filter() {
        assert_eq!(callback("request_headers"), Some(Signature { takes: 3, returns: true }));
        assert_eq!(callback("http_call_response"), Some(Signature { takes: 5, returns: false }));
        assert_eq!(callback("request_header"), None);
    }

    #[test]
    fn allows_only_what_envoy_offers() {
        assert!(is_host_function("env", "proxy_log"));
        assert!(is_host_function(WASI_MODULE, "random_get"));
        assert!(!is_host_function("env", "__cxa_throw"));
        assert!(!is_host_function(WASI_MODULE, "fd_write"));
        assert!(!is_host_function("__wbindgen_placeholder__", "__wbindgen_describe"));
    }
}
