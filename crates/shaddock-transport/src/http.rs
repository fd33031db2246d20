//! The HTTP that stands before a WebSocket: an upgrade and its answers, from bytes to values.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};
use sha1::{Digest, Sha1};

use crate::HybridConfig;

/// The longest head that is read, of a request or an answer.
pub(crate) const HEAD_LIMIT: usize = 8 * 1024;

/// As many header fields as are read.
const FIELDS: usize = 64;

/// What a client must send back a digest of, by RFC 6455.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request to speak WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// How long the request's head is. What follows it is WebSocket already.
    pub(crate) len: usize,
    /// Who asks, as far as a trusted proxy says so.
    pub(crate) speaker: SocketAddr,
    /// The client's key.
    key: String,
}

/// Why an HTTP request gets no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    Proxy,
    Origin,
    NoUpgrade,
    Version,
    TooLong,
}

/// The head of a request.
pub(crate) struct Head<'a> {
    /// How long it is.
    pub(crate) len: usize,
    pub(crate) method: &'a str,
    #[cfg_attr(not(feature = "socketio"), allow(dead_code, reason = "WebSocket has any path"))]
    pub(crate) target: &'a str,
    version: u8,
    fields: Fields<'a>,
}

impl<'a> Head<'a> {
    /// Room for the fields of a head.
    pub(crate) const ROOM: [Header<'static>; FIELDS] = [EMPTY_HEADER; FIELDS];

    /// Reads the head at the front of `bytes`; `None` when more of it is needed.
    pub(crate) fn decode(
        bytes: &'a [u8],
        room: &'a mut [Header<'a>],
    ) -> Result<Option<Head<'a>>, Refusal> {
        let mut request = Request::new(room);
        let len = match request.parse(bytes) {
            Ok(Status::Complete(len)) if len <= HEAD_LIMIT => len,
            Ok(Status::Partial) if bytes.len() < HEAD_LIMIT => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLong),
            Err(_) => return Err(Refusal::Malformed),
        };
        Ok(Some(Head {
            len,
            method: request.method.unwrap_or_default(),
            target: request.path.unwrap_or_default(),
            version: request.version.unwrap_or_default(),
            fields: Fields(request.headers),
        }))
    }

    /// The value of the first field of this name, if it is text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// Who asks, if the page they come from may: `peer`, or whom a trusted proxy speaks for.
    pub(crate) fn speaker(
        &self,
        peer: SocketAddr,
        config: &HybridConfig,
    ) -> Result<SocketAddr, Refusal> {
        // Programs that are no browsers send no origin, and could send any.
        if let (Some(allowed), Some(origin)) = (&config.origins, self.field("origin"))
            && !allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
        {
            return Err(Refusal::Origin);
        }
        config.proxies.speaker(peer, |name| self.fields.all(name)).map_err(|_| Refusal::Proxy)
    }
}

impl Upgrade {
    /// Reads the head of a request that came from `peer`; `None` when more of it is needed.
    pub(crate) fn decode(
        bytes: &[u8],
        peer: SocketAddr,
        config: &HybridConfig,
    ) -> Result<Option<Upgrade>, Refusal> {
        let mut room = Head::ROOM;
        match Head::decode(bytes, &mut room)? {
            Some(head) => Upgrade::of(&head, peer, config).map(Some),
            None => Ok(None),
        }
    }

    /// What the head of a request that came from `peer` asks for.
    pub(crate) fn of(
        head: &Head,
        peer: SocketAddr,
        config: &HybridConfig,
    ) -> Result<Upgrade, Refusal> {
        let fields = &head.fields;
        if !fields.has("upgrade", "websocket") {
            return Err(Refusal::NoUpgrade);
        }
        if head.method != "GET" || head.version != 1 || !fields.has("connection", "upgrade") {
            return Err(Refusal::Malformed);
        }
        if fields.get("sec-websocket-version") != Some("13") {
            return Err(Refusal::Version);
        }
        let Some(key) = fields.get("sec-websocket-key").filter(|key| key.len() == 24) else {
            return Err(Refusal::Malformed);
        };
        Ok(Upgrade { len: head.len, speaker: head.speaker(peer, config)?, key: key.to_owned() })
    }

