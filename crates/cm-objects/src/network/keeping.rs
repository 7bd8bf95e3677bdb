//! How the chunks of a bucket are kept.

use std::fmt;
use std::str::FromStr;

use cm_crypto::digest::sha256;
use cm_placement::{Redundancy, RedundancyError};
use cm_policy::{Permit, Read, Update};
use cm_types::{BucketName, RequestId};
use serde::{Deserialize, Serialize};

use crate::objects::{bucket_row, require_bucket};
use crate::{ObjectError, Objects};

/// How many copies a bucket's chunks have, or into which shards they are cut. Written `3`, or `3+2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeping {
    /// So many whole copies on as many peers, 1 to 64.
    Replicas(u8),
    /// Shards, any `data` of which are enough to read; `data + parity` is 64 at most.
    Erasure {
        /// How many carry the bytes.
        data: u8,
        /// How many more there are.
        parity: u8,
    },
}

/// The text says no way of keeping chunks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepingError {
    /// It is neither a number nor a sum.
    #[error("`{0}` is no redundancy; write how many copies (3), or shards of data and parity (3+2)")]
    Form(String),
    /// The numbers do not make sense.
    #[error(transparent)]
    Numbers(#[from] RedundancyError),
}

impl Keeping {
    /// As placement counts it.
    ///
    /// # Errors
    /// When the numbers are out of range, which those that were parsed are not.
    pub fn redundancy(self) -> Result<Redundancy, RedundancyError> {
        match self {
            Self::Replicas(count) => Redundancy::replicas(count.into()),
            Self::Erasure { data, parity } => Redundancy::erasure(data.into(), parity.into()),
        }
    }
}

impl Objects {
    /// How the chunks of a bucket are kept in a storage network; `None` is as the network keeps whatever nothing else was said of.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn keeping(
        &self,
        permit: &Permit<Read>,
        bucket: &BucketName,
    ) -> Result<Option<Keeping>, ObjectError> {
        require_bucket(permit, bucket)?;
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.0.db.read(move |tx| Ok(bucket_row(tx, &tenant, &bucket)?.keeping)).await
    }

    /// Says how chunks of a bucket are kept that are written from now on. What is there stays as it is, and a chunk that
    /// several buckets have is kept as the safest of them wants it.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`], [`ObjectError::TooFewPeers`] unless each part
    /// can have a peer of its own.
    pub async fn set_keeping(
        &self,
        permit: &Permit<Update>,
        bucket: &BucketName,
        keeping: Option<Keeping>,
        request: Option<RequestId>,
    ) -> Result<(), ObjectError> {
        if let Some(keeping) = keeping {
            let peers = match self.0.network.get() {
                Some(network) => network.learn().await?.order(&sha256(&[])).len(),
                None => 1,
            };
            if keeping.redundancy().is_ok_and(|redundancy| redundancy.width() > peers) {
                return Err(ObjectError::TooFewPeers { redundancy: keeping.to_string(), peers });
            }
        }
        let told = ("redundancy", keeping.map(|keeping| keeping.to_string()).into());
        self.set_in_bucket(permit, bucket, told, request, move |row| row.keeping = keeping).await
    }
}

impl FromStr for Keeping {
    type Err = KeepingError;

    fn from_str(text: &str) -> Result<Self, KeepingError> {
        let number =
            |text: &str| text.parse::<u8>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        let form = || KeepingError::Form(text.chars().take(32).collect());
        let keeping = match text.split_once('+') {
            None => Self::Replicas(number(text).ok_or_else(form)?),
            Some((data, parity)) => Self::Erasure {
                data: number(data).ok_or_else(form)?,
                parity: number(parity).ok_or_else(form)?,
            },
        };
        keeping.redundancy()?;
        Ok(keeping)
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas(count) => count.fmt(f),
            Self::Erasure { data, parity } => write!(f, "{data}+{parity}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_refused() {
        for text in ["1", "3", "64", "3+2", "1+1", "10+4"] {
            assert_eq!(text.parse::<Keeping>().unwrap().to_string(), text);
        }
        for text in ["", "x", "+3", "3+", "-1", "3+2+1", "256", " 3"] {
            assert!(matches!(text.parse::<Keeping>(), Err(KeepingError::Form(_))), "{text:?}");
        }
        for text in ["0", "65", "3+0", "0+2", "63+2"] {
            assert!(matches!(text.parse::<Keeping>(), Err(KeepingError::Numbers(_))), "{text:?}");
        }
    }
}
