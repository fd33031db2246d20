//! Frames from bytes, as they come.

use std::{mem, ops::Range};

use super::{
    Role, Violation,
    frame::{Head, Opcode},
    mask,
};

/// Takes frames apart where they were read.
///
/// Payload is given out as it comes, before its frame is whole, so a frame's length costs nothing whatever it claims.
/// What is kept between two reads is the beginning of a head and of a control frame's payload, 139 bytes at most.
#[derive(Debug)]
pub(crate) struct FrameReader {
    role: Role,
    /// Reading stops behind each message.
    by_message: bool,
    /// A message has begun and its last frame has not.
    in_message: bool,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The beginning of a head that was cut, and its length.
    head: [u8; Head::MAX],
    head_len: u8,
    /// The payload of a control frame, so far.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    left: u64,
}

/// What a read held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Where the payload of all data frames now lies, one behind the other.
    pub(crate) data: Range<usize>,
    /// The payload of the last ping: earlier ones need no answer.
    pub(crate) ping: Option<Box<[u8]>>,
    /// The last of it is the end of a message, behind which reading stopped.
    pub(crate) whole: bool,
    /// How many bytes were read: all of them, unless reading stopped.
    pub(crate) used: usize,
    /// Why nothing more is read, if so.
    pub(crate) end: Option<End>,
}

/// After which nothing is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer's close frame, with its code.
    Close(Option<u16>),
    Violation(Violation),
}

impl FrameReader {
    pub(crate) fn new(role: Role) -> FrameReader {
        FrameReader {
            role,
            by_message: false,
            in_message: false,
            frame: None,
            head: [0; Head::MAX],
            head_len: 0,
            control: Vec::new(),
        }
    }

    /// Stops behind each message, so that one can tell where it ends.
    pub(crate) fn stop_behind_messages(&mut self) {
        self.by_message = true;
    }

    /// Whether the last byte read was the last of a message or of a frame between messages.
    pub(crate) fn is_between_messages(&self) -> bool {
        !self.in_message && self.frame.is_none() && self.head_len == 0
    }

    /// Reads `bytes`, unmasks what is payload and moves it together.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> Received {
        let mut received = Received { data: 0..0, ping: None, whole: false, used: 0, end: None };
        let mut at = 0;
        while received.end.is_none() && !received.whole {
            match &mut self.frame {
                None if at == bytes.len() => break,
                None => match self.read_head(&bytes[at..]) {
                    Ok(used) => at += used,
                    Err(violation) => received.end = Some(End::Violation(violation)),
                },
                Some(frame) => {
                    let part = at..at + frame.take(bytes.len() - at);
                    let payload = &mut bytes[part.clone()];
                    if let Some(mask) = &mut frame.mask {
                        mask::apply(mask, payload);
                    }
                    at = part.end;
                    if frame.opcode.is_control() {
                        self.control.extend_from_slice(payload);
                    } else if received.data.is_empty() {
                        received.data = part;
                    } else {
                        let len = part.len();
                        bytes.copy_within(part, received.data.end);
                        received.data.end += len;
                    }
                    if frame.left != 0 {
                        break;
                    }
                    let opcode = frame.opcode;
                    self.frame = None;
                    match opcode {
                        Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                            received.whole = self.by_message && !self.in_message;
                        }
                        Opcode::Ping => {
                            received.ping = Some(mem::take(&mut self.control).into_boxed_slice())
                        }
                        Opcode::Pong => self.control = Vec::new(),
                        Opcode::Close => received.end = Some(close(&mem::take(&mut self.control))),
                    }
                }
            }
        }
        received.used = at;
        received
    }

    /// Adds to the head that is being read and says how much of `bytes` was its.
    fn read_head(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let had = usize::from(self.head_len);
        for (to, from) in self.head.iter_mut().skip(had).zip(bytes) {
            *to = *from;
            self.head_len += 1;
        }
        let has = usize::from(self.head_len);
        let Some((head, len)) = Head::decode(&self.head[..has])? else {
            return Ok(has - had);
        };
        self.head_len = 0;
        match (self.role, head.mask) {
            (Role::Server, None) => return Err(Violation::Unmasked),
            (Role::Client, Some(_)) => return Err(Violation::Masked),
            _ => {}
        }
        match head.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                if !head.fin {
                    return Err(Violation::FragmentedControl);
                }
                if 125 < head.len {
                    return Err(Violation::LongControl);
                }
            }
            Opcode::Continuation if !self.in_message => return Err(Violation::NothingToContinue),
            Opcode::Text | Opcode::Binary if self.in_message => return Err(Violation::Interleaved),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => self.in_message = !head.fin,
        }
        self.frame = Some(Frame { opcode: head.opcode, mask: head.mask, left: head.len });
        Ok(len - had)
    }
}

