//! Requests under way that cost something: shows their answers to the meter as they stream by. Nothing is held back, and
//! no other request's answer is looked at. It must not know who pays.

use std::collections::BTreeMap;

use tollgate_core::credits::Charge;

use crate::host::{self, BufferType, MapType};

/// What Envoy calls an answer that a backend has given.
const BY_BACKEND: &[u8] = b"via_upstream";

/// The requests of one plugin, by the host's number.
#[derive(Debug, Default)]
pub(crate) struct Metering {
    charges: BTreeMap<u32, Box<Charge>>,
}

impl Metering {
    /// A request goes on to the backend.
    pub(crate) fn begin(&mut self, context: u32, charge: Box<Charge>) {
        self.charges.insert(context, charge);
    }

    /// The headers of an answer are there; it is the current request's.
    pub(crate) fn headers(&mut self, context: u32) {
        let Some(charge) = self.charges.get_mut(&context) else { return };
        let details = host::property(&["response", "code_details"]);
        if details.is_some_and(|details| !details.is_empty() && details != BY_BACKEND) {
            // Envoy or another filter has answered: no backend has done anything.
            charge.meter.is_free();
        }
        count(charge, MapType::HttpResponseHeaders);
        let header = |name| host::header(MapType::HttpResponseHeaders, name);
        if charge.meter.wants_body() {
            let encoding = header("content-encoding").unwrap_or_default();
            let is_encoded = !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity");
            charge.meter.headers(&header("content-type").unwrap_or_default(), is_encoded);
        }
    }

    /// A piece of the body is there.
    pub(crate) fn body(&mut self, context: u32, size: usize) {
        let Some(charge) = self.charges.get_mut(&context).filter(|charge| charge.meter.reads_body()) else { return };
        if size > 0
            && let Some(bytes) = host::buffer(BufferType::HttpResponseBody, size)
        {
            charge.meter.body(&bytes);
        }
    }

    /// The trailers are there.
    pub(crate) fn trailers(&mut self, context: u32) {
        if let Some(charge) = self.charges.get_mut(&context) {
            count(charge, MapType::HttpResponseTrailers);
        }
    }

    /// The request is over, in whatever way.
    pub(crate) fn end(&mut self, context: u32) -> Option<Box<Charge>> {
        self.charges.remove(&context)
    }
}

/// Reads the header that counts, and takes it out of the answer.
fn count(charge: &mut Charge, kind: MapType) {
    let Some(name) = charge.meter.header_name().map(str::to_owned) else { return };
    if let Some(value) = host::header(kind, &name) {
        charge.meter.header(&value);
        let _ = host::remove_header(kind, name.as_bytes());
    }
}
