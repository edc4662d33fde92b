//! What the decision needs to see of a request, borrowed from the host's buffer in one pass.
//! It must not judge anything: whether a value is good is for the stages after it.

mod pairs;

pub use pairs::Pairs;
use tollgate_protocol::headers;

/// A header that should be there once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Field<'a> {
    /// Not sent.
    #[default]
    Absent,
    /// Sent once.
    One(&'a [u8]),
    /// Sent more than once.
    Many,
}

impl<'a> Field<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::One(value),
            Self::One(_) | Self::Many => Self::Many,
        };
    }

    /// The value of a header that was sent once.
    pub fn one(self) -> Option<&'a [u8]> {
        match self {
            Self::One(value) => Some(value),
            Self::Absent | Self::Many => None,
        }
    }
}

/// A request's headers, as far as they matter here. Values are any bytes.
#[derive(Debug, Default)]
pub struct RequestView<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:path`, with its query.
    pub path: &'a [u8],
    /// `:authority`: the host that the client named.
    pub authority: &'a [u8],
    /// `x-request-id`, made by Envoy.
    pub request_id: &'a [u8],
    /// `x-api-key`.
    pub api_key: Field<'a>,
    /// `authorization`. Envoy joins several with a comma.
    pub authorization: Field<'a>,
    /// Whether this is a call of gRPC, by its `content-type`.
    pub grpc: bool,
    /// Every `cookie` header: HTTP/1 leaves several apart.
    pub cookies: Vec<&'a [u8]>,
    /// Names of the reserved headers that the client sent, in the spelling it used; may repeat.
    pub reserved: Vec<&'a [u8]>,
}

impl<'a> RequestView<'a> {
    /// Reads a request's header map. Names arrive in lower case from Envoy.
    pub fn read(pairs: Pairs<'a>) -> Self {
        let mut view = Self::default();
        for (name, value) in pairs {
            match name {
                b":method" => view.method = value,
                b":path" => view.path = value,
                b":authority" => view.authority = value,
                b"content-type" => view.grpc = is_grpc(value),
                _ if name == headers::API_KEY.as_bytes() => view.api_key.add(value),
                _ if name == headers::AUTHORIZATION.as_bytes() => view.authorization.add(value),
                _ if name == headers::COOKIE.as_bytes() => view.cookies.push(value),
                _ if name == headers::REQUEST_ID.as_bytes() => view.request_id = value,
                _ if headers::is_reserved(name) => view.reserved.push(name),
                _ => {}
            }
        }
        view
    }
}

/// `application/grpc`, alone or with a subtype or parameters ("gRPC over HTTP/2", Requests).
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::is_grpc;

    #[test]
    fn calls_of_grpc_are_known_by_their_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(value.as_bytes()), expected, "{value}");
        }
    }
}
