//! The small values in policies.

use cm_types::Timestamp;
use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExecutionStrategy {
    /// By an interpreter: slower, and nothing in the instance is ever writable and executable.
    Interpretation,
    /// Compiled to machine code.
    #[serde(rename = "JIT")]
    Jit,
}

impl ExecutionStrategy {
    /// The name in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interpretation => "Interpretation",
            Self::Jit => "JIT",
        }
    }
}

/// The cipher suites that policies may name. Instances speak TLS 1.3 whichever is named; the TLS 1.2 name
/// of the first published policies is read as the suite of TLS 1.3 with the same cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ciphersuite {
    /// The name in the first published policies.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheEcdsaChacha20Poly1305,
    /// The name in later ones.
    #[serde(rename = "TLS1_3_CHACHA20_POLY1305_SHA256")]
    Chacha20Poly1305,
    /// AES with keys of 256 bits, in the same spelling.
    #[serde(rename = "TLS1_3_AES_256_GCM_SHA384")]
    Aes256Gcm,
    /// AES with keys of 128 bits, in the same spelling.
    #[serde(rename = "TLS1_3_AES_128_GCM_SHA256")]
    Aes128Gcm,
}

/// When the instance's certificate ends, in UTC and to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "ExpiryFields", into = "ExpiryFields")]
pub struct Expiry(OffsetDateTime);

/// The fields form no date and time, or one before 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date and time")]
pub struct InvalidExpiry;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpiryFields {
    day: u8,
    hour: u8,
    minute: u8,
    month: u8,
    year: u16,
}

impl Expiry {
    /// The minute in which this moment lies.
    pub fn from_timestamp(moment: Timestamp) -> Self {
        let minute = moment.as_secs() - moment.as_secs().rem_euclid(60);
        Self(OffsetDateTime::from_unix_timestamp(minute).expect("a timestamp lies within years 1970 to 9999"))
    }

    /// The moment at which the minute begins.
    pub fn to_timestamp(self) -> Timestamp {
        Timestamp::from_micros(self.0.unix_timestamp().saturating_mul(1_000_000))
    }
}

impl TryFrom<ExpiryFields> for Expiry {
    type Error = InvalidExpiry;

    fn try_from(fields: ExpiryFields) -> Result<Self, InvalidExpiry> {
        let month = Month::try_from(fields.month).map_err(|_| InvalidExpiry)?;
        let date = Date::from_calendar_date(fields.year.into(), month, fields.day);
        let time = Time::from_hms(fields.hour, fields.minute, 0);
        match (date, time) {
            (Ok(date), Ok(time)) if (1970..=9999).contains(&date.year()) => {
                Ok(Self(PrimitiveDateTime::new(date, time).assume_utc()))
            }
            _ => Err(InvalidExpiry),
        }
    }
}

impl From<Expiry> for ExpiryFields {
    fn from(expiry: Expiry) -> ExpiryFields {
        let Expiry(at) = expiry;
        ExpiryFields {
            day: at.day(),
            hour: at.hour(),
            minute: at.minute(),
            month: at.month().into(),
            year: u16::try_from(at.year()).expect("the years 1970 to 9999 fit"),
        }
    }
}
