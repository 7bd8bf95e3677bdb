//! How full the disk under the objects is.

use cm_http::Failure;

use super::MictlanX;

/// Bytes of a file system, as far as the node may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) total: u64,
    pub(super) used: u64,
    pub(super) available: u64,
}

impl Disk {
    /// How full it is, from 0 to 1.
    pub(super) fn share(self) -> f64 {
        match self.total {
            0 => 0.0,
            total => self.used as f64 / total as f64,
        }
    }
}

impl MictlanX {
    pub(super) async fn disk(&self) -> Result<Disk, Failure> {
        let dir = self.settings().data_dir.clone();
        // A disk that hangs must not take the runtime with it.
        let asked = self.kernel().tasks().spawn_blocking("mictlanx-disk", move || rustix::fs::statvfs(&dir));
        let stat = asked.await.map_err(Failure::internal)?.map_err(Failure::internal)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        // Blocks that are kept for the superuser are neither used nor available.
        let used = bytes(stat.f_blocks.saturating_sub(stat.f_bfree));
        let available = bytes(stat.f_bavail);
        Ok(Disk { total: used.saturating_add(available), used, available })
    }
}
