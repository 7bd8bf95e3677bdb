//! Listing a bucket.

use cm_db::{Direction, KeyPrefix, KeyRange, ReadTx};
use cm_policy::{List, Permit};
use cm_types::{BucketName, Cursor, ObjectKey, PageLimit, TenantId};

use crate::objects::{info, require_bucket, require_bucket_exists};
use crate::tables::ObjectRows;
use crate::{ObjectError, ObjectInfo, Objects};

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that have this text after the prefix are folded into one common prefix, up to and with the
    /// first occurrence. An empty text is none.
    pub delimiter: Option<String>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Without a page before, begin after this text. What is folded is the common prefix, which then must come after it too.
    pub start_after: Option<String>,
    /// How many objects and common prefixes together.
    pub limit: PageLimit,
}

/// One page of a listing. Objects and common prefixes each are ordered by their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The objects.
    pub items: Vec<ObjectInfo>,
    /// What keys with the delimiter were folded into.
    pub common_prefixes: Vec<String>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

impl Objects {
    /// One page of the objects of a bucket, ordered by key. The permit is for listing objects or for that
    /// bucket.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::InvalidCursor`], [`ObjectError::NotPermitted`].
    pub async fn list(
        &self,
        permit: &Permit<List>,
        bucket: &BucketName,
        query: ListQuery,
    ) -> Result<Listing, ObjectError> {
        if !permit.covers_collection(permit.tenant(), cm_types::ResourceKind::Object) {
            require_bucket(permit, bucket)?;
        }
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.0.db.read(move |tx| scan(tx, tenant, bucket, query)).await
    }
}

/// The last thing on a page.
pub(crate) enum Position {
    Key(ObjectKey),
    /// A common prefix: the next page begins beyond everything under it.
    Under(String),
    /// Any text: the next page begins with the key that follows it.
    Text(String),
}

impl Position {
    /// No key that is meant comes after this.
    pub(crate) fn last_key(&self) -> Vec<u8> {
        match self {
            Self::Key(key) => key.as_str().as_bytes().to_vec(),
            // No UTF-8 contains FF, so this sorts after every key that begins with the prefix.
            Self::Under(prefix) => [prefix.as_bytes(), &[0xff]].concat(),
            Self::Text(text) => text.as_bytes().to_vec(),
        }
    }

    fn decode(cursor: &Cursor) -> Result<Self, ObjectError> {
        match cursor.0.split_at_checked(2) {
            Some(("k:", key)) => {
                Ok(Self::Key(ObjectKey::parse(key).map_err(|_| ObjectError::InvalidCursor)?))
            }
            Some(("p:", prefix)) => Ok(Self::Under(prefix.to_owned())),
            _ => Err(ObjectError::InvalidCursor),
        }
    }

    fn encode(&self) -> Cursor {
        Cursor(match self {
            Self::Key(key) => format!("k:{key}"),
            Self::Under(prefix) => format!("p:{prefix}"),
            // Never the end of a page.
            Self::Text(text) => format!("p:{text}"),
        })
    }

    fn skip(&self, range: KeyRange, tenant: &TenantId, bucket: &BucketName) -> KeyRange {
        range.after(&(tenant.clone(), bucket.clone(), self.last_key()))
    }
}

fn scan(
    tx: &ReadTx<'_>,
    tenant: TenantId,
    bucket: BucketName,
    query: ListQuery,
) -> Result<Listing, ObjectError> {
    require_bucket_exists(tx, &tenant, &bucket)?;
    let limit = query.limit.get();
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let prefix = KeyPrefix::new().part(&tenant).part(&bucket).text(&query.prefix);
    let mut range = KeyRange::prefix(&prefix);
    let mut last = match (&query.after, &query.start_after) {
        (Some(cursor), _) => Some(Position::decode(cursor)?),
        (None, Some(text)) => Some(start(text, &query.prefix, delimiter)),
        (None, None) => None,
    };
    let mut listing = Listing { items: Vec::new(), common_prefixes: Vec::new(), next: None };
    loop {
        if let Some(last) = &last {
            range = last.skip(range, &tenant, &bucket);
        }
        // One more than fits, to know whether there is a next page.
        let wanted = limit - listing.items.len() - listing.common_prefixes.len() + 1;
        let rows = tx.range::<ObjectRows>(range.clone(), Direction::Forward, wanted)?;
        let mut exhausted = rows.len() < wanted;
        for ((_, _, key), row) in rows {
            if listing.items.len() + listing.common_prefixes.len() == limit {
                listing.next = last.as_ref().map(Position::encode);
                return Ok(listing);
            }
            if let Some(common) = delimiter.and_then(|text| common_prefix(key.as_str(), &query.prefix, text))
            {
                listing.common_prefixes.push(common.clone());
                last = Some(Position::Under(common));
                exhausted = false;
                break;
            }
            last = Some(Position::Key(key.clone()));
            listing.items.push(info(bucket.clone(), key, row));
        }
        if exhausted {
            return Ok(listing);
        }
    }
}

/// A text within a common prefix, or that prefix itself, comes after it.
pub(crate) fn start(text: &str, prefix: &str, delimiter: Option<&str>) -> Position {
    match delimiter.and_then(|delimiter| common_prefix(text, prefix, delimiter)) {
        Some(common) => Position::Under(common),
        None => Position::Text(text.to_owned()),
    }
}

pub(crate) fn common_prefix(key: &str, prefix: &str, delimiter: &str) -> Option<String> {
    let rest = key.strip_prefix(prefix)?;
    let at = rest.find(delimiter)?;
    Some(format!("{prefix}{}", &rest[..at + delimiter.len()]))
}
