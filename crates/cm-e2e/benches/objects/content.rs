//! The bytes of objects: as many as wanted, none of them kept twice, no chunk like another, and nothing to compress.

use std::sync::OnceLock;

use cm_crypto::digest::Sha256;
use cm_types::Sha256Digest;

use cm_e2e::measure::Outcome;

/// Bytes that are made at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes that the pieces are cut from.
const STOCK_BYTES: usize = 1 << 20;

/// The content of one object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    /// Its length.
    pub(crate) size: usize,
    /// What no other content has.
    pub(crate) number: u64,
}

impl Content {
    /// Calls `take` with its pieces in their order.
    pub(crate) fn pieces(self, mut take: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let stock = stock();
        let mut piece = vec![0; PIECE_BYTES.min(self.size)];
        let mut done = 0;
        while done < self.size {
            let length = PIECE_BYTES.min(self.size - done);
            let piece = &mut piece[..length];
            let from = done % STOCK_BYTES;
            piece.copy_from_slice(&stock[from..from + length]);
            for (byte, stamp) in
                piece.iter_mut().zip([self.number, done as u64].map(u64::to_be_bytes).concat())
            {
                *byte = stamp;
            }
            take(piece)?;
            done += length;
        }
        Ok(())
    }

    /// The digest of all of it.
    pub(crate) fn digest(self) -> Outcome<Sha256Digest> {
        let mut hash = Sha256::new();
        self.pieces(|piece| {
            hash.update(piece);
            Ok(())
        })?;
        Ok(hash.finish())
    }
}

/// Random enough not to be compressed: xorshift (Marsaglia, 2003).
fn stock() -> &'static [u8] {
    static STOCK: OnceLock<Vec<u8>> = OnceLock::new();
    STOCK.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(STOCK_BYTES);
        while bytes.len() < STOCK_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes
    })
}
