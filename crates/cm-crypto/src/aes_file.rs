//! Files and blobs as the earlier storage library sealed them: AES-GCM with nonces of 16 bytes.
//!
//! ```text
//! file   ciphertext ‖ nonce (16) ‖ tag (16)
//! blob   tag (16) ‖ ciphertext ‖ nonce (16)
//! ```
//!
//! They are here to be exchanged with that library. For everything else there is [`crate::seal`]: one key for many files
//! of these must be kept from all who should not read all of them, nothing in them says which key it was, and a file
//! cannot be read before its last byte.
//!
//! AES-GCM is that of NIST SP 800-38D, put together from the parts that RustCrypto's `aes-gcm` is made of (`aes`, `ctr`,
//! `ghash`): that crate itself wants a whole message in memory. A nonce that does not have 12 bytes is hashed to the first
//! counter block (section 7.1, step 2).
//!
//! [`open`] reads a file twice: nothing is decrypted before the tag was found right, and what is decrypted is hashed once
//! more on the way, so that a file that changes in between is noticed. Memory is constant.

use std::io::{self, Read, Seek, SeekFrom, Write};

use aes::{Aes128, Aes192, Aes256};
use ctr::Ctr32BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::{Zeroize, Zeroizing};

use crate::secret::{constant_time_eq, fill_random, random_bytes};
use crate::{CryptoError, Secret};

/// Length of a nonce, in bytes.
pub const NONCE_BYTES: usize = 16;
/// Length of a tag, in bytes.
pub const TAG_BYTES: usize = 16;
/// What a file has besides its ciphertext.
const TRAILER_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// How much is worked on at once. A multiple of the length of a block.
const PIECE_BYTES: usize = 1024 * 1024;
/// The most that one nonce may encrypt: 2^36 - 32 bytes (SP 800-38D, section 5.2.1.1).
pub const PLAINTEXT_BYTES_MAX: u64 = (1 << 36) - 32;

/// Why a file could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum AesFileError {
    /// It was altered, cut or extended, or sealed under another key. Nothing was released.
    #[error("the file was altered, or sealed under another key")]
    Sealed,
    /// It was changed while it was being opened. What was written so far must be thrown away.
    #[error("the file was changed while it was being opened")]
    Changed,
    /// Longer than [`PLAINTEXT_BYTES_MAX`].
    #[error(
        "a file of this kind cannot be longer than {PLAINTEXT_BYTES_MAX} bytes: seal it for a recipient instead"
    )]
    TooLong,
    /// It could not be read or written. How much was written is unknown.
    #[error("the file could not be read or written")]
    Io(#[from] io::Error),
}

/// A key of AES, of 128, 192 or 256 bits.
#[derive(Clone, Debug)]
pub struct AesKey(Secret<Vec<u8>>);

impl AesKey {
    /// A new random key; `None` unless it has 128, 192 or 256 bits.
    pub fn generate(bits: usize) -> Option<Self> {
        let mut bytes = Zeroizing::new(vec![0; bits / 8]);
        fill_random(&mut bytes);
        bits.is_multiple_of(8).then(|| Self::from_bytes(&bytes).ok())?
    }

    /// A key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`CryptoError::Key`] for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        match bytes.len() {
            16 | 24 | 32 => Ok(Self(Secret::new(bytes.to_vec()))),
            _ => Err(CryptoError::Key("AES")),
        }
    }

    /// A key as `openssl rand -hex 32` writes it, with white space around it.
    ///
    /// # Errors
    /// [`CryptoError::Key`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, CryptoError> {
        let bytes = hex::decode(text.trim()).map_err(|_| CryptoError::Key("AES"))?;
        Self::from_bytes(&Zeroizing::new(bytes))
    }

    /// The key in hexadecimal digits. Whoever holds it reads everything sealed under it.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.expose()))
    }

    /// How many bits it has.
    pub fn bits(&self) -> usize {
        self.0.expose().len() * 8
    }
}

enum Keystream {
    Aes128(Ctr32BE<Aes128>),
    Aes192(Ctr32BE<Aes192>),
    Aes256(Ctr32BE<Aes256>),
}

