//! Settings of the database.

use cm_db::PostgresConfig;
use cm_kernel::Database;

use super::{ConfigError, DatabaseToml, wrong};

pub(super) fn settings(written: DatabaseToml) -> Result<Database, ConfigError> {
    let DatabaseToml { url, root_certificate } = written;
    match url {
        // An empty address is none, as an empty variable is.
        Some(url) if !url.0.trim().is_empty() => {
            let config = PostgresConfig::parse(url.0.trim(), root_certificate.as_deref())
                .map_err(|reason| wrong("database.url", reason))?;
            Ok(Database::Postgres(Box::new(config)))
        }
        _ if root_certificate.is_some() => {
            Err(wrong("database.root_certificate", "is for a server, which `database.url` names"))
        }
        _ => Ok(Database::InDataDir),
    }
}
