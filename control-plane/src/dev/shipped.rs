//! The shipped files of `envoy/local`, carried inside the program, and Envoy's configuration with this machine's
//! values. It must not start anything.

use std::path::PathBuf;

use super::{fault::DevFault, template};

/// `envoy/local/envoy.yaml`.
pub const ENVOY: &str = include_str!("../../../envoy/local/envoy.yaml");
/// `envoy/local/policy.toml`.
pub const POLICY: &str = include_str!("../../../envoy/local/policy.toml");

/// The values that are marked in `envoy.yaml`.
#[derive(Debug, Clone)]
pub struct EnvoyValues {
    /// Where clients come in.
    pub envoy_port: u16,
    /// Envoy's admin interface.
    pub admin_port: u16,
    /// The control plane's public API.
    pub api_port: u16,
    /// The control plane's edge API.
    pub edge_port: u16,
    /// The backend.
    pub backend_port: u16,
    /// File of the access log.
    pub access_log: PathBuf,
    /// The filter.
    pub wasm: PathBuf,
    /// Secret shared with the control plane.
    pub edge_secret: String,
}

impl EnvoyValues {
    /// Envoy's configuration with these values.
    ///
    /// # Errors
    /// [`DevFault::Template`] if the shipped file and this list differ, which a test rules out.
    pub fn render(&self) -> Result<String, DevFault> {
        template::render(
            ENVOY,
            &[
                ("envoy_port", self.envoy_port.into()),
                ("admin_port", self.admin_port.into()),
                ("api_port", self.api_port.into()),
                ("edge_port", self.edge_port.into()),
                ("backend_port", self.backend_port.into()),
                ("access_log", self.access_log.to_string_lossy().into()),
                ("wasm", self.wasm.to_string_lossy().into()),
                ("edge_secret", self.edge_secret.as_str().into()),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_marked_value_of_the_shipped_file_is_set() {
        let values = EnvoyValues {
            envoy_port: 1,
            admin_port: 2,
            api_port: 3,
            edge_port: 4,
            backend_port: 5,
            access_log: "/log".into(),
            wasm: "/wasm".into(),
            edge_secret: "secret-of-this-machine".into(),
        };
        let text = values.render().unwrap();
        for expected in
            ["port_value: 1\n", "port_value: 5\n", "\"/wasm\"\n", "edge_secret: \"secret-of-this-machine\"\n"]
        {
            assert_eq!(text.matches(expected).count(), 1, "{expected}");
        }
        assert!(!text.contains("replace-this") && !text.contains("port_value: 10000"));
    }

    #[test]
    fn the_marked_values_are_the_documented_defaults() {
        for port in [10000, 9901, 8080, 8081, 8090] {
            assert_eq!(ENVOY.matches(&format!("port_value: {port} # dev:")).count(), 1, "{port}");
        }
    }
}
