//! The macros of Shaddock.
