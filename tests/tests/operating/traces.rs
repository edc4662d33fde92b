//! Traces: a span for each request, with those of the store in it, in the trace that the caller began.

use opentelemetry_proto::tonic::{common::v1::any_value::Value, trace::v1::span::SpanKind};
use serde_json::json;
use tollgate_tests::{
    http::Request,
    wait::{PATIENCE, until},
};

use super::{
    EDGE_SECRET, Program,
    collector::{Collector, attributes_of, text},
    post,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_of_the_callers_trace_and_its_store_calls_are_in_it() {
    let collector = Collector::start().await;
    let program = Program::start(|config| config.otlp = Some(collector.endpoint())).await;
    let question = json!({"credential": "legacy", "subject": "nobody"});
    let request = post("/edge/v1/resolve", &question).bearer(EDGE_SECRET).header("x-request-id", "request-one");
    let answer = program.edge(request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    program.api(Request::get("/api/sessions/none/such?x=1")).await;
    // What is still here when the program ends is sent then.
    program.control_plane.terminate().await;

    let request = collector.wait_for("the request", |span| span.name == "POST /edge/v1/resolve").await.remove(0);
    assert_eq!((hex(&request.trace_id).as_str(), hex(&request.parent_span_id).as_str()), (TRACE, PARENT));
    assert_eq!(request.kind, SpanKind::Server as i32);
    let attributes = attributes_of(&request.attributes);
    for (name, expected) in
        [("http.request.method", "POST"), ("http.route", "/edge/v1/resolve"), ("request_id", "request-one")]
    {
        assert_eq!(text(&attributes[name]), expected, "{attributes:?}");
    }
    assert_eq!(attributes["http.response.status_code"], Value::IntValue(200));

    let inside: Vec<_> = collector.spans().into_iter().filter(|span| span.parent_span_id == request.span_id).collect();
    assert!(!inside.is_empty(), "no call to the store");
    for span in &inside {
        assert_eq!((hex(&span.trace_id).as_str(), span.kind), (TRACE, SpanKind::Client as i32), "{span:?}");
        assert_eq!(text(&attributes_of(&span.attributes)["db.system.name"]), "sqlite");
        assert!(span.start_time_unix_nano >= request.start_time_unix_nano, "{span:?}");
        assert!(span.end_time_unix_nano <= request.end_time_unix_nano, "{span:?}");
    }
    assert!(inside.iter().any(|span| span.name == "users"), "{inside:?}");

    let unknown = collector.spans().into_iter().find(|span| span.name == "GET none").expect("a path that nobody has");
    assert_ne!(hex(&unknown.trace_id), TRACE);
    assert_eq!(attributes_of(&unknown.attributes)["http.response.status_code"], Value::IntValue(404));
    assert!(!collector.spans().iter().any(|span| format!("{span:?}").contains("none/such")), "a raw path");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_said_once_and_costs_nothing() {
    let collector = Collector::start().await;
    let nobody = tollgate::config::OtlpEndpoint::parse("http://127.0.0.1:1").expect("an address");
    drop(collector);
    let program = Program::start(|config| config.otlp = Some(nobody)).await;
    let said = |program: &Program| {
        let lines = program.lines();
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains("collector"))).count()
    };
    let began = std::time::Instant::now();
    for _ in 0..200 {
        let answer = program.resolve(json!({"credential": "legacy", "subject": "nobody"})).await;
        assert_eq!(answer.status, 200);
    }
    println!("200 requests while the collector is away took {:?}", began.elapsed());
    // One line says that traces are sent, one that they are not taken.
    until("it is said", PATIENCE, || async { (said(&program) >= 2).then_some(()) }).await;
    let log = program.log.clone();
    let (config, folder) = (program.config.clone(), program._folder);
    program.control_plane.terminate().await;
    let text = std::fs::read_to_string(log).expect("a log");
    assert_eq!(text.matches("does not take them").count(), 1, "{text}");
    drop((config, folder));
}
