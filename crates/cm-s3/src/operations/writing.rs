//! Writing objects, and removing them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_kernel::objects::{Condition, DeleteObject, NewObject, ObjectError, ObjectInfo, PutAction, Tagging};
use cm_kernel::policy::{Create, Delete, Update};
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::{StreamExt, stream};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::conditions::write_conditions;
use super::reading::require_current;
use super::refusals::{refuse, refuse_for_new};
use super::{Store, bucket_name, object_key};
use crate::caller::Caller;
use crate::content::{Announced, checked, invalid, received};
use crate::describe::{etag, said, summed};
use crate::failure;
use crate::framing::Trailers;

/// Most objects that one request may remove: the limit of S3.
const REMOVED_MAX: usize = 1000;
/// How many of them are removed at a time.
const REMOVED_AT_A_TIME: usize = 8;

impl Store {
    pub(super) async fn write(
        &self,
        caller: Caller,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let conditions =
            write_conditions(request.input.if_match.clone(), request.input.if_none_match.clone());
        // Whoever may only create must say that nothing is to be replaced, as with the native API.
        let info = match conditions.contains(&Condition::Absent) {
            true => self.write_as::<Create>(caller, request, conditions).await?,
            false => self.write_as::<Update>(caller, request, conditions).await?,
        };
        let mut output = PutObjectOutput { e_tag: Some(etag(&info)), ..PutObjectOutput::default() };
        summed!(&mut output, &info.headers);
        Ok(S3Response::new(output))
    }

    async fn write_as<A: PutAction>(
        &self,
        caller: Caller,
        mut request: S3Request<PutObjectInput>,
        conditions: Vec<Condition>,
    ) -> S3Result<ObjectInfo> {
        refuse_for_new!(request.input);
        refuse!(request.input; write_offset_bytes);
        let announced = Announced::of(
            &request.headers,
            request.input.content_length,
            (request.trailing_headers.clone(), request.extensions.get::<Trailers>().cloned()),
        )?;
        let input = &mut request.input;
        let (bucket, key) = (bucket_name(input.bucket.clone())?, object_key(input.key.clone())?);
        let permit =
            self.kernel.look_up_object::<A>(&caller, &bucket, &key).await.map_err(failure::kernel)?;
        let new = NewObject {
            content_type: input.content_type.take(),
            metadata: input.metadata.take().unwrap_or_default().into_iter().collect(),
            headers: said!(input),
            late_headers: announced.late_headers(),
            tagging: Tagging::Md5,
            expected_sha256: announced_sha256(&request.headers),
            expected_md5: md5(input.content_md5.as_deref())?,
            request: Some(caller.request.clone()),
            ..NewObject::default()
        };
        let still_permitted = self.still_permitted::<A>(caller, bucket.clone(), key.clone());
        let body = checked(received(input.body.take()), announced, still_permitted);
        let objects = self.kernel.objects();
        objects.put_if(&permit, &bucket, &key, new, conditions, body).await.map_err(failure::object)
    }

    /// Whether who asked may still do it when the body has ended.
    pub(super) fn still_permitted<A: cm_kernel::policy::ActionKind>(
        &self,
        caller: Caller,
        bucket: BucketName,
        key: ObjectKey,
    ) -> impl Future<Output = S3Result<()>> + Send + 'static {
        let kernel = self.kernel.clone();
        async move {
            let caller = caller.again(&kernel).await?;
            kernel.look_up_object::<A>(&caller, &bucket, &key).await.map(drop).map_err(failure::kernel)
        }
    }

    pub(super) async fn remove(
        &self,
        caller: Caller,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        refuse!(
            input; expected_bucket_owner, mfa, bypass_governance_retention, if_match_size,
            if_match_last_modified_time
        );
        let identifier = ObjectIdentifier {
            key: input.key,
            version_id: input.version_id,
            e_tag: None,
            last_modified_time: None,
            size: None,
        };
        let conditions = write_conditions(input.if_match, None);
        self.remove_one(&caller, &bucket_name(input.bucket)?, identifier, conditions).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) async fn remove_several(
        &self,
        caller: Caller,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        refuse!(input; expected_bucket_owner, mfa, bypass_governance_retention);
        let s3s::dto::Delete { objects, quiet } = input.delete;
        if objects.is_empty() || objects.len() > REMOVED_MAX {
            return Err(S3Error::with_message(
                S3ErrorCode::MalformedXML,
                "1 to 1000 objects are removed at once",
            ));
        }
        let bucket = bucket_name(input.bucket)?;
        let (caller, bucket) = (&caller, &bucket);
        let removals = stream::iter(objects).map(|object| async move {
            let key = object.key.clone();
            let conditions = object.e_tag.clone().map(|tag| Condition::OneOf(vec![tag.into_value()]));
            let removed = self.remove_one(caller, bucket, object, conditions.into_iter().collect()).await;
            (key, removed)
        });
        let mut removals = removals.buffered(REMOVED_AT_A_TIME);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        while let Some((key, removed)) = removals.next().await {
            match removed {
                Ok(()) if quiet == Some(true) => {}
                Ok(()) => deleted.push(DeletedObject { key: Some(key), ..DeletedObject::default() }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(key),
                    message: error.message().map(str::to_owned),
                    version_id: None,
                }),
            }
        }
        let output =
            DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() };
        Ok(S3Response::new(output))
    }

    /// An object that is gone already was removed too.
    async fn remove_one(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        object: ObjectIdentifier,
        conditions: Vec<Condition>,
    ) -> S3Result<()> {
        refuse!(object; last_modified_time, size);
        require_current(object.version_id.as_deref())?;
        let key = object_key(object.key)?;
        let permit =
            self.kernel.look_up_object::<Delete>(caller, bucket, &key).await.map_err(failure::kernel)?;
        let deletion = DeleteObject { if_match: None, request: Some(caller.request.clone()) };
        match self.kernel.objects().delete_if(&permit, bucket, &key, deletion, conditions).await {
            Ok(_) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(error) => Err(failure::object(error)),
        }
    }
}

/// The digest that a signature covers; the adapter compares it too where it checks signatures.
pub(super) fn announced_sha256(headers: &axum::http::HeaderMap) -> Option<Sha256Digest> {
    headers.get("x-amz-content-sha256")?.to_str().ok()?.parse().ok()
}

/// What `Content-MD5` says.
pub(super) fn md5(header: Option<&str>) -> S3Result<Option<[u8; 16]>> {
    let Some(text) = header else { return Ok(None) };
    let digest = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    match digest {
        Some(digest) => Ok(Some(digest)),
        None => Err(S3Error::with_message(S3ErrorCode::InvalidDigest, "`Content-MD5` is no MD5")),
    }
}

/// The part number of a request.
pub(super) fn part_number(number: i32) -> S3Result<u16> {
    u16::try_from(number).map_err(|_| invalid("part numbers are 1 to 10000"))
}
