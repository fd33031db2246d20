//! The macros of Shaddock.
//!
//! There is one, [`macro@remote`], with which servers call one another. Applications depend on `shaddock`
//! alone and write `shaddock::remote`.
//!
//! # Examples
//!
//! ```
//! use shaddock::{Member, Result, Session};
//!
//! #[shaddock::remote("chat")]
//! trait ChatRemote {
//!     /// Takes `member` out of `room`.
//!     async fn kick(&self, member: Member, room: String) -> Result<()>;
//! }
//!
//! async fn leave(session: Session, chat: shaddock::Rpc<ChatRemoteClient>) -> Result<()> {
//!     chat.of(&session)?.kick(session.member()?, session.get("rid")?).await
//! }
//! ```

mod expand;
mod read;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

#[doc = include_str!("remote.md")]
#[proc_macro_attribute]
pub fn remote(kind: TokenStream, item: TokenStream) -> TokenStream {
    expand::remote(kind.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
