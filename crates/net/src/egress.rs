//! Where connections may go.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::url::HttpUrl;

/// Which addresses may be connected to.
///
/// The default is the public Internet over TLS. What is listed is permitted besides; with [`Egress::listed_only`]
/// nothing else is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    hosts: BTreeSet<String>,
    networks: Vec<IpNet>,
    listed_only: bool,
    plain_http: bool,
}

/// A connection that the policy does not permit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the egress policy does not permit to connect to {origin}")]
pub struct Denied {
    /// Scheme, host and port that were asked for.
    pub origin: String,
    /// What about it.
    #[source]
    pub reason: Reason,
}

/// Why the policy does not permit a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It would not be encrypted.
    #[error("only https is permitted")]
    PlainHttp,
    /// Only listed hosts and networks are permitted.
    #[error("neither host nor address is listed")]
    NotListed,
    /// All addresses of the host are special ones; this is the first.
    #[error("{address} is a {special} address")]
    Special {
        /// The address.
        address: IpAddr,
        /// What it is.
        special: Special,
    },
}

/// What an address is, if it is not one of the public Internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Special {
    /// Gives credentials to whoever asks from inside a cloud.
    #[error("cloud metadata")]
    Metadata,
    /// This host.
    #[error("loopback")]
    Loopback,
    /// "This network", 0.0.0.0 and ::.
    #[error("unspecified")]
    Unspecified,
    /// A private network.
    #[error("private")]
    Private,
    /// The link.
    #[error("link-local")]
    LinkLocal,
    /// Carrier-grade NAT.
    #[error("shared")]
    Shared,
    /// Many hosts, broadcast included.
    #[error("multicast or broadcast")]
    Multicast,
    /// Documentation, benchmarks, protocol assignments and everything that was never given out.
    #[error("reserved")]
    Reserved,
}

impl Egress {
    /// The host of an address and no other, over TLS unless the address says otherwise.
    pub fn only(url: &HttpUrl) -> Self {
        let only = Self::public().listed_only().allow_host(url.host());
        if url.is_https() { only } else { only.plain_http() }
    }

    /// The public Internet over TLS.
    pub fn public() -> Self {
        Self::default()
    }

    /// Permits all addresses of a host, except cloud metadata, by its exact name (case and a dot at the end do not
    /// matter) or by its address as it is written in an URL.
    pub fn allow_host(mut self, host: &str) -> Self {
        self.hosts.insert(plain(host));
        self
    }

    /// Permits the addresses of a network. A cloud metadata address is permitted only by a network that holds no other.
    pub fn allow_network(mut self, network: IpNet) -> Self {
        self.networks.push(network.trunc());
        self
    }

    /// Permits nothing but what is listed.
    pub const fn listed_only(mut self) -> Self {
        self.listed_only = true;
        self
    }

    /// Permits connections without TLS.
    pub const fn plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// What can be said before the host is resolved.
    ///
    /// # Errors
    /// [`Denied`] with the reason.
    pub fn check_url(&self, url: &HttpUrl) -> Result<(), Denied> {
        let reason = if !url.is_https() && !self.plain_http {
            Some(Reason::PlainHttp)
        } else {
            url.host_address()
                .and_then(|address| self.check_address(url.host(), address).err())
        };
        reason.map_or(Ok(()), |reason| {
            Err(Denied {
                origin: url.origin(),
                reason,
            })
        })
    }

