//! What happens between a connection and its wire, on the server's side.

use std::{future::poll_fn, io, net::SocketAddr};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{HybridConfig, HybridWire, Kind};
use crate::{
    OpenError,
    http::{HEAD_LIMIT, Upgrade},
    scratch,
    websocket::Role,
};

impl<S> HybridWire<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Finds out what the client at the other end of `stream` speaks, and upgrades it if that is HTTP.
    ///
    /// Waits for the client's bytes, so put a deadline around it. The stream is taken as it is: whoever
    /// gives it has dealt with the PROXY protocol and with TLS.
    ///
    /// # Errors
    ///
    /// When this client does not get a wire; it was told so if it spoke HTTP.
    pub async fn accept(
        mut stream: S,
        mut peer: SocketAddr,
        config: &HybridConfig,
    ) -> Result<HybridWire<S>, OpenError> {
        let mut head = BytesMut::new();
        loop {
            if read_more(&mut stream, &mut head).await? == 0 {
                return Err(OpenError::Left);
            }
            match head.first() {
                Some(first) if config.raw.contains(first) => {
                    return Ok(HybridWire::raw(stream, peer, Kind::Tcp, head));
                }
                Some(b'A'..=b'Z') => {}
                Some(&other) => return Err(OpenError::Unknown(other)),
                None => return Err(OpenError::Left),
            }
            match Upgrade::decode(&head, peer, config) {
                Ok(Some(upgrade)) => {
                    peer = upgrade.speaker;
                    stream.write_all(upgrade.answer().as_bytes()).await?;
                    stream.flush().await?;
                    head.advance(upgrade.len);
                    return Ok(HybridWire::websocket(stream, peer, Role::Server, head));
                }
                Ok(None) => {}
                Err(refusal) => {
                    refuse(&mut stream, &refusal.answer(&config.banner)).await?;
                    return Err(OpenError::Refused {
                        status: refusal.status(),
                        reason: refusal.reason(),
                    });
                }
            }
        }
    }
}

/// Answers, and waits for the client to have read it and gone.
pub(crate) async fn refuse<S>(stream: &mut S, answer: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(answer.as_bytes()).await?;
    if stream.shutdown().await.is_ok() {
        let _ = poll_fn(|cx| scratch::poll_discard(stream, cx)).await;
    }
    Ok(())
}

/// Reads once, so that `head` is no longer than a head may be, and says how many bytes came.
pub(crate) async fn read_more<S>(stream: &mut S, head: &mut BytesMut) -> io::Result<usize>
where
    S: AsyncRead + Unpin,
{
    let room = HEAD_LIMIT - head.len();
    poll_fn(|cx| {
        scratch::poll_read(stream, cx, room, |bytes| {
            head.extend_from_slice(bytes);
            bytes.len()
        })
    })
    .await
}
