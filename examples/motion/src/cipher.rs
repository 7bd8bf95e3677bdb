//! AES in counter mode over a stream.

use std::io::Read;

use aes::{Aes128, Aes256};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};

/// The key or the counter's first value has a length that AES does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError;

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the key must have 16 or 32 bytes, the initial counter 16")
    }
}

impl std::error::Error for KeyError {}

/// A stream, decrypted as it is read.
pub struct Decrypted<R> {
    inner: R,
    cipher: Box<dyn StreamCipher>,
}

impl<R> std::fmt::Debug for Decrypted<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decrypted").finish_non_exhaustive()
    }
}

impl<R: Read> Decrypted<R> {
    /// Decrypts with AES-128 or AES-256, by the length of the key. Encrypting is the same.
    pub fn new(inner: R, key: &[u8], iv: &[u8]) -> Result<Self, KeyError> {
        let cipher: Box<dyn StreamCipher> = match key.len() {
            16 => Box::new(Ctr128BE::<Aes128>::new_from_slices(key, iv).map_err(|_| KeyError)?),
            32 => Box::new(Ctr128BE::<Aes256>::new_from_slices(key, iv).map_err(|_| KeyError)?),
            _ => return Err(KeyError),
        };
        Ok(Self { inner, cipher })
    }
}

impl<R: Read> Read for Decrypted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.cipher.try_apply_keystream(&mut buffer[..count]).map_err(std::io::Error::other)?;
        Ok(count)
    }
}
