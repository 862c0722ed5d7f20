//! Keeps webhooks out of our own network: the URL is written by whoever writes messages, and its host may come from a
//! profile attribute.
//!
//! The check is on the addresses that are connected to, not on the name: a name is resolved once, by this resolver, and
//! only the public addresses among the answers are passed on. An address written in the URL never comes to a resolver
//! and is checked by [`PrivateAddresses::check_literal`]; the URL parser has by then unmasked forms such as
//! `0x7f.1` or `2130706433`. Redirects, a third way in, are not followed.

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrivateAddresses {
    Allowed,
    Denied,
}

/// The host has no public address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("private_address: {host} leads into a private network")]
pub(super) struct Denied {
    host: String,
}

impl PrivateAddresses {
    /// # Errors
    /// The URL's host is written as a private address.
    pub fn check_literal(self, url: &Url) -> Result<(), Denied> {
        let host = url.host_str().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) if !self.allows(address) => Err(Denied { host: host.to_owned() }),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn allows(self, address: IpAddr) -> bool {
        match self {
            PrivateAddresses::Allowed => true,
            PrivateAddresses::Denied => match address {
                IpAddr::V4(address) => is_public_v4(address),
                IpAddr::V6(address) => is_public_v6(address),
            },
        }
    }
}

/// The machine's resolver without the private addresses among its answers.
pub(super) struct Resolver {
    pub private_addresses: PrivateAddresses,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let private_addresses = self.private_addresses;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|found| private_addresses.allows(found.ip())).collect();
            if allowed.is_empty() {
                return Err(Denied { host: name.as_str().to_owned() }.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The refusal of the resolver within an error of the client.
pub(super) fn denied(error: &reqwest::Error) -> Option<&Denied> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(denied) = cause.downcast_ref::<Denied>() {
            return Some(denied);
        }
        source = cause.source();
    }
    None
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b); // carrier-grade NAT, RFC 6598
    let is_protocol = a == 192 && b == 0 && c == 0; // RFC 6890
    let is_benchmark = a == 198 && (b == 18 || b == 19); // RFC 2544
    !(a == 0
        || a >= 224 // multicast, reserved, broadcast
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || is_shared
        || is_protocol
        || is_benchmark)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    if let Some(v4) = embedded_v4(address) {
        return is_public_v4(v4);
    }
    // Of all space only 2000::/3 is public; within it, the ranges for documentation and benchmarks are not.
    let is_global = segments[0] & 0xe000 == 0x2000;
    let is_documentation = (segments[0] == 0x2001 && segments[1] == 0x0db8) || segments[0] & 0xfff0 == 0x3ff0;
    let is_benchmark = segments[0] == 0x2001 && segments[1] == 0x0002 && segments[2] == 0;
    is_global && !is_documentation && !is_benchmark
}

/// The IPv4 address that a mapped, NAT64 or 6to4 address leads to.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    if (a, b, c, d, e, f) == (0x64, 0xff9b, 0, 0, 0, 0) {
        return Some(v4(g, h));
    }
    if a == 0x2002 {
        return Some(v4(b, c));
    }
    address.to_ipv4_mapped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_private_address_passes() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[ff02::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[::7f00:1]",
        ] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert!(PrivateAddresses::Denied.check_literal(&url).is_err(), "{host}");
            assert!(PrivateAddresses::Allowed.check_literal(&url).is_ok(), "{host}");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for host in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "[2606:4700::1111]", "[64:ff9b::101:101]", "x.org"] {
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            assert_eq!(PrivateAddresses::Denied.check_literal(&url), Ok(()), "{host}");
        }
    }
}
