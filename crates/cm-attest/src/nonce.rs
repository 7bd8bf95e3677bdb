//! The client's challenge.

/// Fewest bytes of a nonce: 128 bits cannot be guessed or repeated by chance.
pub const NONCE_LEN_MIN: usize = 16;
/// Most bytes of a nonce: the limit of RFC 9711 section 4.1.
pub const NONCE_LEN_MAX: usize = 64;

/// A challenge of 16 to 64 bytes, drawn at random by the client for one request of evidence. Its text form
/// is hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Nonce(Vec<u8>);

/// Why a nonce was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNonce {
    /// Too short or too long.
    #[error("a nonce has {NONCE_LEN_MIN} to {NONCE_LEN_MAX} bytes, not {0}")]
    Length(usize),
    /// Not an even number of hexadecimal digits.
    #[error("a nonce is written in hexadecimal digits")]
    Digits,
}

impl Nonce {
    /// Takes over the bytes after checking their number.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidNonce> {
        let bytes = bytes.into();
        if (NONCE_LEN_MIN..=NONCE_LEN_MAX).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(InvalidNonce::Length(bytes.len()))
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::str::FromStr for Nonce {
    type Err = InvalidNonce;

    fn from_str(text: &str) -> Result<Self, InvalidNonce> {
        Self::from_bytes(hex::decode(text).map_err(|_| InvalidNonce::Digits)?)
    }
}

impl std::fmt::Display for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nonce({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_reads_back_and_keeps_its_bounds() {
        let nonce = Nonce::from_bytes([0xab; 16]).unwrap();
        assert_eq!(nonce.to_string().parse::<Nonce>().unwrap(), nonce);
        assert!(Nonce::from_bytes([0; 64]).is_ok());
        for len in [0, 15, 65] {
            assert_eq!(Nonce::from_bytes(vec![0; len]), Err(InvalidNonce::Length(len)));
        }
        assert_eq!("abc".parse::<Nonce>(), Err(InvalidNonce::Digits));
        assert_eq!("zz".repeat(16).parse::<Nonce>(), Err(InvalidNonce::Digits));
    }
}
