//! Listing the objects of a bucket, in either of the two ways that S3 has.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_kernel::catalog::Record;
use cm_kernel::objects::{ListQuery, Listing, ObjectInfo};
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{List, Permit};
use cm_types::{BucketName, Cursor, PageLimit, PrincipalId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::refusals::refuse;
use super::{Store, bucket_name};
use crate::acls;
use crate::caller::Caller;
use crate::content::CHECKSUM_TYPE;
use crate::describe::{etag, summed_by, time};
use crate::failure;

/// What `encoding-type=url` leaves alone.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// What is to be listed, whichever way.
struct Wanted {
    bucket: String,
    prefix: Option<String>,
    delimiter: Option<String>,
    after: Option<Cursor>,
    start_after: Option<String>,
    /// `None` if nothing is wanted.
    limit: Option<PageLimit>,
}

impl Store {
    pub(super) async fn list(
        &self,
        caller: Caller,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let mut input = request.input;
        refuse!(input; optional_object_attributes);
        input.delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        require_order(&request.uri, input.delimiter.as_deref())?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let limit = page_limit(input.max_keys)?;
        let wanted = Wanted {
            bucket: input.bucket.clone(),
            prefix: input.prefix.clone(),
            delimiter: input.delimiter.clone(),
            after: None,
            start_after: input.marker.clone().filter(|marker| !marker.is_empty()),
            limit,
        };
        let (page, owners) = self.page(&caller, wanted, true).await?;
        // The cursor is the last thing on the page, behind two letters that say what it is.
        let next = page.next.as_ref().and_then(|cursor| cursor.0.get(2..)).map(encode);
        let output = ListObjectsOutput {
            name: Some(input.bucket),
            is_truncated: Some(page.next.is_some()),
            contents: Some(contents(page.items, encode, Some(&owners))),
            common_prefixes: Some(common_prefixes(page.common_prefixes, encode)),
            marker: Some(encode(&input.marker.unwrap_or_default())),
            next_marker: next.filter(|_| input.delimiter.is_some()),
            max_keys: Some(limit.map_or(0, |limit| limit.get() as i32)),
            // Clients that ask for encoded names decode all of them in this answer but this one, which is their own.
            prefix: Some(said_again(input.prefix.unwrap_or_default(), encode)),
            delimiter: encoded(encode, input.delimiter),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn list_v2(
        &self,
        caller: Caller,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let mut input = request.input;
        refuse!(input; optional_object_attributes);
        input.delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        require_order(&request.uri, input.delimiter.as_deref())?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let limit = page_limit(input.max_keys)?;
        let wanted = Wanted {
            bucket: input.bucket.clone(),
            prefix: input.prefix.clone(),
            delimiter: input.delimiter.clone(),
            after: input
                .continuation_token
                .as_deref()
                .filter(|token| !token.is_empty())
                .map(cursor)
                .transpose()?,
            start_after: input.start_after.clone().filter(|text| !text.is_empty()),
            limit,
        };
        let (page, owners) = self.page(&caller, wanted, input.fetch_owner == Some(true)).await?;
        let owner = Some(&owners).filter(|_| input.fetch_owner == Some(true));
        let count = page.items.len() + page.common_prefixes.len();
        let output = ListObjectsV2Output {
            name: Some(input.bucket),
            is_truncated: Some(page.next.is_some()),
            key_count: Some(count as i32),
            contents: Some(contents(page.items, encode, owner)),
            common_prefixes: Some(common_prefixes(page.common_prefixes, encode)),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next.map(|cursor| token(&cursor.0)),
            max_keys: Some(limit.map_or(0, |limit| limit.get() as i32)),
            prefix: Some(encode(&input.prefix.unwrap_or_default())),
            delimiter: encoded(encode, input.delimiter),
            start_after: encoded(encode, input.start_after),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        };
        Ok(S3Response::new(output))
    }

    /// The page, and who owns the objects on it, if that is wanted.
    async fn page(&self, caller: &Caller, wanted: Wanted, with_owners: bool) -> S3Result<(Listing, Owners)> {
        let bucket = bucket_name(wanted.bucket)?;
        let (record, permit) = self.bucket::<List>(caller, Use::ListBucket, &bucket).await?;
        let Some(limit) = wanted.limit else {
            let nothing = Listing { items: Vec::new(), common_prefixes: Vec::new(), next: None };
            return Ok((nothing, Owners::default()));
        };
        let query = ListQuery {
            prefix: wanted.prefix.unwrap_or_default(),
            delimiter: wanted.delimiter,
            after: wanted.after,
            start_after: wanted.start_after,
            limit,
        };
        let page = self.kernel.objects().list(&permit, &bucket, query).await.map_err(failure::object)?;
        let owners = match with_owners {
            true => {
                let writers = page.items.iter().filter_map(|info| info.writer.as_ref());
                self.owners(&permit, &bucket, &record, writers).await?
            }
            false => Owners::default(),
        };
        Ok((page, owners))
    }

    /// Who owns these objects of a bucket: whoever wrote them, unless the owner of the bucket owns all.
    pub(super) async fn owners(
        &self,
        permit: &Permit<List>,
        bucket: &BucketName,
        record: &Record,
        writers: impl Iterator<Item = &PrincipalId>,
    ) -> S3Result<Owners> {
        let sharing = self.kernel.sharing_of(permit, bucket).await.map_err(failure::kernel)?;
        let of_bucket = record.header.owner.clone();
        let mut ids: BTreeSet<PrincipalId> = [of_bucket.clone()].into();
        let enforced = !sharing.has_acls();
        if !enforced {
            ids.extend(writers.cloned());
        }
        let names = self.kernel.display_names(permit.tenant(), ids.into_iter().collect()).await;
        Ok(Owners { of_bucket: Some(of_bucket), enforced, names: names.map_err(failure::kernel)? })
    }
}

/// Who owns what is on a page.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    of_bucket: Option<PrincipalId>,
    /// Whether the owner of the bucket owns all that is in it.
    enforced: bool,
    names: BTreeMap<PrincipalId, String>,
}

impl Owners {
    /// The owner of what somebody wrote.
    pub(super) fn of(&self, writer: Option<&PrincipalId>) -> Option<Owner> {
        let writer = writer.filter(|_| !self.enforced);
        writer.or(self.of_bucket.as_ref()).map(|id| acls::owner(id, &self.names))
    }
}

/// Some stores list faster whoever needs no order (`allow-unordered`), and then group nothing. An order is given here all the same, but a client that asks for
/// both is told that it cannot have them.
fn require_order(uri: &Uri, delimiter: Option<&str>) -> S3Result<()> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    match delimiter.is_some() && pairs.any(|pair| pair == "allow-unordered=true") {
        true => {
            Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "what has no order cannot be grouped"))
        }
        false => Ok(()),
    }
}

