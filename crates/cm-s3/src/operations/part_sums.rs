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
use crate::content::{Algorithm, Announced, CHECKSUM_TYPE, FULL_OBJECT, invalid, refuse_unknown_sums};
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
        let algorithm = Algorithm::named(name.as_str())
            .ok_or_else(|| invalid("the checksum algorithm is not known here"))?;
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

    /// What a part of the upload must be: summed up in the way of the whole, by its sender if its sum makes up that of the whole.
    ///
    /// # Errors
    /// `InvalidRequest`.
    pub(super) fn of_part(self, announced: Announced) -> S3Result<Announced> {
        match announced.algorithm() {
            Some(algorithm) if algorithm == self.algorithm => Ok(announced),
            None if self.of_whole => Ok(announced.summed_by(self.algorithm)),
            other => {
                let other =
                    other.map_or("null".to_owned(), |algorithm| algorithm.name().to_ascii_lowercase());
                let message = format!(
                    "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {other}",
                    self.algorithm.name().to_ascii_lowercase()
                );
                Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message))
            }
        }
    }

    /// Refuses a completion that says less or other than the beginning demands.
    fn check(self, given: &Given) -> S3Result<()> {
        if given.kind.as_deref().is_some_and(|kind| kind != self.kind()) {
            let message = "the upload was begun with another type of checksum";
            return Err(S3Error::with_message(S3ErrorCode::BadDigest, message));
        }
        let header = self.algorithm.header();
        let unsummed = given.parts.iter().find(|(_, sums)| !sums.contains_key(header));
        match unsummed.filter(|_| !self.of_whole) {
            None => Ok(()),
            Some((number, _)) => {
                let message = format!(
                    "The upload was created using a {} checksum. The complete request must include the checksum for each part. \
                     It was missing for part {number} in the request.",
                    self.algorithm.name().to_ascii_lowercase()
                );
                Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message))
            }
        }
    }

    /// What S3 calls the type.
    pub(super) fn kind(self) -> &'static str {
        if self.of_whole { FULL_OBJECT } else { COMPOSITE }
    }
}

/// What a completion says of sums.
pub(super) struct Given {
    kind: Option<String>,
    whole: BTreeMap<&'static str, String>,
    parts: Vec<(i32, BTreeMap<&'static str, String>)>,
}

impl Given {
    /// # Errors
    /// `InvalidRequest` for a checksum that is none.
    pub(super) fn of(headers: &HeaderMap, parts: &[CompletedPart]) -> S3Result<Self> {
        refuse_unknown_sums(headers)?;
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
        let kind =
            headers.get(CHECKSUM_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
        let given = Self { kind, whole: whole.collect(), parts: parts.iter().map(of_part).collect() };
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
        let begun = self.sums_begun(permit, upload).await?;
        if let Some(sums) = begun {
            sums.check(&given)?;
        }
        let stored = match begun.is_some() || length.is_some() {
            true => self.all_parts(permit, upload).await?,
            false => Vec::new(),
        };
        if length.is_some_and(|length| size_of(&given, &stored).is_some_and(|size| length != size)) {
            return Err(invalid("the parts are longer or shorter than the object was to be"));
        }
        let Some(sums) = begun else {
            // Whoever began without an algorithm may still say what the whole must be.
            let said =
                Algorithm::ALL.into_iter().find(|algorithm| given.whole.contains_key(algorithm.header()));
            let announced = match said {
                Some(algorithm) => {
                    Announced::to_be_summed(algorithm, given.whole.get(algorithm.header()).cloned(), None)?
                }
                None => Announced::of_length(None)?,
            };
            return Ok((announced, None));
        };
        let header = sums.algorithm.header();
        let said = given.whole.get(header).cloned();
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
            return Ok((Announced::to_be_summed(sums.algorithm, said, None)?, None));
        }
        let composite = composite(sums.algorithm, &given.parts, &stored);
        if let (Some(said), Some(found)) = (&said, &composite)
            && said != found
        {
            let message = "the parts have another checksum";
            return Err(S3Error::with_message(S3ErrorCode::BadDigest, message));
        }
        let headers = composite.map(|sum| BTreeMap::from([(header.to_owned(), sum)]));
        Ok((Announced::of_length(None)?, headers))
    }

