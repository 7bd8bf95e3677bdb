//! Copies that follow the load.
//!
//! Where a chunk must be is decided by its digest ([`Layout::holders`](crate::Layout::holders)); how many peers should
//! serve it besides is decided here, by one node, from facts that it has gathered: how often each object is read ([`Heat`]), how
//! long that takes, who holds it, who has room. A [`Planner`] turns them into copies to make and copies to drop. Copies
//! beyond the placed ones are like a cache: losing one loses nothing.
//!
//! [`MeanTemperature`] is the strategy of the earlier system, kept to be compared with. [`two_choices`] picks whom to read from.

mod baseline;
mod heat;
mod planner;
mod reads;

pub use baseline::{Hits, MeanTemperature};
pub use heat::{Heat, Rate};
pub use planner::{ObjectFacts, PeerFacts, Plan, Planner, PlannerConfig, Step};
pub use reads::{least_connections, two_choices};
