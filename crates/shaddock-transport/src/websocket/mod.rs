//! WebSocket frames, from either side, without IO: what RFC 6455 says of them and no more.

mod frame;
mod mask;
mod reader;
mod writer;

pub use self::frame::Violation;
pub(crate) use self::{
    frame::Opcode,
    reader::{End, FrameReader, Received},
    writer::FrameWriter,
};

/// Which side of the connection we are. Clients mask what they send, servers must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}
