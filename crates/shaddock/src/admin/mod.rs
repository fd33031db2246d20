//! Looking after servers while they run: what may be asked of them and ordered, by whom.
//!
//! Every server answers operators through the cluster's engine, whichever process and machine it runs in.
//! An [`Operator`] joins the cluster for as long as it has something to do. It is a member of the kind
//! `operator`, which no server of an application can be; nothing is pushed or sent on to it.
//!
//! # Who may
//!
//! The users of `adminUser.json`, as the process that is asked has read it: those of level 1 may do
//! everything, those of any other level may look only. Without that file nobody may do anything.
//! Passwords stand there as hashes, which the command `hash-password` makes, or [`hash_password`]. Ones that
//! stand there as they are, as pomelo's do, let in with a warning in the environment `development`, and nobody
//! anywhere else. Wrong passwords are looked at one a second in each process.
//! What changes something is logged, with who ordered it.
//!
//! Users and levels keep apart people who have the command and not the broker's subjects. They keep out nobody who
//! can publish and subscribe there: whoever can may say what a server says, and read the password, which each order carries
//! as it was typed. Let only servers and operators reach the broker, with a login and TLS of its own.
//!
//! No order runs code that is not in the program: [`Operator::call`] calls a remote that a server has.
//!
//! # Examples
//!
//! ```
//! use shaddock::testing::{self, TestApp};
//! use shaddock::{App, Config, Server, config::Overrides};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let files = [
//!     ("servers.json", r#"{"chat": [{"id": "chat-1", "host": "127.0.0.1"}, {"id": "chat-2", "host": "127.0.0.1"}]}"#),
//!     ("adminUser.json", r#"[{"id": "1", "username": "py", "password": "of a test", "level": 1}]"#),
//! ];
//! let config = Config::embedded(&files, Some("development"), &Overrides::default())?;
//! let app = TestApp::start(App::new(config).server(Server::backend("chat"))).await;
//!
//! // Elsewhere: `Operator::join(engine, "shaddock", Credentials::new("py", "of a test"))`.
//! let operator = app.operator("py", "of a test").await;
//! let first = operator.servers()[0].id.clone();
//! assert_eq!(operator.status(&first).await?.sessions, 0);
//! operator.stop(&first).await?;
//! operator.gone(&first).await;
//! assert_eq!(operator.servers().len(), 1);
//! # Ok(()) }
//! ```

mod operator;
mod order;
mod report;
mod serve;
mod users;

pub use shaddock_cluster::Member as Found;

pub use operator::{Operator, OrderError};
pub use order::{Credentials, NewServer};
pub use report::{Connected, Lanes, Mailboxes, Memory, Queues, SessionReport, Status, User, Users};
pub use users::hash_password;

pub(crate) use serve::serve;
pub(crate) use users::{Operators, check_hash};

/// What an operator is in the cluster. No server of an application can be of this kind.
pub(crate) const KIND: &str = "operator";

/// What operators call. No remote can have this name: it is no identifier.
pub(crate) const SERVICE: &str = "@admin";
