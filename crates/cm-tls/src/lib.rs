//! TLS 1.3 between two ends that know more of each other than names and roots could say.
//!
//! Instances are believed for their evidence, agents and nodes for one certificate. What one end demands of the other is a
//! [`Judge`]; everything else about such a connection is the same, and is here: the versions, the proof that the other end
//! holds the key of the certificate that it shows, and the refusal. The judge is asked **inside the handshake**: TLS 1.3
//! sends the client's certificate only after the server's was judged, so that a server that is not what was expected learns
//! nothing, not even who called.
//!
//! Nothing here reads a clock or does I/O.

mod judge;
mod pinned;

pub use judge::{Judge, client, server, timestamp};
pub use pinned::Pinned;
