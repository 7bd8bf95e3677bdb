//! Computing on secret shares.

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
mod wire;

pub use committee::{Committee, JobTag, PARTIES_MAX, Party, SUBSETS_MAX, Terms, Tier};
pub use error::{Check, MpcError};
pub use field::{F61, Field, FieldKind, Scalar};
pub use keys::Keys;
pub use machine::{Machine, Progress};
pub use operation::{EXP_RANGE, Operation, QUOTIENT_BITS, hand_over, support};
pub use reconstruct::{Reconstructed, reconstruct, split};
pub use rehearsal::{Fate, Rehearsal, rehearse, rehearse_with};
pub use replicated::{Bits, Integers, Replicated, Ring};
pub use session::{CHUNK_BYTES, Session};
pub use shared::Shared;
pub use wire::{FRAME_HEADER_BYTES, FRAMES_AHEAD_MAX, Outbox, Traffic};

#[cfg(test)]
mod tests;
