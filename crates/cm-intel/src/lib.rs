//! Threat intelligence between peers: nodes report threats, sign what they report, share it, and judge who reports.
//!
//! An event says that somebody saw a threat. It is believed to come from whom it names once its signature was verified ([`Verifier`],
//! the only maker of [`Verified`]), and believed to be true as far as its reporter is. Two ledgers are kept, of reporters and of links
//! ([`ledger`]); whoever delivers a forgery is charged for it, never whom it names. What many events say of one source is an
//! [`Indicator`].
//!
//! Version 1 of the protocol is that of the published Python node ([`wire`]); version 2 spreads events between known keys ([`gossip`]). The engine ([`Intel`]) keeps its events in a database of its own ([`store`])
//! and speaks no HTTP.
//!
//! Reading order: [`event`], [`verify`], [`wire`], [`ledger`], [`indicator`], [`automatic`], [`store`], [`pipeline`], [`gossip`], [`link`], [`intel`], [`feeds`].

pub mod automatic;
pub mod config;
pub mod effects;
pub mod error;
pub mod event;
pub mod feeds;
pub mod gossip;
pub mod indicator;
pub mod intel;
pub mod ledger;
pub mod link;
mod links;
mod net;
mod node;
mod operators;
pub mod pipeline;
mod reporter_key;
mod seen;
pub mod shelf;
mod sources;
mod spread;
pub mod stix;
pub mod store;
pub mod stored;
pub mod tlp;
pub mod verify;
pub mod wire;

pub use automatic::Automatic;
pub use config::IntelConfig;
pub use error::IntelError;
pub use event::{EventKey, KeyId, NoEvent, ThreatEvent};
pub use feeds::{Feed, FeedKind, FeedSource, NewFeed};
pub use indicator::Indicator;
pub use intel::{Imported, Intel, NewThreat, Status};
pub use ledger::Mode;
pub use ledger::reporter::{Reason, Standing};
pub use link::{PeerState, PeerStatus};
pub use pipeline::Counts;
pub use reporter_key::REPORTER_KEY_FILE;
pub use shelf::Shelf;
pub use store::tables::Origin;
pub use stored::{EventFilter, Forged, Reputation, Stored};
pub use tlp::Tlp;
// Who a node is on links: whoever opens the engine gives it.
pub use cm_net::{Identity, PeerKey};
pub use verify::{Draft, Invalid, Verified, Verifier, sign};
