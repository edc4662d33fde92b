//! Where traces are sent. It must not send any.

/// The base address of an OpenTelemetry collector that takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

impl OtlpEndpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let problem = "must be http://HOST:PORT or https://HOST:PORT, without user, password and query";
        let url = reqwest::Url::parse(text).map_err(|_| problem)?;
        let fine = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if fine { Ok(Self(text.trim_end_matches('/').to_owned())) } else { Err(problem.to_owned()) }
    }

    /// The address for traces (OTLP 1.0, "OTLP/HTTP Request").
    pub fn traces(&self) -> String {
        format!("{}/v1/traces", self.0)
    }
}

impl core::fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(OtlpEndpoint::parse("http://c.test:4318/").unwrap().traces(), "http://c.test:4318/v1/traces");
        for bad in ["c.test:4318", "ftp://c.test", "http://u:hunter2@c.test", "http://c.test/?key=hunter2", "http://"] {
            let fault = OtlpEndpoint::parse(bad).unwrap_err();
            assert!(fault.contains("must be http") && !fault.contains("hunter2"), "{bad}: {fault}");
        }
    }
}
