//! A framework for distributed real-time game and chat servers that every pomelo client can talk to.
