//! The command `shaddock` as one types it.

mod init;
