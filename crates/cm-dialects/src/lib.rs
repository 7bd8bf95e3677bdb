//! The protocols of the earlier systems, one module each: adapters over the same engines.
//!
//! Nothing is decided here. A request of an earlier client is authenticated, decoded, handed to the engine that serves the
//! native API too, and its outcome is put into the words that the client knows. [`evm`] and [`feeds`] are those in which this node is the client.

pub mod evm;
pub mod failure;
pub mod feeds;
pub mod mictlanx;
pub mod shamira;
pub mod taxii;
pub mod veracruz;
pub mod xolo;

pub use cm_door::{Caller, Gate, authenticate};
pub use feeds::{FeedLimits, HttpFeeds};
pub use mictlanx::MictlanX;
pub use shamira::Shamira;
pub use taxii::Taxii;
pub use veracruz::Veracruz;
pub use xolo::Xolo;
