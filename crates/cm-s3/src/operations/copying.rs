//! Copying what is here already. The bytes are read and verified; what is equal is kept once, so little is written.

use std::io;
use std::ops::Range as Bytes;

use cm_kernel::objects::{
    ByteRange, Condition, CustomerKey, EncryptedBy, NewObject, NewPart, ObjectError, ObjectRead, Piece,
    PutAction, Reading, Tagging,
};
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{Create, Update};
use futures::TryStreamExt;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::SaidAlong;
use super::conditions::{Freshness, ReadConditions, copy_conditions};
use super::encryption::{customer_key, encrypted, encrypted_by, new_encryption, source_key};
use super::locking::said_protection;
use super::reading::version_name;
use super::refusals::refuse_for_new;
use super::tagging::header_tags;
use super::uploads::upload_ref;
use super::writing::new_part_number;
use super::{Store, bucket_name, object_key};
use crate::acls::Said;
use crate::caller::Caller;
use crate::content::{Algorithm, Announced, CHECKSUM_TYPE, FULL_OBJECT, checked, invalid};
use crate::describe::{etag, new_version, said, summed, time};
use crate::failure;

/// The largest object that is copied at once: the limit of S3.
const COPIED_BYTES_MAX: u64 = 5 << 30;

impl Store {
    pub(super) async fn copy(
        &self,
        caller: Caller,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let demanded = copy_conditions(&request.headers)?;
        // As with other writes: whoever may only create says that nothing is to be replaced.
        match demanded.contains(&Condition::Absent) {
            true => self.copy_as::<Create>(caller, request, demanded).await,
            false => self.copy_as::<Update>(caller, request, demanded).await,
        }
    }

