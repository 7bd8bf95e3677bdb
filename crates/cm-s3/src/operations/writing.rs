//! Writing objects, and removing them.

use axum::http::{Extensions, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_kernel::objects::PART_NUMBER_MAX;
use cm_kernel::objects::{Condition, NewObject, ObjectInfo, PutAction, Removal, Removed, Tagging};
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{Create, Delete, Update};
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::{StreamExt, stream};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders};

use super::access::SaidAlong;
use super::conditions::write_conditions;
use super::encryption::{encrypted, encrypted_by, new_encryption};
use super::locking::said_protection;
use super::reading::version_name;
use super::refusals::{refuse, refuse_for_new};
use super::tagging::header_tags;
use super::{Store, bucket_name, object_key};
use crate::acls::Said;
use crate::caller::Caller;
use crate::content::{Announced, CHECKSUM_TYPE, checked, invalid, received};
use crate::describe::{etag, moment, new_version, said, summed};
use crate::failure;
use crate::forms::FromForm;
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
        let lengths = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let is_bounded = lengths.iter().any(|name| request.headers.contains_key(name));
        if !is_bounded && request.extensions.get::<FromForm>().is_none() {
            return Err(S3Error::with_message(S3ErrorCode::MissingContentLength, "how long is the body?"));
        }
        let headers = request.headers.clone();
        // Whoever may only create must say that nothing is to be replaced, as with the native API.
        let tenant = caller.tenant();
        let info = match conditions.contains(&Condition::Absent) {
            true => self.write_as::<Create>(caller, request, conditions).await?,
            false => self.write_as::<Update>(caller, request, conditions).await?,
        };
        let mut output = PutObjectOutput { e_tag: Some(etag(&info)), ..PutObjectOutput::default() };
        summed!(&mut output, &info.headers);
        output.checksum_type = info.headers.get(CHECKSUM_TYPE).map(|text| text.clone().into());
        encrypted!(output, encrypted_by(&info), &headers);
        output.version_id = new_version(&info);
        output.expiration = self.expiration(&tenant, &info).await?;
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
            trailers(request.trailing_headers.take(), &request.extensions),
        )?;
        let input = &mut request.input;
        let (bucket, key) = (bucket_name(input.bucket.clone())?, object_key(input.key.clone())?);
        let (record, permit) = self.object::<A>(&caller, Use::PutObject, &bucket, &key, None).await?;
        let access = self.new_access(&caller, &permit, &bucket, &record, Said::of(&request.headers)).await?;
        let encryption = new_encryption(&request.headers)?;
        let tags = header_tags(input.tagging.as_deref())?;
        let protection = said_protection(
            self.kernel.now(),
            input.object_lock_mode.as_ref(),
            input.object_lock_retain_until_date.as_ref(),
            input.object_lock_legal_hold_status.as_ref(),
        )?;
        let said = SaidAlong::of(&access, &tags, &protection, caller.principal(), &record.header.owner);
        self.permit_said::<A>(&caller, &bucket, &key, said).await?;
        let new = NewObject {
            content_type: input.content_type.take(),
            metadata: input.metadata.take().unwrap_or_default().into_iter().collect(),
            headers: said!(input, &request.extensions),
            late_headers: announced.late_headers(),
            tagging: Tagging::Md5,
            expected_sha256: announced_sha256(&request.headers),
            expected_md5: md5(input.content_md5.as_deref())?,
            tags,
            protection,
            owner: access.owner,
            acl: access.acl,
            encryption,
            request: Some(caller.request.clone()),
            ..NewObject::default()
        };
        let still_permitted = self.still_permitted::<A>(caller, bucket.clone(), key.clone(), said);
        let body = checked(received(&request.extensions, input.body.take()), announced, still_permitted);
        let objects = self.kernel.objects();
        objects.put_if(&permit, &bucket, &key, new, conditions, body).await.map_err(failure::object)
    }

    /// Whether who asked may still do it, and say what was said along, when the body has ended.
    pub(super) fn still_permitted<A: cm_kernel::policy::ActionKind>(
        &self,
        caller: Caller,
        bucket: BucketName,
        key: ObjectKey,
        said: SaidAlong,
    ) -> impl Future<Output = S3Result<()>> + Send + 'static {
        let store = self.clone();
        async move {
            let caller = caller.again(&store.kernel).await?;
            store.permit_object::<A>(&caller, Use::PutObject, &bucket, &key, None).await?;
            store.permit_said::<A>(&caller, &bucket, &key, said).await
        }
    }

    pub(super) async fn remove(
        &self,
        caller: Caller,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        refuse!(input; mfa);
        let bucket = bucket_name(input.bucket)?;
        let bypasses = input.bypass_governance_retention == Some(true);
        let identifier = ObjectIdentifier {
            key: input.key,
            version_id: input.version_id,
            e_tag: None,
            last_modified_time: input.if_match_last_modified_time,
            size: input.if_match_size,
        };
        let conditions = write_conditions(input.if_match, None);
        let removed = self.remove_one(&caller, &bucket, identifier, conditions, bypasses).await?;
        let output = DeleteObjectOutput {
            delete_marker: removed.is_marker.then_some(true),
            version_id: removed.version.map(|name| name.to_string()),
            ..DeleteObjectOutput::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn remove_several(
        &self,
        caller: Caller,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        refuse!(input; mfa);
        let s3s::dto::Delete { objects, quiet } = input.delete;
        if objects.is_empty() || objects.len() > REMOVED_MAX {
            return Err(S3Error::with_message(
                S3ErrorCode::MalformedXML,
                "1 to 1000 objects are removed at once",
            ));
        }
        let bucket = bucket_name(input.bucket)?;
        let bypasses = input.bypass_governance_retention == Some(true);
        let (caller, bucket) = (&caller, &bucket);
        let removals = stream::iter(objects).map(|mut object| async move {
            // Lists that programs write name no version by an empty one.
            object.version_id = object.version_id.filter(|version| !version.is_empty());
            let (key, version) = (object.key.clone(), object.version_id.clone());
            let conditions = object.e_tag.clone().map(|tag| Condition::OneOf(vec![tag.into_value()]));
            let removed =
                self.remove_one(caller, bucket, object, conditions.into_iter().collect(), bypasses).await;
            (key, version, removed)
        });
        let mut removals = removals.buffered(REMOVED_AT_A_TIME);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        while let Some((key, version, removed)) = removals.next().await {
            match removed {
                Ok(_) if quiet == Some(true) => {}
                Ok(removed) => deleted.push(DeletedObject {
                    key: Some(key),
                    delete_marker: removed.is_marker.then_some(true),
                    delete_marker_version_id: removed
                        .version
                        .filter(|_| removed.is_marker)
                        .map(|name| name.to_string()),
                    version_id: version,
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(key),
                    message: error.message().map(str::to_owned),
                    version_id: version,
                }),
            }
        }
        // Where there is no bucket, nothing can be said of its objects.
        let missing = |error: &Error| error.code.as_deref() == Some(S3ErrorCode::NoSuchBucket.as_str());
        if deleted.is_empty() && !errors.is_empty() && errors.iter().all(missing) {
            return Err(S3Error::with_message(S3ErrorCode::NoSuchBucket, "the bucket does not exist"));
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
        bypasses: bool,
    ) -> S3Result<Removed> {
        let version = version_name(object.version_id.as_deref())?;
        let key = object_key(object.key)?;
        let permit = self.permit_object::<Delete>(caller, Use::DeleteObject, bucket, &key, version).await?;
        let bypass = self.bypass(caller, bucket, &key, version, bypasses).await?;
        let if_size = object.size.map(u64::try_from).transpose();
        let removal = Removal {
            version,
            conditions: &conditions,
            if_size: if_size.map_err(|_| invalid("a size is not negative"))?,
            if_created_at: object.last_modified_time.as_ref().map(moment),
            bypass: bypass.as_ref(),
        };
        let request = Some(caller.request.clone());
        self.kernel.objects().remove(&permit, bucket, &key, removal, request).await.map_err(failure::object)
    }
}

/// What follows a body, where the adapter puts it and where this crate does.
pub(super) fn trailers(
    adapters: Option<TrailingHeaders>,
    extensions: &Extensions,
) -> (Option<TrailingHeaders>, Option<Trailers>) {
    (adapters.or_else(|| extensions.get().cloned()), extensions.get().cloned())
}

/// The digest that a signature covers.
pub(crate) fn announced_sha256(headers: &axum::http::HeaderMap) -> Option<Sha256Digest> {
    headers.get("x-amz-content-sha256")?.to_str().ok()?.parse().ok()
}

/// What `Content-MD5` says.
pub(crate) fn md5(header: Option<&str>) -> S3Result<Option<[u8; 16]>> {
    let Some(text) = header else { return Ok(None) };
    let digest = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    match digest {
        Some(digest) => Ok(Some(digest)),
        None => Err(S3Error::with_message(S3ErrorCode::InvalidDigest, "`Content-MD5` is no MD5")),
    }
}

/// The part number of a request.
pub(super) fn part_number(number: i32) -> S3Result<u16> {
    u16::try_from(number).map_err(|_| out_of_range())
}

/// The number of a part that is going to be.
pub(super) fn new_part_number(number: i32) -> S3Result<u16> {
    let number = part_number(number)?;
    if (1..=PART_NUMBER_MAX).contains(&number) { Ok(number) } else { Err(out_of_range()) }
}

fn out_of_range() -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, "part numbers are 1 to 10000")
}
