//! The engine over real sockets: both versions of the protocol, and what attackers try.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

mod attacks;
mod encrypted;
mod feeds;
mod legacy;
mod support;
