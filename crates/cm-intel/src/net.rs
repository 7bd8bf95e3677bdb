//! The sockets: who connects, who is dialled, who is called by datagrams.
//!
//! One port speaks both versions; the first byte decides. A frame of version 1 begins with 00, since none is longer than a
//! mebibyte, and a TLS handshake with 16. Who says nothing is taken for a peer of version 1, which may be silent for half a minute.

pub(crate) mod dial;
pub(crate) mod discovery;
pub(crate) mod encrypted;
pub(crate) mod framed;
pub(crate) mod legacy;
pub(crate) mod listen;
