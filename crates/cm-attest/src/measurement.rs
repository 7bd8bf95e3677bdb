//! What was loaded, as hardware measured it.

/// Fewest bytes: SHA-256.
pub const MEASUREMENT_LEN_MIN: usize = 32;
/// Most bytes: SHA-384.
pub const MEASUREMENT_LEN_MAX: usize = 48;

/// The digest of what runs: PCR0 of a Nitro enclave, the launch digest of SEV-SNP, MRTD, MRENCLAVE, or SHA-256 of
/// an executable. 32 or 48 bytes, in text as hexadecimal digits. Never shortened when it is compared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Measurement(Vec<u8>);

/// Why a measurement was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMeasurement {
    /// Neither of the two lengths.
    #[error("a measurement has {MEASUREMENT_LEN_MIN} or {MEASUREMENT_LEN_MAX} bytes, not {0}")]
    Length(usize),
    /// Not an even number of hexadecimal digits.
    #[error("a measurement is written in hexadecimal digits")]
    Digits,
}

impl Measurement {
    /// Takes over the bytes after checking their number.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidMeasurement> {
        let bytes = bytes.into();
        match bytes.len() {
            MEASUREMENT_LEN_MIN | MEASUREMENT_LEN_MAX => Ok(Self(bytes)),
            len => Err(InvalidMeasurement::Length(len)),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first 32 bytes: all that the certificates of the earlier services have room for. To be shown to their
    /// clients, never to be compared by ourselves.
    pub fn first_32(&self) -> [u8; MEASUREMENT_LEN_MIN] {
        self.0[..MEASUREMENT_LEN_MIN].try_into().expect("a measurement has at least 32 bytes")
    }
}

impl From<cm_types::Sha256Digest> for Measurement {
    fn from(digest: cm_types::Sha256Digest) -> Self {
        Self(digest.as_bytes().to_vec())
    }
}

impl std::str::FromStr for Measurement {
    type Err = InvalidMeasurement;

    fn from_str(text: &str) -> Result<Self, InvalidMeasurement> {
        Self::from_bytes(hex::decode(text).map_err(|_| InvalidMeasurement::Digits)?)
    }
}

impl std::fmt::Display for Measurement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl std::fmt::Debug for Measurement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Measurement({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_reads_back_and_has_one_of_two_lengths() {
        for len in [32, 48] {
            let measurement = Measurement::from_bytes(vec![0xab; len]).unwrap();
            assert_eq!(measurement.to_string().parse::<Measurement>().unwrap(), measurement);
        }
        for len in [0, 31, 33, 47, 49, 64] {
            assert_eq!(Measurement::from_bytes(vec![0; len]), Err(InvalidMeasurement::Length(len)));
        }
        assert_eq!("zz".repeat(32).parse::<Measurement>(), Err(InvalidMeasurement::Digits));
        assert_eq!("abc".parse::<Measurement>(), Err(InvalidMeasurement::Digits));
    }
}
