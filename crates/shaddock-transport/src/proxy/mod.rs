//! Proxies in front of us, and what they tell about whom they speak for.

mod forwarded;
mod protocol;

use std::net::SocketAddr;

pub(crate) use self::protocol::read_header;
use crate::Networks;

/// Which proxies are believed, and how they tell whom they speak for.
///
/// What anybody else says about their address is ignored. Whoever a trusted proxy speaks for becomes the wire's
/// [`peer`](crate::Wire::peer).
///
/// # The PROXY protocol
///
/// With [`proxy_protocol`](Proxies::proxy_protocol) every connection from a trusted network, WebSocket or TCP, must
/// begin with a header of version 1 or 2, before TLS. The protocol forbids to guess, so a connection with none, or with
/// one that breaks its rules, is closed. A header that names no address (version 1's `UNKNOWN`, version 2's `LOCAL`,
/// which health checks send) leaves the peer as it is.
///
/// # HTTP's headers
///
/// For a WebSocket the [`header`](Proxies::header) is read from its end, the proxy nearest to us. Each address in a
/// trusted network is a proxy that is believed about the one before it; the first that is not is the client.
///
/// * No such header: the peer stays, for then it is the proxy itself that speaks.
/// * `unknown` or a name (`_hidden`) in place of an address: nobody knows who is behind it, so the peer is the last
///   proxy that is known.
/// * Anything else that is no address: the request is refused with 400.
///
/// An address that comes without a port gets port 0.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// The networks of the proxies that are believed.
    pub trusted: Networks,
    /// They begin connections with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The header that they set, or add to, in HTTP requests.
    ///
    /// Name the one that yours replaces or adds to: another one comes from the client, who can write anything.
    pub header: Forwarding,
}

/// A header of HTTP that says whom a proxy speaks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// None is read.
    Ignored,
    /// `X-Forwarded-For: 192.0.2.1, 10.0.0.2`
    #[default]
    XForwardedFor,
    /// `Forwarded: for=192.0.2.1, for="[2001:db8::1]:99"`, as RFC 7239 has it.
    Forwarded,
}

impl Proxies {
    /// Whether a connection from here must begin with a header of the PROXY protocol.
    pub(crate) fn begins_with_header(&self, peer: SocketAddr) -> bool {
        self.proxy_protocol && self.trusted.contain(peer.ip())
    }

    /// Who speaks through `peer`, by the fields of a request that `values` finds by name.
    pub(crate) fn speaker<'a, V>(
        &self,
        peer: SocketAddr,
        values: impl FnOnce(&'static str) -> V,
    ) -> Result<SocketAddr, NotAnAddress>
    where
        V: DoubleEndedIterator<Item = &'a [u8]>,
    {
        if !self.trusted.contain(peer.ip()) {
            return Ok(peer);
        }
        match self.header {
            Forwarding::Ignored => Ok(peer),
            Forwarding::XForwardedFor => {
                forwarded::x_forwarded_for(peer, values("x-forwarded-for"), &self.trusted)
            }
            Forwarding::Forwarded => forwarded::forwarded(peer, values("forwarded"), &self.trusted),
        }
    }
}

/// A trusted proxy told no address where one belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnAddress;
