//! Uploads in parts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cm_kernel::objects::{
    Completion, Contents, EncryptedBy, NewPart, NewUpload, ObjectInfo, UploadInfo, UploadPage, UploadRef,
};
use cm_kernel::policy::sharing::{PolicyRequest, Use, Verdict};
use cm_kernel::policy::{ActionKind, List, Permit, RoleFacts, Update};
use cm_types::{PageLimit, PrincipalId};
use futures::StreamExt;
use futures::future::{BoxFuture, Either, FutureExt, select};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use uuid::Uuid;

use super::access::SaidAlong;
use super::conditions::write_conditions;
use super::encryption::{AES256, customer_key, encrypted, encrypted_by, new_encryption};
use super::listing::{encoded, encoder, page_limit};
use super::locking::said_protection;
use super::part_sums::{Given, Sums};
use super::refusals::{refuse, refuse_for_new};
use super::tagging::header_tags;
use super::writing::{announced_sha256, md5, new_part_number, part_number, trailers};
use super::{Store, bucket_name, object_key};
use crate::acls::{self, Said};
use crate::caller::Caller;
use crate::content::{Announced, CHECKSUM_TYPE, checked, received};
use crate::describe::{etag, new_version, said, summed, time};
use crate::failure;
use crate::host::Place;

/// How long a client waits for the outcome of a completion in silence; afterwards the answer begins, and spaces are sent
/// until there is an outcome, as S3 does.
const SILENCE: Duration = Duration::from_secs(10);

impl Store {
    pub(super) async fn begin(
        &self,
        caller: Caller,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut input = request.input;
        refuse_for_new!(input);
        let (bucket, key) = (bucket_name(input.bucket.clone())?, object_key(input.key.clone())?);
        if caller.principal().is_none() {
            let message = "who begins an upload in parts signs for it, for it is theirs";
            return Err(S3Error::with_message(S3ErrorCode::AccessDenied, message));
        }
        let (record, permit) = self.object::<Update>(&caller, Use::PutObject, &bucket, &key, None).await?;
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
        self.permit_said::<Update>(&caller, &bucket, &key, said).await?;
        let sums = Sums::said(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
        let mut headers = said!(input, &request.extensions);
        if let Some(sums) = &sums {
            sums.note(&mut headers);
        }
        let new = NewUpload {
            content_type: input.content_type.take(),
            metadata: input.metadata.take().unwrap_or_default().into_iter().collect(),
            headers,
            tags,
            protection,
            object_owner: access.owner,
            acl: access.acl,
            encryption,
        };
        let begun = self.kernel.objects().begin_upload(&permit, &bucket, &key, new).await;
        let begun = begun.map_err(failure::object)?;
        let (abort_date, abort_rule_id) = self.given_up(&caller, &begun).await.unzip();
        let mut output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(begun.upload.id.to_string()),
            abort_date,
            abort_rule_id,
            checksum_algorithm: sums.map(|sums| sums.algorithm.name().into()),
            checksum_type: sums.map(|sums| sums.kind().to_owned().into()),
            ..CreateMultipartUploadOutput::default()
        };
        encrypted!(output, begun.encrypted_by, &request.headers);
        Ok(S3Response::new(output))
    }

    pub(super) async fn write_part(
        &self,
        caller: Caller,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let key = customer_key(&request.headers)?;
        let announced = Announced::of(
            &request.headers,
            request.input.content_length,
            trailers(request.trailing_headers.take(), &request.extensions),
        )?;
        let input = request.input;
        let upload = upload_ref(input.bucket, input.key, &input.upload_id)?;
        let number = new_part_number(input.part_number)?;
        let (caller, permit) = self.permit_to_continue(caller, &upload).await?;
        let announced = match self.sums_begun(&permit, &upload).await? {
            Some(sums) => sums.of_part(announced)?,
            None => announced,
        };
        let new = NewPart {
            expected_sha256: announced_sha256(&request.headers),
            expected_md5: md5(input.content_md5.as_deref())?,
            late_headers: announced.late_headers(),
            key,
            ..NewPart::default()
        };
        let place = (upload.bucket.clone(), upload.key.clone());
        let still = self.still_permitted::<Update>(caller, place.0, place.1, SaidAlong::default());
        let body = checked(received(&request.extensions, input.body), announced, still);
        let part = self.kernel.objects().put_part(&permit, &upload, number, new, body).await;
        let part = part.map_err(failure::object)?;
        let mut output =
            UploadPartOutput { e_tag: Some(ETag::Strong(part.tag)), ..UploadPartOutput::default() };
        summed!(&mut output, &part.headers);
        encrypted!(output, part.encrypted_by, &request.headers);
        Ok(S3Response::new(output))
    }

