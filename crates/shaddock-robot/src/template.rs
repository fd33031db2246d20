//! Requests that differ in their ids only.

use std::num::NonZeroU32;

use bytes::Bytes;
use shaddock_protocol::pomelo::Package;
use shaddock_transport::Wire;

use crate::link::{Link, LinkError};

/// One request, to be sent again and again.
///
/// It is encoded once; then only the id is written anew, which takes a tenth of the time. Where the answer has a schema
/// the machine must know of each request, and so each is encoded.
pub(crate) struct Template {
    route: String,
    body: Bytes,
    /// The package with any id, if that may be replaced.
    package: Option<Vec<u8>>,
    id: u32,
}

/// Ids that take four bytes, so that all packages are of one length.
const FIRST: u32 = 1 << 21;
const LAST: u32 = (1 << 28) - 1;
/// Where they begin: behind the package's head and the message's flag.
const AT: usize = Package::HEADER + 1;

impl Template {
    /// A request of `route` with `body`.
    pub(crate) fn new<W: Wire>(
        link: &mut Link<W>,
        route: &str,
        body: Bytes,
    ) -> Result<Self, LinkError> {
        let protos = link.tables().protos.as_ref();
        let package = match protos.and_then(|protos| protos.server(route)) {
            Some(_) => None,
            None => Some(link.request(id(FIRST), route, &body)?.into()),
        };
        Ok(Self { route: route.to_owned(), body, package, id: FIRST })
    }

    /// Sends it once more, and says with which id.
    pub(crate) fn send<W: Wire>(&mut self, link: &mut Link<W>) -> Result<NonZeroU32, LinkError> {
        let id = id(self.id);
        self.id = if self.id == LAST { FIRST } else { self.id + 1 };
        let package = match &mut self.package {
            None => link.request(id, &self.route, &self.body)?,
            Some(package) => {
                if let Some(place) = package.get_mut(AT..).and_then(|rest| rest.first_chunk_mut()) {
                    *place = four_bytes(id.get());
                }
                Bytes::copy_from_slice(package)
            }
        };
        link.send(&package);
        Ok(id)
    }
}

fn id(id: u32) -> NonZeroU32 {
    NonZeroU32::new(id).expect("it begins above zero")
}

/// Seven bits a byte, the lowest first, the highest bit set on all but the last.
fn four_bytes(id: u32) -> [u8; 4] {
    let byte = |shift: u32| (id >> shift).to_le_bytes()[0];
    [byte(0) | 0x80, byte(7) | 0x80, byte(14) | 0x80, byte(21) & 0x7f]
}

#[cfg(test)]
mod tests {
    use shaddock_protocol::pomelo::{Message, WireRoute};

    use super::*;

    #[test]
    fn an_id_is_written_as_the_protocol_does() {
        for id in [FIRST, FIRST + 1, 3_000_000, 0x0fed_cba9, LAST] {
            let route = WireRoute::Text("a.b.c".into());
            let request = Message::Request { id, route, body: "{}".into() }.package().unwrap();
            assert_eq!(request[AT..AT + 4], four_bytes(id), "{id}");
            assert_eq!(request[AT + 4], 5, "{id}: the route follows");
        }
    }
}
