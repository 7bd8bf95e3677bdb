//! Amounts of bytes in the configuration: texts with a unit, or numbers without one.

use std::fmt;

use cm_types::ByteCount;
use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Reads one, for `deserialize_with`.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteCount>, D::Error> {
    deserializer.deserialize_any(Amount).map(Some)
}

struct Amount;

impl Visitor<'_> for Amount {
    type Value = ByteCount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount of bytes, such as \"512MB\" or 4096")
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteCount, E> {
        Ok(ByteCount::from_bytes(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<ByteCount, E> {
        let bytes = u64::try_from(bytes).map_err(|_| E::custom("an amount of bytes is not negative"))?;
        Ok(ByteCount::from_bytes(bytes))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ByteCount, E> {
        text.parse().map_err(E::custom)
    }
}
