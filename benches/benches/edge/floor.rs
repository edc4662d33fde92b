//! A filter that decides nothing, is called by the host as often as ours, and only makes those calls to it that an outcome
//! needs: what is left is what the border between Envoy and any wasm filter costs. Its text is made from the calls of the
//! real one. It must not know what they cost.

use std::fmt::Write as _;

use tollgate_core::base64url;
use tollgate_tests::http::Answer;

use crate::calls::Recorded;

/// Where the host puts what it returns; behind everything that is given to it.
const RETURNED: usize = 1 << 20;
/// Where numbers that the host returns go.
const NUMBERS: usize = 64;
/// Where what is given to the host begins.
const GIVEN: usize = 1024;

const IMPORTS: &str = r#"
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $clock (param i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $count (param i32 i64) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
"#;

/// What the host calls beside `on_request_headers`, and a function that does nothing then.
const CALLBACKS: &[(&str, &str)] = &[
    ("on_context_create", "(param i32 i32)"),
    ("on_response_headers", "(param i32 i32 i32) (result i32) (i32.const 0)"),
    ("on_response_body", "(param i32 i32 i32) (result i32) (i32.const 0)"),
    ("on_response_trailers", "(param i32 i32) (result i32) (i32.const 0)"),
    ("on_delete", "(param i32)"),
];

/// What is given to the host, and the calls that give it.
#[derive(Default)]
struct Text {
    data: Vec<u8>,
    code: String,
}

impl Text {
    /// Puts bytes into memory. Returns address and size as arguments.
    fn give(&mut self, bytes: &[u8]) -> String {
        let at = GIVEN + self.data.len();
        self.data.extend_from_slice(bytes);
        format!("(i32.const {at}) (i32.const {})", bytes.len())
    }

    fn call(&mut self, name: &str, arguments: &str) {
        let _ = writeln!(self.code, "    (drop (call ${name} {arguments}))");
    }
}

/// The least that an outcome needs: the header map and the clock once; the signature's check, each header that is set or
/// removed, and each fact of filter state as often as the filter does it, with as many bytes; one counter; one reply.
pub(crate) fn module(recorded: &Recorded, request: &[u8], spki_der: &[u8]) -> Vec<u8> {
    let mut text = Text::default();
    let (returned, size) = (NUMBERS, NUMBERS + 8);
    text.call("pairs", &format!("(i32.const 0) (i32.const {returned}) (i32.const {size})"));
    text.call("clock", &format!("(i32.const {NUMBERS})"));
    for _ in recorded.of("call_foreign_function") {
        let (name, arguments) = (text.give(b"verify_signature"), text.give(&verify_arguments(request, spki_der)));
        text.call("foreign", &format!("{name} {arguments} (i32.const {returned}) (i32.const {size})"));
    }
    for (number, call) in recorded.of("remove_header_map_value").enumerate() {
        // The credential, which is there; anything else is not.
        let name = match call.arguments.get(2) {
            Some(13) => "authorization".to_owned(),
            Some(9) => "x-api-key".to_owned(),
            _ => format!("x-auth-absent-{number}"),
        };
        let name = text.give(name.as_bytes());
        text.call("remove", &format!("(i32.const 0) {name}"));
    }
    for (number, call) in recorded.of("replace_header_map_value").enumerate() {
        let name = padded("x-auth-", number, length(&call.arguments, 2));
        let (name, value) = (text.give(name.as_bytes()), text.give(&vec![b'v'; length(&call.arguments, 4)]));
        text.call("replace", &format!("(i32.const {}) {name} {value}", call.arguments[0]));
    }
    for (number, call) in recorded.of("set_property").enumerate() {
        let name = padded("floor.", number, length(&call.arguments, 1));
        let (name, value) = (text.give(name.as_bytes()), text.give(&vec![b'v'; length(&call.arguments, 3)]));
        text.call("property", &format!("{name} {value}"));
    }
    text.call("count", &format!("(i32.load (i32.const {})) (i64.const 1)", NUMBERS + 16));
    let pauses = recorded.of("send_local_response").next().is_some();
    if pauses {
        let details = text.give(b"floor");
        let (body, headers) = (text.give(&recorded.answer.body), text.give(&headers(&recorded.answer)));
        let status = recorded.answer.status;
        text.call("reply", &format!("(i32.const {status}) {details} {body} {headers} (i32.const 16)"));
    }
    let callbacks: String = CALLBACKS
        .iter()
        .filter(|(name, _)| recorded.callbacks.iter().any(|called| called == name))
        .map(|(name, function)| format!("  (func (export \"proxy_{name}\") {function})\n"))
        .collect();
    assemble(text, &callbacks, pauses)
}

fn assemble(mut text: Text, callbacks: &str, pauses: bool) -> Vec<u8> {
    let metric = text.give(b"floor_requests");
    let data: String = text.data.iter().map(|byte| format!("\\{byte:02x}")).collect();
    assert!(GIVEN + text.data.len() < RETURNED, "what is given fits before what is returned");
    let module = format!(
        "(module {IMPORTS}
  (memory (export \"memory\") 32)
  (data (i32.const {GIVEN}) \"{data}\")
  (func (export \"proxy_abi_version_0_2_1\"))
  (func (export \"malloc\") (param i32) (result i32) (i32.const {RETURNED}))
  (func (export \"proxy_on_configure\") (param i32 i32) (result i32)
    (drop (call $define (i32.const 0) {metric} (i32.const {})))
    (i32.const 1))
{callbacks}  (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
{}    (i32.const {})))",
        NUMBERS + 16,
        text.code,
        u8::from(pauses),
    );
    wat::parse_str(&module).unwrap_or_else(|fault| panic!("{fault}"))
}

/// A name of so many bytes that no other number has.
fn padded(begin: &str, number: usize, bytes: usize) -> String {
    format!("{begin}{number:0>width$}", width = bytes.saturating_sub(begin.len()))
}

fn length(arguments: &[u64], place: usize) -> usize {
    arguments.get(place).and_then(|&size| usize::try_from(size).ok()).expect("a size")
}

/// The headers of a reply that Envoy does not add by itself, as the ABI has them.
fn headers(answer: &Answer) -> Vec<u8> {
    let own = ["content-length", "content-type", "date", "server"];
    let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str())).collect();
    let size = |length: usize| u32::try_from(length).expect("small").to_le_bytes();
    let mut out = size(headers.len()).to_vec();
    for (name, value) in &headers {
        out.extend([size(name.len()), size(value.len())].concat());
    }
    for (name, value) in &headers {
        out.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    out
}

/// `VerifySignatureArguments` for the token of a request: fields 1 to 4, each of a length and bytes.
fn verify_arguments(request: &[u8], spki_der: &[u8]) -> Vec<u8> {
    let request = std::str::from_utf8(request).expect("a request");
    let token = request.lines().find_map(|line| line.strip_prefix("Authorization: Bearer ")).expect("a token");
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let signature = base64url(signature).expect("base64url");
    let mut out = Vec::new();
    for (field, bytes) in [(1, b"sha256".as_slice()), (2, spki_der), (3, &signature), (4, signed.as_bytes())] {
        out.push((field << 3) | 2);
        let mut rest = bytes.len();
        while rest >= 0x80 {
            out.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
        out.extend_from_slice(bytes);
    }
    out
}
