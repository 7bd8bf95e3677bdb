//! Amounts of bytes as people write them: "512MB", "2GB", "1.5 GiB".

use serde::{Deserialize, Serialize};

/// An exact number of bytes together with the text that it was written as.
///
/// Decimal units are powers of 1000 (`2GB` is 2,000,000,000), binary ones of 1024 (`2GiB`), in any case;
/// a bare number means bytes. Two counts are equal when their bytes are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteCount {
    bytes: u64,
    text: String,
}

/// Why a text is no amount of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidByteCount {
    /// There is no number in front, or it has two points.
    #[error("`{0}` does not begin with a number")]
    Number(String),
    /// The unit is unknown.
    #[error("`{0}` is no unit of bytes, expected B, kB, MB, GB, TB, PB or KiB, MiB, GiB, TiB, PiB")]
    Unit(String),
    /// The amount is not a whole number of bytes.
    #[error("`{0}` is not a whole number of bytes")]
    Fraction(String),
    /// More than 2^64 - 1 bytes.
    #[error("`{0}` is more than can be counted")]
    Overflow(String),
}

impl ByteCount {
    /// A number of bytes, written as such.
    pub fn from_bytes(bytes: u64) -> Self {
        Self { bytes, text: bytes.to_string() }
    }

    /// The number of bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for ByteCount {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for ByteCount {}

impl std::fmt::Display for ByteCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn unit_bytes(unit: &str) -> Option<u128> {
    let (base, letter): (u128, _) = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => return Some(1),
        binary if binary.ends_with("ib") => (1024, binary.chars().next()?),
        decimal if decimal.len() <= 2 && (decimal.len() == 1 || decimal.ends_with('b')) => {
            (1000, decimal.chars().next()?)
        }
        _ => return None,
    };
    if unit.len() > 3 {
        return None;
    }
    let exponent = "kmgtp".find(letter)? as u32 + 1;
    Some(base.pow(exponent))
}

impl std::str::FromStr for ByteCount {
    type Err = InvalidByteCount;

    fn from_str(text: &str) -> Result<Self, InvalidByteCount> {
        let trimmed = text.trim();
        let unit_at = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(unit_at);
        let unit = unit.trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        if whole.is_empty() || fraction.contains('.') || fraction.len() > 18 {
            return Err(InvalidByteCount::Number(text.to_owned()));
        }
        let overflow = || InvalidByteCount::Overflow(text.to_owned());
        let scale = unit_bytes(unit).ok_or_else(|| InvalidByteCount::Unit(unit.to_owned()))?;
        let scaled =
            digits.parse::<u128>().map_err(|_| overflow())?.checked_mul(scale).ok_or_else(overflow)?;
        let divisor = 10u128.pow(fraction.len() as u32);
        if scaled % divisor != 0 {
            return Err(InvalidByteCount::Fraction(text.to_owned()));
        }
        let bytes = u64::try_from(scaled / divisor).map_err(|_| overflow())?;
        Ok(Self { bytes, text: text.to_owned() })
    }
}

impl TryFrom<String> for ByteCount {
    type Error = InvalidByteCount;

    fn try_from(text: String) -> Result<Self, InvalidByteCount> {
        text.parse()
    }
}

impl From<ByteCount> for String {
    fn from(count: ByteCount) -> String {
        count.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u64, &str>) {
        let found = text.parse::<ByteCount>();
        match expected {
            Ok(bytes) => {
                let count = found.unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!((count.bytes(), count.as_str()), (bytes, text));
            }
            Err(part) => {
                let error = found.expect_err(text).to_string();
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }

    #[test]
    fn amounts_are_exact_and_kept_as_written() {
        check("2GB", Ok(2_000_000_000));
        check("512MB", Ok(512_000_000));
        check("1.5 GiB", Ok(1_610_612_736));
        check("0", Ok(0));
        check("1k", Ok(1000));
        check("16KiB", Ok(16384));
        check("18446744073709551615", Ok(u64::MAX));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        check("", Err("number"));
        check("GB2GB", Err("number"));
        check("2GBGB", Err("unit"));
        check("1.2.3GB", Err("number"));
        check("-1GB", Err("number"));
        check("1.5", Err("whole"));
        check("99999999PB", Err("more than"));
    }
}
