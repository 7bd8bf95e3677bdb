//! Which tables there are: each of the kernel's parts owns some.

use cm_db::Schema;

use crate::{applications, challenges, deployments, descriptions, idempotency, leases, network};

/// The version of the data. Raise it with every migration, and with everything that older programs would take for something else; that must
/// wait until none of them may open the data any more ([`cm_db::Versions`]).
const VERSION: u32 = 9;
/// Since when small objects may be rows.
pub(crate) const OBJECT_ROWS: u32 = 7;
/// Since when chunks may be cut by content, or compressed.
pub(crate) const PACKED_CHUNKS: u32 = 9;

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
