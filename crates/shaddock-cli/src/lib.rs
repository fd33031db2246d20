//! What the binary of every Shaddock application answers to: start, routes, check.
