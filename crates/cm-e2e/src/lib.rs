//! End-to-end tests: the real binary, started as a process, spoken to through its public interfaces.
//!
//! [`Node`] starts `cryptomesh up` on free ports in a temporary directory and waits until it says that it is
//! ready. The tests themselves are in `tests/all`; the benchmarks of whole processes are in `benches`, and
//! what they measure with in [`measure`].

mod binary;
pub mod measure;
mod network;
mod node;
mod parties;
mod posting_client;
mod service;
mod veracruz_client;
mod witness;

pub use binary::{cryptomesh, run};
pub use network::{NETWORK_DEADLINE, Network, Peer, succeeded};
pub use node::{Node, NodeOptions};
pub use parties::{PROGRAM_FILE, Party, Program, enrol, instance, policy_for};
pub use posting_client::PostingClient;
pub use service::{Reply, Service};
pub use veracruz_client::{Answer, VeracruzClient};
pub use witness::certificates_at;
