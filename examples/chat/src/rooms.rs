//! The rooms of a chat server, and what the connectors ask of them.

use shaddock::{Channel, Channels, Member, Result, Rpc, ServerHandle};

use crate::messages::Somebody;
use crate::names::user_name;

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
    for name in server.channels().names() {
        if server.owns(&name) {
            continue;
        }
        if let Some(room) = server.channels().get(&name) {
            chat.on(&name)?.adopt(name, room.members()).await?;
            room.destroy();
        }
    }
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
