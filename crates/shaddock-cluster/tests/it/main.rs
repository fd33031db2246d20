//! What the crate promises, over the memory engine.

// What tests spawn ends with their runtime.
#![allow(clippy::disallowed_methods)]

mod chaos;
mod contract;
mod nodes;
mod picking;
