//! The rooms of a chat server, and what the connectors ask of them.

use futures_util::stream::{self, TryStreamExt as _};
use shaddock::{Channel, Channels, Member, Result, Rpc, ServerHandle};

use crate::messages::Somebody;
use crate::names::user_name;

/// How many rooms are handed over at once.
const AT_ONCE: usize = 64;

/// What the chat servers do for the connectors.
#[shaddock::remote("chat")]
pub(crate) trait ChatRemote {
    /// Lets `member` into `room`, tells those inside, and says who is there.
    async fn add(&self, member: Member, room: String) -> Result<Vec<String>>;
    /// Takes `member` out of `room` and tells those left.
    async fn kick(&self, member: Member, room: String) -> Result<()>;
    /// Lets `member` into a `room` that has moved here. They never left, so nobody is told.
    async fn resume(&self, member: Member, room: String) -> Result<()>;
    /// Goes on with a `room` of another server.
    async fn adopt(&self, room: String, members: Vec<Member>) -> Result<()>;
    /// Takes `member` out of a `room` that has moved away, and tells nobody.
    async fn forget(&self, member: Member, room: String) -> Result<()>;
}

/// The rooms of one chat server.
pub(crate) struct Rooms(pub(crate) Channels);

impl Rooms {
    fn open(&self, room: &str) -> Channel {
        let room = self.0.open(room);
        room.free_when_empty();
        room
    }
}

impl ChatRemote for Rooms {
    async fn add(&self, member: Member, room: String) -> Result<Vec<String>> {
        let room = self.open(&room);
        // Told before joining, in one step: a newcomer does not hear themselves, and of two who
        // come at once one hears the other.
        let news = somebody("onAdd", &member);
        room.join_telling(member, "onAdd", &news)?;
        Ok(room.uids().iter().map(|uid| user_name(uid).to_owned()).collect())
    }

    async fn kick(&self, member: Member, room: String) -> Result<()> {
        let Some(room) = self.0.get(&room) else {
            return Ok(());
        };
        room.leave_telling(&member, "onLeave", &somebody("onLeave", &member))?;
        Ok(())
    }

    async fn resume(&self, member: Member, room: String) -> Result<()> {
        self.open(&room).join(member);
        Ok(())
    }

    async fn adopt(&self, room: String, members: Vec<Member>) -> Result<()> {
        let room = self.open(&room);
        for member in members {
            room.join(member);
        }
        Ok(())
    }

    async fn forget(&self, member: Member, room: String) -> Result<()> {
        if let Some(room) = self.0.get(&room) {
            room.leave(&member);
        }
        Ok(())
    }
}

/// This server stops, or another one was added: rooms go on elsewhere, and nobody inside notices.
pub(crate) async fn hand_over(server: ServerHandle) -> Result<()> {
    let chat: Rpc<ChatRemoteClient> = server.rpc()?;
    let channels = server.channels();
    let gone = channels.names().into_iter().filter(|name| !server.owns(name));
    let gone: Vec<_> = gone.filter_map(|name| channels.get(&name)).collect();
    let handed = stream::iter(gone.iter().map(Ok)).try_for_each_concurrent(AT_ONCE, async |room| {
        chat.on(room.name())?.adopt(room.name().to_owned(), room.members()).await
    });
    handed.await?;
    // At last, for if one fails all go on here.
    gone.iter().for_each(Channel::destroy);
    Ok(())
}

/// A connector died, and its users with it.
pub(crate) fn lost(room: Channel, member: Member) {
    if let Err(fault) = room.push("onLeave", &somebody("onLeave", &member)) {
        tracing::warn!(%member, %fault, "not everybody was told who left");
    }
}

fn somebody(route: &str, member: &Member) -> Somebody {
    Somebody { route: route.to_owned(), user: user_name(&member.uid).to_owned() }
}
