//! Why an exchange came to nothing.

use std::time::Duration;

use cm_crypto::CryptoError;
use cm_types::PeerId;

/// Why a request or stream failed. [`LinkError::may_have_run`] says whether the peer may have acted on it.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The directory does not name the peer.
    #[error("peer {0} is not known; add it to the network first")]
    UnknownPeer(PeerId),
    /// There is no connection to the peer now. Nothing was sent.
    #[error("peer {0} cannot be reached now; try again, or ask another peer")]
    Unreachable(PeerId),
    /// As many exchanges with the peer are under way as may be, until the deadline. Nothing was sent.
    #[error("too many exchanges with peer {0} are under way; try again later")]
    Crowded(PeerId),
    /// The deadline passed.
    #[error("peer {peer} did not answer within {timeout:?}")]
    Timeout {
        /// Whom was asked.
        peer: PeerId,
        /// How long was waited.
        timeout: Duration,
    },
    /// The connection broke, or the peer gave up in the middle.
    #[error("the exchange with peer {0} broke off")]
    Lost(PeerId),
    /// The peer said no.
    #[error("peer {peer} refused: {refusal}")]
    Refused {
        /// Who.
        peer: PeerId,
        /// Why.
        refusal: Refusal,
    },
    /// What came is not what a peer sends.
    #[error("peer {0} sent what cannot be understood; is it of a compatible release?")]
    Malformed(PeerId),
    /// What was to be sent is longer than can be. Nothing was sent.
    #[error("{len} bytes are too many for one message, {max} at most; send them as a stream")]
    TooLong {
        /// How long it is, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The process is about to end. Nothing was sent.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The node's own identity cannot be used for TLS.
    #[error("the key for links cannot be used")]
    Identity(#[from] rustls::Error),
    /// The certificate for links is none.
    #[error("the certificate for links cannot be used")]
    Certificate(#[from] CryptoError),
}

impl LinkError {
    /// Whether the peer may have acted on what was asked: only then the caller must find out, or repeat what is idempotent.
    pub fn may_have_run(&self) -> bool {
        match self {
            LinkError::Timeout { .. } | LinkError::Lost(_) | LinkError::Malformed(_) => true,
            LinkError::Refused { refusal, .. } => {
                matches!(refusal, Refusal::Expired | Refusal::Unavailable)
            }
            LinkError::UnknownPeer(_)
            | LinkError::Unreachable(_)
            | LinkError::Crowded(_)
            | LinkError::TooLong { .. }
            | LinkError::ShuttingDown
            | LinkError::Identity(_)
            | LinkError::Certificate(_) => false,
        }
    }
}

/// Why a peer did not answer what was asked. What a kind of requests refuses beyond that is told in its own answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer does not answer this kind, or not as a request (or stream).
    #[error("it does not answer this kind of message")]
    UnknownKind,
    /// The message is longer than the peer takes for its kind.
    #[error("the message is too long")]
    TooLong,
    /// The peer has too much to do. It did nothing.
    #[error("it has too much to do")]
    Busy,
    /// The deadline passed over there.
    #[error("the deadline passed")]
    Expired,
    /// This peer may not ask that.
    #[error("that is not allowed")]
    NotAllowed,
    /// The handler could not do it now.
    #[error("it cannot do that now")]
    Unavailable,
    /// The body is not what the kind demands.
    #[error("the message could not be understood")]
    Malformed,
}