    /// The answer after which both sides speak WebSocket.
    pub(crate) fn answer(&self) -> String {
        let accept = accept(&self.key);
        format!(
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    }
}

impl Refusal {
    pub(crate) fn status(self) -> u16 {
        match self {
            Refusal::Malformed | Refusal::Proxy => 400,
            Refusal::Origin => 403,
            Refusal::NoUpgrade | Refusal::Version => 426,
            Refusal::TooLong => 431,
        }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Refusal::Malformed => "not a request that can be read",
            Refusal::Proxy => "a proxy does not say whom it speaks for",
            Refusal::Origin => "this origin is not allowed here",
            Refusal::NoUpgrade => "not an upgrade to WebSocket",
            Refusal::Version => "not version 13 of WebSocket",
            Refusal::TooLong => "the head of the request is too long",
        }
    }

    /// The whole answer. A plain request is told what this port is, by `banner`.
    pub(crate) fn answer(self, banner: &str) -> String {
        let fields = match self.status() {
            426 => {
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n"
            }
            _ => "Connection: close\r\n",
        };
        let text = if self == Refusal::NoUpgrade { banner } else { self.reason() };
        answer(self.status(), fields, &format!("{text}\n"))
    }
}

/// A whole answer to a request, with more `fields` in its head.
pub(crate) fn answer(status: u16, fields: &str, text: &str) -> String {
    let phrase = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        _ => "Request Header Fields Too Large",
    };
    let len = text.len();
    format!(
        "HTTP/1.1 {status} {phrase}\r\n\
         {fields}\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {len}\r\n\r\n\
         {text}"
    )
}

/// A client's request to speak WebSocket.
#[derive(Debug)]
pub(crate) struct ClientUpgrade {
    key: String,
}

impl ClientUpgrade {
    pub(crate) fn new(nonce: [u8; 16]) -> ClientUpgrade {
        ClientUpgrade { key: BASE64.encode(nonce) }
    }

    /// The request. `host` and `path` come from a URL without white space or control characters.
    pub(crate) fn request(&self, host: &str, path: &str) -> String {
        let key = &self.key;
        format!(
            "GET {path} HTTP/1.1\r\n\
             Host: {host}\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n\r\n"
        )
    }

    /// Reads the head of the answer and says how long it is; `None` when more of it is needed, the status on a no.
    pub(crate) fn decode_answer(&self, head: &[u8]) -> Result<Option<usize>, Option<u16>> {
        let mut fields = [EMPTY_HEADER; FIELDS];
        let mut response = Response::new(&mut fields);
        let len = match response.parse(head) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) if head.len() < HEAD_LIMIT => return Ok(None),
            Ok(Status::Partial) | Err(_) => return Err(None),
        };
        if response.code != Some(101) {
            return Err(response.code);
        }
        match Fields(response.headers).get("sec-websocket-accept") {
            Some(digest) if digest == accept(&self.key) => Ok(Some(len)),
            _ => Err(None),
        }
    }
}

