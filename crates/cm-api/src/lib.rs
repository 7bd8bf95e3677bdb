//! The native REST API: `/api/v1`, its OpenAPI document, and the probes beside it.
//!
//! A handler decodes, calls the kernel or a guest, and encodes; decisions are made elsewhere. What travels is
//! described by types of this crate, one module per resource family, which convert from and to the engines' own.
//!
//! The order of every request is the same. [`authentication`] answers 401 before a route is even chosen. The
//! handler then asks the kernel for a permit, which may be 403 or 404, and only with the permit in hand does it
//! decode the body. Which status a refusal gets follows from its class ([`failure`]).
//!
//! The document is made from the handlers, so that a route without a description cannot exist: [`routes`](mod@routes)
//! registers both at once.
//!
//! Reading order: [`api`], [`routes`](mod@routes), [`authentication`], [`record`] (what all records share), then the
//! families.

pub mod api;
pub mod authentication;
mod bundles;
pub mod deletion;
pub mod document;
mod earlier_errors;
pub mod expand;
pub mod failure;
mod family;
pub mod fields;
mod key_sets;
pub mod listing;
pub mod packing;
pub mod parts;
mod paths;
mod probes;
pub mod providers;
pub mod record;
pub mod record_schema;
mod record_watch;
pub mod referrers;
pub mod routes;
pub mod shieldx;
mod stream;

pub mod active_objects;
pub mod api_keys;
pub mod auth;
pub mod buckets;
pub mod choreography;
pub mod cold_tier;
pub mod computations;
pub mod data_files;
pub mod decisions;
pub mod elastic;
pub mod endpoints;
pub mod endpoints_deploy;
pub mod events;
mod function_files;
pub mod functions;
pub mod hierarchy;
pub mod history;
pub mod instances;
pub mod intel;
pub mod intel_exports;
pub mod intel_feeds;
pub mod intel_peers;
pub mod intel_views;
pub mod intel_watch;
pub mod manifests;
pub mod measures;
pub mod mfa;
pub mod microservices;
pub mod network;
pub mod node;
pub mod oauth;
pub mod object_verification;
pub mod object_versions;
pub mod objects;
pub mod passkeys;
pub mod permission_policies;
pub mod principals;
pub mod programs;
pub mod progress_socket;
pub mod quotas;
pub mod roles;
pub mod security_policies;
pub mod services;
pub mod signing_keys;
pub mod storage_network;
pub mod storages;
pub mod svids;
pub mod tenants;
pub mod threat_collections;
pub mod tokens;
pub mod trust_domains;
pub mod uploads;
mod verifications;
pub mod watch;
mod watcher;

pub use api::{Api, Engines, MetricsText, Settings};
pub use document::{openapi, openapi_text};
pub use routes::router;
pub use shieldx::{HttpClientError, ShieldX};
