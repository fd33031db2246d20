//! What the crate promises, with real brokers.

mod broker;
mod contract;
