//! Sets of members of the whole cluster: `Group` and `Groups`.
//!
//! Each front-end knows which of its sessions are in which groups, and nobody else does.

pub(crate) mod remote;
pub(crate) mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::push::Pusher;
use crate::error::{Fault, Result};
use crate::ids::{Member, ServerId};
use crate::rpc::caller::{Ready, RpcError};

/// How long a name may be, in bytes.
const NAME: usize = 256;

/// The groups of the cluster. Cheap to clone; an argument of handlers and methods of remotes.
///
/// # Examples
///
/// ```
/// use serde_json::{Value, json};
/// use shaddock::{Groups, Msg, Result, Server, Session};
///
/// async fn enter(session: Session, groups: Groups, Msg(guild): Msg<String>) -> Result<()> {
///     let guild = groups.get(&guild)?;
///     guild.join(&session.member()?).await?;
///     guild.push("onMember", &json!({ "uid": session.uid()? }))
/// }
///
/// /// Runs on other servers than `enter`, and reaches the same clients.
/// async fn announce(groups: Groups, Msg((guild, text)): Msg<(String, Value)>) -> Result<()> {
///     groups.get(&guild)?.push("onNews", &text)
/// }
///
/// let connector = Server::frontend("connector").on("guildHandler.enter", enter);
/// let game = Server::backend("game").on("guildHandler.announce", announce);
/// # let _ = (connector, game);
/// ```
#[derive(Clone)]
pub struct Groups(Pusher);

/// A named set of members to push to, which belongs to no server: whoever names it, on whichever server, means the
/// same one. It is there as long as it has members.
///
/// Each front-end knows which of its own sessions are in; that is all there is. A member is in until it leaves, its
/// time is over, or its session ends or loses its uid, and those of a front-end that died are gone with it. Nobody
/// needs to be told, and nothing is kept in a store.
///
/// # Order and consistency
///
/// When [`join`](Group::join) has returned, the member hears every push that is made from then on, by whichever
/// server; when [`leave`](Group::leave) has, none. A push that is under way at that moment is heard or not. What
/// one server pushes arrives in the order in which it was pushed, as do its other pushes to the same client; what two
/// servers push may arrive in another order at one front-end than at another. Servers that are parted from each
/// other reach no more than the members on their own side, and all again afterwards: nobody loses a membership.
///
/// Where every member must see one order, or somebody must know who is in at any moment, use a
/// [`Channel`](crate::Channel) of one server.
///
/// # Cost
///
/// A push is encoded once, and is one message to each front-end, also to those that have no members: it does not grow
/// with the members. Joining and leaving are one call to the member's front-end.
#[derive(Clone)]
pub struct Group {
    name: Arc<str>,
    pusher: Pusher,
}

impl Groups {
    pub(crate) fn new(pusher: Pusher) -> Groups {
        Groups(pusher)
    }

    /// The group `name`. Nothing is made or looked up.
    ///
    /// # Errors
    ///
    /// If the name has more than 256 bytes.
    pub fn get(&self, name: &str) -> Result<Group> {
        if NAME < name.len() {
            let reason =
                format!("a group's name has {} bytes, where {NAME} are allowed", name.len());
            return Err(Fault::internal(reason));
        }
        Ok(Group { name: name.into(), pusher: self.0.clone() })
    }
}

impl Group {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes somebody in, until they leave. One who is in already stays in, from now on without an end.
    ///
    /// # Errors
    ///
    /// If the session has ended or has another uid by now, is in 1024 groups already, or its front-end can't be
    /// reached. If that did not answer in time, the member may be in.
    pub async fn join(&self, member: &Member) -> Result<()> {
        self.join_until(member, None).await
    }

    /// Takes somebody in for `time`, which its front-end counts. One who is in already has this time from now on.
    ///
    /// # Errors
    ///
    /// As [`join`](Group::join).
    pub async fn join_for(&self, member: &Member, time: Duration) -> Result<()> {
        self.join_until(member, Some(time)).await
    }

    async fn join_until(&self, member: &Member, time: Option<Duration>) -> Result<()> {
        let join = self.at(&member.frontend, remote::JOIN);
        Ok(join.call(&(&self.name, member.session, &member.uid, time)).await?)
    }

    /// Lets somebody go. Whoever is not in is no error.
    ///
    /// # Errors
    ///
    /// If its front-end can't be reached. One that has died has no members; of one that was only cut off, the member
    /// is in still when it is back, and this server can't know which it is.
    pub async fn leave(&self, member: &Member) -> Result<()> {
        let leave = self.at(&member.frontend, remote::LEAVE);
        Ok(leave.call(&(&self.name, member.session)).await?)
    }

    /// Lets everybody go, but for members of front-ends that are taken for dead: if one was only cut off, those are in
    /// still when it is back.
    ///
    /// # Errors
    ///
    /// If another front-end can't be reached; the members of the others are out.
    pub async fn destroy(&self) -> Result<()> {
        self.ask_all(remote::DESTROY).await.map(|_: Vec<(ServerId, ())>| ())
    }

    /// Pushes to everybody who is in. Does not wait.
    ///
    /// # Errors
    ///
    /// If the body can't be written as JSON or does not fit the route's schema, or a front-end can't be reached; the
    /// members of the others have been sent it.
    pub fn push(&self, route: &str, body: &impl Serialize) -> Result<()> {
        let body = self.pusher.encode(route, body)?;
        self.pusher.push_group(&self.pusher.frontends(), &self.name, route, &body)
    }

    /// Who is in, as each front-end knows it when it is asked, in no order. Meant for looking now and then: those of
    /// one front-end have to fit into one message, which some thirty thousand do.
    ///
    /// # Errors
    ///
    /// If a front-end does not answer.
    pub async fn members(&self) -> Result<Vec<Member>> {
        let asked: Vec<(ServerId, remote::Members)> = self.ask_all(remote::MEMBERS).await?;
        let of_one = |(frontend, members): (ServerId, remote::Members)| {
            members.into_iter().map(move |(session, uid, revision)| Member {
                uid,
                frontend: frontend.clone(),
                session,
                revision,
            })
        };
        Ok(asked.into_iter().flat_map(of_one).collect())
    }

    /// How many are in, as each front-end knows it when it is asked.
    ///
    /// # Errors
    ///
    /// If a front-end does not answer.
    pub async fn count(&self) -> Result<usize> {
        let asked: Vec<(ServerId, usize)> = self.ask_all(remote::COUNT).await?;
        Ok(asked.into_iter().map(|(_, count)| count).sum())
    }
}

impl Group {
    fn at<'a>(&'a self, frontend: &'a ServerId, method: &'a str) -> Ready<'a> {
        self.pusher.caller().remote(frontend, remote::SERVICE, method)
    }

    /// Asks every front-end that is there, and leaves out what is not any more when it should have answered.
    async fn ask_all<T: DeserializeOwned>(&self, method: &str) -> Result<Vec<(ServerId, T)>> {
        let asked = self.pusher.frontends().into_iter().map(async |frontend| {
            let answer = self.at(&frontend, method).call(&(&self.name,)).await;
            (frontend, answer)
        });
        let is_there = |(frontend, answer): &(ServerId, Result<T, RpcError>)| {
            answer.is_ok() || self.is_there(frontend)
        };
        let answers = join_all(asked).await.into_iter().filter(is_there);
        answers.map(|(frontend, answer)| Ok((frontend, answer?))).collect()
    }

    fn is_there(&self, frontend: &ServerId) -> bool {
        self.pusher.node().members().get(frontend).is_some()
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("name", &self.name).finish_non_exhaustive()
    }
}
