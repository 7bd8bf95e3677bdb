//! The engine against a database in memory.

mod api_keys;
mod bootstrap;
mod login;
mod principals;
mod support;
mod tokens;