/// What a client said, as it said it, unless it has letters that XML has no place for.
fn said_again(text: String, encode: fn(&str) -> String) -> String {
    let is_plain = |letter: char| letter >= ' ' || matches!(letter, '\t' | '\n' | '\r');
    if text.chars().all(is_plain) { text } else { encode(&text) }
}

fn contents(items: Vec<ObjectInfo>, encode: fn(&str) -> String, owners: Option<&Owners>) -> Vec<Object> {
    let listed = |info: ObjectInfo| Object {
        key: Some(encode(info.key.as_str())),
        e_tag: Some(etag(&info)),
        last_modified: Some(time(info.created_at)),
        size: Some(info.size as i64),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        checksum_algorithm: summed_by(&info),
        checksum_type: info.headers.get(CHECKSUM_TYPE).map(|text| text.clone().into()),
        owner: owners.and_then(|owners| owners.of(info.writer.as_ref())),
        ..Object::default()
    };
    items.into_iter().map(listed).collect()
}

fn common_prefixes(prefixes: Vec<String>, encode: fn(&str) -> String) -> Vec<CommonPrefix> {
    prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(encode(&prefix)) }).collect()
}

/// Where a listing goes on, as clients give it back.
pub(super) fn token(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

fn cursor(token: &str) -> S3Result<Cursor> {
    last_of(token).map(Cursor).ok_or_else(unknown_token)
}

/// What a token says.
pub(super) fn last_of(token: &str) -> Option<String> {
    URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

pub(super) fn unknown_token() -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, "the continuation token is not one of this listing")
}

/// How many entries are wanted, 1000 unless told; `None` for none.
pub(super) fn page_limit(asked: Option<i32>) -> S3Result<Option<PageLimit>> {
    match asked {
        None => Ok(Some(PageLimit::MAX)),
        Some(0) => Ok(None),
        Some(entries) => match usize::try_from(entries) {
            Ok(entries) => Ok(Some(PageLimit::clamped(entries))),
            Err(_) => {
                Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "a page has no negative length"))
            }
        },
    }
}

/// How names are written in the answer.
pub(super) fn encoder(encoding: Option<&EncodingType>) -> S3Result<fn(&str) -> String> {
    match encoding.map(EncodingType::as_str) {
        None => Ok(str::to_owned),
        Some("url") => Ok(|text| utf8_percent_encode(text, ENCODED).to_string()),
        Some(_) => {
            Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "names are encoded as `url` or not"))
        }
    }
}

pub(super) fn encoded(encode: fn(&str) -> String, text: Option<String>) -> Option<String> {
    text.map(|text| encode(&text))
}