    /// How an upload was begun to be summed up.
    pub(super) async fn sums_begun(
        &self,
        permit: &Permit<Update>,
        upload: &UploadRef,
    ) -> S3Result<Option<Sums>> {
        let (info, _, _) = self.page_of(permit, upload, 0, PageLimit::clamped(1)).await?;
        Ok(Sums::noted(&info.headers))
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

/// How long the chosen parts are; `None` unless all are there.
fn size_of(given: &Given, stored: &[PartInfo]) -> Option<i64> {
    let sizes = given.parts.iter().map(|(number, _)| Some(numbered(stored, *number)?.size));
    i64::try_from(sizes.sum::<Option<u64>>()?).ok()
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

    fn code<T>(outcome: S3Result<T>) -> Option<String> {
        outcome.err().map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn parts_are_summed_up_as_the_whole() {
        let check = |of_whole: bool, algorithm: Option<Algorithm>, expected: Option<&str>| {
            let announced = Announced::of_length(None).unwrap();
            let announced = match algorithm {
                Some(algorithm) => announced.summed_by(algorithm),
                None => announced,
            };
            let taken = Sums { algorithm: Algorithm::Crc32, of_whole }.of_part(announced);
            let found = taken.as_ref().ok().and_then(Announced::algorithm);
            assert_eq!(found.is_some(), expected.is_none(), "{of_whole} {algorithm:?}");
            let message = taken.err().and_then(|error| error.message().map(str::to_owned));
            let expected = expected.map(|actual| {
                format!("Checksum Type mismatch occurred, expected checksum Type: crc32, actual checksum Type: {actual}")
            });
            assert_eq!(message, expected);
        };
        check(false, Some(Algorithm::Crc32), None);
        check(false, Some(Algorithm::Sha1), Some("sha1"));
        check(false, None, Some("null"));
        check(true, Some(Algorithm::Crc32), None);
        check(true, Some(Algorithm::Sha1), Some("sha1"));
        check(true, None, None);
    }

    #[test]
    fn completions_say_what_the_beginning_demands() {
        let check = |of_whole: bool, kind: Option<&str>, sum: Option<&str>, expected: Option<&str>| {
            let sums = sum.map(|sum| (Algorithm::Crc32.header(), sum.to_owned()));
            let given = Given {
                kind: kind.map(str::to_owned),
                whole: BTreeMap::new(),
                parts: vec![(1, sums.into_iter().collect())],
            };
            let found = code(Sums { algorithm: Algorithm::Crc32, of_whole }.check(&given));
            assert_eq!(found.as_deref(), expected, "{of_whole} {kind:?} {sum:?}");
        };
        check(false, None, Some("AAAAAA=="), None);
        check(false, None, None, Some("InvalidRequest"));
        check(false, Some(COMPOSITE), Some("AAAAAA=="), None);
        check(false, Some(FULL_OBJECT), Some("AAAAAA=="), Some("BadDigest"));
        check(true, None, None, None);
        check(true, Some(COMPOSITE), None, Some("BadDigest"));
    }

    #[test]
    fn what_is_given_are_sums() {
        let check = |whole: Option<&str>, part: Option<&str>, expected: bool| {
            let whole = whole.map(|sum| (Algorithm::Sha256.header().parse().unwrap(), sum.parse().unwrap()));
            let headers: HeaderMap = whole.into_iter().collect();
            let part = CompletedPart { checksum_sha256: part.map(str::to_owned), ..CompletedPart::default() };
            assert_eq!(
                code(Given::of(&headers, &[part])).as_deref(),
                (!expected).then_some("InvalidRequest"),
                "{headers:?}"
            );
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
