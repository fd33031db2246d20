//! What the crate promises, with real brokers.

mod broker;
mod contract;
mod flood;
mod letting_in;
mod lost_brokers;
mod stores;