    pub(super) async fn complete(
        &self,
        caller: Caller,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let mut input = request.input;
        let found_at = request.extensions.get::<Place>().cloned().unwrap_or_default();
        let upload = upload_ref(input.bucket, input.key, &input.upload_id)?;
        let (caller, permit) = self.permit_to_continue(caller, &upload).await?;
        let wanted = input.multipart_upload.take().and_then(|said| said.parts).unwrap_or_default();
        let given = Given::of(&request.headers, &wanted)?;
        let parts = chosen(wanted)?;
        let (announced, composite) = match self.sums_of(&permit, &upload, given, input.mpu_object_size).await
        {
            // Clients ask again when they miss the answer.
            Err(gone) if *gone.code() == S3ErrorCode::NoSuchUpload => {
                let before = self.kernel.objects().completed(&permit, &upload, &parts).await;
                let info = before.map_err(failure::object)?.ok_or(gone)?;
                return Ok(S3Response::new(self.completion(&permit, &info, &found_at).await?));
            }
            sums => sums?,
        };
        if let Some(headers) = composite {
            // Set here and by nobody else: there is no sum of the whole beside it.
            let _ = announced.late_headers().set(headers);
        }
        let completion = Completion {
            parts,
            conditions: write_conditions(input.if_match, input.if_none_match),
            late_headers: announced.late_headers(),
            request: Some(caller.request.clone()),
            ..Completion::default()
        };
        let place = (upload.bucket.clone(), upload.key.clone());
        let still = self.still_permitted::<Update>(caller, place.0, place.1, SaidAlong::default());
        let through = |contents: Contents| checked(contents, announced, still).boxed();
        let objects = self.kernel.objects().clone();
        let store = self.clone();
        let work = async move {
            let info = objects.complete_upload(&permit, &upload, completion, through).await;
            let info = info.map_err(failure::object)?;
            store.completion(&permit, &info, &found_at).await
        };
        let work: BoxFuture<'static, S3Result<CompleteMultipartUploadOutput>> = work.boxed();
        let silence = Box::pin(tokio::time::sleep(SILENCE));
        match select(work, silence).await {
            Either::Left((outcome, _)) => Ok(S3Response::new(outcome?)),
            Either::Right(((), work)) => {
                let output = CompleteMultipartUploadOutput { future: Some(work), ..Default::default() };
                Ok(S3Response::new(output))
            }
        }
    }

    /// What is answered to a completion.
    async fn completion(
        &self,
        permit: &Permit<Update>,
        info: &ObjectInfo,
        place: &Place,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let expiration = self.expiration(permit.tenant(), info).await?;
        Ok(CompleteMultipartUploadOutput { expiration, ..completed(info, place) })
    }

