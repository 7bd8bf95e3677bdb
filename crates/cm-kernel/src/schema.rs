//! Which tables there are: each of the kernel's parts owns some.

use cm_db::Schema;

use crate::{applications, challenges, deployments, descriptions, idempotency, leases, network};

/// The version of the data. Raise it with every migration, and whenever older binaries must not open the data any
/// more.
const VERSION: u32 = 8;

/// The tables of the whole kernel.
pub fn schema() -> Schema {
    Schema::new(VERSION)
        .with_tables(cm_events::TABLES)
        .with_tables(cm_identity::TABLES)
        .with_tables(cm_catalog::TABLES)
        .with_tables(cm_objects::TABLES)
        .with_tables(applications::TABLES)
        .with_tables(challenges::TABLES)
        .with_tables(deployments::TABLES)
        .with_tables(descriptions::TABLES)
        .with_tables(idempotency::TABLES)
        .with_tables(leases::TABLES)
        .with_tables(network::TABLES)
}
