//! The reference of the disk: hash and write the same bytes and wait for `fsync`; read and hash them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use cm_crypto::digest::Sha256;

use crate::content::Content;
use cm_e2e::measure::Outcome;

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes a file whose bytes and name are on the disk afterwards, and hashes it on the way.
pub(crate) fn put(dir: &Path, name: &str, content: Content) -> Outcome<()> {
    let mut file = File::create(dir.join(name))?;
    let mut hash = Sha256::new();
    content.pieces(|piece| {
        hash.update(piece);
        Ok(file.write_all(piece)?)
    })?;
    std::hint::black_box(hash.finish());
    file.sync_all()?;
    Ok(())
}

/// Reads a file and hashes it: its length.
pub(crate) fn get(dir: &Path, name: &str, buffer: &mut Vec<u8>) -> Outcome<usize> {
    buffer.resize(BUFFER_BYTES, 0);
    let mut file = File::open(dir.join(name))?;
    let (mut hash, mut length) = (Sha256::new(), 0);
    loop {
        let read = file.read(buffer)?;
        if read == 0 {
            std::hint::black_box(hash.finish());
            return Ok(length);
        }
        hash.update(&buffer[..read]);
        length += read;
    }
}