    pub(super) async fn abort(
        &self,
        caller: Caller,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        refuse!(input; if_match_initiated_time);
        let upload = upload_ref(input.bucket, input.key, &input.upload_id)?;
        let permit = self.permit_to_manage(&caller, Use::AbortMultipartUpload, &upload).await?;
        self.kernel.objects().abort_upload(&permit, &upload).await.map_err(failure::object)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn parts(
        &self,
        caller: Caller,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let after = part_number(input.part_number_marker.unwrap_or_default())?;
        let limit = page_limit(input.max_parts)?.unwrap_or(PageLimit::clamped(1));
        let upload = upload_ref(input.bucket.clone(), input.key.clone(), &input.upload_id)?;
        let permit = self.permit_to_manage(&caller, Use::ListMultipartUploadParts, &upload).await?;
        let listed = self.kernel.objects().list_parts(&permit, &upload, after, limit).await;
        let (upload, parts, more) = listed.map_err(failure::object)?;
        let names = self.owners_names(&permit, [&upload]).await?;
        let (abort_date, abort_rule_id) = self.given_up(&caller, &upload).await.unzip();
        let sums = Sums::noted(&upload.headers);
        let last = parts.last().map(|part| i32::from(part.number));
        let parts = parts.into_iter().map(|found| {
            let mut part = Part {
                e_tag: Some(ETag::Strong(found.tag)),
                last_modified: Some(time(found.created_at)),
                part_number: Some(i32::from(found.number)),
                size: Some(found.size as i64),
                ..Part::default()
            };
            summed!(&mut part, &found.headers);
            part
        });
        let output = ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            initiator: Some(initiator(&upload, &names)),
            owner: Some(owner(&upload, &names)),
            abort_date,
            abort_rule_id,
            checksum_algorithm: sums.map(|sums| sums.algorithm.name().into()),
            checksum_type: sums.map(|sums| sums.kind().to_owned().into()),
            is_truncated: Some(more),
            max_parts: Some(limit.get() as i32),
            part_number_marker: Some(i32::from(after)),
            next_part_number_marker: last,
            parts: Some(parts.collect()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn uploads(
        &self,
        caller: Caller,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let encode = encoder(input.encoding_type.as_ref())?;
        let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
        let limit = page_limit(input.max_uploads)?.unwrap_or(PageLimit::clamped(1));
        let bucket = bucket_name(input.bucket.clone())?;
        let permit = self.permit_bucket::<List>(&caller, Use::ListBucketMultipartUploads, &bucket).await?;
        let key_marker = input.key_marker.clone().filter(|key| !key.is_empty());
        // An upload to begin behind means nothing without its key.
        let marker =
            input.upload_id_marker.as_deref().filter(|text| !text.is_empty() && key_marker.is_some());
        let upload_id = marker.map(upload_id).transpose()?;
        let after = key_marker.map(|key| (key, upload_id));
        let prefix = input.prefix.clone().unwrap_or_default();
        // A bucket has no more uploads under way than one page holds, so that what is grouped is all there.
        let read = if delimiter.is_some() { PageLimit::MAX } else { limit };
        let page = self.kernel.objects().list_uploads(&permit, &bucket, prefix.clone(), after, read).await;
        let page = page.map_err(failure::object)?;
        let page = grouped(page, &prefix, delimiter.as_deref(), input.key_marker.as_deref(), limit.get());
        let (next_key_marker, next_upload_id_marker) = match page.next {
            Some(Last::Upload(last)) => (Some(encode(last.key.as_str())), Some(last.id.to_string())),
            Some(Last::Prefix(last)) => (Some(encode(&last)), None),
            None => (None, None),
        };
        let is_truncated = Some(next_key_marker.is_some());
        let prefixes = page.prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix)) });
        let names = self.owners_names(&permit, &page.items).await?;
        let uploads = page.items.into_iter().map(|found| MultipartUpload {
            key: Some(encode(found.upload.key.as_str())),
            upload_id: Some(found.upload.id.to_string()),
            initiated: Some(time(found.created_at)),
            initiator: Some(initiator(&found, &names)),
            owner: Some(owner(&found, &names)),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..MultipartUpload::default()
        });
        let output = ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            bucket: Some(input.bucket),
            prefix: encoded(encode, input.prefix),
            key_marker: encoded(encode, input.key_marker),
            upload_id_marker: input.upload_id_marker,
            common_prefixes: Some(prefixes.collect()),
            delimiter: encoded(encode, input.delimiter),
            next_key_marker,
            next_upload_id_marker,
            is_truncated,
            max_uploads: Some(limit.get() as i32),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn permit_to_upload(
        &self,
        caller: &Caller,
        used: Use,
        upload: &UploadRef,
    ) -> S3Result<Permit<Update>> {
        self.permit_object(caller, used, &upload.bucket, &upload.key, None).await
    }
}

impl Store {
    /// The permit to see or to end what somebody began. Leave to write into the bucket by its grants is none: an upload is that of whoever
    /// began it and of the bucket's owner, and others' by the bucket's policy. Decisions know of objects, and not of uploads, which are to be.
    async fn permit_to_manage(
        &self,
        caller: &Caller,
        used: Use,
        upload: &UploadRef,
    ) -> S3Result<Permit<Update>> {
        let (bucket, key) = (&upload.bucket, &upload.key);
        let (record, permit) = self.object::<Update>(caller, used, bucket, key, None).await?;
        let listed = self.kernel.objects().list_parts(&permit, upload, 0, PageLimit::clamped(1)).await;
        let (begun, _, _) = listed.map_err(failure::object)?;
        let who = caller.principal();
        let is_theirs = who.is_some() && (begun.owner.as_ref() == who || Some(&record.header.owner) == who);
        if is_theirs || caller.subject().roles.iter().any(RoleFacts::is_administrator) {
            return Ok(permit);
        }
        let sharing = self.kernel.sharing_of(&permit, bucket).await.map_err(failure::kernel)?;
        let (tenant, resource) = (caller.tenant(), format!("{bucket}/{key}"));
        let asked = PolicyRequest {
            principal: who,
            tenant: who.map(|_| &tenant),
            bucket_tenant: permit.tenant(),
            used,
            resource: &resource,
            circumstances: caller.circumstances(),
        };
        let is_allowed =
            sharing.policy.as_ref().is_some_and(|policy| matches!(policy.judge(&asked), Verdict::Allows(_)));
        // Where there is no list, none gave the permit: roles decide.
        match is_allowed || sharing.acl.is_none() {
            true => Ok(permit),
            false => Err(S3Error::with_message(S3ErrorCode::AccessDenied, "the upload is somebody else's")),
        }
    }
}

