//! Keys and values of the rows that the SQL alone reads and writes.

use std::collections::HashMap;

use cm_db::{Key, KeyPrefix};
use cm_types::{PrincipalId, ResourceId, ResourceKind, TenantId};

use crate::place::role_id;
use crate::statements::Row;
use cm_e2e::measure::Outcome;

/// Beyond the places and numbers of everything that was filled in.
const FIRST_NUMBER: u64 = 1 << 40;
/// The tables that are written.
const WRITTEN: [&str; 7] = [
    "catalog_records",
    "catalog_by_name",
    "catalog_by_creation",
    "catalog_by_owner",
    "catalog_sequence",
    "events",
    "event_head",
];

/// Keys and values as the node would write them.
pub(crate) struct Rows {
    tenant: TenantId,
    owner: PrincipalId,
    api_key: String,
    values: HashMap<&'static str, Vec<u8>>,
    /// What the roles in the order of creation begin and end with.
    pub(crate) range: (Vec<u8>, Vec<u8>),
}

impl Rows {
    /// `last` reads the value of the last row of a table.
    pub(crate) fn new(token: &str, mut last: impl FnMut(&'static str) -> Outcome<Vec<u8>>) -> Outcome<Rows> {
        let mut values = HashMap::new();
        for table in WRITTEN {
            values.insert(table, last(table)?);
        }
        let tenant = TenantId::default_tenant();
        let start = KeyPrefix::new().part(&tenant).part(&ResourceKind::Role).as_ref().to_vec();
        let mut end = start.clone();
        // No key part ends with the highest byte.
        end.last_mut().map(|last| *last += 1).ok_or("a prefix is not empty")?;
        Ok(Rows {
            tenant,
            owner: PrincipalId::parse("admin")?,
            api_key: token.split('_').nth(1).ok_or("the administrator's token is no API key")?.to_owned(),
            values,
            range: (start, end),
        })
    }

    /// The key of a row, for a request about `record` whose place among all requests is `number`.
    pub(crate) fn key(&self, table: &str, row: Row, record: u64, number: u64) -> Outcome<Vec<u8>> {
        let role = |id: String| {
            Outcome::Ok((self.tenant.clone(), ResourceKind::Role, ResourceId::parse(id)?).encode())
        };
        let place = FIRST_NUMBER + number;
        Ok(match row {
            Row::ApiKey => self.api_key.encode(),
            Row::Administrator => (self.tenant.clone(), self.owner.clone()).encode(),
            Row::AdministratorRole => role("admin".to_owned())?,
            Row::Record => role(role_id(record))?,
            Row::NewRecord => role(role_id(place))?,
            Row::Listed(n) => role(role_id(n))?,
            Row::Name => (self.tenant.clone(), ResourceKind::Role, format!("made-{place:016x}")).encode(),
            Row::Last => match table {
                "catalog_by_creation" => (self.tenant.clone(), ResourceKind::Role, place).encode(),
                "catalog_by_owner" => {
                    (self.tenant.clone(), self.owner.clone(), ResourceKind::Role, place).encode()
                }
                _ => place.encode(),
            },
            Row::Only => ().encode(),
        })
    }

    /// The value that a row of the table is written with.
    pub(crate) fn value(&self, table: &str) -> &[u8] {
        self.values.get(table).map_or(&[], Vec::as_slice)
    }
}
