//! The classic pomelo chat: a gate, connectors, chat servers and a page.
//!
//! A client asks the gate for a connector, enters there under a name into a room, and talks. Rooms
//! live on the chat servers; the name of a room decides on which.

pub mod messages;
mod names;
mod page;
mod rooms;

use messages::{Echo, Enter, Entry, Query, Said, Say, Users};
use names::{room_name, user_name};
use rooms::{ChatRemote, ChatRemoteClient, Rooms};
use shaddock::{
    App, BindError, Channels, Cluster, Config, Fault, Moved, Msg, Result, Rpc, Server,
    ServerHandle, Session,
};

/// The configuration that is built in, for when there is no folder of it.
pub const CONFIG: &[(&str, &str)] = &[
    ("servers.json", include_str!("../config/servers.json")),
    ("master.json", include_str!("../config/master.json")),
    ("adminUser.json", include_str!("../config/adminUser.json")),
    ("adminServer.json", include_str!("../config/adminServer.json")),
    ("dictionary.json", include_str!("../config/dictionary.json")),
    ("clientProtos.json", include_str!("../config/clientProtos.json")),
    ("serverProtos.json", include_str!("../config/serverProtos.json")),
    ("shaddock.toml", include_str!("../config/shaddock.toml")),
];

/// The chat.
///
/// With `[app] echo = true` in shaddock.toml, connectors and chat servers have an `echo`, for those who measure.
pub fn app(config: Config) -> App {
    let is_measured = config.app.get("echo").and_then(|echo| echo.as_bool()).unwrap_or(false);
    let gate = Server::frontend("gate")
        .on("gateHandler.queryEntry", query_entry)
        .component(|_: &ServerHandle| page::Page);
    let mut connector = Server::frontend("connector")
        .on("entryHandler.enter", enter)
        .on_close(leave)
        .on_moved("chat", follow);
    let mut chat = Server::backend("chat")
        .route_by(|session| session.get("rid"))
        .on("chatHandler.send", send)
        .remote(ChatRemote::serve(|server: &ServerHandle| Rooms(server.channels())))
        .on_lost_member(rooms::lost)
        .on_handover(rooms::hand_over);
    if is_measured {
        connector = connector.on("entryHandler.echo", echo);
        chat = chat.on("chatHandler.echo", echo);
    }
    App::new(config).server(gate).server(connector).server(chat)
}

/// Gate: which connector a client should use.
async fn query_entry(cluster: Cluster, Msg(query): Msg<Query>) -> Result<Entry> {
    if query.uid.is_empty() {
        return Err(Fault::new(500, "no uid"));
    }
    let connector = cluster.pick_crc32("connector", &query.uid)?;
    Ok(Entry { code: 200, host: connector.host, port: connector.client_port })
}

/// Connector: who a connection is, and where its user goes.
async fn enter(
    session: Session,
    chat: Rpc<ChatRemoteClient>,
    Msg(login): Msg<Enter>,
) -> Result<Users> {
    names::check(&login.username)?;
    names::check(&login.rid)?;
    if session.find_uid().is_some() {
        return Err(Fault::new(500, "the session has entered already").with("error", true));
    }
    match session.bind_unique(names::uid(&login.username, &login.rid)).await {
        Err(BindError::Taken) => {
            return Err(Fault::new(500, "already logged in").with("error", true));
        }
        bound => bound?,
    }
    match join(&session, &chat, login.rid).await {
        Ok(users) => Ok(Users { users }),
        // Whoever is not in the room may try again, and leaves nothing there if only the answer was lost.
        Err(fault) => {
            if let Err(fault) = leave(session.clone(), chat).await {
                tracing::warn!(%fault, "a user may be in a room without knowing");
            }
            session.unbind().await?;
            Err(fault)
        }
    }
}

async fn join(session: &Session, chat: &Rpc<ChatRemoteClient>, rid: String) -> Result<Vec<String>> {
    session.set("rid", &rid).await?;
    chat.of(session)?.add(session.member()?, rid).await
}

/// Connector: a connection has ended, and so its user leaves.
async fn leave(session: Session, chat: Rpc<ChatRemoteClient>) -> Result<()> {
    // Most who leave before they entered are not worth a line in the log.
    let Ok(member) = session.member() else {
        return Ok(());
    };
    chat.of(&session)?.kick(member, session.get("rid")?).await
}

/// Connector: the room of a session lives on another chat server now, or its own had lost this connector.
async fn follow(server: ServerHandle, session: Session, moved: Moved) -> Result<()> {
    let Ok(member) = session.member() else {
        return Ok(());
    };
    let (chat, rid): (Rpc<ChatRemoteClient>, String) = (server.rpc()?, session.get("rid")?);
    if moved.is_return() {
        // Those in the room were told that this user had left.
        return chat.at(&moved.to).add(member, rid).await.map(drop);
    }
    chat.at(&moved.to).resume(member.clone(), rid.clone()).await?;
    match &moved.from {
        Some(from) => chat.at(from).forget(member, rid).await,
        None => Ok(()),
    }
}

/// Chat: what somebody says to everyone in the room, or to one of them.
async fn send(session: Session, channels: Channels, Msg(say): Msg<Say>) -> Result<()> {
    let rid: String = session.get("rid")?;
    let room = channels.get(&rid).ok_or_else(|| Fault::new(500, "no such room"))?;
    let uid = session.uid()?;
    let said = Said { msg: say.content, from: user_name(&uid).to_owned(), target: say.target };
    match said.target.as_str() {
        "*" => room.push("onChat", &said),
        user => room.push_to(&names::uid(user, room_name(&uid)), "onChat", &said),
    }
}

/// Both: what was said, to measure how long it took.
async fn echo(Msg(echo): Msg<Echo>) -> Result<Echo> {
    Ok(echo)
}
