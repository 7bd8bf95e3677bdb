//! What tests of several crates need: real services, started and stopped with the tests.
//!
//! [`postgres::Server`] is a PostgreSQL server of the machine's own installation, in a temporary directory.
//! `cargo run -p cm-testkit --bin with-postgres -- COMMAND` starts one for a whole command, which `xtask test` does.
//! [`ports::free`] finds ports for services that must be told theirs.

pub mod ports;
pub mod postgres;
