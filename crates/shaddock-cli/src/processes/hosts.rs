//! Which machine a host is.

use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};

/// Whether `host`, an address or a name, is this machine.
pub(super) fn is_here(host: &str) -> bool {
    // Only an address of this machine can be bound.
    let is_ours = |ip: IpAddr| UdpSocket::bind((ip, 0)).is_ok();
    match host.parse::<IpAddr>() {
        Ok(ip) => is_ours(ip),
        Err(_) => (host, 0)
            .to_socket_addrs()
            .is_ok_and(|mut all| all.any(|address| is_ours(address.ip()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_here_and_others_are_not() {
        for host in ["127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0"] {
            assert!(is_here(host), "{host}");
        }
        for host in ["192.0.2.1", "no host"] {
            assert!(!is_here(host), "{host}");
        }
    }
}
