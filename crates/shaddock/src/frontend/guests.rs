//! How many clients are inside a front-end, in all and by address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;

/// How many are inside, in all and by address.
pub(super) struct Guests {
    most: usize,
    most_per_address: usize,
    count: AtomicUsize,
    by_address: Mutex<FxHashMap<IpAddr, usize>>,
}

impl Guests {
    pub(super) fn new(most: usize, most_per_address: usize) -> Guests {
        Guests { most, most_per_address, count: AtomicUsize::new(0), by_address: Mutex::default() }
    }

    /// One more, wherever they come from.
    pub(super) fn enter(self: &Arc<Guests>) -> Result<Guest, &'static str> {
        if self.most <= self.count.fetch_add(1, Ordering::AcqRel) {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return Err("connections");
        }
        Ok(Guest { guests: self.clone(), address: None })
    }
}

/// Somebody inside. Whatever happens to their task, they leave.
pub(super) struct Guest {
    guests: Arc<Guests>,
    address: Option<IpAddr>,
}

impl Guest {
    /// Whether it is known where they come from.
    pub(super) fn is_settled(&self) -> bool {
        self.address.is_some()
    }

    /// They come from this address, which is said once, and has room for them or not.
    pub(super) fn settle(&mut self, address: IpAddr) -> Result<(), &'static str> {
        let address = place(address);
        // Whoever is on this machine may well be a proxy, or a test.
        if !address.is_loopback() {
            let guests = &self.guests;
            let mut by_address = guests.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let here = by_address.entry(address).or_default();
            if guests.most_per_address <= *here {
                return Err("connections_per_address");
            }
            *here += 1;
        }
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.count.fetch_sub(1, Ordering::AcqRel);
        let Some(address) = self.address else { return };
        let mut by_address = self.guests.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address: of IPv6 the network, for a subscriber has all of it.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            const NETWORK: u128 = u128::MAX << 64;
            Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(guests: &Arc<Guests>, address: &str) -> Result<Guest, &'static str> {
        let mut guest = guests.enter()?;
        guest.settle(address.parse().unwrap())?;
        Ok(guest)
    }

    #[test]
    fn those_who_were_refused_do_not_count() {
        let guests = Arc::new(Guests::new(1, 9));
        let inside = enter(&guests, "10.0.0.1").unwrap();
        for _ in 0..5 {
            assert_eq!(enter(&guests, "10.0.0.1").err(), Some("connections"));
        }
        drop(inside);
        assert!(enter(&guests, "10.0.0.1").is_ok());
    }

    #[test]
    fn one_address_can_not_take_every_place() {
        let guests = Arc::new(Guests::new(9, 2));
        let full = Some("connections_per_address");
        let inside = ["10.0.0.1", "10.0.0.1"].map(|address| enter(&guests, address).unwrap());
        assert_eq!(enter(&guests, "10.0.0.1").err(), full);
        let _others = ["10.0.0.2", "::ffff:127.0.0.1", "::ffff:127.0.0.1", "::ffff:127.0.0.1"]
            .map(|address| enter(&guests, address).unwrap());
        let _network =
            ["2001:db8::1", "2001:db8::2"].map(|address| enter(&guests, address).unwrap());
        assert_eq!(enter(&guests, "2001:db8::3").err(), full);
        drop(inside);
        assert!(enter(&guests, "10.0.0.1").is_ok());
    }
}