struct Fields<'a>(&'a [Header<'a>]);

impl Fields<'_> {
    /// The value of the first field of this name, if it is text.
    fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        Some(std::str::from_utf8(field.value).ok()?.trim())
    }

    /// The values of all fields of this name.
    fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// Whether `token` is in the list that a field holds.
    fn has(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// What proves that a server understood the upgrade.
fn accept(key: &str) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{Forwarding, Proxies};

    const REQUEST: &str = "GET /any/path?x=1 HTTP/1.1\r\nhost: a\r\nUPGRADE: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://game.example\r\n\r\n";

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5000);

    fn decode(request: &str) -> Result<Option<Upgrade>, Refusal> {
        Upgrade::decode(request.as_bytes(), PEER, &HybridConfig::default())
    }

    #[test]
    fn the_answer_has_the_digest_of_the_rfc() {
        let upgrade = decode(REQUEST).unwrap().unwrap();
        assert_eq!(upgrade.len, REQUEST.len());
        assert!(
            upgrade.answer().contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
        );
    }

    #[test]
    fn a_head_waits_until_it_is_whole() {
        for cut in 0..REQUEST.len() {
            assert_eq!(decode(&REQUEST[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_missing_says_which_answer_it_gets() {
        for (from, to, refusal) in [
            ("UPGRADE: WebSocket\r\n", "", Refusal::NoUpgrade),
            ("UPGRADE: WebSocket", "Upgrade: h2c", Refusal::NoUpgrade),
            ("Version: 13", "Version: 8", Refusal::Version),
            ("Connection: keep-alive, Upgrade", "Connection: close", Refusal::Malformed),
            ("Key: dGhl", "Key: ", Refusal::Malformed),
            ("GET ", "POST ", Refusal::Malformed),
            ("HTTP/1.1", "HTTP/1.0", Refusal::Malformed),
            ("host: a", "host a", Refusal::Malformed),
            ("host: a\r\n", &"x: y\r\n".repeat(65), Refusal::TooLong),
            ("host: a", &format!("host: {}", "x".repeat(HEAD_LIMIT)), Refusal::TooLong),
        ] {
            assert_eq!(decode(&REQUEST.replace(from, to)), Err(refusal), "without {from:?}");
        }
    }

    #[test]
    fn browsers_come_from_an_allowed_origin_or_not_at_all() {
        let allow = |origins: &[&str], request: &str| {
            let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
            let config = HybridConfig { origins: Some(origins), ..HybridConfig::default() };
            Upgrade::decode(request.as_bytes(), PEER, &config).map(|upgrade| upgrade.is_some())
        };
        assert_eq!(allow(&["http://other", "HTTP://GAME.EXAMPLE"], REQUEST), Ok(true));
        assert_eq!(allow(&["http://other"], REQUEST), Err(Refusal::Origin));
        assert_eq!(allow(&[], &REQUEST.replace("Origin: http://game.example\r\n", "")), Ok(true));
    }

    #[test]
    fn only_the_header_of_a_trusted_proxy_says_who_speaks() {
        let request = REQUEST.replace(
            "host: a\r\n",
            "X-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2\r\nForwarded: for=192.0.2.3\r\n",
        );
        let speaker = |trusted: &str, header, request: &str| {
            let proxies =
                Proxies { trusted: trusted.parse().unwrap(), header, ..Proxies::default() };
            let config = HybridConfig { proxies, ..HybridConfig::default() };
            let upgrade = Upgrade::decode(request.as_bytes(), PEER, &config)?;
            Ok(upgrade.unwrap().speaker.to_string())
        };
        let said = |trusted, header| speaker(trusted, header, &request).unwrap();
        assert_eq!(said("", Forwarding::XForwardedFor), "10.0.0.1:5000");
        assert_eq!(said("10.0.0.1", Forwarding::Ignored), "10.0.0.1:5000");
        assert_eq!(said("10.0.0.1", Forwarding::XForwardedFor), "192.0.2.2:0");
        assert_eq!(said("10.0.0.1", Forwarding::Forwarded), "192.0.2.3:0");
        let broken = request.replace("192.0.2.2", "a toaster");
        assert_eq!(speaker("10.0.0.1", Forwarding::XForwardedFor, &broken), Err(Refusal::Proxy));
    }

    #[test]
    fn a_client_believes_only_its_own_digest() {
        let client = ClientUpgrade::new(*b"the sample nonce");
        let answer = decode(REQUEST).unwrap().unwrap().answer();
        assert_eq!(client.decode_answer(&answer.as_bytes()[..20]), Ok(None));
        assert_eq!(client.decode_answer(answer.as_bytes()), Ok(Some(answer.len())));
        assert_eq!(ClientUpgrade::new([0; 16]).decode_answer(answer.as_bytes()), Err(None));
        let refused = Refusal::Origin.answer("");
        assert_eq!(client.decode_answer(refused.as_bytes()), Err(Some(403)));
    }
}
