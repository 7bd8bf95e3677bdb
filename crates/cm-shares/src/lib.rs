//! Computing on secret shares: several parties compute on values that none of them learns.
//!
//! Everything here is pure: no socket, no clock, no runtime. A party's part of a run is a [`Machine`]: frames go in, frames come out, and in the end there is a result.
//! Inside, a protocol is an `async fn` over a [`Session`] whose only await is for the next frame of a peer; the compiler makes the state machine of it. Whoever drives machines
//! has links, deadlines and threads; [`rehearse`] drives all parties of a run in one thread.
//!
//! # Values
//!
//! A [`Shared`] vector is one Shamir share for each of its values, in the field [`F61`] (integers modulo 2^61 - 1, the default) or [`Scalar`] (integers modulo
//! the order of secp256k1). Of `n` parties ([`Committee`]) any `t` learn nothing; `t+1` put a value together ([`split`], [`reconstruct`]). A [`Replicated`]
//! vector is of 64-bit words among three parties, as [`Integers`] or as [`Bits`].
//!
//! # Tiers
//!
//! The [`Tier`] of a run is part of its [`Terms`]. Semi-honest products cost one round and `n-t-1` elements sent by each party.
//!
//! | | against | how |
//! |---|---|---|
//! | `semi-honest` | `t < n/2` that look | resharing of products |
//! | `malicious-abort` | `t < n/2` that do anything, but the result may fail to appear | the same, and every product so far is verified in one batch before anything opens, with a barrier before each challenge; openings have the right degree; announcements are echoed |
//! | `robust` | `t < n/3` that do anything or die, `t ≤ 3` | products out of triples that were checked when they were made; openings are decoded, cheaters named |
//!
//! In `malicious-abort` a wrong product passes verification with a probability below 2^-55 in [`F61`] and 2^-248 in [`Scalar`] for each batch of at most 2^18 products and one step
//! (of at most 2^26 factors) more. An error that a client or an operator sees says who cheated where that is certain, and that somebody did where it is not.
//!
//! Of links it is assumed that frames of each arrive in order, authentic and secret; when they arrive, a cheater may decide. So no challenge of a check opens before
//! all honest parties have received what it tests.
//!
//! What is not claimed: that all honest parties of `malicious-abort` end alike (one may have its result and another an abort); that anything is hidden of how long inputs are; that a run ends
//! without somebody who watches deadlines. Links must authenticate and encrypt: frames carry tags against mix-ups, and shares in the clear.
//!
//! # Operations
//!
//! [`support`] says which operations exist in which field under which terms, before anything starts.
//!
//! | | `F61`, `Scalar` | `Integers` | `Bits` |
//! |---|---|---|---|
//! | tiers | all | `semi-honest`, `n = 3`, `t = 1` | `semi-honest`, `n = 3`, `t = 1` |
//! | linear, input, multiply, open | yes | yes | yes |
//! | dot, matmul | yes | yes | no |
//! | shares or masked values of clients, release | yes; shares not under `robust` | no | no |
//! | random values and bits, prepared triples and bits | yes | no | no |
//! | less | yes; over bits of words for `F61`, `semi-honest`, `n = 3` | yes | no |
//! | equal, select, min, max, sort, bits, truncate | yes | no | no |
//! | inverse, divide, product, polynomials | yes | no | no |
//! | fractions: multiply, divide, exp, sigmoid, relu, mean, variance | yes | no | no |
//! | shuffle, size of an intersection, refresh | yes | no | no |
//! | taking over from another committee | yes; not under `robust` | no | no |
//!
//! Verifiable sharing ([`vss`]) is over [`Scalar`].
//!
//! # Reading order
//!
//! `committee` (who, and against whom), `field`, `shared`, `reconstruct`; then `machine`, `wire` and `keys`; `session` with its parts `deal` (products), `random` (seeds in common), `open`,
//! `verify`, `input`, `announce`, `triples`, `signing`; `operation` with what is built of them; `replicated`, `vss`, `stock`, `rehearsal`.

mod committee;
mod error;
mod field;
mod keys;
mod machine;
mod operation;
mod reconstruct;
mod rehearsal;
mod replicated;
mod session;
mod shared;
mod stock;
pub mod vss;
mod wire;

pub use committee::{Committee, JobTag, PARTIES_MAX, Party, SUBSETS_MAX, Terms, Tier};
pub use error::{Check, MpcError};
pub use field::{F61, Field, FieldKind, Scalar};
pub use keys::Keys;
pub use machine::{Machine, Progress};
pub use operation::{EXP_RANGE, INTERSECTION_PAIRS_MAX, Operation, QUOTIENT_BITS, hand_over, support};
pub use reconstruct::{Reconstructed, reconstruct, split};
pub use rehearsal::{Fate, Rehearsal, rehearse, rehearse_with};
pub use replicated::{Bits, Integers, Replicated, Ring};
pub use session::{CHUNK_BYTES, Session, Signed};
pub use shared::Shared;
pub use stock::{Lease, Stock, StockKind};
pub use wire::{FRAME_HEADER_BYTES, FRAMES_AHEAD_MAX, Outbox, Traffic};

#[cfg(test)]
mod tests;
