//! Which IP addresses belong to no public network.
//!
//! The guard keeps a partner from naming an Endpoint inside the hospital and having this node call it (server-side
//! request forgery). Forms that carry an IPv4 address inside IPv6 (mapped, compatible, NAT64, 6to4) count as that address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the address is private, loopback, link-local, multicast, reserved or otherwise not of the public internet.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Carrier-grade NAT, IETF protocol assignments, benchmarking (RFC 6598, 6890, 2544).
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let [[w, x], [y, z]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_private_v4(Ipv4Addr::new(w, x, y, z))
    };
    match [a, b, c, d, e, f] {
        // Unspecified, loopback and IPv4-compatible; IPv4-mapped; NAT64; local NAT64; 6to4.
        [0, 0, 0, 0, 0, 0] => true,
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => embedded(g, h),
        [0x64, 0xff9b, 1, ..] => true,
        [0x2002, ..] => embedded(b, c),
        // Documentation and Teredo.
        [0x2001, 0xdb8 | 0, ..] | [0x3fff, ..] => true,
        // Everything outside global unicast 2000::/3: unique local, link-local, site-local, multicast, discard.
        _ => a >> 13 != 1,
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn addresses_are_sorted_into_public_and_private() {
        let private = "127.0.0.1 127.9.9.9 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 \
            100.127.1.1 192.0.0.8 198.18.0.1 198.19.1.1 224.0.0.1 240.0.0.1 255.255.255.255 192.0.2.1 ::1 :: fe80::1 fc00::1 \
            fd12::1 ff02::1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::1 2002:7f00:1::1 \
            2002:a00:1::1 2001:db8::1 2001:0:1::1 fec0::1 100::1 3fff::1";
        let public = "8.8.8.8 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 198.17.0.1 198.20.0.1 192.0.1.1 193.1.1.1 \
            2a00:1450::1 2001:4860::8888 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1";
        for (text, expected) in [(private, true), (public, false)] {
            for address in text.split_whitespace() {
                assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
            }
        }
    }
}