    async fn copy_as<A: PutAction>(
        &self,
        caller: Caller,
        request: S3Request<CopyObjectInput>,
        demanded: Vec<Condition>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let mut input = request.input;
        refuse_for_new!(input);
        let (bucket, key) = (bucket_name(input.bucket.clone())?, object_key(input.key.clone())?);
        let (record, permit) = self.object::<A>(&caller, Use::PutObject, &bucket, &key, None).await?;
        let access = self.new_access(&caller, &permit, &bucket, &record, Said::of(&request.headers)).await?;
        let encryption = new_encryption(&request.headers)?;
        let key_of_source = source_key(&request.headers)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match.take(),
            if_none_match: input.copy_source_if_none_match.take(),
            if_modified_since: input.copy_source_if_modified_since.take(),
            if_unmodified_since: input.copy_source_if_unmodified_since.take(),
        };
        let source = self.source(&caller, &input.copy_source, &conditions, None, key_of_source).await?;
        let directives = [
            input.metadata_directive.as_ref().map(MetadataDirective::as_str),
            input.tagging_directive.as_ref().map(TaggingDirective::as_str),
        ];
        if !directives.into_iter().flatten().all(|directive| matches!(directive, "COPY" | "REPLACE")) {
            let message = "what is said of an object is taken by COPY or REPLACE";
            return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message));
        }
        let replaces =
            input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == "REPLACE");
        let is_earlier = matches!(&input.copy_source, CopySource::Bucket { version_id: Some(_), .. });
        let changes = replaces || encryption.is_some() || input.storage_class.is_some();
        if !changes && !is_earlier && (&source.info.bucket, &source.info.key) == (&bucket, &key) {
            return Err(invalid(
                "an object is copied onto itself only with other metadata, encryption or storage class",
            ));
        }
        let tags = match input.tagging_directive.as_ref().map(TaggingDirective::as_str) {
            Some("REPLACE") => header_tags(input.tagging.as_deref())?,
            _ => source.info.tags.clone(),
        };
        let protection = said_protection(
            self.kernel.now(),
            input.object_lock_mode.as_ref(),
            input.object_lock_retain_until_date.as_ref(),
            input.object_lock_legal_hold_status.as_ref(),
        )?;
        let said = SaidAlong::of(&access, &tags, &protection, caller.principal(), &record.header.owner);
        self.permit_said::<A>(&caller, &bucket, &key, said).await?;
        let mut new = NewObject {
            content_type: source.info.content_type.clone(),
            metadata: source.info.metadata.clone(),
            headers: source.info.headers.clone(),
            tagging: Tagging::Md5,
            // The digest of an object under its writer's key is that of what is stored.
            expected_sha256: (encrypted_by(&source.info) != Some(EncryptedBy::Customer))
                .then_some(source.info.sha256),
            tags,
            protection,
            owner: access.owner,
            acl: access.acl,
            encryption,
            request: Some(caller.request.clone()),
            ..NewObject::default()
        };
        if replaces {
            new.content_type = input.content_type.take();
            new.metadata = input.metadata.take().unwrap_or_default().into_iter().collect();
            new.headers.retain(|name, _| name.starts_with("x-amz-checksum-"));
            new.headers.extend(said!(input, &request.extensions));
        }
        // The copy has one part: what sums up parts is summed up anew.
        let is_composite = new.headers.get(CHECKSUM_TYPE).is_some_and(|kind| kind != FULL_OBJECT);
        let known = Algorithm::ALL.into_iter().find(|algorithm| new.headers.contains_key(algorithm.header()));
        let asked = match &input.checksum_algorithm {
            Some(name) => Some(
                Algorithm::named(name.as_str()).ok_or_else(|| invalid("the checksum is not known here"))?,
            ),
            None => known.filter(|_| is_composite),
        };
        if asked.is_some() {
            new.headers.retain(|name, _| !name.starts_with("x-amz-checksum-"));
        }
        let announced = match asked {
            Some(algorithm) => Announced::to_be_summed(algorithm, None, None)?,
            None => Announced::of_length(None)?,
        };
        new.late_headers = announced.late_headers();
        let source_version = source.info.shown_version.map(|name| name.to_string());
        let still = self.still_permitted::<A>(caller, bucket.clone(), key.clone(), said);
        let body = checked(source.body.map_err(io::Error::other), announced, still);
        let info = self.kernel.objects().put_if(&permit, &bucket, &key, new, demanded, body).await;
        let info = info.map_err(failure::object)?;
        let mut result = CopyObjectResult {
            e_tag: Some(etag(&info)),
            last_modified: Some(time(info.created_at)),
            checksum_type: info.headers.get(CHECKSUM_TYPE).map(|text| text.clone().into()),
            ..CopyObjectResult::default()
        };
        summed!(&mut result, &info.headers);
        let mut output = CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: source_version,
            version_id: new_version(&info),
            expiration: self.expiration(permit.tenant(), &info).await?,
            ..CopyObjectOutput::default()
        };
        encrypted!(output, encrypted_by(&info), &request.headers);
        Ok(S3Response::new(output))
    }

    pub(super) async fn copy_part(
        &self,
        caller: Caller,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        let upload = upload_ref(input.bucket, input.key, &input.upload_id)?;
        let number = new_part_number(input.part_number)?;
        let (caller, permit) = self.permit_to_continue(caller, &upload).await?;
        let announced = match self.sums_begun(&permit, &upload).await? {
            Some(sums) => Announced::to_be_summed(sums.algorithm, None, None)?,
            None => Announced::of_length(None)?,
        };
        let new = NewPart {
            key: customer_key(&request.headers)?,
            late_headers: announced.late_headers(),
            ..NewPart::default()
        };
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let range = input.copy_source_range.as_deref().map(inclusive).transpose()?;
        let key_of_source = source_key(&request.headers)?;
        let source = self.source(&caller, &input.copy_source, &conditions, range, key_of_source).await?;
        let source_version = source.info.shown_version.map(|name| name.to_string());
        let place = (upload.bucket.clone(), upload.key.clone());
        let still = self.still_permitted::<Update>(caller, place.0, place.1, SaidAlong::default());
        let body = checked(source.body.map_err(io::Error::other), announced, still);
        let part = self.kernel.objects().put_part(&permit, &upload, number, new, body).await;
        let part = part.map_err(failure::object)?;
        let mut result = CopyPartResult {
            e_tag: Some(ETag::Strong(part.tag)),
            last_modified: Some(time(part.created_at)),
            ..CopyPartResult::default()
        };
        summed!(&mut result, &part.headers);
        let mut output = UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: source_version,
            ..UploadPartCopyOutput::default()
        };
        encrypted!(output, part.encrypted_by, &request.headers);
        Ok(S3Response::new(output))
    }

    async fn source(
        &self,
        caller: &Caller,
        source: &CopySource,
        conditions: &ReadConditions,
        range: Option<ByteRange>,
        customer: Option<CustomerKey>,
    ) -> S3Result<ObjectRead> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(invalid("a source is BUCKET/KEY here"));
        };
        let version = version_name(version_id.as_deref())?;
        let (bucket, key) = (bucket_name(bucket.to_string())?, object_key(key.to_string())?);
        let permit = self.permit_source(caller, &bucket, &key, version).await?;
        let reading = Reading { version, piece: range.map(Piece::Range), key: customer };
        let read = self.kernel.objects().get_opened(&permit, &bucket, &key, reading).await;
        let mut read = match read {
            Ok(read) => read,
            Err(ObjectError::IsMarker { .. }) => {
                return Err(invalid("what is copied is no mark of a deletion"));
            }
            Err(error) => return Err(self.told(caller, &bucket, error).await),
        };
        self.name_version(caller, &mut read.info).await;
        if conditions.check(&read.info)? == Freshness::NotModified {
            return Err(S3Error::with_message(S3ErrorCode::PreconditionFailed, "the source has not changed"));
        }
        if let Some(ByteRange::Inclusive(_, last)) = range
            && last >= read.info.size
        {
            // A read would leave out what is not there; a copy must not be shorter than it was to be.
            return Err(failure::object(ObjectError::RangeNotSatisfiable { size: read.info.size }));
        }
        let Bytes { start, end } = read.range;
        match end - start <= COPIED_BYTES_MAX {
            true => Ok(read),
            false => Err(invalid("copy objects of more than 5 GiB in parts")),
        }
    }
}

/// `bytes=FIRST-LAST`, the only form that a part's source may have.
fn inclusive(text: &str) -> S3Result<ByteRange> {
    let bounds = text.strip_prefix("bytes=").and_then(|bounds| bounds.split_once('-'));
    let bounds = bounds.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match bounds {
        Some((first, last)) if first <= last => Ok(ByteRange::Inclusive(first, last)),
        _ => {
            let message = "the range of a source is bytes=FIRST-LAST";
            Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message))
        }
    }
}
