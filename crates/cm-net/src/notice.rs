//! What others may want to know of links.

use std::net::SocketAddr;

use cm_types::PeerId;

/// Something happened to a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A connection to the peer was made.
    Up(PeerId),
    /// The connection to the peer is gone.
    Down(PeerId),
    /// At the peer's address answers somebody with another key, or without one.
    Impostor {
        /// Who was expected.
        peer: PeerId,
        /// Where.
        address: String,
    },
    /// Somebody called whose key the directory does not name, or who showed none.
    Stranger {
        /// From where.
        address: SocketAddr,
    },
}
