//! The settings of the engine.

use std::time::Duration;

use crate::network::SCRUB_EVERY;

/// How the engine behaves. Every combination is legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The largest object, in bytes. 5 TiB unless told, the limit of S3, which clients expect.
    pub object_bytes_max: u64,
    /// Up to how many bytes, as they are stored, a version is kept as a row instead of a chunk; at most
    /// [`INLINE_BYTES_CEILING`](crate::INLINE_BYTES_CEILING) count. None with 0.
    pub inline_bytes_max: usize,
    /// The version of the data of which all programs read such rows: none is written as long as older ones may work with the data.
    pub inline_from: u32,
    /// The version of the data of which all programs read manifests of chunks that are cut by content or compressed ([`Packing`](crate::Packing)).
    pub packing_from: u32,
    /// How many puts may run at once, half of them by one principal and three quarters in one tenant; a further one is told to come back. Each
    /// needs up to 6 MiB.
    pub concurrent_puts_max: usize,
    /// The smallest part of an upload in parts, but for the last one, in bytes. 5 MiB unless told, as with S3.
    pub part_bytes_min: u64,
    /// How long an upload in parts may stay unfinished, until it is taken back.
    pub upload_lifetime: Duration,
    /// How long a chunk that nothing names is kept before its file is deleted.
    pub garbage_grace: Duration,
    /// How often the collector runs at least; `None` leaves collecting to calls of
    /// [`Objects::collect_garbage`](crate::Objects::collect_garbage).
    pub collect_every: Option<Duration>,
    /// How often the rules by which objects end are followed; `None` leaves that to calls of
    /// [`Objects::expire`](crate::Objects::expire).
    pub expire_every: Option<Duration>,
    /// How often a node without a storage network reads all that it has; `None` leaves that to calls of
    /// [`Objects::verify_all`](crate::Objects::verify_all). Peers of a network do so by their pace.
    pub scrub_every: Option<Duration>,
    /// How long a day of these rules is. 24 hours, but for tests.
    pub lifecycle_day: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            object_bytes_max: 5 << 40,
            inline_bytes_max: 8 << 10,
            inline_from: 0,
            packing_from: 0,
            concurrent_puts_max: 64,
            part_bytes_min: 5 << 20,
            upload_lifetime: Duration::from_secs(7 * 24 * 3600),
            garbage_grace: Duration::from_secs(600),
            collect_every: Some(Duration::from_secs(300)),
            expire_every: Some(Duration::from_secs(3600)),
            scrub_every: Some(SCRUB_EVERY),
            lifecycle_day: Duration::from_secs(24 * 3600),
        }
    }
}
