//! Client-side sealing: an object that only its recipients can read, wherever it is stored.
//!
//! A sealed file is a header and a sequence of segments.
//!
//! ```text
//! header   magic "cmsealed" ‖ version 1 (u8) ‖ recipients n (u8, 1..=64) ‖ salt (16 random bytes)
//!          n × stanza: hint (8) ‖ encapsulated key (32) ‖ wrapped content key (48)
//!          tag (32)
//! segments every one but the last: 64 KiB of plaintext, encrypted, and its tag (16)
//!          the last: 0 to 64 KiB of plaintext, encrypted, and its tag; empty only in an empty file
//! ```
//!
//! - The **content key** is 32 random bytes. HPKE (RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256),
//!   HKDF-SHA256, ChaCha20Poly1305) wraps it for each recipient; the fixed part of the header is the
//!   associated data.
//! - The **header** is authenticated by HMAC-SHA256 under a key derived from the content key. The tag
//!   also commits the file to one content key, so no file opens differently for two recipients.
//! - The **segments** are the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, "Online
//!   Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance" (2015), over ChaCha20Poly1305 as the
//!   `aead-stream` crate implements it: the nonce holds the position and a flag for the last segment.
//!   Key and nonce prefix are derived (HKDF-SHA256, RFC 5869) from the content key and the digest of the
//!   header. A segment that is altered, moved, dropped, repeated or taken from another file does not open,
//!   and neither does a file that was cut or extended.
//!
//! [`Opener`] releases plaintext segment by segment, each after its tag was checked. A reader that must
//! not act on a prefix has to read to the end first: only the last segment proves that nothing was cut.
//!
//! Whoever is given the content key of one file can open that file and no other: [`Unsealer`] does so inside an
//! instance to which the owner has released it.
//!
//! What sealing does not do: it does not say **who** sealed (anybody can seal for a public key), it does
//! not hide the length, and a hint tells those who already hold a public key whether the file is
//! sealed for it; to everybody else the recipients are unlinkable.
//!
//! Memory is constant: two segments, whatever the size of the file.

mod content;
mod error;
mod header;
mod key;
mod message;
mod opener;
mod sealer;
mod unsealer;

pub use content::ContentKey;
pub use error::{FormatProblem, InvalidRecipientKey, SealError};
pub use header::SealedHeader;
pub use key::{RecipientPublicKey, RecipientSecretKey};
pub use message::{MESSAGE_OVERHEAD, open_message, seal_message};
pub use opener::{Opener, open_slice};
pub use sealer::{Sealer, seal_slice, sealed_len};
pub use unsealer::Unsealer;

/// The first bytes of every sealed file.
pub const MAGIC: [u8; 8] = *b"cmsealed";
/// The version of the format that this code writes, and the only one that it reads.
pub const VERSION: u8 = 1;
/// Most recipients of one file. It bounds the header (5.7 KB) and the work of refusing a stranger's file.
pub const RECIPIENTS_MAX: usize = 64;
/// Plaintext bytes in every segment but the last. 64 KiB keeps the overhead of tags at 0.02 % while a
/// segment fits a processor's second-level cache.
pub const SEGMENT_BYTES: usize = 64 * 1024;

/// Length of a ChaCha20Poly1305 tag, in bytes.
const TAG_BYTES: usize = 16;
/// The most segments: the position is 32 bits wide and its last value is kept for the last segment.
const SEGMENTS_MAX: u64 = u32::MAX as u64;

type SegmentCipher = aead_stream::StreamBE32<chacha20poly1305::ChaCha20Poly1305>;

/// Whether the bytes begin like a sealed file. Proves nothing about the rest.
pub fn looks_sealed(beginning: &[u8]) -> bool {
    beginning.starts_with(&MAGIC)
}

#[cfg(test)]
mod tests;
