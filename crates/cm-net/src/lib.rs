//! Links between the nodes of a network: what they ask each other, and the bytes that they send each other.
//!
//! A [`Links`] keeps one connection to every peer of its [`Directory`] and takes theirs. Each connection is TLS 1.3 in which
//! both ends show a certificate, and each knows the other by its key alone ([`PeerKey`]): which key belongs to which peer is known
//! beforehand, names and authorities say nothing, and the dates of certificates are not looked at, so that a clock that is wrong
//! does not split a network. A key ends when the directory does not name it any more; its connections are closed then.
//!
//! On a connection run many exchanges at once (`yamux`, with credit for each): a request with one answer
//! ([`Links::request`]), or pieces of bytes in both directions ([`Links::open`], [`Links::send_stream`]). Whoever opened the
//! connection asks; the other end has registered what it answers ([`Links::on_request`], [`Links::on_stream`]).
//!
//! - **Deadlines.** Every request has one, and it travels: the handler is dropped when it passes.
//! - **Cancellation.** Who drops a request resets its stream, and the handler is dropped over there.
//! - **Backpressure.** A sender waits for the receiver's credit. Nothing is buffered beyond it.
//! - **Bounds.** Connections, handshakes, streams, lengths and the bytes of requests in memory are limited ([`Config`]);
//!   what is beyond is refused ([`Refusal::Busy`]) and not queued.
//! - **Loss.** A peer that does not answer a probe in time is down: what was under way fails ([`LinkError::Lost`], whose effect is not
//!   known), and what is asked meanwhile fails at once ([`LinkError::Unreachable`]). Dialling goes on with backoff.
//!
//! A conversation whose every byte is waited for can have a connection of its own, with the same keys on the same listener
//! ([`Links::direct`], [`Links::on_direct`]).
//!
//! Who joins a network is not known to it: it may ask one question ([`visit`]) where somebody answers guests ([`Links::on_guest`]).
//!
//! Reading order: [`PeerKey`], [`Directory`], [`Config`], [`Links`], [`Outgoing`] and [`Incoming`], [`Direct`], [`LinkError`].

mod config;
mod connection;
mod counters;
mod dial;
mod direct;
mod directory;
mod error;
mod exchange;
pub mod frame;
mod gate;
mod guest;
mod handlers;
mod identity;
mod kind;
mod links;
mod listen;
mod notice;
mod socket;
mod trust;

pub use config::Config;
pub use counters::Counters;
pub use direct::Direct;
pub use directory::{Contact, Directory, DirectoryError};
pub use error::{LinkError, Refusal};
pub use exchange::{Incoming, Outgoing};
pub use guest::visit;
pub use handlers::KindTaken;
pub use identity::{Identity, PeerKey};
pub use kind::Kind;
pub use links::{LinkState, Links, Status};
pub use notice::Notice;

#[cfg(test)]
mod tests;
