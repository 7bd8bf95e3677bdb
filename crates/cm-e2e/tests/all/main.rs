//! The real binary, end to end. One integration binary, one module per promise.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

mod attestation;
mod chunks;
mod cold;
mod commands;
mod confidentiality;
mod console;
mod console_passkeys;
mod contract;
mod crash;
mod demo;
mod deploy;
mod earlier_clients;
mod endpoints;
mod enforced;
mod examples;
mod failures;
mod instance_tools;
mod instances;
mod intel;
mod key_release;
mod launchers;
mod limits;
mod logs;
mod manifests;
mod mictlanx;
mod mpc;
mod network;
mod object_command;
mod object_folders;
mod policy_tools;
mod proxies;
mod refused_tokens;
mod routes;
mod s3;
mod s3_version_two;
mod s3app;
mod soak;
mod tamper;
mod tools;
mod transfers;
mod two_nodes;
mod veracruz_services;
mod views;
mod workloads;
