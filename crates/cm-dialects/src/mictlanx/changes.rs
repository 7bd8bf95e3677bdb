//! Deleting, and saying something else of what is there.

use cm_door::{object_refusal, refusal};
use cm_http::{Failure, FailureClass};
use cm_kernel::objects::{DeleteObject, ObjectError};
use cm_kernel::policy::{Delete, Update};
use cm_kernel::{ErrorClass, OpContext};

use super::MictlanX;
use super::metadata::{Announcement, Metadata, Said, absent};
use super::shape::typed;
use super::writing::place;

impl MictlanX {
    /// Deletes an object, and answers whether there was one that the actor may know of.
    pub(super) async fn delete(&self, op: &OpContext, bucket_id: &str, key: &str) -> Result<bool, Failure> {
        let Some((bucket, key)) = place(bucket_id, key) else { return Ok(false) };
        let permit = match self.kernel().look_up_object::<Delete>(op, &bucket, &key).await {
            Ok(permit) => permit,
            Err(error) if error.class() == ErrorClass::NotFound => return Ok(false),
            Err(error) => return Err(refusal(error)),
        };
        let deletion = DeleteObject { request: Some(op.request.clone()), ..DeleteObject::default() };
        let info = match self.kernel().objects().delete(&permit, &bucket, &key, deletion).await {
            Ok(info) => info,
            Err(ObjectError::NotFound { .. } | ObjectError::BucketNotFound { .. }) => return Ok(false),
            Err(error) => return Err(object_refusal(error)),
        };
        self.0.cache.forget(&(permit.tenant().clone(), bucket.clone(), key.clone()));
        self.kernel().forget_description(&permit, (&bucket, &key), info.sha256).await.map_err(refusal)?;
        Ok(true)
    }

    /// Deletes the pieces of a ball, and answers how many there were.
    pub(super) async fn delete_ball(
        &self,
        op: &OpContext,
        bucket_id: &str,
        ball: &str,
    ) -> Result<u64, Failure> {
        let mut deleted = 0;
        for (info, _) in self.pieces(op, bucket_id, ball).await? {
            deleted += u64::from(self.delete(op, bucket_id, info.key.as_str()).await?);
        }
        Ok(deleted)
    }

    /// Marks an object as disabled. Its bytes stay.
    pub(super) async fn disable(&self, op: &OpContext, bucket_id: &str, key: &str) -> Result<(), Failure> {
        self.describe(op, bucket_id, key, None, |said| said.is_disabled = true).await
    }

    /// Says what the announcement says of an object whose bytes are what it says.
    pub(super) async fn redescribe(
        &self,
        op: &OpContext,
        bucket_id: &str,
        key: &str,
        announcement: Announcement,
    ) -> Result<(), Failure> {
        announcement.check()?;
        let said = announcement.said(bucket_id);
        self.describe(op, bucket_id, key, Some(announcement), |kept| *kept = said).await
    }

    async fn describe(
        &self,
        op: &OpContext,
        bucket_id: &str,
        name: &str,
        announcement: Option<Announcement>,
        change: impl FnOnce(&mut Said),
    ) -> Result<(), Failure> {
        let (bucket, key) = place(bucket_id, name).ok_or_else(|| absent(bucket_id, name))?;
        let permit = self.kernel().look_up_object::<Update>(op, &bucket, &key).await.map_err(refusal)?;
        let current = self.current(op, &bucket, &key).await?;
        let (info, readable) = current.ok_or_else(|| absent(bucket_id, name))?;
        if let Some(announced) = announcement
            && (announced.size != info.size || announced.checksum != info.sha256.to_string())
        {
            let message =
                "size and checksum are those of the data; send other data with the header `Update: 1`";
            return Err(typed(FailureClass::Conflict, 409, 400, message));
        }
        let text = self.kernel().object_description(&readable, (&bucket, &key), info.sha256).await;
        let mut said = Metadata::of(bucket_id, &info, text.map_err(refusal)?.as_deref()).said();
        change(&mut said);
        let description = said.description(&key, info.sha256)?;
        let described = self.kernel().describe_object(op, &permit, (&bucket, &key), info.sha256, description);
        described.await.map_err(refusal)
    }
}
