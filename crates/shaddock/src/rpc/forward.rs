//! A client's message on its way to the server that handles it.
//!
//! Written by hand and not with names, as other things between servers are: most of what servers say to each other is
//! this. Two versions still understand each other, since the head says how long it is: later fields go to its end, where
//! an older reader skips them.
//!
//! ```text
//! 0   193, which begins no MessagePack
//! 1   1 notify, 2 has a uid, 4 the peer's address is IPv6
//! 2   how often it was passed on
//! 3   length of the head, u16; all numbers are big-endian
//! 5   session, u64
//! 13  fencing token of its uid, u64
//! 21  address of the peer, 16 bytes of which IPv4 takes the first four, then its port, u16
//! 39  lengths: of the route and the origin, u8 each, of the uid and the settings, u32 each
//! 49  route, origin, uid, settings; what follows is the body
//! ```

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::ids::SessionId;

/// What it begins with.
pub(super) const MARK: u8 = 0xc1;

/// The shortest head.
const HEAD: usize = 49;

const NOTIFY: u8 = 1;
const UID: u8 = 2;
const IPV6: u8 = 4;

/// A client's message, for a handler there. Notifies are acknowledged too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forward<'a> {
    pub(crate) session: SessionId,
    pub(crate) peer: SocketAddr,
    pub(crate) uid: Option<&'a str>,
    /// The fencing token of the session's claim on the uid; 0 without one.
    pub(crate) revision: u64,
    /// The session's `Settings`, packed.
    pub(crate) settings: &'a [u8],
    pub(crate) route: &'a str,
    pub(crate) notify: bool,
    /// The front-end of the session, where another server passed this on.
    pub(crate) origin: Option<&'a str>,
    /// How often that was.
    pub(crate) passed: u8,
    pub(crate) body: &'a [u8],
}

impl<'a> Forward<'a> {
    /// Writes it.
    ///
    /// # Panics
    ///
    /// If the route or the origin, which both have their limits, has more than 255 bytes.
    pub(crate) fn pack(&self) -> Bytes {
        let (uid, origin) = (self.uid.unwrap_or_default(), self.origin.unwrap_or_default());
        let texts = [self.route.as_bytes(), origin.as_bytes(), uid.as_bytes(), self.settings];
        let mut head = [0; HEAD];
        {
            let mut head = &mut head[..];
            head.put_u8(MARK);
            let flag = |bit, is_set| if is_set { bit } else { 0 };
            head.put_u8(
                flag(NOTIFY, self.notify)
                    | flag(UID, self.uid.is_some())
                    | flag(IPV6, self.peer.is_ipv6()),
            );
            head.put_u8(self.passed);
            head.put_u16(HEAD as u16);
            head.put_u64(self.session.0);
            head.put_u64(self.revision);
            let mut address = [0; 16];
            match self.peer.ip() {
                IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
                IpAddr::V6(ip) => address = ip.octets(),
            }
            head.put_slice(&address);
            head.put_u16(self.peer.port());
            for text in &texts[..2] {
                head.put_u8(u8::try_from(text.len()).expect("names and routes are short"));
            }
            for text in &texts[2..] {
                head.put_u32(u32::try_from(text.len()).expect("no message is as long"));
            }
        }
        let len = texts.iter().map(|text| text.len()).sum::<usize>() + HEAD + self.body.len();
        let mut packed = BytesMut::with_capacity(len);
        packed.put_slice(&head);
        texts.iter().for_each(|text| packed.put_slice(text));
        packed.put_slice(self.body);
        packed.freeze()
    }

    /// Reads it; what it borrows stays in `packed`. Gives nothing if it is cut short or no text where it has to be.
    pub(crate) fn unpack(packed: &'a [u8]) -> Option<Forward<'a>> {
        let mut head = Reader(packed);
        let [_, flags, passed] = head.array()?;
        let len = usize::from(u16::from_be_bytes(head.array()?));
        let session = SessionId(u64::from_be_bytes(head.array()?));
        let revision = u64::from_be_bytes(head.array()?);
        let address: [u8; 16] = head.array()?;
        let ip = match address {
            address if flags & IPV6 != 0 => IpAddr::from(address),
            [a, b, c, d, ..] => IpAddr::from([a, b, c, d]),
        };
        let peer = SocketAddr::new(ip, u16::from_be_bytes(head.array()?));
        let [route, origin] = head.array()?;
        let uid = u32::from_be_bytes(head.array()?);
        let settings = u32::from_be_bytes(head.array()?);
        let mut rest = Reader(packed.get(len.max(HEAD)..)?);
        let route = rest.text(route.into())?;
        let origin = rest.text(origin.into())?;
        let uid = rest.text(uid.try_into().ok()?)?;
        let settings = rest.bytes(settings.try_into().ok()?)?;
        Some(Forward {
            session,
            peer,
            uid: (flags & UID != 0).then_some(uid),
            revision,
            settings,
            route,
            notify: flags & NOTIFY != 0,
            origin: Some(origin).filter(|origin| !origin.is_empty()),
            passed,
            body: rest.0,
        })
    }
}

/// Bytes, of which each is taken once.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self, len: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(len)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forward() -> Forward<'static> {
        Forward {
            session: SessionId(7),
            peer: "127.0.0.1:9".parse().unwrap(),
            uid: Some("py"),
            revision: 3,
            settings: b"s",
            route: "chat.chatHandler.send",
            notify: false,
            origin: None,
            passed: 0,
            body: b"{}",
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            numbers: (u64, u64, u8), notify: bool, ip: std::net::IpAddr, port: u16,
            uid: Option<String>, origin in proptest::option::of("[a-z0-9-]{1,64}"), route in "[a-z.]{0,255}",
            settings: Vec<u8>, body: Vec<u8>,
        ) {
            let (session, revision, passed) = numbers;
            let forward = Forward {
                session: SessionId(session),
                peer: SocketAddr::new(ip, port),
                uid: uid.as_deref(),
                revision,
                settings: &settings,
                route: &route,
                notify,
                origin: origin.as_deref(),
                passed,
                body: &body,
            };
            let packed = forward.pack();
            prop_assert_eq!(Forward::unpack(&packed), Some(forward));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let _ = Forward::unpack(&bytes);
        }

        #[test]
        fn a_cut_or_changed_one_does_no_harm(cut in 0..90_usize, at in 0..90_usize, byte: u8) {
            let mut packed = forward().pack().to_vec();
            packed.truncate(cut);
            if let Some(there) = packed.get_mut(at) {
                *there = byte;
            }
            let _ = Forward::unpack(&packed);
        }
    }

    #[test]
    fn fields_of_a_later_version_are_skipped() {
        let packed = forward().pack();
        let mut longer = packed.to_vec();
        longer.splice(HEAD..HEAD, *b"more");
        longer[4] += 4;
        assert_eq!(Forward::unpack(&longer), Some(forward()));
    }

    #[test]
    fn a_body_is_not_copied_when_it_is_read() {
        let packed = forward().pack();
        let body = Forward::unpack(&packed).unwrap().body;
        assert_eq!(packed.slice_ref(body), "{}");
    }
}