impl Frame {
    /// Takes up to `available` bytes of the payload that is left, and says how many.
    fn take(&mut self, available: usize) -> usize {
        let taken = usize::try_from(self.left).map_or(available, |left| left.min(available));
        self.left -= taken as u64;
        taken
    }
}

/// What a close frame says.
fn close(payload: &[u8]) -> End {
    let code = match payload {
        [] => return End::Close(None),
        [a, b, ..] => u16::from_be_bytes([*a, *b]),
        [_] => return End::Violation(Violation::CloseCode),
    };
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => End::Close(Some(code)),
        _ => End::Violation(Violation::CloseCode),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::websocket::FrameWriter;

    /// Reads `bytes` in pieces of these lengths, as a server, and gives all data, the last ping and the end.
    fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Box<[u8]>>, Option<End>) {
        let mut reader = FrameReader::new(Role::Server);
        let mut all = (Vec::new(), None, None);
        let mut rest = bytes;
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let (piece, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            let mut piece = piece.to_vec();
            let received = reader.read(&mut piece);
            all.0.extend_from_slice(&piece[received.data]);
            all.1 = received.ping.or(all.1);
            all.2 = received.end;
            if all.2.is_some() {
                break;
            }
        }
        all
    }

    /// What a client would send: a message in three frames with a ping among them, another message, a close.
    fn conversation() -> Vec<u8> {
        let mut writer = FrameWriter::new(Role::Client);
        let mut out = BytesMut::new();
        let mut write = |first: u8, opcode, payload: &[u8]| {
            let at = out.len();
            writer.write(opcode, payload, &mut out);
            out[at] = first;
        };
        write(0x01, Opcode::Text, b"one ");
        write(0x00, Opcode::Continuation, b"");
        write(0x89, Opcode::Ping, b"there?");
        write(0x80, Opcode::Continuation, &[b'x'; 300]);
        write(0x82, Opcode::Binary, b" two");
        writer.close(1001, &mut out);
        out.to_vec()
    }

    #[test]
    fn cut_at_every_byte_the_same_comes_out() {
        let bytes = conversation();
        let whole = read(&bytes, &[]);
        assert_eq!(whole.0, [b"one ".as_slice(), &[b'x'; 300], b" two"].concat());
        assert_eq!(whole.1.as_deref(), Some(b"there?".as_slice()));
        assert_eq!(whole.2, Some(End::Close(Some(1001))));
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes, &[cut]), whole, "cut at {cut}");
        }
        assert_eq!(read(&bytes, &vec![1; bytes.len()]), whole);
    }

    #[test]
    fn it_stops_behind_each_message_if_told_to() {
        let mut bytes = conversation();
        let mut reader = FrameReader::new(Role::Server);
        reader.stop_behind_messages();
        let one = reader.read(&mut bytes);
        assert!(one.whole);
        assert_eq!(bytes[one.data], [b"one ".as_slice(), &[b'x'; 300]].concat());
        assert_eq!(one.ping.as_deref(), Some(b"there?".as_slice()));
        let mut rest = bytes.split_off(one.used);
        let two = reader.read(&mut rest);
        assert!(two.whole);
        assert_eq!(rest[two.data], *b" two");
        let close = reader.read(&mut rest[two.used..]);
        assert_eq!((close.whole, close.end), (false, Some(End::Close(Some(1001)))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20),
            cuts in prop::collection::vec(0_usize..500, 0..20),
        ) {
            let mut writer = FrameWriter::new(Role::Client);
            let mut out = BytesMut::new();
            for message in &messages {
                writer.write(Opcode::Binary, message, &mut out);
            }
            prop_assert_eq!(read(&out, &cuts), (messages.concat(), None, None));
        }

        #[test]
        fn no_bytes_panic_or_grow(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            cuts in prop::collection::vec(0_usize..50, 0..20),
        ) {
            let (data, ping, _) = read(&bytes, &cuts);
            prop_assert!(data.len() + ping.map_or(0, |ping| ping.len()) <= bytes.len());
        }
    }
}