impl Keystream {
    fn new(key: &AesKey, counter: &[u8; 16]) -> Self {
        const FITS: &str = "the length of the key was matched, and a counter is a block";
        let (key, counter) = (key.0.expose().as_slice(), counter.as_slice());
        match key.len() {
            16 => Keystream::Aes128(Ctr32BE::new_from_slices(key, counter).expect(FITS)),
            24 => Keystream::Aes192(Ctr32BE::new_from_slices(key, counter).expect(FITS)),
            _ => Keystream::Aes256(Ctr32BE::new_from_slices(key, counter).expect(FITS)),
        }
    }

    fn apply(&mut self, bytes: &mut [u8]) {
        match self {
            Keystream::Aes128(stream) => stream.apply_keystream(bytes),
            Keystream::Aes192(stream) => stream.apply_keystream(bytes),
            Keystream::Aes256(stream) => stream.apply_keystream(bytes),
        }
    }
}

/// AES-GCM over a message that comes in pieces.
struct Gcm {
    stream: Keystream,
    hash: GHash,
    /// The first block of the key stream, which hides the tag.
    mask: [u8; 16],
    aad_len: u64,
    len: u64,
}

impl Gcm {
    fn new(key: &AesKey, nonce: &[u8; NONCE_BYTES], aad: &[u8]) -> Self {
        // The hash key is the encrypted zero block: the first block of the key stream that begins with it.
        let mut hash_key = Zeroizing::new([0; 16]);
        Keystream::new(key, &[0; 16]).apply(&mut *hash_key);
        let new_hash = || GHash::new((&*hash_key).into());
        let mut first = new_hash();
        first.update_padded(nonce);
        first.update_padded(&lengths(0, NONCE_BYTES as u64));
        let counter: [u8; 16] = first.finalize().into();
        let mut stream = Keystream::new(key, &counter);
        let mut mask = [0; 16];
        stream.apply(&mut mask);
        let mut hash = new_hash();
        hash.update_padded(aad);
        Self { stream, hash, mask, aad_len: aad.len() as u64, len: 0 }
    }

    /// Every piece but the last must be a multiple of 16 bytes long.
    fn hash(&mut self, ciphertext: &[u8]) {
        debug_assert!(self.len.is_multiple_of(16), "a piece follows the last one");
        self.hash.update_padded(ciphertext);
        self.len += ciphertext.len() as u64;
    }

    fn encrypt(&mut self, piece: &mut [u8]) {
        self.stream.apply(piece);
        self.hash(piece);
    }

    fn decrypt(&mut self, piece: &mut [u8]) {
        self.hash(piece);
        self.stream.apply(piece);
    }

    fn tag(mut self) -> [u8; TAG_BYTES] {
        self.hash.update_padded(&lengths(self.aad_len, self.len));
        let mut tag: [u8; TAG_BYTES] = self.hash.finalize().into();
        for (byte, mask) in tag.iter_mut().zip(self.mask) {
            *byte ^= mask;
        }
        self.mask.zeroize();
        tag
    }
}

/// The lengths of two parts in bits, as the hash takes them at its end.
fn lengths(first: u64, second: u64) -> [u8; 16] {
    (u128::from(first * 8) << 64 | u128::from(second * 8)).to_be_bytes()
}

/// Seals in memory: a blob. Whatever `aad` says, [`open_blob`] must be told the same.
pub fn seal_blob(key: &AesKey, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce = random_bytes::<NONCE_BYTES>();
    let mut gcm = Gcm::new(key, &nonce, aad);
    let mut blob = vec![0; TAG_BYTES];
    blob.extend_from_slice(plaintext);
    gcm.encrypt(&mut blob[TAG_BYTES..]);
    blob.extend_from_slice(&nonce);
    blob[..TAG_BYTES].copy_from_slice(&gcm.tag());
    blob
}

