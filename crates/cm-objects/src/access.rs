//! Whose an object is, and to whom its owner gave it: facts for decisions, and how they change.

use cm_db::ReadTx;
use cm_policy::sharing::Acl;
use cm_policy::{Basis, Grant, ObjectFacts, Permit};
use cm_types::{BucketName, ObjectKey, RequestId, TenantId};

use crate::objects::require_object;
use crate::rows::{ObjectRow, VersionRow};
use crate::trail::{self, Origin};
use crate::versions::{self, Found, Name, VersionName};
use crate::{ObjectError, Objects};

fn facts_of(row: &ObjectRow) -> ObjectFacts {
    ObjectFacts { owner: row.writer.clone(), acl: row.acl.clone(), tags: row.tags.clone() }
}

/// The object that is meant, if it is one as was judged when the permit was decided on.
///
/// # Errors
/// Those of [`versions::look`]. What came where there was nothing is not found: the decision came first. What was replaced by
/// something given to others is [`ObjectError::Busy`]: it is to be judged again.
pub(crate) fn look_judged(
    tx: &ReadTx<'_>,
    name: &Name,
    version: Option<VersionName>,
    basis: Option<&Basis>,
) -> Result<ObjectRow, ObjectError> {
    let row = versions::look(tx, name, version)?;
    match basis {
        Some(Basis::Absent) => Err(ObjectError::not_found(&name.1, &name.2)),
        basis if was_judged(basis, &row) => Ok(row),
        _ => Err(ObjectError::Busy),
    }
}

/// Whether a decision on this basis holds for the object that was found.
pub(crate) fn was_judged(basis: Option<&Basis>, found: &ObjectRow) -> bool {
    match basis {
        None => true,
        Some(Basis::Absent) => false,
        Some(Basis::Facts(judged)) => **judged == facts_of(found),
    }
}

impl Objects {
    /// What a decision about an object rests on; `None` if there is no such object or version. To be asked before a decision,
    /// hence without a permit: whoever asks must tell nobody.
    ///
    /// # Errors
    /// Those of the database.
    pub fn access(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
    ) -> Result<Option<ObjectFacts>, ObjectError> {
        let name = (tenant.clone(), bucket.clone(), key.clone());
        match versions::look(tx, &name, version) {
            Ok(row) => Ok(Some(facts_of(&row))),
            Err(
                ObjectError::NotFound { .. }
                | ObjectError::VersionNotFound { .. }
                | ObjectError::IsMarker { .. },
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes the grants of an object, or of one of its versions.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`], [`ObjectError::VersionNotFound`], [`ObjectError::IsMarker`],
    /// [`ObjectError::NotPermitted`]; [`ObjectError::Busy`] if it has been given to others since that was decided.
    pub async fn set_acl(
        &self,
        permit: &Permit<Grant>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
        acl: Acl,
        request: Option<RequestId>,
    ) -> Result<(), ObjectError> {
        require_object(permit, bucket, key)?;
        let origin = Origin { tenant: permit.tenant().clone(), actor: permit.principal().cloned(), request };
        let (engine, basis) = (self.0.clone(), permit.basis().cloned());
        let (bucket, key) = (bucket.clone(), key.clone());
        self.0
            .write(move |tx| {
                let name = (origin.tenant.clone(), bucket.clone(), key.clone());
                let mut row = look_judged(tx, &name, version, basis.as_ref())?;
                row.acl = Some(acl);
                let found = match versions::by_name(tx, &name, row.name())? {
                    Some(Found::Among(order, _)) => {
                        Found::Among(order, VersionRow::Object(Box::new(row.clone())))
                    }
                    Some(Found::Current(_)) | None => Found::Current(Box::new(row.clone())),
                };
                versions::store(tx, &name, found)?;
                trail::record(&engine.events, tx, &origin, "object.shared", (&bucket, &key), &row)
            })
            .await
    }
}
