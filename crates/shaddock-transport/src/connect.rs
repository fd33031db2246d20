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

use crate::{
    http::ClientUpgrade,
    hybrid::{HybridWire, read_more},
    websocket::Role,
};

/// Connects to a server by raw TCP.
///
/// # Errors
///
/// When nobody answers there.
pub async fn connect_tcp(addr: impl ToSocketAddrs) -> Result<HybridWire, ConnectError> {
    let (stream, peer) = dial(addr).await?;
    Ok(HybridWire::raw(stream, peer, "tcp", BytesMut::new()))
}

/// Connects to a server by WebSocket. The address looks like `ws://host:port/path`; port and path may be left out.
///
/// # Errors
///
/// When nobody answers there, or what answers is no WebSocket.
pub async fn connect_websocket(url: &str) -> Result<HybridWire, ConnectError> {
    let (host, path) = split(url).ok_or(ConnectError::Url)?;
    // An IPv6 address has colons too, within brackets.
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let (stream, peer) = match has_port {
        true => dial(host).await?,
        false => dial(format!("{host}:80")).await?,
    };
    HybridWire::connect(stream, peer, host, path).await
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
    #[error("not an address like ws://host:port/path")]
    Url,
    /// What answers does not speak WebSocket, or not with us. With its HTTP status, if it has one.
    #[error("the server gave no WebSocket{}", .0.map(|status| format!(", but status {status}")).unwrap_or_default())]
    Refused(Option<u16>),
    /// Nobody answers.
    #[error("could not connect")]
    Io(#[from] io::Error),
}

async fn dial(addr: impl ToSocketAddrs) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    Ok((stream, peer))
}

/// Takes `ws://host:port/path` apart, if it is one and can stand in a request as it is.
fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("ws://")?;
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
        assert_eq!(split("ws://a:1"), Some(("a:1", "/")));
        assert_eq!(split("ws://[::1]:1/x?y"), Some(("[::1]:1", "/x?y")));
        for not_ours in ["a:1", "wss://a", "ws://", "ws:///x", "ws://a/ HTTP/1.1", "ws://a\r\nx: y"]
        {
            assert_eq!(split(not_ours), None, "{not_ours:?}");
        }
    }
}
