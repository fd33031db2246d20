//! Networks of addresses, and who may connect from them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::{PoisonError, RwLock, RwLockWriteGuard},
};

/// Who may connect, by network. The lists can be changed while it is in use.
///
/// An address is let in if no denied network holds it and, where there are allowed networks, one of them does: the
/// denied ones have the last word. Two empty lists let in everyone.
///
/// Behind a proxy ask about the wire's [`peer`](crate::Wire::peer), not about the socket's other end.
///
/// # Examples
///
/// ```
/// use shaddock_transport::AccessList;
///
/// let list = AccessList::default();
/// list.set("198.51.100.0/24 203.0.113.9".parse()?, "".parse()?);
/// assert!(!list.allows("198.51.100.7".parse()?));
/// assert!(list.allows("192.0.2.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct AccessList {
    lists: RwLock<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    deny: Networks,
    allow: Networks,
}

impl AccessList {
    /// Whether this address may connect. Cheap enough for every connection, however long the lists are.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        !lists.deny.contain(address) && (lists.allow.is_empty() || lists.allow.contain(address))
    }

    /// Puts other lists in their place. Connections that are there already stay.
    pub fn set(&self, deny: Networks, allow: Networks) {
        *self.write() = Lists { deny, allow };
    }

    /// The networks that are denied. One that lies within another of them is not told apart from it.
    #[must_use]
    pub fn denied(&self) -> Vec<Network> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        lists.deny.iter().collect()
    }

    /// Denies one network more. Connections that are there already stay.
    pub fn deny(&self, network: Network) {
        let mut lists = self.write();
        lists.deny = lists.deny.iter().chain([network]).collect();
    }

    /// Denies one of the [`denied`](AccessList::denied) networks no longer, and says whether it was one of them.
    pub fn pardon(&self, network: Network) -> bool {
        let mut lists = self.write();
        let before = lists.deny.ranges.len();
        lists.deny.ranges.retain(|range| *range != network.range());
        lists.deny.ranges.len() < before
    }

    fn write(&self) -> RwLockWriteGuard<'_, Lists> {
        self.lists.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Any number of networks, asked as one.
///
/// Text has them apart by white space or commas. IPv4 in IPv6 (`::ffff:192.0.2.1`) is IPv4 here, so `::/0` is every
/// address but those of IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// First and last address of ranges that are in order and do not touch one another's addresses.
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl Networks {
    /// Whether one of them holds this address.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        match self.ranges[..after].last() {
            Some((_, last)) => address <= *last,
            None => false,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Each of them that lies within no other.
    pub fn iter(&self) -> impl Iterator<Item = Network> {
        self.ranges.iter().map(|&(first, last)| Network::spanning(first, last))
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Networks {
        let mut all: Vec<_> = networks.into_iter().map(|network| network.range()).collect();
        // Of those that begin together the widest comes first.
        all.sort_unstable_by(|(first, last), (other, end)| first.cmp(other).then(end.cmp(last)));
        let mut ranges: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last() {
                // Networks hold one another or have nothing in common.
                Some((_, before)) if last <= *before => {}
                _ => ranges.push((first, last)),
            }
        }
        Networks { ranges }
    }
}

impl FromStr for Networks {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Networks, NetworkError> {
        text.split([',', ' ', '\t', '\r', '\n'])
            .filter(|item| !item.is_empty())
            .map(str::parse::<Network>)
            .collect()
    }
}

