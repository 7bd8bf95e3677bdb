//! Rows as one version byte and JSON.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{DbError, Key};

/// A named table: what its keys and rows are.
///
/// The name is part of the stored format. It consists of lower-case letters, digits and `_`.
pub trait Table {
    /// The name.
    const NAME: &'static str;
    /// What names a row.
    type Key: Key;
    /// What a row holds.
    type Row: Row;
}

/// Stored bytes that are no row of the expected type.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InvalidRow {
    /// Not even a version byte.
    #[error("row is empty")]
    Empty,
    /// A version that this program does not know.
    #[error("row has version {found}, known are versions up to {known}")]
    Version {
        /// The version in the row.
        found: u8,
        /// The newest known.
        known: u8,
    },
    /// The JSON does not fit the type.
    #[error("row is not the JSON that it should be")]
    Json(#[source] Arc<serde_json::Error>),
}

impl From<serde_json::Error> for InvalidRow {
    fn from(error: serde_json::Error) -> Self {
        InvalidRow::Json(Arc::new(error))
    }
}

/// What a table holds.
///
/// A change that old rows do not decode under takes a new [`Row::VERSION`] and a branch in
/// [`Row::decode_old`], which stays for ever; keep bytes of every old version as a fixture.
pub trait Row: Serialize + DeserializeOwned {
    /// The version that is written.
    const VERSION: u8 = 1;

    /// Decodes the JSON of an older version.
    fn decode_old(version: u8, json: &[u8]) -> Result<Self, InvalidRow> {
        let _ = json;
        Err(InvalidRow::Version { found: version, known: Self::VERSION })
    }
}

/// Free-form rows, for those who keep only raw bytes or look into JSON themselves.
impl Row for serde_json::Value {}

pub(crate) fn encode<T: Table>(row: &T::Row) -> Result<Vec<u8>, DbError> {
    let mut bytes = vec![T::Row::VERSION];
    serde_json::to_writer(&mut bytes, row)
        .map_err(|source| DbError::Encode { table: T::NAME, source: Arc::new(source) })?;
    Ok(bytes)
}

pub(crate) fn decode<T: Table>(bytes: &[u8]) -> Result<T::Row, DbError> {
    decode_row(bytes).map_err(|source| DbError::invalid_row(T::NAME, source))
}

fn decode_row<R: Row>(bytes: &[u8]) -> Result<R, InvalidRow> {
    let (&version, json) = bytes.split_first().ok_or(InvalidRow::Empty)?;
    match version {
        v if v == R::VERSION => Ok(serde_json::from_slice(json)?),
        v if v < R::VERSION => R::decode_old(v, json),
        found => Err(InvalidRow::Version { found, known: R::VERSION }),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Person {
        name: String,
        age_years: u32,
    }

    impl Row for Person {
        const VERSION: u8 = 2;

        fn decode_old(version: u8, json: &[u8]) -> Result<Self, InvalidRow> {
            match version {
                1 => Ok(Person { name: serde_json::from_slice(json)?, age_years: 0 }),
                found => Err(InvalidRow::Version { found, known: Self::VERSION }),
            }
        }
    }

    struct People;

    impl Table for People {
        const NAME: &'static str = "people";
        type Key = String;
        type Row = Person;
    }

    #[test]
    fn rows_of_this_and_of_older_versions_decode() {
        let person = Person { name: "Ada".into(), age_years: 36 };
        let bytes = encode::<People>(&person).unwrap();
        assert_eq!(bytes, b"\x02{\"name\":\"Ada\",\"age_years\":36}");
        assert_eq!(decode_row::<Person>(&bytes).unwrap(), person);
        assert_eq!(
            decode_row::<Person>(b"\x01\"Ada\"").unwrap(),
            Person { name: "Ada".into(), age_years: 0 }
        );
    }

    #[test]
    fn what_is_no_row_is_named() {
        assert!(matches!(decode_row::<Person>(b""), Err(InvalidRow::Empty)));
        assert!(matches!(decode_row::<Person>(b"\0{}"), Err(InvalidRow::Version { found: 0, known: 2 })));
        assert!(matches!(decode_row::<Person>(b"\x03{}"), Err(InvalidRow::Version { found: 3, known: 2 })));
        assert!(matches!(decode_row::<Person>(b"\x02{"), Err(InvalidRow::Json(_))));
    }
}
