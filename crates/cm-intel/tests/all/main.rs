//! The engine over real sockets: both versions of the protocol, and what attackers try.

mod attacks;
mod encrypted;
mod legacy;
mod support;
