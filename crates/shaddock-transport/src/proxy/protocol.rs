//! The PROXY protocol, versions 1 and 2, as HAProxy's `proxy-protocol.txt` describes it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::OpenError;

/// Reads the header at the front of a connection, and nothing of what follows it.
///
/// Gives the client's address, or `None` when the proxy speaks for itself or does not know.
pub(crate) async fn read_header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, OpenError> {
    let mut header = Vec::new();
    let mut seen = [0; 256];
    loop {
        let len = stream.peek(&mut seen).await?;
        if len == 0 {
            return Err(OpenError::Left);
        }
        let before = header.len();
        header.extend(seen.iter().take(len));
        let decoded = decode(&header).map_err(|reason| OpenError::Proxy { reason })?;
        if let Some((_, whole)) = decoded {
            header.truncate(whole);
        }
        // Of a header that is not whole yet, all that was seen is part.
        let taken = header.len() - before;
        stream.read_exact(&mut seen[..taken]).await?;
        if let Some((client, _)) = decoded {
            return Ok(client);
        }
    }
}

/// What a header says, and how long it is; `None` when more of it is needed.
type Decoded = Result<Option<(Option<SocketAddr>, usize)>, &'static str>;

fn decode(bytes: &[u8]) -> Decoded {
    if begins(bytes, SIGNATURE) {
        decode_binary(bytes)
    } else if begins(bytes, b"PROXY ") {
        decode_text(bytes)
    } else {
        Err("there is no header of the PROXY protocol")
    }
}

/// Whether `bytes` begin with `start`, as far as there are any.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, start)| byte == start)
}

/// `PROXY TCP4 192.0.2.1 10.0.0.1 5000 3010\r\n`
fn decode_text(bytes: &[u8]) -> Decoded {
    let line = match bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') {
        Some(end) => &bytes[..=end],
        None if bytes.len() < LONGEST_LINE => return Ok(None),
        None => return Err("a PROXY line has no end"),
    };
    let malformed = "a PROXY line can't be read";
    let text = std::str::from_utf8(line).map_err(|_| malformed)?;
    let text = text.strip_suffix("\r\n").ok_or(malformed)?;
    let words: Vec<&str> = text.split(' ').collect();
    let client = match *words {
        [_, "UNKNOWN", ..] => None,
        [_, family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let from = address(family, from).ok_or(malformed)?;
            address(family, to).ok_or(malformed)?;
            port(to_port).ok_or(malformed)?;
            Some(SocketAddr::new(from, port(from_port).ok_or(malformed)?))
        }
        _ => return Err(malformed),
    };
    Ok(Some((client, line.len())))
}

/// The longest that a line of version 1 can be, with its end.
const LONGEST_LINE: usize = 107;

fn address(family: &str, text: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        _ => text.parse::<Ipv6Addr>().ok().map(|address| address.to_canonical()),
    }
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok()?;
    (plain && (text == "0" || !text.starts_with('0'))).then_some(port)
}

/// Signature, version and command, family, length of the rest; then addresses, and what else the proxy has to say.
fn decode_binary(bytes: &[u8]) -> Decoded {
    let Some((&[version, family, high, low], rest)) =
        bytes.get(SIGNATURE.len()..).and_then(<[u8]>::split_first_chunk)
    else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if LONGEST_REST < len {
        return Err("a PROXY header is too long");
    }
    let whole = bytes.len() - rest.len() + len;
    let client = match (version, family) {
        // The proxy itself: a health check.
        (0x20, _) => None,
        (0x21, TCP_OVER_IPV4) if len < 12 => return Err("a PROXY header is too short"),
        (0x21, TCP_OVER_IPV6) if len < 36 => return Err("a PROXY header is too short"),
        (0x21, _) if bytes.len() < whole => return Ok(None),
        (0x21, TCP_OVER_IPV4) => rest.first_chunk::<12>().map(|addresses| {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))
        }),
        (0x21, TCP_OVER_IPV6) => rest.split_first_chunk().and_then(|(from, rest)| {
            let (_, ports) = rest.split_first_chunk::<16>()?;
            let from = Ipv6Addr::from(*from).to_canonical();
            let port = u16::from_be_bytes(*ports.first_chunk()?);
            Some(SocketAddr::new(from, port))
        }),
        // Who came by something else has no address that we could give.
        (0x21, _) => None,
        _ => return Err("a PROXY header of an unknown version or command"),
    };
    if bytes.len() < whole {
        return Ok(None);
    }
    Ok(Some((client, whole)))
}

/// How version 2 begins. No other protocol does.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The longest that may follow. A certificate's name and an id need a few hundred bytes.
const LONGEST_REST: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of version 2.
    fn binary(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version, family], &len, rest].concat()
    }

    fn over_ipv4() -> Vec<u8> {
        binary(
            0x21,
            TCP_OVER_IPV4,
            &[192, 0, 2, 1, 10, 0, 0, 1, 0x13, 0x88, 0x0b, 0xc2, 0x04, 0, 1, 7],
        )
    }

    fn over_ipv6() -> Vec<u8> {
        let from: Ipv6Addr = "2001:db8::1".parse().unwrap();
        binary(0x21, TCP_OVER_IPV6, &[&from.octets()[..], &[0; 16], &[0, 99, 0, 1]].concat())
    }

    #[test]
    fn a_header_tells_the_client_and_where_it_ends() {
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 5000 3010\r\n".to_vec(), Some("192.0.2.1:5000")),
            (b"PROXY TCP6 2001:db8::1 ::1 99 3010\r\n".to_vec(), Some("[2001:db8::1]:99")),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 0 0\r\n".to_vec(), Some("192.0.2.1:0")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever stands here\r\n".to_vec(), None),
            (over_ipv4(), Some("192.0.2.1:5000")),
            (over_ipv6(), Some("[2001:db8::1]:99")),
            (binary(0x20, 0, &[]), None),
            (binary(0x20, TCP_OVER_IPV4, &[1; 12]), None),
            (binary(0x21, 0x31, &[b'/'; 216]), None),
        ] {
            let client = client.map(|client| client.parse().unwrap());
            let len = header.len();
            for cut in 0..len {
                assert_eq!(decode(&header[..cut]), Ok(None), "{header:?} cut at {cut}");
            }
            let followed = [&header[..], b"\x01\0\0\0\n"].concat();
            assert_eq!(decode(&followed), Ok(Some((client, len))), "{header:?}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_no_header() {
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"\x01\0\0\0".to_vec(),
            b"PROXY\tTCP4".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 5000 3010\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 5000\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 5000 3010 \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1  10.0.0.1 5000 3010\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 ::1 99 3010\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 3010\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 +500 3010\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 0500 3010\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 10.0.0.1 5000 3010\r\n".to_vec(),
            [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat(),
            b"\r\n\r\n\0\r\nQUIX".to_vec(),
            binary(0x11, TCP_OVER_IPV4, &[0; 12]),
            binary(0x22, TCP_OVER_IPV4, &[0; 12]),
            binary(0x21, TCP_OVER_IPV4, &[0; 11]),
            binary(0x21, TCP_OVER_IPV6, &[0; 35]),
            binary(0x21, TCP_OVER_IPV4, &[0; LONGEST_REST + 1]),
        ] {
            assert!(decode(&bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0..3) {
            let start: &[u8] = [b"".as_slice(), b"PROXY TCP4 ", SIGNATURE][kind as usize];
            let bytes = [start, &bytes].concat();
            if let Ok(Some((_, len))) = decode(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
