//! How far it is with reading everything that a directory of chunks has. It is stored, so that restarts do not put the reading off for ever.

use std::time::Duration;

use cm_db::Db;
use cm_types::Timestamp;

use crate::ObjectError;
use crate::network::tables::{ScrubRow, Swept, SweptRow};

/// How many of the 256 directories are read until it is noted how far that is; divides 256.
const STEP: u8 = 16;

/// Directories to be read.
pub(crate) struct Turn(ScrubRow);

impl Turn {
    /// What is to be read next for whoever reads, as a peer is called; `None` if everything was, not long ago.
    pub(crate) async fn due(
        db: &Db,
        who: String,
        now: Timestamp,
        every: Duration,
    ) -> Result<Option<Self>, ObjectError> {
        let row = db.look_up(move |tx| Ok::<_, ObjectError>(tx.get::<Swept>(&who)?)).await?;
        let first = anew(now);
        Ok(match row.and_then(|row| row.scrub) {
            None => Some(Self(first)),
            Some(scrub) if !scrub.is_done => Some(Self(scrub)),
            Some(scrub) if now.since(scrub.begun_at) >= every => Some(Self(first)),
            Some(_) => None,
        })
    }

    pub(crate) fn directories(&self) -> impl Iterator<Item = u8> + use<> {
        let first = self.0.directory;
        first..=first.saturating_add(STEP - 1)
    }

    /// Notes that they were read, unless it was asked meanwhile to read everything anew.
    pub(crate) async fn end(self, db: &Db, who: String) -> Result<(), ObjectError> {
        let next = match self.0.directory.checked_add(STEP) {
            Some(directory) => ScrubRow { directory, ..self.0 },
            None => ScrubRow { is_done: true, ..self.0 },
        };
        db.write(move |tx| {
            let row = tx.get::<Swept>(&who)?.unwrap_or_default();
            match row.scrub {
                Some(scrub) if !scrub.is_done && scrub != self.0 => Ok(()),
                _ => Ok::<_, ObjectError>(tx.put::<Swept>(&who, &SweptRow { scrub: Some(next), ..row })?),
            }
        })
        .await
    }
}

/// A round of reading that begins at the first directory.
pub(crate) fn anew(now: Timestamp) -> ScrubRow {
    ScrubRow { begun_at: now, directory: 0, is_done: false }
}

/// Waits for as long as so many bytes take at that pace.
pub(crate) async fn pause(bytes: u64, bytes_per_second: u64) {
    let seconds = bytes as f64 / bytes_per_second.max(1) as f64;
    tokio::time::sleep(Duration::from_secs_f64(seconds.min(60.0))).await;
}
