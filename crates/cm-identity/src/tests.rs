//! The engine against a database in memory.

mod account_keys;
mod api_keys;
mod bootstrap;
mod device;
mod login;
mod passkeys;
mod principals;
mod providers;
mod second_factor;
mod sessions;
mod signing;
mod support;
mod tenants;
mod tokens;
mod workloads;
