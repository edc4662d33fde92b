//! Who counts as one client by address. It must not know how the address was found.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The client behind an address with or without a port: an IPv4 address, or the /64 of an IPv6 address, because a client
/// has all of it. What cannot be read is one client: nobody becomes many by it.
pub fn client(address: &[u8]) -> [u8; 16] {
    let text = core::str::from_utf8(address).unwrap_or_default().trim();
    let ip = text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse::<IpAddr>());
    match ip.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_ipv6_mapped().octets(),
        Ok(IpAddr::V6(address)) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).octets(),
        Err(_) => [0xFF; 16],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_each() {
        let same = |one: &str, other: &str| client(one.as_bytes()) == client(other.as_bytes());
        for (one, other, expect) in [
            ("192.0.2.1:80", "192.0.2.1:81", true),
            ("192.0.2.1:80", "192.0.2.1", true),
            ("192.0.2.1:80", "192.0.2.2:80", false),
            ("192.0.2.1:80", "[::ffff:192.0.2.1]:80", true),
            ("[2001:db8::1]:80", "[2001:db8::ffff:1]:443", true),
            ("[2001:db8::1]:80", "2001:db8::2", true),
            ("[2001:db8:0:1::1]:80", "[2001:db8::1]:80", false),
            ("", "unix-socket", true),
            ("", "[::]:1", false),
        ] {
            assert_eq!(same(one, other), expect, "{one} {other}");
        }
    }
}
