//! What an HTTP request to a Socket.IO port asks for, from bytes to values.

use std::net::SocketAddr;

use super::payload::Form;
use crate::{
    HybridConfig,
    http::{self, Head, Refusal, Upgrade},
};

/// A request that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// How long its head is.
    pub(super) len: usize,
    /// Who asks, as far as a trusted proxy says so.
    pub(super) speaker: SocketAddr,
    /// The page it comes from.
    pub(super) origin: Option<Box<str>>,
    pub(super) ask: Ask,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A session, polled: what there is to say to a new client.
    Open,
    /// What there is to say in this session.
    Poll(Box<str>),
    /// To say something in this session, in a body of so many bytes.
    Post(Box<str>, usize, Form),
    /// A session over WebSocket, or to go on with this one there.
    WebSocket(Option<Box<str>>, Upgrade),
    /// A browser asks whether it may.
    Preflight,
}

/// Why a request gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Http(Refusal),
    /// Not for Socket.IO at all.
    NotFound,
    /// It breaks the rules of engine.io in this way.
    Rule(&'static str),
    /// No session has its id.
    Session,
    TooLong,
}

impl Request {
    /// Reads the head of a request that came from `peer`; `None` when more of it is needed. Bodies have `most` bytes.
    pub(super) fn decode(
        bytes: &[u8],
        peer: SocketAddr,
        config: &HybridConfig,
        most: usize,
    ) -> Result<Option<Request>, Refused> {
        let mut room = Head::ROOM;
        let Some(head) = Head::decode(bytes, &mut room)? else {
            return Ok(None);
        };
        let (path, query) = head.target.split_once('?').unwrap_or((head.target, ""));
        if !matches!(path, "/socket.io/" | "/socket.io") {
            return Err(Refused::NotFound);
        }
        let speaker = head.speaker(peer, config)?;
        let origin = head.field("origin").map(Box::from);
        let ask = ask(&head, query, peer, config, most)?;
        Ok(Some(Request { len: head.len, speaker, origin, ask }))
    }
}

fn ask(
    head: &Head<'_>,
    query: &str,
    peer: SocketAddr,
    config: &HybridConfig,
    most: usize,
) -> Result<Ask, Refused> {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    if head.method == "OPTIONS" {
        return Ok(Ask::Preflight);
    }
    if value("EIO") != Some("3") {
        return Err(Refused::Rule("only clients of Socket.IO 1.x and 2.x are served here (EIO=3)"));
    }
    let sid = value("sid").map(Box::from);
    match (value("transport"), head.method, sid) {
        (Some("websocket"), _, sid) => Ok(Ask::WebSocket(sid, Upgrade::of(head, peer, config)?)),
        (Some("polling"), _, _) if value("j").is_some() => {
            Err(Refused::Rule("answers are not wrapped into scripts (JSONP) here"))
        }
        (Some("polling"), "GET", None) => Ok(Ask::Open),
        (Some("polling"), "GET", Some(sid)) => Ok(Ask::Poll(sid)),
        (Some("polling"), "POST", Some(sid)) => {
            let len = head.field("content-length").and_then(|len| len.parse().ok());
            let len = len.ok_or(Refused::Rule("a post must tell its length"))?;
            if most < len {
                return Err(Refused::TooLong);
            }
            let is_binary = head.field("content-type").is_some_and(|kind| {
                kind.split(';').next().is_some_and(|kind| kind.trim() == "application/octet-stream")
            });
            Ok(Ask::Post(sid, len, if is_binary { Form::Binary } else { Form::Text }))
        }
        (Some("polling"), ..) => Err(Refused::Rule("a session begins with a GET")),
        _ => Err(Refused::Rule("the transports are websocket and polling")),
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused::Http(refusal)
    }
}

impl Refused {
    pub(super) fn status(self) -> u16 {
        match self {
            Refused::Http(refusal) => refusal.status(),
            Refused::NotFound => 404,
            Refused::Rule(_) | Refused::Session => 400,
            Refused::TooLong => 413,
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Refused::Http(refusal) => refusal.reason(),
            Refused::NotFound => "not the path of Socket.IO",
            Refused::Rule(reason) => reason,
            Refused::Session => "no session has this id",
            Refused::TooLong => "the body is too long",
        }
    }

