//! Checksums of uploads in parts: of the whole, or of the sums of the parts.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_kernel::objects::{PartInfo, UploadRef};
use cm_kernel::policy::{Permit, Update};
use cm_types::PageLimit;
use s3s::dto::{ChecksumAlgorithm, ChecksumType, CompletedPart};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::Store;
use crate::content::{Algorithm, Announced, CHECKSUM_TYPE, FULL_OBJECT, invalid};
use crate::failure;

/// Under which name an upload keeps the algorithm that it was begun with.
const ALGORITHM: &str = "x-amz-checksum-algorithm";
const COMPOSITE: &str = "COMPOSITE";

/// How an upload is to be summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) algorithm: Algorithm,
    /// Of the whole, and not of the sums of its parts.
    of_whole: bool,
}

impl Sums {
    /// As the beginning of an upload says it.
    pub(super) fn said(
        algorithm: Option<&ChecksumAlgorithm>,
        kind: Option<&ChecksumType>,
    ) -> S3Result<Option<Self>> {
        let Some(name) = algorithm else {
            return match kind {
                None => Ok(None),
                Some(_) => Err(invalid("a type of checksum needs an algorithm")),
            };
        };
        let unknown = || S3Error::with_message(S3ErrorCode::NotImplemented, "the checksum is not known here");
        let algorithm = Algorithm::named(name.as_str()).ok_or_else(unknown)?;
        let only_whole = algorithm == Algorithm::Crc64Nvme;
        let of_whole = match kind.map(ChecksumType::as_str) {
            None => only_whole,
            Some(COMPOSITE) if !only_whole => false,
            Some(FULL_OBJECT) if algorithm.sums_whole() => true,
            Some(_) => return Err(invalid("the algorithm does not have this type of checksum")),
        };
        Ok(Some(Self { algorithm, of_whole }))
    }

    pub(super) fn note(&self, headers: &mut BTreeMap<String, String>) {
        headers.insert(ALGORITHM.to_owned(), self.algorithm.name());
        headers.insert(CHECKSUM_TYPE.to_owned(), self.kind().to_owned());
    }

    pub(super) fn noted(headers: &BTreeMap<String, String>) -> Option<Self> {
        let algorithm = Algorithm::named(headers.get(ALGORITHM)?)?;
        let of_whole = headers.get(CHECKSUM_TYPE).is_some_and(|kind| kind == FULL_OBJECT);
        Some(Self { algorithm, of_whole })
    }

    /// What S3 calls the type.
    pub(super) fn kind(self) -> &'static str {
        if self.of_whole { FULL_OBJECT } else { COMPOSITE }
    }
}

/// What a completion says of sums.
pub(super) struct Given {
    whole: BTreeMap<&'static str, String>,
    parts: Vec<(i32, BTreeMap<&'static str, String>)>,
}

impl Given {
    /// # Errors
    /// `InvalidRequest` for a checksum that is none.
    pub(super) fn of(headers: &HeaderMap, parts: &[CompletedPart]) -> S3Result<Self> {
        let text = |algorithm: Algorithm| headers.get(algorithm.header())?.to_str().ok().map(str::to_owned);
        let whole =
            Algorithm::ALL.into_iter().filter_map(|algorithm| Some((algorithm.header(), text(algorithm)?)));
        let of_part = |part: &CompletedPart| {
            let sums = [
                (Algorithm::Crc32, part.checksum_crc32.clone()),
                (Algorithm::Crc32c, part.checksum_crc32c.clone()),
                (Algorithm::Crc64Nvme, part.checksum_crc64nvme.clone()),
                (Algorithm::Sha1, part.checksum_sha1.clone()),
                (Algorithm::Sha256, part.checksum_sha256.clone()),
            ];
            let sums = sums.into_iter().filter_map(|(algorithm, sum)| Some((algorithm.header(), sum?)));
            (part.part_number.unwrap_or_default(), sums.collect())
        };
        let given = Self { whole: whole.collect(), parts: parts.iter().map(of_part).collect() };
        given.check()?;
        Ok(given)
    }

