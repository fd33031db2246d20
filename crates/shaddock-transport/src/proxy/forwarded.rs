//! The headers of HTTP that say whom a proxy speaks for: `X-Forwarded-For` and RFC 7239's `Forwarded`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::NotAnAddress;
use crate::Networks;

/// Who speaks through `peer`, by all values of `X-Forwarded-For`.
pub(super) fn x_forwarded_for<'a>(
    peer: SocketAddr,
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &Networks,
) -> Result<SocketAddr, NotAnAddress> {
    let nodes = values.rev().flat_map(|value| {
        let items = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        items.filter(|item| !item.is_empty()).map(|item| text(item).and_then(node))
    });
    walk(peer, nodes, trusted)
}

/// Who speaks through `peer`, by all values of `Forwarded`.
pub(super) fn forwarded<'a>(
    peer: SocketAddr,
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &Networks,
) -> Result<SocketAddr, NotAnAddress> {
    let nodes = values.rev().flat_map(|value| {
        let elements = match text(value) {
            // Within a quote that a client left open, what the proxy added would look like the client's.
            Ok(value) if value.matches('"').count() % 2 == 0 => {
                split(value, ',').map(element).collect()
            }
            _ => vec![Err(NotAnAddress)],
        };
        elements.into_iter().rev()
    });
    walk(peer, nodes, trusted)
}

/// Goes from the nearest proxy outwards, as long as it may be believed.
fn walk(
    peer: SocketAddr,
    nodes: impl Iterator<Item = Result<Option<SocketAddr>, NotAnAddress>>,
    trusted: &Networks,
) -> Result<SocketAddr, NotAnAddress> {
    let mut speaker = peer;
    for node in nodes {
        match node? {
            Some(address) => speaker = address,
            None => break,
        }
        if !trusted.contain(speaker.ip()) {
            break;
        }
    }
    Ok(speaker)
}

/// What one element of `Forwarded` says after `for=`: `for=192.0.2.1;proto=https`.
fn element(element: &str) -> Result<Option<SocketAddr>, NotAnAddress> {
    for pair in split(element, ';') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        if name.trim().eq_ignore_ascii_case("for") {
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            return node(bare.unwrap_or(value));
        }
    }
    // This proxy says only other things, so nobody knows who is behind it.
    Ok(None)
}

/// An address with or without a port, or `None` for one that is kept secret.
fn node(text: &str) -> Result<Option<SocketAddr>, NotAnAddress> {
    if text.eq_ignore_ascii_case("unknown") || text.starts_with('_') {
        return Ok(None);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Some(SocketAddr::new(address.to_canonical(), 0)));
    }
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some(Ok(address)) = bracketed.map(str::parse::<Ipv6Addr>) {
        return Ok(Some(SocketAddr::new(address.to_canonical(), 0)));
    }
    let address: SocketAddr = text.parse().map_err(|_| NotAnAddress)?;
    Ok(Some(SocketAddr::new(address.ip().to_canonical(), address.port())))
}

/// Splits at a mark that is not within quotes. No value of interest has a quote in its quotes.
fn split(text: &str, mark: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |char: char| {
        quoted ^= char == '"';
        char == mark && !quoted
    })
}

fn text(bytes: &[u8]) -> Result<&str, NotAnAddress> {
    std::str::from_utf8(bytes).map_err(|_| NotAnAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1:5000";

    fn proxies() -> Networks {
        "10.0.0.0/8 2001:db8:f::/48".parse().unwrap()
    }

    fn by_x_forwarded_for(values: &[&str]) -> Result<String, NotAnAddress> {
        let values = values.iter().map(|value| value.as_bytes());
        let speaker = x_forwarded_for(PROXY.parse().unwrap(), values, &proxies())?;
        Ok(speaker.to_string())
    }

    fn by_forwarded(values: &[&str]) -> Result<String, NotAnAddress> {
        let values = values.iter().map(|value| value.as_bytes());
        let speaker = forwarded(PROXY.parse().unwrap(), values, &proxies())?;
        Ok(speaker.to_string())
    }

    #[test]
    fn the_first_that_is_no_proxy_is_the_client() {
        for (values, client) in [
            (&[][..], PROXY),
            (&["192.0.2.1"], "192.0.2.1:0"),
            (&["192.0.2.1:77"], "192.0.2.1:77"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]"], "[2001:db8::1]:0"),
            (&["::ffff:192.0.2.1"], "192.0.2.1:0"),
            // What stands before the client was written by the client.
            (&["127.0.0.1, nonsense, 192.0.2.1,10.0.0.2 "], "192.0.2.1:0"),
            (&["1.1.1.1", "192.0.2.1", "10.0.0.2, 10.0.0.3"], "192.0.2.1:0"),
            (&["1.1.1.1, 192.0.2.1, 2001:db8:f::1"], "192.0.2.1:0"),
            // All of them are ours: the one furthest away speaks for itself.
            (&["10.0.0.9, 10.0.0.2"], "10.0.0.9:0"),
            (&["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2:0"),
            (&["unknown"], PROXY),
            (&[" , "], PROXY),
        ] {
            assert_eq!(by_x_forwarded_for(values).as_deref(), Ok(client), "{values:?}");
        }
        for values in
            [&["nonsense"][..], &["192.0.2.1", "10.0.0.256"], &["192.0.2.1:http"], &["\u{fffd}"]]
        {
            assert_eq!(by_x_forwarded_for(values), Err(NotAnAddress), "{values:?}");
        }
        let latin = [&b"192.0.2.\xb9"[..]].into_iter();
        assert_eq!(x_forwarded_for(PROXY.parse().unwrap(), latin, &proxies()), Err(NotAnAddress));
    }

    #[test]
    fn rfc_7239_is_read_the_same_way() {
        for (values, client) in [
            (&[][..], PROXY),
            (&["for=192.0.2.1"], "192.0.2.1:0"),
            (&["proto=https;For=\"192.0.2.1:77\" ;by=10.0.0.1"], "192.0.2.1:77"),
            (&["for=\"[2001:db8:cafe::17]:4711\""], "[2001:db8:cafe::17]:4711"),
            (&["for=nonsense, for=192.0.2.1, for=10.0.0.2"], "192.0.2.1:0"),
            (&["for=192.0.2.1", "for=\"[2001:db8:f::1]\";host=\"a,b;c\""], "192.0.2.1:0"),
            (&["for=192.0.2.1, for=_hidden"], PROXY),
            (&["for=192.0.2.1, for=unknown, for=10.0.0.2"], "10.0.0.2:0"),
            (&["for=192.0.2.1, proto=https"], PROXY),
        ] {
            assert_eq!(by_forwarded(values).as_deref(), Ok(client), "{values:?}");
        }
        for values in [&["for=nonsense"][..], &["for="], &["for=1.1.1.1;x=\", for=192.0.2.1"]] {
            assert_eq!(by_forwarded(values), Err(NotAnAddress), "{values:?}");
        }
    }
}