/// Uploads as they are listed.
struct Grouped {
    items: Vec<UploadInfo>,
    /// What keys have in common up to the delimiter, once each.
    prefixes: Vec<String>,
    /// The last that is listed, if there is more.
    next: Option<Last>,
}

enum Last {
    Upload(UploadRef),
    Prefix(String),
}

/// So many uploads and common prefixes. Where there is a delimiter, the page must hold all that follow the marker; a marker that is a
/// common prefix stands for all that begin with it.
fn grouped(
    page: UploadPage,
    prefix: &str,
    delimiter: Option<&str>,
    marker: Option<&str>,
    limit: usize,
) -> Grouped {
    let mut found = Grouped { items: Vec::new(), prefixes: Vec::new(), next: None };
    let (mut last, mut more) = (None, page.more && delimiter.is_none());
    for item in page.items {
        let key = item.upload.key.as_str();
        let rest = key.get(prefix.len()..).unwrap_or_default();
        let end = delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
        let common = end.map(|end| key[..prefix.len() + end].to_owned());
        if common.is_some() && (common == found.prefixes.last().cloned() || common.as_deref() == marker) {
            continue;
        }
        if found.items.len() + found.prefixes.len() == limit {
            more = true;
            break;
        }
        match common {
            Some(common) => {
                last = Some(Last::Prefix(common.clone()));
                found.prefixes.push(common);
            }
            None => {
                last = Some(Last::Upload(item.upload.clone()));
                found.items.push(item);
            }
        }
    }
    found.next = last.filter(|_| more);
    found
}

/// An upload by the texts that name it.
pub(super) fn upload_ref(bucket: String, key: String, id: &str) -> S3Result<UploadRef> {
    // What is no id names no upload, as this one does not: whether there is the bucket, and who may know, is said first.
    let id = upload_id(id).unwrap_or_default();
    Ok(UploadRef { bucket: bucket_name(bucket)?, key: object_key(key)?, id })
}

fn upload_id(text: &str) -> S3Result<Uuid> {
    Uuid::parse_str(text)
        .map_err(|_| S3Error::with_message(S3ErrorCode::NoSuchUpload, "the upload does not exist"))
}

/// The parts that a completion names.
fn chosen(parts: Vec<CompletedPart>) -> S3Result<Vec<(u16, String)>> {
    if parts.is_empty() {
        return Err(S3Error::with_message(S3ErrorCode::MalformedXML, "an object has a part at least"));
    }
    let parts = parts.into_iter().map(|part| {
        let (Some(number), Some(tag)) = (part.part_number, part.e_tag) else {
            let message = "each part has a number and an entity tag";
            return Err(S3Error::with_message(S3ErrorCode::MalformedXML, message));
        };
        Ok((part_number(number)?, tag.into_value()))
    });
    parts.collect()
}

impl Store {
    /// What those are called who began uploads.
    async fn owners_names<'a, A: ActionKind>(
        &self,
        permit: &Permit<A>,
        uploads: impl IntoIterator<Item = &'a UploadInfo>,
    ) -> S3Result<Names> {
        let ids: BTreeSet<PrincipalId> =
            uploads.into_iter().filter_map(|upload| upload.owner.clone()).collect();
        let names = self.kernel.display_names(permit.tenant(), ids.into_iter().collect()).await;
        names.map_err(failure::kernel)
    }
}

fn completed(info: &ObjectInfo, place: &Place) -> CompleteMultipartUploadOutput {
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(info.bucket.to_string()),
        key: Some(info.key.to_string()),
        location: Some(place.address(info.bucket.as_str(), info.key.as_str())),
        e_tag: Some(etag(info)),
        ..CompleteMultipartUploadOutput::default()
    };
    summed!(&mut output, &info.headers);
    output.checksum_type = info.headers.get(CHECKSUM_TYPE).map(|text| text.clone().into());
    if let Some(EncryptedBy::Node) = encrypted_by(info) {
        output.server_side_encryption = Some(ServerSideEncryption::from_static(AES256));
    }
    output.version_id = new_version(info);
    output
}

type Names = BTreeMap<PrincipalId, String>;

fn owner(upload: &UploadInfo, names: &Names) -> Owner {
    upload.owner.as_ref().map_or_else(Owner::default, |id| acls::owner(id, names))
}

fn initiator(upload: &UploadInfo, names: &Names) -> Initiator {
    let Owner { display_name, id } = owner(upload, names);
    Initiator { display_name, id }
}
