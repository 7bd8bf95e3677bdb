//! The API over a real kernel in a temporary directory, asked without a socket.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod active_objects;
mod choreography;
mod coverage;
mod credentials;
mod document;
mod endpoints;
mod events;
mod late;
mod manifests;
mod objects;
mod probes;
mod providers;
mod records;
mod sockets;
mod support;
mod tenants;
mod uploads;
mod versions;
mod workloads;
