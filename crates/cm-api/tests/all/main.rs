//! The API over a real kernel in a temporary directory, asked without a socket.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

// A device of tests is one for all of them; it names this.
use cm_kernel::identity::PasskeyChallenge;

mod active_objects;
mod choreography;
mod coverage;
mod credentials;
#[path = "../../../cm-identity/src/tests/device.rs"]
mod device;
mod document;
mod endpoints;
mod events;
mod late;
mod manifests;
mod objects;
mod passkeys;
mod probes;
mod providers;
mod records;
mod sockets;
mod support;
mod tenants;
mod uploads;
mod versions;
mod workloads;
