//! Where a request comes from, as our own proxies say. It must not believe a header further than they reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

use super::{
    Shared,
    observe::RequestId,
    openapi::{Draft, Input},
};
use crate::service::sign_in::{Origin, SignIn};

/// Longest part of a user agent that is kept.
const MAX_AGENT: usize = 120;

impl FromRequestParts<Shared> for Origin {
    type Rejection = core::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Self::Rejection> {
        let hops = shared.sign_in.as_ref().map_or(1, SignIn::trusted_hops);
        let address = client(&parts.headers, hops);
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let user_agent = agent.map(|agent| agent.chars().take(MAX_AGENT).collect());
        Ok(Self {
            address: address.map(|address| network(address, 32, 64)),
            shown_address: address.map(|address| network(address, 24, 48)),
            user_agent,
        })
    }
}

/// What proxies and programs say by themselves.
impl Input for Origin {
    fn describe(_: &mut Draft) {}
}

/// The id of the request; there always is one.
impl FromRequestParts<Shared> for RequestId {
    type Rejection = core::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or(Self(String::new())))
    }
}

impl Input for RequestId {
    fn describe(_: &mut Draft) {}
}

/// The address that the first of our proxies saw: so many from the end. What stands before it is the client's word.
fn client(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let all: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().flat_map(|value| value.to_str().unwrap_or("").split(',')).collect();
    let address = all.len().checked_sub(hops).and_then(|place| all.get(place))?;
    address.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// The network of an address: so many bits of it, of version 4 or 6.
fn network(address: IpAddr, bits4: u32, bits6: u32) -> String {
    match address {
        IpAddr::V4(address) => {
            let kept = address.to_bits() & u32::MAX.checked_shl(32_u32.saturating_sub(bits4)).unwrap_or(0);
            format!("{}/{bits4}", Ipv4Addr::from_bits(kept))
        }
        IpAddr::V6(address) => {
            let kept = address.to_bits() & u128::MAX.checked_shl(128_u32.saturating_sub(bits6)).unwrap_or(0);
            format!("{}/{bits6}", Ipv6Addr::from_bits(kept))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_our_proxies_append_counts() {
        for (values, hops, expect) in [
            (&["203.0.113.9"][..], 1, Some("203.0.113.9/32")),
            (&["6.6.6.6, 203.0.113.9"], 1, Some("203.0.113.9/32")),
            (&["6.6.6.6", "203.0.113.9,10.0.0.1"], 2, Some("203.0.113.9/32")),
            (&["203.0.113.9"], 2, None),
            (&["203.0.113.9, junk"], 1, None),
            (&[], 1, None),
            (&["2001:db8:1:2:3:4:5:6"], 1, Some("2001:db8:1:2::/64")),
            (&["::ffff:203.0.113.9"], 1, Some("203.0.113.9/32")),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().expect("a value"));
            }
            let found = client(&headers, hops).map(|address| network(address, 32, 64));
            assert_eq!(found.as_deref(), expect, "{values:?} {hops}");
        }
        assert_eq!(network("203.0.113.9".parse().expect("an address"), 24, 48), "203.0.113.0/24");
    }
}
