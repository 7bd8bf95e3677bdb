//! Whose an object is, and to whom its owner gave it: facts for decisions, and how they change.

use std::collections::BTreeMap;

use cm_db::ReadTx;
use cm_policy::sharing::Acl;
use cm_policy::{Grant, Permit};
use cm_types::{BucketName, ObjectKey, PrincipalId, RequestId, TenantId};

use crate::objects::require_object;
use crate::rows::{ObjectRow, VersionRow};
use crate::trail::{self, Origin};
use crate::versions::{self, Found, VersionName};
use crate::{ObjectError, Objects};

/// What decisions about one version of an object rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectAccess {
    /// Who wrote it, and owns it where lists of grants count; `None` is the owner of the bucket.
    pub owner: Option<PrincipalId>,
    /// Its grants; `None` is private.
    pub acl: Option<Acl>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl ObjectAccess {
    fn of(row: &ObjectRow) -> Self {
        Self { owner: row.writer.clone(), acl: row.acl.clone(), tags: row.tags.clone() }
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
    ) -> Result<Option<ObjectAccess>, ObjectError> {
        let name = (tenant.clone(), bucket.clone(), key.clone());
        match versions::look(tx, &name, version) {
            Ok(row) => Ok(Some(ObjectAccess::of(&row))),
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
    /// [`ObjectError::NotPermitted`].
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
        let (engine, bucket, key) = (self.0.clone(), bucket.clone(), key.clone());
        self.0
            .write(move |tx| {
                let name = (origin.tenant.clone(), bucket.clone(), key.clone());
                let mut row = versions::look(tx, &name, version)?;
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
