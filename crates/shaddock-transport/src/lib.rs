//! How a client's bytes arrive at a Shaddock server: WebSocket and TCP on one port, and in memory.
