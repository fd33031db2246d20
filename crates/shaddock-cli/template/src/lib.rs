//! Rooms to talk in. A client asks the gate for a connector, enters there under a name, and talks;
//! the rooms live on the back-ends.

mod page;

use serde::{Deserialize, Serialize};
use shaddock::{
    App, Channels, Cluster, Config, Fault, Member, Msg, Result, Rpc, Server, ServerHandle, Session,
    Uid,
};

/// Built into the program, for where there is no folder `config`.
pub const CONFIG: &[(&str, &str)] = &[
    ("servers.json", include_str!("../config/servers.json")),
    ("shaddock.toml", include_str!("../config/shaddock.toml")),
];

/// Every kind of server, and what it answers to. Which of them run in a process is said at its start.
pub fn app(config: Config) -> App {
    let gate = Server::frontend("gate")
        .on("gateHandler.find", find) // Clients call it "gate.gateHandler.find".
        .component(|_: &ServerHandle| page::Page);
    let connector = Server::frontend("connector").on("entryHandler.enter", enter).on_close(leave);
    let room = Server::backend("room")
        .route_by(|session| session.get("room")) // All who are in one room reach the same server.
        .on("roomHandler.say", say)
        .remote(Rooms::serve(|server: &ServerHandle| Here(server.channels())))
        // A connector died, and this member with it. (With several back-ends, see also `Server::on_moved`.)
        .on_lost_member(|room, member| drop(room.push("onLeave", &member.uid)));
    App::new(config).server(gate).server(connector).server(room)
}

/// To the gate and to a connector: who comes into which room.
#[derive(Deserialize)]
struct Visitor {
    name: String,
    room: String,
}

/// To a back-end, and from there to the room.
#[derive(Serialize, Deserialize)]
struct Line {
    text: String,
    from: Option<Uid>,
}

/// Gate: which connector to use. A handler's arguments are what it needs; the message comes last.
async fn find(cluster: Cluster, Msg(visitor): Msg<Visitor>) -> Result<(String, u16)> {
    let connector = cluster.pick_crc32("connector", &visitor.name)?;
    Ok((connector.host, connector.client_port))
}

/// Connector: a client says who it is, and hears who is there.
async fn enter(
    session: Session,
    rooms: Rpc<RoomsClient>,
    Msg(visitor): Msg<Visitor>,
) -> Result<Vec<Uid>> {
    if visitor.name.is_empty() {
        return Err(Fault::new(400, "no name")); // The code is for the client, the reason for the log.
    }
    session.bind_unique(visitor.name).await?; // One of each name, in the whole cluster.
    session.set("room", &visitor.room).await?;
    // A call to the back-end that has this room, wherever it runs.
    rooms.of(&session)?.add(session.member()?, visitor.room).await
}

/// Connector: a connection has ended, however it did.
async fn leave(session: Session, rooms: Rpc<RoomsClient>) -> Result<()> {
    match session.member() {
        Ok(member) => rooms.of(&session)?.remove(member, session.get("room")?).await,
        Err(_) => Ok(()), // It never entered.
    }
}

/// Back-end: a client says something to everyone in its room.
async fn say(session: Session, channels: Channels, Msg(line): Msg<Line>) -> Result<()> {
    let room: String = session.get("room")?;
    let room = channels.get(&room).ok_or_else(|| Fault::new(404, "no such room"))?;
    let from = Some(session.uid()?); // Whatever the client says.
    room.push("onLine", &Line { from, ..line })
}

/// What the back-ends do for the connectors: calls with types, from server to server.
#[shaddock::remote("room")]
trait Rooms {
    /// Lets `member` in, tells those inside, and says who is there.
    async fn add(&self, member: Member, room: String) -> Result<Vec<Uid>>;
    /// Takes `member` out, and tells those left.
    async fn remove(&self, member: Member, room: String) -> Result<()>;
}

/// The rooms of one back-end.
struct Here(Channels);

impl Rooms for Here {
    async fn add(&self, member: Member, room: String) -> Result<Vec<Uid>> {
        let room = self.0.open(&room);
        room.free_when_empty();
        let name = member.uid.clone();
        room.join_telling(member, "onEnter", &name)?;
        Ok(room.uids())
    }

    async fn remove(&self, member: Member, room: String) -> Result<()> {
        match self.0.get(&room) {
            Some(room) => room.leave_telling(&member, "onLeave", &member.uid).map(drop),
            None => Ok(()),
        }
    }
}