/// A network of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address alone.
///
/// # Examples
///
/// ```
/// use shaddock_transport::Network;
///
/// assert_eq!("192.0.2.1".parse::<Network>()?.to_string(), "192.0.2.1/32");
/// assert!("192.0.2.1/24".parse::<Network>().is_err()); // 192.0.2.0/24 is meant, or 192.0.2.1
/// # Ok::<(), shaddock_transport::NetworkError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network with this first and this last address.
    fn spanning(first: IpAddr, last: IpAddr) -> Network {
        // The bits that all of its addresses share.
        let prefix = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                (first.to_bits() ^ last.to_bits()).leading_zeros()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                (first.to_bits() ^ last.to_bits()).leading_zeros()
            }
            _ => unreachable!("a range is of one family"),
        };
        Network { address: first, prefix: u8::try_from(prefix).expect("at most 128") }
    }

    /// Its first address and its last one.
    fn range(self) -> (IpAddr, IpAddr) {
        match self.address {
            IpAddr::V4(address) => {
                let hosts = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let [first, last] = [address.to_bits() & !hosts, address.to_bits() | hosts];
                (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into())
            }
            IpAddr::V6(address) => {
                let hosts = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let [first, last] = [address.to_bits() & !hosts, address.to_bits() | hosts];
                (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(last).into())
            }
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        let address = address.to_canonical();
        Network { address, prefix: width(address) }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| NetworkError::Address(text.to_owned()))?;
        let Some(prefix) = prefix else {
            return Ok(Network::from(address));
        };
        let prefix = prefix
            .parse::<u8>()
            .ok()
            .filter(|prefix| *prefix <= width(address))
            .ok_or_else(|| NetworkError::Prefix(text.to_owned(), width(address)))?;
        // `::ffff:192.0.2.0/120` is `192.0.2.0/24`.
        let network = match (address.to_canonical(), prefix.checked_sub(96)) {
            (IpAddr::V4(inner), Some(prefix)) if address.is_ipv6() => {
                Network { address: inner.into(), prefix }
            }
            _ => Network { address, prefix },
        };
        let (first, _) = network.range();
        if first != network.address {
            let meant = Network { address: first, ..network };
            return Err(NetworkError::Host(text.to_owned(), meant));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// It begins with no address.
    #[error("{0:?} is neither an address nor a network like 10.0.0.0/8")]
    Address(String),
    /// What follows the slash is no number of bits.
    #[error("{0:?} has no number from 0 to {1} after its slash")]
    Prefix(String, u8),
    /// The address has bits that its network does not.
    #[error("{0:?} names an address in a network: is {1} meant?")]
    Host(String, Network),
}

/// Bits of an address.
fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(text: &str) -> Networks {
        text.parse().unwrap()
    }

    fn holds(text: &str, address: &str) -> bool {
        networks(text).contain(address.parse().unwrap())
    }

    #[test]
    fn a_network_ends_where_its_prefix_says() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.4/30", "192.0.2.7", "192.0.2.8"),
            ("1.1.1.1", "1.1.1.1", "11.1.1.1"),
            ("0.0.0.0/0", "255.255.255.255", "2001:db8::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::/33", "2001:db8:7fff:ffff::1", "2001:db8:8000::"),
            ("::ffff:192.0.2.0/120", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.0/24", "::ffff:192.0.2.9", "::ffff:192.0.3.9"),
        ] {
            assert!(holds(network, inside), "{inside} in {network}");
            assert!(!holds(network, outside), "{outside} not in {network}");
        }
        assert!(!holds("", "192.0.2.1"));
    }

    #[test]
    fn what_is_wrong_with_a_network_is_said() {
        for (text, said) in [
            ("localhost", "\"localhost\" is neither an address nor a network like 10.0.0.0/8"),
            ("10.0.0/8", "\"10.0.0/8\" is neither an address nor a network like 10.0.0.0/8"),
            ("10.0.0.0/33", "\"10.0.0.0/33\" has no number from 0 to 32 after its slash"),
            ("::/x", "\"::/x\" has no number from 0 to 128 after its slash"),
            ("10.0.0.1/8", "\"10.0.0.1/8\" names an address in a network: is 10.0.0.0/8 meant?"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap_err().to_string(), said);
        }
        assert!("10.0.0.0/8, nonsense".parse::<Networks>().is_err());
    }

    #[test]
    fn the_denied_have_the_last_word_and_lists_change() {
        let list = AccessList::default();
        let allows = |address: &str| list.allows(address.parse().unwrap());
        assert!(allows("192.0.2.1"));
        list.set(networks("10.1.0.0/16"), networks("10.0.0.0/8, 10.1.2.3"));
        assert!(allows("10.2.0.1"));
        assert!(!allows("10.1.2.3"));
        assert!(!allows("192.0.2.1"));
        list.set(Networks::default(), Networks::default());
        assert!(allows("10.1.2.3"));
    }

    #[test]
    fn one_network_is_denied_and_pardoned() {
        let list = AccessList::default();
        let denied = || list.denied().iter().map(Network::to_string).collect::<Vec<_>>();
        list.set(networks("10.1.0.0/16"), Networks::default());
        for network in ["192.0.2.9", "10.1.2.0/24", "2001:db8::/32", "0.0.0.0/0"] {
            list.deny(network.parse().unwrap());
        }
        assert_eq!(denied(), ["0.0.0.0/0", "2001:db8::/32"]);
        assert!(list.pardon("0.0.0.0/0".parse().unwrap()));
        assert!(!list.pardon("2001:db8:1::/48".parse().unwrap()));
        assert_eq!(denied(), ["2001:db8::/32"]);
        assert!(list.allows("10.1.2.3".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn many_networks_hold_what_one_of_them_holds(
            some in prop::collection::vec((any::<u32>(), 0_u8..=32), 0..20),
            addresses in prop::collection::vec(any::<u32>(), 20),
        ) {
            let some: Vec<Network> = some
                .into_iter()
                .map(|(bits, prefix)| {
                    let bits = bits & !u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                    Network { address: Ipv4Addr::from_bits(bits).into(), prefix }
                })
                .collect();
            let all: Networks = some.iter().copied().collect();
            // Those just inside and outside of each, too.
            let edges = some.iter().flat_map(|network| {
                let (IpAddr::V4(first), IpAddr::V4(last)) = network.range() else { unreachable!() };
                [first.to_bits().wrapping_sub(1), first.to_bits(), last.to_bits(), last.to_bits().wrapping_add(1)]
            });
            for bits in addresses.into_iter().chain(edges) {
                let address = IpAddr::from(Ipv4Addr::from_bits(bits));
                let one = some.iter().any(|network| {
                    let (first, last) = network.range();
                    first <= address && address <= last
                });
                prop_assert_eq!(all.contain(address), one, "{}", address);
            }
        }
    }
}