    /// The whole answer. What is not for Socket.IO is told what this port is, by `banner`.
    pub(super) fn answer(self, banner: &str) -> String {
        match self {
            Refused::Http(refusal) => refusal.answer(banner),
            Refused::NotFound => http::answer(404, CLOSE, &format!("{banner}\n")),
            _ => http::answer(self.status(), CLOSE, &format!("{}\n", self.reason())),
        }
    }
}

const CLOSE: &str = "Connection: close\r\n";

/// The whole answer to a request that gets what it asks for. A page from elsewhere is told that it may read it.
pub(super) fn answer(origin: Option<&str>, text: &str) -> String {
    let mut fields = format!("{CLOSE}Cache-Control: no-store\r\n");
    if let Some(origin) = origin {
        fields.push_str(&format!(
            "Access-Control-Allow-Origin: {origin}\r\n\
             Access-Control-Allow-Credentials: true\r\n\
             Access-Control-Allow-Headers: Content-Type\r\n\
             Vary: Origin\r\n"
        ));
    }
    http::answer(200, &fields, text)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5000);

    fn ask(request: &str) -> Result<Ask, Refused> {
        let request = format!("{request} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        let decoded = Request::decode(request.as_bytes(), PEER, &HybridConfig::default(), 10)?;
        Ok(decoded.unwrap().ask)
    }

    #[test]
    fn requests_ask_for_one_of_five_things() {
        let at = |query: &str| format!("/socket.io/?EIO=3&transport={query}");
        let post = |form| Ok(Ask::Post("x".into(), 5, form));
        for (request, expected) in [
            (format!("GET {}", at("polling&t=abc")), Ok(Ask::Open)),
            (format!("GET {}", at("polling&sid=x&b64=1")), Ok(Ask::Poll("x".into()))),
            (format!("POST {}", at("polling&sid=x")), post(Form::Text)),
            (
                format!(
                    "POST {} HTTP/1.1\r\nContent-Type: application/octet-stream\r\nX:",
                    at("polling&sid=x")
                ),
                post(Form::Binary),
            ),
            (format!("OPTIONS {}", at("polling&sid=x")), Ok(Ask::Preflight)),
            (format!("GET {}", at("websocket")), Err(Refused::Http(Refusal::NoUpgrade))),
            ("GET /".to_owned(), Err(Refused::NotFound)),
            ("GET /socket.io.js".to_owned(), Err(Refused::NotFound)),
        ] {
            assert_eq!(ask(&request), expected, "{request}");
        }
        for wrong in [
            "GET /socket.io/".to_owned(),
            "GET /socket.io/?EIO=4&transport=polling".to_owned(),
            format!("GET {}", at("flashsocket")),
            format!("GET {}", at("polling&j=0")),
            format!("POST {}", at("polling")),
            format!("PUT {}", at("polling&sid=x")),
        ] {
            assert!(matches!(ask(&wrong), Err(Refused::Rule(_))), "{wrong}");
        }
    }

    #[test]
    fn bodies_have_a_length_within_the_limit() {
        let decode = |len: &str| {
            let request =
                format!("POST /socket.io/?EIO=3&transport=polling&sid=x HTTP/1.0\r\n{len}\r\n");
            Request::decode(request.as_bytes(), PEER, &HybridConfig::default(), 10).map(|_| ())
        };
        assert_eq!(decode("Content-Length: 10\r\n"), Ok(()));
        assert_eq!(decode("Content-Length: 11\r\n"), Err(Refused::TooLong));
        assert_eq!(decode("Content-Length: -1\r\n"), decode(""));
        assert!(matches!(decode("Transfer-Encoding: chunked\r\n"), Err(Refused::Rule(_))));
    }

    #[test]
    fn only_pages_from_an_allowed_origin_get_an_answer_they_may_read() {
        let request = "GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nOrigin: http://game.example\r\n\r\n";
        let decode = |allowed: &str| {
            let config =
                HybridConfig { origins: Some(vec![allowed.to_owned()]), ..HybridConfig::default() };
            Request::decode(request.as_bytes(), PEER, &config, 0)
        };
        let origin = decode("http://game.example").unwrap().unwrap().origin;
        let answer = answer(origin.as_deref(), "");
        assert!(answer.contains("Access-Control-Allow-Origin: http://game.example\r\n"));
        assert_eq!(decode("http://other"), Err(Refused::Http(Refusal::Origin)));
    }
}