    /// Whether `host` may be reached at `address`.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), Reason> {
        let special = special(address);
        let canonical = address.to_canonical();
        let mut networks = self
            .networks
            .iter()
            .filter(|network| network.contains(&canonical));
        let listed = if special == Some(Special::Metadata) {
            networks.any(|network| network.prefix_len() == network.max_prefix_len())
        } else {
            self.hosts.contains(&plain(host)) || networks.next().is_some()
        };
        match special {
            _ if listed => Ok(()),
            Some(special) => Err(Reason::Special { address, special }),
            None if self.listed_only => Err(Reason::NotListed),
            None => Ok(()),
        }
    }
}

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Addresses at which clouds give out credentials; most of them lie in networks that are special anyway.
const METADATA: [IpAddr; 7] = [
    // AWS, Azure, Google Cloud, DigitalOcean, OpenStack
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // AWS ECS tasks
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    // Azure's platform address, a public one
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Alibaba Cloud
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Oracle Cloud
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // AWS over IPv6
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Google Cloud over IPv6
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// What an address is; `None` for one of the public Internet. An IPv6 address that stands for an IPv4 one (mapped,
/// compatible, NAT64, 6to4) is what that one is.
///
/// Source: the IANA registries of special-purpose addresses (RFC 6890) for IPv4 and IPv6; NAT64: RFC 6052 and RFC 8215.
pub fn special(address: IpAddr) -> Option<Special> {
    if METADATA.contains(&address.to_canonical()) {
        return Some(Special::Metadata);
    }
    match address {
        IpAddr::V4(four) => special_four(four),
        IpAddr::V6(six) => special_six(six),
    }
}

fn special_four(address: Ipv4Addr) -> Option<Special> {
    match address.octets() {
        [0, ..] => Some(Special::Unspecified),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(Special::Private),
        [127, ..] => Some(Special::Loopback),
        [100, 64..=127, ..] => Some(Special::Shared),
        [169, 254, ..] => Some(Special::LinkLocal),
        [224..=239, ..] | [255, 255, 255, 255] => Some(Special::Multicast),
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Some(Special::Reserved),
        _ => None,
    }
}

fn special_six(address: Ipv6Addr) -> Option<Special> {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        special(Ipv4Addr::new(a, b, c, d).into())
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(Special::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Special::Loopback),
        // IPv4-compatible (deprecated), IPv4-mapped, NAT64 by the well-known prefix, 6to4
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        // NAT64 inside a network, unique local, what was site-local
        [0x64, 0xff9b, 1, ..] | [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Some(Special::Private),
        [0xfe80..=0xfebf, ..] => Some(Special::LinkLocal),
        [0xff00..=0xffff, ..] => Some(Special::Multicast),
        // protocol assignments with Teredo and ORCHID, documentation
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(Special::Reserved),
        // global unicast
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Special::Reserved),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn special_addresses_are_known_in_all_their_forms() {
        use Special::{LinkLocal, Loopback, Metadata, Multicast, Private, Reserved, Shared, Unspecified};
        for (text, expected) in [
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Shared),
            ("100.127.255.255", Shared),
            ("169.254.1.1", LinkLocal),
            ("169.254.169.254", Metadata),
            ("169.254.170.2", Metadata),
            ("168.63.129.16", Metadata),
            ("100.100.100.200", Metadata),
            ("192.0.0.192", Metadata),
            ("224.0.0.1", Multicast),
            ("255.255.255.255", Multicast),
            ("192.0.2.1", Reserved),
            ("198.18.0.1", Reserved),
            ("198.51.100.7", Reserved),
            ("203.0.113.9", Reserved),
            ("240.0.0.1", Reserved),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::127.0.0.1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:169.254.169.254", Metadata),
            ("64:ff9b::127.0.0.1", Loopback),
            ("64:ff9b::169.254.169.254", Metadata),
            ("64:ff9b::10.1.2.3", Private),
            ("64:ff9b:1::8.8.8.8", Private),
            ("2002:7f00:1::1", Loopback),
            ("2002:a9fe:a9fe::1", Metadata),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Reserved),
            ("2001:db8::1", Reserved),
            ("3fff::1", Reserved),
            ("fc00::1", Private),
            ("fd00:ec2::254", Metadata),
            ("fd20:ce::254", Metadata),
            ("fe80::1", LinkLocal),
            ("fec0::1", Private),
            ("ff02::1", Multicast),
            ("100::1", Reserved),
            ("5f00::1", Reserved),
        ] {
            assert_eq!(special(address(text)), Some(expected), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.254",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(special(address(text)), None, "{text}");
        }
    }

    #[test]
    fn lists_permit_what_they_name_and_no_more() {
        let hosts = Egress::public()
            .allow_host("Intern.Example.")
            .allow_host("localhost");
        assert_eq!(hosts.check_address("intern.example", address("10.0.0.1")), Ok(()));
        assert_eq!(hosts.check_address("LOCALHOST.", address("::1")), Ok(()));
        assert!(
            hosts
                .check_address("sub.intern.example", address("10.0.0.1"))
                .is_err()
        );
        assert!(
            hosts
                .check_address("intern.example", address("169.254.169.254"))
                .is_err(),
            "a listed name may not lead to cloud metadata"
        );
        let networks = Egress::public()
            .allow_network("10.1.0.0/16".parse().unwrap())
            .allow_network("169.254.0.0/16".parse().unwrap());
        assert_eq!(networks.check_address("any", address("10.1.2.3")), Ok(()));
        assert_eq!(networks.check_address("any", address("::ffff:10.1.2.3")), Ok(()));
        assert!(networks.check_address("any", address("10.2.0.1")).is_err());
        assert_eq!(networks.check_address("any", address("169.254.1.1")), Ok(()));
        assert!(networks.check_address("any", address("169.254.169.254")).is_err());
        let exactly = networks.allow_network("169.254.169.254/32".parse().unwrap());
        assert_eq!(exactly.check_address("any", address("169.254.169.254")), Ok(()));
    }

    #[test]
    fn a_closed_policy_permits_the_list_alone() {
        let closed = Egress::public()
            .listed_only()
            .allow_host("api.example")
            .allow_network("8.8.8.0/24".parse().unwrap());
        assert_eq!(closed.check_address("api.example", address("1.1.1.1")), Ok(()));
        assert_eq!(closed.check_address("dns", address("8.8.8.8")), Ok(()));
        assert_eq!(
            closed.check_address("other.example", address("1.1.1.1")),
            Err(Reason::NotListed)
        );
    }

    #[test]
    fn addresses_as_hosts_and_plain_http_are_refused_before_anything_is_resolved() {
        let check =
            |egress: &Egress, text: &str| egress.check_url(&text.parse().unwrap()).map_err(|no| no.reason);
        let public = Egress::public();
        assert_eq!(check(&public, "https://example.com/"), Ok(()));
        assert_eq!(check(&public, "http://example.com/"), Err(Reason::PlainHttp));
        assert_eq!(
            check(&Egress::public().plain_http(), "http://example.com/"),
            Ok(())
        );
        for text in ["https://127.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]/"] {
            let refused = check(&public, text);
            assert!(
                matches!(
                    refused,
                    Err(Reason::Special {
                        special: Special::Loopback,
                        ..
                    })
                ),
                "{text}"
            );
        }
        let denied = public
            .check_url(&"https://10.0.0.1/secret?k=v".parse().unwrap())
            .unwrap_err();
        assert_eq!(
            denied.to_string(),
            "the egress policy does not permit to connect to https://10.0.0.1:443"
        );
        assert_eq!(denied.reason.to_string(), "10.0.0.1 is a private address");
    }

    proptest! {
        #[test]
        fn every_form_of_an_ipv4_address_is_what_the_address_is(bits in any::<u32>()) {
            let four = Ipv4Addr::from_bits(bits);
            let expected = special(four.into());
            let [a, b, c, d] = four.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for six in [
                four.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                prop_assert_eq!(special(six.into()), expected);
            }
        }
    }
}
