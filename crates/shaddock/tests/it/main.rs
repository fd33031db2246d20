//! The framework as applications and their clients see it, every server in memory.

mod order;
mod sessions;
