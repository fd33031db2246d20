//! The wire of pomelo's clients, without IO: packages, messages, handshake, dictionary, protobuf.