/// Opens a blob in memory.
///
/// # Errors
/// [`CryptoError::Sealed`], without a hint as to what differs.
pub fn open_blob(key: &AesKey, aad: &[u8], blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let (tag, rest) = blob.split_at_checked(TAG_BYTES).ok_or(CryptoError::Sealed)?;
    let (ciphertext, nonce) = rest.split_last_chunk::<NONCE_BYTES>().ok_or(CryptoError::Sealed)?;
    let mut check = Gcm::new(key, nonce, aad);
    check.hash(ciphertext);
    if !constant_time_eq(&check.tag(), tag) {
        return Err(CryptoError::Sealed);
    }
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    Gcm::new(key, nonce, aad).stream.apply(&mut plaintext);
    Ok(plaintext)
}

/// Seals a stream as a file; returns how long the plaintext was. `moved` is told how far it is, in bytes of plaintext,
/// and ends the work by an error.
///
/// # Errors
/// [`AesFileError::TooLong`], [`AesFileError::Io`]; what was written by then is of no use.
pub fn seal(
    key: &AesKey,
    aad: &[u8],
    mut source: impl Read,
    mut target: impl Write,
    mut moved: impl FnMut(u64) -> io::Result<()>,
) -> Result<u64, AesFileError> {
    let nonce = random_bytes::<NONCE_BYTES>();
    let mut gcm = Gcm::new(key, &nonce, aad);
    let mut piece = Zeroizing::new(vec![0; PIECE_BYTES]);
    loop {
        let len = fill(&mut source, &mut piece)?;
        if gcm.len + len as u64 > PLAINTEXT_BYTES_MAX {
            return Err(AesFileError::TooLong);
        }
        gcm.encrypt(&mut piece[..len]);
        target.write_all(&piece[..len])?;
        moved(gcm.len)?;
        if len < PIECE_BYTES {
            break;
        }
    }
    let plaintext_len = gcm.len;
    target.write_all(&nonce)?;
    target.write_all(&gcm.tag())?;
    target.flush()?;
    Ok(plaintext_len)
}

/// Opens a file; returns how long the plaintext is. Nothing is written before the whole file was found authentic. `moved`
/// is told how far it is, in bytes read of twice the length of the file, and ends the work by an error.
///
/// # Errors
/// [`AesFileError::Sealed`], and nothing was written. After every other error what was written must be thrown away.
pub fn open(
    key: &AesKey,
    aad: &[u8],
    mut source: impl Read + Seek,
    mut target: impl Write,
    mut moved: impl FnMut(u64) -> io::Result<()>,
) -> Result<u64, AesFileError> {
    let len = source.seek(SeekFrom::End(0))?.checked_sub(TRAILER_BYTES as u64).ok_or(AesFileError::Sealed)?;
    if len > PLAINTEXT_BYTES_MAX {
        return Err(AesFileError::Sealed);
    }
    let mut trailer = [0; TRAILER_BYTES];
    source.seek(SeekFrom::Start(len))?;
    source.read_exact(&mut trailer)?;
    let (nonce, tag) = trailer.split_first_chunk::<NONCE_BYTES>().expect("a trailer has a nonce and a tag");
    let mut check = Gcm::new(key, nonce, aad);
    pieces(&mut source, len, |piece| {
        check.hash(piece);
        moved(check.len)
    })?;
    if check.len != len || !constant_time_eq(&check.tag(), tag) {
        return Err(AesFileError::Sealed);
    }
    let mut opening = Gcm::new(key, nonce, aad);
    pieces(&mut source, len, |piece| {
        opening.decrypt(piece);
        target.write_all(piece)?;
        moved(len + opening.len)
    })?;
    if opening.len != len || !constant_time_eq(&opening.tag(), tag) {
        return Err(AesFileError::Changed);
    }
    target.flush()?;
    Ok(len)
}

/// Goes through the first `len` bytes, piece by piece.
fn pieces(
    source: &mut (impl Read + Seek),
    len: u64,
    mut each: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    source.seek(SeekFrom::Start(0))?;
    let mut source = source.take(len);
    let mut piece = Zeroizing::new(vec![0; PIECE_BYTES]);
    loop {
        let got = fill(&mut source, &mut piece)?;
        each(&mut piece[..got])?;
        if got < PIECE_BYTES {
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
