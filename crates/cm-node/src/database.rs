//! What is done to the catalogue's database as a whole: bringing it to this program's version, backups.
//!
//! A backup holds the tables. The keys and the contents of objects are files of the data directory and are kept with the
//! means for files.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cm_db::{BackupSummary, Db, DbError, Versions};
use cm_kernel::kernel::DATABASE_FILE;
use cm_kernel::{Database, schema};

use crate::cluster;
use crate::data_dir::DataDir;
use crate::{Config, NodeError};

/// Brings the data to this program's version, as starting a node does; with `finish` also says that no older program
/// will work with it again. The versions before and after.
///
/// A database server's nodes may go on meanwhile: older ones until the upgrade is finished. A data directory must not be
/// in use.
pub async fn migrate(config: &Config, finish: bool) -> Result<(Versions, Versions), NodeError> {
    let _held = hold(config)?;
    let before = match inspect(config).await {
        Ok(db) => {
            let versions = db.versions().await?;
            db.close().await?;
            versions
        }
        Err(NodeError::NoData(_)) => Versions::default(),
        Err(error) => return Err(error),
    };
    let db = open(config).await?;
    let after = if finish { db.finish_upgrade().await? } else { db.versions().await? };
    db.close().await?;
    Ok((before, after))
}

/// Writes all tables, as of one moment, to a file that only its owner may read and that is there whole or not at all.
/// Nodes may go on meanwhile.
pub async fn backup(config: &Config, target: &Path) -> Result<BackupSummary, NodeError> {
    let failed = |source| NodeError::Backup { path: target.to_owned(), source };
    let db = inspect(config).await?;
    if db.versions().await?.data == 0 {
        return Err(NodeError::NoData(config.data_dir.clone()));
    }
    let name = target.file_name().ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
    let temporary = target.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    // Nobody else's file, nor where a link points: the folder may be one that others write to.
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary);
    let file = file.map_err(|source| NodeError::Backup { path: temporary.clone(), source })?;
    let mut unfinished = Unfinished(Some(temporary.clone()));
    let (file, summary) = db.export(file).await?;
    db.close().await?;
    let finish = || -> std::io::Result<()> {
        file.sync_all()?;
        std::fs::rename(&temporary, target)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    finish().map_err(failed)?;
    unfinished.0 = None;
    Ok(summary)
}

/// Fills an empty database from a backup, whichever database that is of. Nothing is changed unless the backup is whole.
///
/// The nodes that then serve the catalogue need the keys of those that wrote it.
pub async fn restore(config: &Config, source: &Path) -> Result<BackupSummary, NodeError> {
    let file =
        File::open(source).map_err(|error| NodeError::Backup { path: source.to_owned(), source: error })?;
    let _held = hold(config)?;
    let made = file_of(config).filter(|path| !path.exists());
    let db = open(config).await?;
    let restored = db.import(file).await;
    db.close().await?;
    if restored.is_err()
        && let Some(path) = made
    {
        // An empty database would be taken for a node's.
        let _ = std::fs::remove_file(path);
    }
    Ok(restored?)
}

/// Removes a file that did not become what it should.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Keeps nodes out of a data directory that has the database in it.
fn hold(config: &Config) -> Result<Option<DataDir>, NodeError> {
    match config.database {
        Database::InDataDir if cluster::is_member(&config.data_dir) => {
            Err(NodeError::NetworkRuns(config.data_dir.clone()))
        }
        Database::InDataDir => DataDir::hold(&config.data_dir).map(Some),
        Database::Postgres(_) | Database::Opened(_) => Ok(None),
    }
}

fn file_of(config: &Config) -> Option<PathBuf> {
    match config.database {
        Database::InDataDir => Some(config.data_dir.join(DATABASE_FILE)),
        Database::Postgres(_) | Database::Opened(_) => None,
    }
}

/// Opens the database as a node does.
pub(crate) async fn open(config: &Config) -> Result<Db, NodeError> {
    let (database, path) = (config.database.clone(), config.data_dir.join(DATABASE_FILE));
    blocking(move || match database {
        Database::InDataDir => cm_db::open_sqlite(&path, &schema()),
        Database::Postgres(config) => cm_db::open_postgres(&config, &schema()),
        Database::Opened(db) => Ok(db),
    })
    .await
}

/// Opens the database as it is.
async fn inspect(config: &Config) -> Result<Db, NodeError> {
    let (database, path) = (config.database.clone(), config.data_dir.join(DATABASE_FILE));
    if matches!(database, Database::InDataDir) && !path.exists() {
        return Err(NodeError::NoData(config.data_dir.clone()));
    }
    blocking(move || match database {
        Database::InDataDir => cm_db::inspect_sqlite(&path),
        Database::Postgres(config) => cm_db::inspect_postgres(&config),
        Database::Opened(db) => Ok(db),
    })
    .await
}

async fn blocking(open: impl FnOnce() -> Result<Db, DbError> + Send + 'static) -> Result<Db, NodeError> {
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(opened.map_err(|_| DbError::Panicked)??)
}

#[cfg(test)]
mod tests;
