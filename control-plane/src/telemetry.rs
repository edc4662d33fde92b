//! The log and the traces. Neither must ever be handed a token, a secret, a body or a header's value. Lines carry the
//! request they belong to; spans go to an OpenTelemetry collector where one is configured, and where it is away they are
//! lost and nothing waits.

mod export;

use std::time::Duration;

use opentelemetry::{KeyValue, propagation::TextMapPropagator as _, trace::TracerProvider as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use self::export::Collector;
pub use self::export::ExportFault;
use crate::config::{LogFormat, OtlpEndpoint};

/// How long the last spans may take to be gone when the program ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the collector may take to answer.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What has to be ended in an orderly way.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts the log of this process. A second call changes nothing.
pub fn start(format: LogFormat, filter: &str) {
    // An error says that a log is running already: tests start several servers in one process.
    let _ = tracing_subscriber::registry().with(log(format, filter)).try_init();
}

/// Starts log and traces of this process, inside the runtime that sends the traces.
///
/// # Errors
/// [`ExportFault`]: there is no HTTP client for the collector.
pub fn start_with_traces(format: LogFormat, filter: &str, otlp: &OtlpEndpoint) -> Result<Telemetry, ExportFault> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(EXPORT_TIMEOUT)?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(otlp.traces())
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name("tollgate").with_attribute(version).build();
    let traces = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("tollgate"));
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("tollgate"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    let _ = tracing_subscriber::registry().with(log(format, filter)).with(spans.with_filter(ours)).try_init();
    tracing::info!(otlp = %otlp, "traces are sent to a collector");
    Ok(Telemetry { traces: Some(traces) })
}

impl Telemetry {
    /// Sends what has not been sent yet, a bounded time.
    pub async fn stop(self) {
        let Some(traces) = self.traces else { return };
        // It waits for its own thread, which needs this runtime.
        let stopped = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

fn log<S>(format: LogFormat, filter: &str) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    match format {
        LogFormat::Text => fmt::layer().with_target(false).with_writer(std::io::stderr).with_filter(filter).boxed(),
        LogFormat::Json => {
            let json = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(true);
            json.with_writer(std::io::stderr).with_filter(filter).boxed()
        }
    }
}

/// Makes a span go on with the trace that a request's headers name (W3C Trace Context), where they name one.
pub(crate) fn continue_trace(span: &tracing::Span, headers: &axum::http::HeaderMap) {
    if headers.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // Without traces there is nothing to go on with.
        let _ = span.set_parent(context);
    }
}

/// Whether a text is a filter; the settings ask.
pub(crate) fn check_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(fault) => Err(format!("is no tracing filter: {fault}")),
    }
}
