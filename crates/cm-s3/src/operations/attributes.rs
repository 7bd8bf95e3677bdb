//! What is known about an object, as far as it is asked for.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use cm_kernel::policy::Read;
use cm_kernel::policy::sharing::Use;
use cm_types::PageLimit;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::encryption::check_key;
use super::listing::page_limit;
use super::reading::version_name;
use super::writing::part_number;
use super::{Store, bucket_name, object_key};
use crate::caller::Caller;
use crate::content::{Algorithm, CHECKSUM_TYPE};
use crate::describe::{etag, summed, time};

impl Store {
    pub(super) async fn attributes(
        &self,
        caller: Caller,
        request: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let version = version_name(input.version_id.as_deref())?;
        // The names come in one header as well as in several.
        let asked: Vec<&str> = input
            .object_attributes
            .iter()
            .flat_map(|names| names.as_str().split(','))
            .map(str::trim)
            .collect();
        let wants = |name: &str| asked.contains(&name);
        let known = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
        if asked.is_empty() || !asked.iter().all(|wanted| known.contains(wanted)) {
            let message = "ask for ETag, Checksum, ObjectParts, StorageClass or ObjectSize";
            return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message));
        }
        let after = part_number(input.part_number_marker.unwrap_or_default())?;
        let limit = page_limit(input.max_parts)?.unwrap_or(PageLimit::clamped(1));
        let permit =
            self.permit_object::<Read>(&caller, Use::GetObjectAttributes, &bucket, &key, version).await?;
        let found = self.kernel.objects().finished_parts(&permit, &bucket, &key, version, after, limit).await;
        let (mut info, parts, more) = match found {
            Ok(found) => found,
            Err(error) => return Err(self.told(&caller, &bucket, error).await),
        };
        self.name_version(&caller, &mut info).await;
        check_key(self.kernel.objects(), &info, &request.headers)?;
        let is_summed = Algorithm::ALL.iter().any(|algorithm| info.headers.contains_key(algorithm.header()));
        let mut output = GetObjectAttributesOutput {
            last_modified: Some(time(info.created_at)),
            version_id: info.shown_version.map(|name| name.to_string()),
            ..GetObjectAttributesOutput::default()
        };
        if wants("ETag") {
            output.e_tag = Some(etag(&info));
        }
        if wants("ObjectSize") {
            output.object_size = Some(info.size as i64);
        }
        if wants("StorageClass") {
            output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
        }
        if wants("Checksum") && is_summed {
            let mut sums = Checksum::default();
            summed!(&mut sums, &info.headers);
            sums.checksum_type = info.headers.get(CHECKSUM_TYPE).map(|text| text.clone().into());
            output.checksum = Some(sums);
        }
        if wants("ObjectParts") && info.parts > 0 {
            let last = parts.last().map(|part| i32::from(part.number));
            let listed = parts.into_iter().map(|found| {
                let mut part = ObjectPart {
                    part_number: Some(i32::from(found.number)),
                    size: Some(found.size as i64),
                    ..ObjectPart::default()
                };
                summed!(&mut part, &found.headers);
                part
            });
            output.object_parts = Some(GetObjectAttributesParts {
                is_truncated: Some(more),
                max_parts: Some(limit.get() as i32),
                next_part_number_marker: last,
                part_number_marker: Some(i32::from(after)),
                // Amazon counts parts without checksums only, others list them: no client is the worse for knowing them.
                parts: Some(listed.collect()),
                total_parts_count: Some(i32::from(info.parts)),
            });
        }
        Ok(S3Response::new(output))
    }
}

/// Longest description of an object's attributes: a page of a thousand parts with their checksums.
const ATTRIBUTES_LEN_MAX: usize = 1024 * 1024;

/// The description with its entity tag as S3 writes it here, and nowhere else: without quotation marks, which the adapter puts everywhere.
pub(crate) async fn with_bare_tag(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, ATTRIBUTES_LEN_MAX).await else {
        // No description is so long: it cannot be given back, for it was not read.
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        return Response::from_parts(parts, Body::empty());
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    let text = String::from_utf8_lossy(&bytes);
    let bare = text.replacen("<ETag>\"", "<ETag>", 1).replacen("\"</ETag>", "</ETag>", 1);
    Response::from_parts(parts, Body::from(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_tag_is_bared() {
        let text = "<R><ETag>\"00-2\"</ETag><StorageClass>\"x\"</StorageClass></R>";
        let bared = with_bare_tag(Response::new(Body::from(text))).await;
        let bytes = axum::body::to_bytes(bared.into_body(), 1024).await.unwrap();
        assert_eq!(&bytes[..], b"<R><ETag>00-2</ETag><StorageClass>\"x\"</StorageClass></R>");
    }
}
