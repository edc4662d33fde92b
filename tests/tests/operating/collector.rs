//! A collector of traces: takes OTLP over HTTP and remembers it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tollgate_tests::wait::{PATIENCE, until};

/// Heads and bodies of requests.
type Taken = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A collector on a port of its own.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) addr: SocketAddr,
    taken: Taken,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let collector = Self { addr: listener.local_addr().expect("an address"), taken: Arc::default() };
        let taken = Arc::clone(&collector.taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&taken)));
            }
        });
        collector
    }

    pub(crate) fn endpoint(&self) -> tollgate::config::OtlpEndpoint {
        tollgate::config::OtlpEndpoint::parse(&format!("http://{}", self.addr)).expect("an address")
    }

    /// Everything as it came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let taken = self.taken.lock().expect("no panic");
        taken.iter().flat_map(|(head, body)| [head.as_bytes(), body].concat()).collect()
    }

    /// The spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock().expect("no panic");
        let mut spans = Vec::new();
        for (head, body) in taken.iter() {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(head.to_ascii_lowercase().contains("content-type: application/x-protobuf"), "{head}");
            let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("OTLP");
            for resource in request.resource_spans {
                let attributes = resource.resource.expect("a resource").attributes;
                assert_eq!(text(&attributes_of(&attributes)["service.name"]), "tollgate");
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        spans
    }

    /// Waits for spans for which this holds.
    pub(crate) async fn wait_for(&self, what: &str, holds: impl Fn(&Span) -> bool) -> Vec<Span> {
        let found = || async {
            let found: Vec<Span> = self.spans().into_iter().filter(&holds).collect();
            Some(found).filter(|found| !found.is_empty())
        };
        until(what, PATIENCE, found).await.0
    }
}

pub(crate) fn attributes_of(
    attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue],
) -> BTreeMap<String, Value> {
    let pair =
        |one: &opentelemetry_proto::tonic::common::v1::KeyValue| Some((one.key.clone(), one.value.clone()?.value?));
    attributes.iter().filter_map(pair).collect()
}

#[track_caller]
pub(crate) fn text(value: &Value) -> &str {
    match value {
        Value::StringValue(text) => text,
        other => panic!("no text: {other:?}"),
    }
}

async fn take(mut stream: TcpStream, taken: Taken) {
    let mut unread = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = unread.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read_buf(&mut unread).await {
                Ok(1..) => {}
                _ => return,
            }
        };
        let head = String::from_utf8(unread.drain(..head_end).collect()).expect("text");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.expect("a length");
        while unread.len() < length {
            match stream.read_buf(&mut unread).await {
                Ok(1..) => {}
                _ => return,
            }
        }
        taken.lock().expect("no panic").push((head, unread.drain(..length).collect()));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    }
}
