//! Tags of objects and buckets.

use cm_kernel::objects::Tags;
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{Read, Update};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::reading::version_name;
use super::{Store, bucket_name, object_key};
use crate::caller::Caller;
use crate::failure;

impl Store {
    pub(super) async fn object_tags(
        &self,
        caller: Caller,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let version = version_name(input.version_id.as_deref())?;
        let permit =
            self.permit_object::<Read>(&caller, Use::GetObjectTagging, &bucket, &key, version).await?;
        let info = self.kernel.objects().head_version(&permit, &bucket, &key, version).await;
        let mut info = match info {
            Ok(info) => info,
            Err(error) => return Err(self.told(&caller, &bucket, error).await),
        };
        self.name_version(&caller, &mut info).await;
        let version_id = info.shown_version.map(|name| name.to_string());
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set: listed(info.tags), version_id }))
    }

    pub(super) async fn set_object_tags(
        &self,
        caller: Caller,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let version = version_name(input.version_id.as_deref())?;
        let tags = said_tags(input.tagging.tag_set)?;
        let caller = caller.with_tags(tags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let permit =
            self.permit_object::<Update>(&caller, Use::PutObjectTagging, &bucket, &key, version).await?;
        let request = Some(caller.request.clone());
        let set = self.kernel.objects().set_tags(&permit, &bucket, &key, version, tags, request).await;
        let mut info = set.map_err(failure::object)?;
        self.name_version(&caller, &mut info).await;
        let version_id = info.shown_version.map(|name| name.to_string());
        Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
    }

    pub(super) async fn remove_object_tags(
        &self,
        caller: Caller,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let version = version_name(input.version_id.as_deref())?;
        let permit =
            self.permit_object::<Update>(&caller, Use::DeleteObjectTagging, &bucket, &key, version).await?;
        let request = Some(caller.request.clone());
        let set = self.kernel.objects().set_tags(&permit, &bucket, &key, version, Tags::new(), request).await;
        let mut info = set.map_err(failure::object)?;
        self.name_version(&caller, &mut info).await;
        let version_id = info.shown_version.map(|name| name.to_string());
        Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
    }

    pub(super) async fn bucket_tags(
        &self,
        caller: Caller,
        request: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        let permit = self.permit_bucket::<Read>(&caller, Use::GetBucketTagging, &bucket).await?;
        let tags = self.kernel.objects().bucket_tags(&permit, &bucket).await.map_err(failure::object)?;
        let tags = tags.filter(|tags| !tags.is_empty());
        let missing = || S3Error::with_message(S3ErrorCode::NoSuchTagSet, "the bucket has no tags");
        Ok(S3Response::new(GetBucketTaggingOutput { tag_set: listed(tags.ok_or_else(missing)?) }))
    }

    pub(super) async fn set_bucket_tags(
        &self,
        caller: Caller,
        request: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let tags = said_tags(request.input.tagging.tag_set)?;
        self.keep_bucket_tags(&caller, request.input.bucket, Some(tags)).await?;
        Ok(S3Response::new(PutBucketTaggingOutput::default()))
    }

    pub(super) async fn remove_bucket_tags(
        &self,
        caller: Caller,
        request: S3Request<DeleteBucketTaggingInput>,
    ) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
        self.keep_bucket_tags(&caller, request.input.bucket, None).await?;
        Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
    }

    async fn keep_bucket_tags(&self, caller: &Caller, bucket: String, tags: Option<Tags>) -> S3Result<()> {
        let bucket = bucket_name(bucket)?;
        let permit = self.permit_bucket::<Update>(caller, Use::PutBucketTagging, &bucket).await?;
        self.kernel.objects().set_bucket_tags(&permit, &bucket, tags).await.map_err(failure::object)
    }
}

fn listed(tags: Tags) -> TagSet {
    tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidTag, message)
}

/// Names that begin so are those of the system.
fn require_free(name: &str) -> S3Result<()> {
    match name.get(..4).is_some_and(|beginning| beginning.eq_ignore_ascii_case("aws:")) {
        true => Err(invalid("no tag of a user begins with `aws:`")),
        false => Ok(()),
    }
}

/// Tags as a document says them.
pub(super) fn said_tags(set: TagSet) -> S3Result<Tags> {
    let mut tags = Tags::new();
    for Tag { key, value } in set {
        let said = key.zip(value);
        let (name, value) = said.ok_or_else(|| {
            S3Error::with_message(S3ErrorCode::MalformedXML, "a tag has a `Key` and a `Value`")
        })?;
        require_free(&name)?;
        if tags.insert(name, value).is_some() {
            return Err(invalid("no two tags have the same name"));
        }
    }
    Ok(tags)
}

/// Tags as `x-amz-tagging` says them: `name=value&other=value`, encoded as in URLs.
pub(crate) fn header_tags(header: Option<&str>) -> S3Result<Tags> {
    let mut tags = Tags::new();
    for pair in header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
            decoded.map(|text| text.into_owned()).map_err(|_| invalid("the tags are no UTF-8"))
        };
        let name = decode(name)?;
        require_free(&name)?;
        if tags.insert(name, decode(value)?).is_some() {
            return Err(invalid("no two tags have the same name"));
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_in_a_header_are_those_that_were_encoded() {
        let check = |header: &str, expected: &[(&str, &str)]| {
            let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            assert_eq!(header_tags(Some(header)).unwrap(), expected.collect::<Tags>(), "{header}");
        };
        check("", &[]);
        check("foo=bar&bar", &[("bar", ""), ("foo", "bar")]);
        check("a%26b=c+d%2B", &[("a&b", "c d+")]);
        assert!(header_tags(Some("a=1&a=2")).is_err());
        assert!(header_tags(Some("%ff=1")).is_err());
    }
}
