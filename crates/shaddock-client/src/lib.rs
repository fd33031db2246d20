//! A client for Shaddock and pomelo servers over WebSocket and TCP.
