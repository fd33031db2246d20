//! The client's side: connecting to a server.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, ToSocketAddrs},
};

#[cfg(feature = "tls")]
use crate::Trust;
use crate::{
    http::ClientUpgrade,
    hybrid::{HybridWire, Kind, Socket, read_more},
    websocket::Role,
};

/// Connects to a server by raw TCP.
///
/// # Errors
///
/// When nobody answers there.
pub async fn connect_tcp(addr: impl ToSocketAddrs) -> Result<HybridWire, ConnectError> {
    let (stream, peer) = dial(addr).await?;
    Ok(HybridWire::raw(Socket::from(stream), peer, Kind::Tcp, BytesMut::new()))
}

/// Connects to a server by WebSocket. The address looks like `ws://host:port/path`; port and path may be left out.
///
/// # Errors
///
/// When nobody answers there, or what answers is no WebSocket.
pub async fn connect_websocket(url: &str) -> Result<HybridWire, ConnectError> {
    let (host, path) = split(url, "ws://").ok_or(ConnectError::Url)?;
    let (stream, peer) = dial_url(host, 80).await?;
    HybridWire::connect(Socket::from(stream), peer, host, path).await
}

/// Connects to a server inside TLS, believing the authorities in `trust`.
///
/// `wss://host:port/path`, where port and path may be left out, gives a WebSocket, `tls://host:port` raw bytes.
///
/// # Errors
///
/// When nobody answers there, or what answers does not prove that it is this host, or is no WebSocket.
#[cfg(feature = "tls")]
pub async fn connect_tls(url: &str, trust: &Trust) -> Result<HybridWire, ConnectError> {
    if let Some((host, path)) = split(url, "wss://") {
        let (stream, peer) = dial_url(host, 443).await?;
        let socket = trust.connect(stream, name(host)).await?;
        let wire = HybridWire::connect(socket, peer, host, path).await?;
        return Ok(wire.inside_tls());
    }
    match split(url, "tls://") {
        Some((host, "/")) if port(host).is_some() => {
            let (stream, peer) = dial(host).await?;
            let socket = trust.connect(stream, name(host)).await?;
            Ok(HybridWire::raw(socket, peer, Kind::Tls, BytesMut::new()).inside_tls())
        }
        _ => Err(ConnectError::Url),
    }
}

impl<S> HybridWire<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Asks the server at the other end of `stream` for a WebSocket.
    ///
    /// # Errors
    ///
    /// When it does not give one.
    pub async fn connect(
        mut stream: S,
        peer: SocketAddr,
        host: &str,
        path: &str,
    ) -> Result<HybridWire<S>, ConnectError> {
        let upgrade = ClientUpgrade::new(nonce());
        stream.write_all(upgrade.request(host, path).as_bytes()).await?;
        stream.flush().await?;
        let mut head = BytesMut::new();
        loop {
            if read_more(&mut stream, &mut head).await? == 0 {
                return Err(ConnectError::Refused(None));
            }
            if let Some(len) = upgrade.decode_answer(&head).map_err(ConnectError::Refused)? {
                head.advance(len);
                return Ok(HybridWire::websocket(stream, peer, Role::Client, head));
            }
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Not an address this can connect to.
    #[error("not an address like ws://host:port/path or tls://host:port")]
    Url,
    /// No TLS could be agreed upon, or the server's certificate is not to be believed.
    #[error("the server gave no TLS that can be trusted")]
    Tls(#[source] io::Error),
    /// What answers does not speak WebSocket, or not with us. With its HTTP status, if it has one.
    #[error("the server gave no WebSocket{}", .0.map(|status| format!(", but status {status}")).unwrap_or_default())]
    Refused(Option<u16>),
    /// Nobody answers.
    #[error("could not connect")]
    Io(#[from] io::Error),
}

/// Dials what stands in a URL, at `otherwise` if it names no port.
async fn dial_url(host: &str, otherwise: u16) -> io::Result<(TcpStream, SocketAddr)> {
    match port(host) {
        Some(_) => dial(host).await,
        None => dial(format!("{host}:{otherwise}")).await,
    }
}

async fn dial(addr: impl ToSocketAddrs) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    Ok((stream, peer))
}

/// The port behind a host. An IPv6 address has colons too, within brackets.
fn port(host: &str) -> Option<&str> {
    let (_, port) = host.rsplit_once(':')?;
    (!port.ends_with(']')).then_some(port)
}

/// A host without its port and brackets, as it stands in a certificate.
#[cfg(feature = "tls")]
fn name(host: &str) -> &str {
    let name = match port(host) {
        Some(port) => &host[..host.len() - port.len() - 1],
        None => host,
    };
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

/// Takes `ws://host:port/path` apart, if it is one of this scheme and can stand in a request as it is.
fn split<'a>(url: &'a str, scheme: &str) -> Option<(&'a str, &'a str)> {
    let rest = url.strip_prefix(scheme)?;
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    (!host.is_empty()).then_some((host, path))
}

/// Sixteen bytes that no cache has seen. They need not be secret.
fn nonce() -> [u8; 16] {
    let random = RandomState::new();
    let halves = u128::from(random.hash_one(0)) << 64 | u128::from(random.hash_one(1));
    halves.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_path() {
        assert_eq!(split("ws://a:1", "ws://"), Some(("a:1", "/")));
        assert_eq!(split("ws://[::1]:1/x?y", "ws://"), Some(("[::1]:1", "/x?y")));
        for not_ours in ["a:1", "wss://a", "ws://", "ws:///x", "ws://a/ HTTP/1.1", "ws://a\r\nx: y"]
        {
            assert_eq!(split(not_ours, "ws://"), None, "{not_ours:?}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_certificate_names_a_host_without_its_port() {
        for (host, named) in
            [("a.example:1", "a.example"), ("a", "a"), ("[::1]:1", "::1"), ("[::1]", "::1")]
        {
            assert_eq!(name(host), named);
        }
    }
}
