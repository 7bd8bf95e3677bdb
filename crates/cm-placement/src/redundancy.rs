//! How many peers hold something, and how many of them may be lost.

use crate::RedundancyError;

/// Most holders of one chunk.
pub const WIDTH_MAX: usize = 64;

/// How bytes are kept so that they survive the loss of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Redundancy(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Replicas(u8),
    Erasure { data: u8, parity: u8 },
}

impl Redundancy {
    /// So many whole copies, 1 to [`WIDTH_MAX`].
    pub fn replicas(count: usize) -> Result<Self, RedundancyError> {
        Ok(Self(Kind::Replicas(width(count, count)?)))
    }

    /// Erasure coding: `data` shards carry the bytes, any `data` of all `data + parity` shards are enough to read
    /// them. Both at least 1, together at most [`WIDTH_MAX`].
    pub fn erasure(data: usize, parity: usize) -> Result<Self, RedundancyError> {
        let all = data.saturating_add(parity);
        Ok(Self(Kind::Erasure { data: width(data, all)?, parity: width(parity, all)? }))
    }

    /// How many peers hold a part.
    pub fn width(self) -> usize {
        match self.0 {
            Kind::Replicas(count) => count.into(),
            Kind::Erasure { data, parity } => usize::from(data) + usize::from(parity),
        }
    }

    /// How many parts are needed to read.
    pub fn needed(self) -> usize {
        match self.0 {
            Kind::Replicas(_) => 1,
            Kind::Erasure { data, .. } => data.into(),
        }
    }

    /// How many holders may be lost without loss of data.
    pub fn tolerates(self) -> usize {
        self.width() - self.needed()
    }

    /// The numbers of data and parity shards; `None` for whole copies.
    pub fn shards(self) -> Option<(usize, usize)> {
        match self.0 {
            Kind::Replicas(_) => None,
            Kind::Erasure { data, parity } => Some((data.into(), parity.into())),
        }
    }

    /// How many bytes one holder keeps of so many.
    pub fn bytes_per_holder(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.needed() as u64)
    }
}

fn width(part: usize, all: usize) -> Result<u8, RedundancyError> {
    match u8::try_from(part) {
        Ok(0) => Err(RedundancyError::Nothing),
        Ok(part) if all <= WIDTH_MAX => Ok(part),
        _ => Err(RedundancyError::TooWide(all)),
    }
}

impl std::fmt::Display for Redundancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Kind::Replicas(count) => write!(f, "{count} replicas"),
            Kind::Erasure { data, parity } => write!(f, "{data}+{parity}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_lost_follows_from_what_is_kept() {
        let replicas = Redundancy::replicas(3).unwrap();
        assert_eq!((replicas.width(), replicas.needed(), replicas.tolerates()), (3, 1, 2));
        let coded = Redundancy::erasure(3, 2).unwrap();
        assert_eq!((coded.width(), coded.needed(), coded.tolerates()), (5, 3, 2));
        assert_eq!(coded.bytes_per_holder(10), 4);
        assert_eq!((replicas.shards(), coded.shards()), (None, Some((3, 2))));
        assert_eq!(coded.to_string(), "3+2");
        assert_eq!(Redundancy::replicas(0), Err(RedundancyError::Nothing));
        assert_eq!(Redundancy::erasure(3, 0), Err(RedundancyError::Nothing));
        assert_eq!(Redundancy::erasure(63, 2), Err(RedundancyError::TooWide(65)));
        assert_eq!(Redundancy::replicas(usize::MAX), Err(RedundancyError::TooWide(usize::MAX)));
    }
}
