//! Versions: whether a bucket keeps them, and which there are.

use cm_kernel::objects::{Version, VersionQuery, Versioning};
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{List, Read, Update};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::listing::{encoded, encoder, page_limit};
use super::reading::version_name;
use super::refusals::refuse;
use super::{Store, bucket_name};
use crate::caller::Caller;
use crate::content::CHECKSUM_TYPE;
use crate::describe::{etag, summed_by, time};
use crate::failure;

impl Store {
    pub(super) async fn bucket_versioning(
        &self,
        caller: Caller,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        let permit = self.permit_bucket::<Read>(&caller, Use::GetBucketVersioning, &bucket).await?;
        let versioning = self.kernel.objects().versioning(&permit, &bucket).await.map_err(failure::object)?;
        let status = versioning.map(|versioning| match versioning {
            Versioning::Enabled => BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED),
        });
        Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
    }

    pub(super) async fn set_bucket_versioning(
        &self,
        caller: Caller,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let input = request.input;
        refuse!(input; mfa);
        let VersioningConfiguration { mfa_delete, status, .. } = input.versioning_configuration;
        if mfa_delete.is_some_and(|wanted| wanted.as_str() != "Disabled") {
            let message = "deletions with a second factor are not to be had here";
            return Err(S3Error::with_message(S3ErrorCode::NotImplemented, message));
        }
        let versioning = match status.as_ref().map(BucketVersioningStatus::as_str) {
            Some("Enabled") => Versioning::Enabled,
            Some("Suspended") => Versioning::Suspended,
            _ => {
                return Err(S3Error::with_message(
                    S3ErrorCode::MalformedXML,
                    "the status is Enabled or Suspended",
                ));
            }
        };
        let bucket = bucket_name(input.bucket)?;
        let permit = self.permit_bucket::<Update>(&caller, Use::PutBucketVersioning, &bucket).await?;
        let set = self.kernel.objects().set_versioning(&permit, &bucket, versioning).await;
        self.forget_versions(&caller, &bucket);
        set.map_err(failure::object)?;
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }

    pub(super) async fn list_versions(
        &self,
        caller: Caller,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let mut input = request.input;
        refuse!(input; optional_object_attributes);
        input.delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let encode = encoder(input.encoding_type.as_ref())?;
        let limit = page_limit(input.max_keys)?;
        let bucket = bucket_name(input.bucket.clone())?;
        let (record, permit) = self.bucket::<List>(&caller, Use::ListBucketVersions, &bucket).await?;
        let marker = input.key_marker.clone().filter(|key| !key.is_empty());
        if marker.is_some() && input.version_id_marker.as_deref() == Some("") {
            let message = "a version to begin behind has a name";
            return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message));
        }
        let version = version_name(input.version_id_marker.as_deref().filter(|marker| !marker.is_empty()))?;
        if version.is_some() && marker.is_none() {
            let message = "a version to begin behind needs its key";
            return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message));
        }
        let page = match limit {
            None => Default::default(),
            Some(limit) => {
                let query = VersionQuery {
                    prefix: input.prefix.clone().unwrap_or_default(),
                    delimiter: input.delimiter.clone(),
                    after: marker.map(|key| (key, version)),
                    limit,
                };
                let listed = self.kernel.objects().list_versions(&permit, &bucket, query).await;
                listed.map_err(failure::object)?
            }
        };
        let writers = page.items.iter().filter_map(|(version, _)| match version {
            Version::Object(info) => info.writer.as_ref(),
            Version::Marker(marker) => marker.writer.as_ref(),
        });
        let owners = self.owners(&permit, &bucket, &record, writers).await?;
        let (mut versions, mut markers) = (Vec::new(), Vec::new());
        for (version, is_latest) in page.items {
            match version {
                Version::Object(info) => versions.push(ObjectVersion {
                    key: Some(encode(info.key.as_str())),
                    version_id: Some(info.version_name().to_string()),
                    is_latest: Some(is_latest),
                    e_tag: Some(etag(&info)),
                    last_modified: Some(time(info.created_at)),
                    size: Some(info.size as i64),
                    checksum_algorithm: summed_by(&info),
                    checksum_type: info.headers.get(CHECKSUM_TYPE).map(|text| text.clone().into()),
                    owner: owners.of(info.writer.as_ref()),
                    storage_class: Some(ObjectVersionStorageClass::from_static(
                        ObjectVersionStorageClass::STANDARD,
                    )),
                    ..ObjectVersion::default()
                }),
                Version::Marker(marker) => markers.push(DeleteMarkerEntry {
                    key: Some(encode(marker.key.as_str())),
                    version_id: Some(marker.version.to_string()),
                    is_latest: Some(is_latest),
                    last_modified: Some(time(marker.created_at)),
                    owner: owners.of(marker.writer.as_ref()),
                }),
            }
        }
        let prefixes = page.common_prefixes.iter();
        let prefixes = prefixes.map(|prefix| CommonPrefix { prefix: Some(encode(prefix)) }).collect();
        let output = ListObjectVersionsOutput {
            name: Some(input.bucket),
            is_truncated: Some(page.next.is_some()),
            versions: Some(versions),
            delete_markers: Some(markers),
            common_prefixes: Some(prefixes),
            prefix: Some(encode(&input.prefix.unwrap_or_default())),
            delimiter: encoded(encode, input.delimiter),
            key_marker: Some(encode(&input.key_marker.unwrap_or_default())),
            version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
            next_key_marker: page.next.as_ref().map(|(key, _)| encode(key)),
            next_version_id_marker: page.next.and_then(|(_, version)| Some(version?.to_string())),
            max_keys: Some(limit.map_or(0, |limit| limit.get() as i32)),
            encoding_type: input.encoding_type,
            ..ListObjectVersionsOutput::default()
        };
        Ok(S3Response::new(output))
    }
}