    fn check(&self) -> S3Result<()> {
        for algorithm in Algorithm::ALL {
            if let Some(whole) = self.whole.get(algorithm.header()) {
                // A sum of sums says of how many.
                let counted = whole.split_once('-').filter(|(_, count)| count.parse::<u16>().is_ok());
                algorithm.require_sum(counted.map_or(whole.as_str(), |(sum, _)| sum))?;
            }
            let of_parts = self.parts.iter().filter_map(|(_, sums)| sums.get(algorithm.header()));
            of_parts.into_iter().try_for_each(|sum| algorithm.require_sum(sum))?;
        }
        Ok(())
    }
}

impl Store {
    /// What the whole must be, and the headers of a sum of its parts.
    pub(super) async fn sums_of(
        &self,
        permit: &Permit<Update>,
        upload: &UploadRef,
        given: Given,
        length: Option<i64>,
    ) -> S3Result<(Announced, Option<BTreeMap<String, String>>)> {
        let (info, _, _) = self.page_of(permit, upload, 0, PageLimit::clamped(1)).await?;
        let Some(sums) = Sums::noted(&info.headers) else {
            // Whoever began without an algorithm may still say what the whole must be.
            let said =
                Algorithm::ALL.into_iter().find(|algorithm| given.whole.contains_key(algorithm.header()));
            let announced = match said {
                Some(algorithm) => {
                    Announced::to_be_summed(algorithm, given.whole.get(algorithm.header()).cloned(), length)?
                }
                None => Announced::of_length(length)?,
            };
            return Ok((announced, None));
        };
        let header = sums.algorithm.header();
        let said = given.whole.get(header).cloned();
        let stored = self.all_parts(permit, upload).await?;
        for (number, sums) in &given.parts {
            let part = numbered(&stored, *number);
            let differs = |(header, sum): (&&str, &String)| {
                part.and_then(|part| part.headers.get(*header)).is_some_and(|known| known != sum)
            };
            if sums.iter().any(differs) {
                let message = "a part has another checksum";
                return Err(S3Error::with_message(S3ErrorCode::InvalidPart, message));
            }
        }
        if sums.of_whole {
            return Ok((Announced::to_be_summed(sums.algorithm, said, length)?, None));
        }
        let composite = composite(sums.algorithm, &given.parts, &stored);
        if let (Some(said), Some(found)) = (&said, &composite)
            && said != found
        {
            let message = "the parts have another checksum";
            return Err(S3Error::with_message(S3ErrorCode::BadDigest, message));
        }
        let headers = composite.map(|sum| BTreeMap::from([(header.to_owned(), sum)]));
        Ok((Announced::of_length(length)?, headers))
    }

    async fn page_of(
        &self,
        permit: &Permit<Update>,
        upload: &UploadRef,
        after: u16,
        limit: PageLimit,
    ) -> S3Result<(cm_kernel::objects::UploadInfo, Vec<PartInfo>, bool)> {
        self.kernel.objects().list_parts(permit, upload, after, limit).await.map_err(failure::object)
    }

    async fn all_parts(&self, permit: &Permit<Update>, upload: &UploadRef) -> S3Result<Vec<PartInfo>> {
        let mut all: Vec<PartInfo> = Vec::new();
        loop {
            let after = all.last().map_or(0, |part| part.number);
            let (_, page, more) = self.page_of(permit, upload, after, PageLimit::MAX).await?;
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }
}

/// A part by its number; they are in order.
fn numbered(stored: &[PartInfo], number: i32) -> Option<&PartInfo> {
    let at = stored.binary_search_by_key(&number, |part| i32::from(part.number)).ok()?;
    stored.get(at)
}

/// The sum of the parts' sums, and how many there are; `None` unless all are known.
fn composite(
    algorithm: Algorithm,
    chosen: &[(i32, BTreeMap<&'static str, String>)],
    stored: &[PartInfo],
) -> Option<String> {
    let mut all = Vec::new();
    for (number, _) in chosen {
        let part = numbered(stored, *number)?;
        all.extend(STANDARD.decode(part.headers.get(algorithm.header())?).ok()?);
    }
    Some(format!("{}-{}", algorithm.sum(&all), chosen.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_have_the_types_that_they_can_have() {
        let check = |algorithm: &str, kind: Option<&str>, expected: Option<&str>| {
            let kind = kind.map(|kind| ChecksumType::from(kind.to_owned()));
            let said = Sums::said(Some(&ChecksumAlgorithm::from(algorithm.to_owned())), kind.as_ref());
            assert_eq!(said.ok().flatten().map(Sums::kind), expected, "{algorithm} {kind:?}");
        };
        check("CRC32", None, Some(COMPOSITE));
        check("CRC32C", Some(FULL_OBJECT), Some(FULL_OBJECT));
        check("CRC64NVME", None, Some(FULL_OBJECT));
        check("CRC64NVME", Some(COMPOSITE), None);
        check("SHA256", Some(FULL_OBJECT), None);
        check("MD4", None, None);
    }

    #[test]
    fn what_is_given_are_sums() {
        let check = |whole: Option<&str>, part: Option<&str>, expected: bool| {
            let whole = whole.map(|sum| (Algorithm::Sha256.header().parse().unwrap(), sum.parse().unwrap()));
            let headers: HeaderMap = whole.into_iter().collect();
            let part = CompletedPart { checksum_sha256: part.map(str::to_owned), ..CompletedPart::default() };
            let code = Given::of(&headers, &[part]).err().map(|error| error.code().as_str().to_owned());
            assert_eq!(code.as_deref(), (!expected).then_some("InvalidRequest"), "{headers:?}");
        };
        let sum = Algorithm::Sha256.sum(b"content");
        check(None, None, true);
        check(Some(&sum), Some(&sum), true);
        check(Some(&format!("{sum}-3")), None, true);
        check(Some(&format!("{sum}-x")), None, false);
        check(Some("bad"), None, false);
        check(Some("bad-3"), None, false);
        check(None, Some("bad"), false);
        // Those of other algorithms are shorter or longer.
        check(None, Some(&Algorithm::Sha1.sum(b"content")), false);
    }
}
