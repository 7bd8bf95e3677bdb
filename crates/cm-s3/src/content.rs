//! Bodies, and what was announced of them: their length, their checksums.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{Extensions, HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cm_crypto::secret::constant_time_eq;
use cm_kernel::objects::LateHeaders;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use http_body::Body as HttpBody;
use s3s::checksum::ChecksumHasher;
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders};

use crate::codes::Code;
use crate::framing::Trailers;

/// Says that a stored checksum is of the whole object.
pub(crate) const CHECKSUM_TYPE: &str = "x-amz-checksum-type";
pub(crate) const FULL_OBJECT: &str = "FULL_OBJECT";
const TRAILER: &str = "x-amz-trailer";
const PREFIX: &str = "x-amz-checksum-";
/// What headers that begin so say besides a sum.
const NO_SUMS: [&str; 3] = ["x-amz-checksum-algorithm", CHECKSUM_TYPE, "x-amz-checksum-mode"];
/// Ways of S3 that are not to be had here.
const UNSERVED: [&str; 5] = ["md5", "sha512", "xxhash3", "xxhash64", "xxhash128"];
/// What a client says that its library sums up.
const SDK_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";

/// A body as the adapter takes it.
pub(crate) fn body<B>(body: B) -> s3s::Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Box<dyn std::error::Error + Send + Sync>: From<B::Error>,
{
    s3s::Body::http_body_unsync(body)
}

/// The ways in which S3 sums contents up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// CRC-32 of ISO-HDLC.
    Crc32,
    /// CRC-32C.
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The algorithm by its name in S3.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| {
            algorithm.header().strip_prefix(PREFIX).is_some_and(|known| known.eq_ignore_ascii_case(name))
        })
    }

    /// Its name in S3.
    pub fn name(self) -> String {
        self.header().strip_prefix(PREFIX).unwrap_or_default().to_ascii_uppercase()
    }

    /// Whether sums of parts say what the sum of the whole is.
    pub fn sums_whole(self) -> bool {
        matches!(self, Self::Crc32 | Self::Crc32c | Self::Crc64Nvme)
    }

    /// Whether a text is such a sum, right or wrong: in base64, and as long as it must be.
    pub fn is_sum(self, text: &str) -> bool {
        let bytes = match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        };
        STANDARD.decode(text).is_ok_and(|sum| sum.len() == bytes)
    }

    /// Takes what is a sum.
    ///
    /// # Errors
    /// `InvalidRequest` for what is none.
    pub(crate) fn require_sum(self, text: &str) -> S3Result<()> {
        if self.is_sum(text) {
            return Ok(());
        }
        let message = format!("the value of `{}` is no such checksum", self.header());
        Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message))
    }

    /// The sum of some bytes, as headers have it.
    pub fn sum(self, bytes: &[u8]) -> String {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        self.of(hasher.finalize()).unwrap_or_default()
    }

    /// The header that carries such a sum.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    fn hasher(self) -> ChecksumHasher {
        use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
        let mut hasher = ChecksumHasher::default();
        match self {
            Self::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Self::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
        hasher
    }

    fn of(self, sums: Checksum) -> Option<String> {
        match self {
            Self::Crc32 => sums.checksum_crc32,
            Self::Crc32c => sums.checksum_crc32c,
            Self::Crc64Nvme => sums.checksum_crc64nvme,
            Self::Sha1 => sums.checksum_sha1,
            Self::Sha256 => sums.checksum_sha256,
        }
    }
}

/// A checksum that a body must have.
struct Sum {
    algorithm: Algorithm,
    hasher: ChecksumHasher,
    expected: Expected,
}

/// What a sum must be.
enum Expected {
    /// This.
    Given(String),
    /// What follows the body.
    Trailing,
    /// Whatever it is: it is to be found out.
    Any,
}

/// What a body must be.
pub(crate) struct Announced {
    length: Option<u64>,
    sum: Option<Sum>,
    trailers: (Option<TrailingHeaders>, Option<Trailers>),
    late: LateHeaders,
}

impl Announced {
    /// What headers say of the body that follows them.
    ///
    /// # Errors
    /// `InvalidRequest` if they contradict each other or a checksum is none, `NotImplemented` for unknown checksums.
    pub(crate) fn of(
        headers: &HeaderMap,
        length: Option<i64>,
        trailers: (Option<TrailingHeaders>, Option<Trailers>),
    ) -> S3Result<Self> {
        let length = length.map(u64::try_from).transpose().map_err(|_| invalid("the length is negative"))?;
        Ok(Self { length, sum: sum(headers)?, trailers, late: LateHeaders::default() })
    }

    /// A sum that is to be found out, and compared if one is given.
    ///
    /// # Errors
    /// `InvalidRequest` if what is given is none.
    pub(crate) fn to_be_summed(
        algorithm: Algorithm,
        given: Option<String>,
        length: Option<i64>,
    ) -> S3Result<Self> {
        let length = length.map(u64::try_from).transpose().map_err(|_| invalid("the length is negative"))?;
        if let Some(given) = &given {
            algorithm.require_sum(given)?;
        }
        let expected = given.map_or(Expected::Any, Expected::Given);
        let sum = Some(Sum { algorithm, hasher: algorithm.hasher(), expected });
        Ok(Self { length, sum, trailers: (None, None), late: LateHeaders::default() })
    }

    /// Without a sum.
    pub(crate) fn of_length(length: Option<i64>) -> S3Result<Self> {
        let length = length.map(u64::try_from).transpose().map_err(|_| invalid("the length is negative"))?;
        Ok(Self { length, sum: None, trailers: (None, None), late: LateHeaders::default() })
    }

    /// What sums the body up, if anything does.
    pub(crate) fn algorithm(&self) -> Option<Algorithm> {
        self.sum.as_ref().map(|sum| sum.algorithm)
    }

    /// The same, with a sum that is to be found out.
    pub(crate) fn summed_by(self, algorithm: Algorithm) -> Self {
        let sum = Sum { algorithm, hasher: algorithm.hasher(), expected: Expected::Any };
        Self { sum: Some(sum), ..self }
    }

    /// The headers that the content has once it has been seen: its checksum.
    pub(crate) fn late_headers(&self) -> LateHeaders {
        self.late.clone()
    }

    pub(crate) fn take(&mut self, bytes: &Bytes) -> S3Result<()> {
        if let Some(length) = &mut self.length {
            *length = length.checked_sub(bytes.len() as u64).ok_or_else(incomplete)?;
        }
        if let Some(sum) = &mut self.sum {
            sum.hasher.update(bytes);
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> S3Result<()> {
        if self.length.is_some_and(|missing| missing > 0) {
            return Err(incomplete());
        }
        let Some(Sum { algorithm, hasher, expected }) = self.sum.take() else { return Ok(()) };
        let found = algorithm.of(hasher.finalize()).unwrap_or_default();
        let expected = match expected {
            Expected::Given(expected) => expected,
            Expected::Any => found.clone(),
            Expected::Trailing => {
                let trailer = self.trailer(algorithm);
                let trailer =
                    trailer.ok_or_else(|| Code::MalformedTrailer.error("the checksum is missing"))?;
                algorithm.require_sum(&trailer)?;
                trailer
            }
        };
        if !constant_time_eq(found.as_bytes(), expected.as_bytes()) {
            let message = format!("the body has another {}", algorithm.header());
            return Err(S3Error::with_message(S3ErrorCode::BadDigest, message));
        }
        let named = [(algorithm.header(), found), (CHECKSUM_TYPE, FULL_OBJECT.to_owned())];
        let named: BTreeMap<_, _> = named.map(|(name, value)| (name.to_owned(), value)).into();
        // Set once: a body ends once.
        let _ = self.late.set(named);
        Ok(())
    }

    fn trailer(&self, algorithm: Algorithm) -> Option<String> {
        let (adapters, ours) = &self.trailers;
        let text = |trailers: &HeaderMap| {
            trailers.get(algorithm.header()).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let adapters = adapters.as_ref().and_then(TrailingHeaders::take);
        adapters.as_ref().and_then(text).or_else(|| ours.as_ref()?.0.get().and_then(text))
    }
}

/// What refuses a checksum that nobody here would compare.
fn unknown(header: &str) -> S3Error {
    let name = header.strip_prefix(PREFIX).unwrap_or(header);
    match UNSERVED.contains(&name) {
        true => S3Error::with_message(S3ErrorCode::NotImplemented, "the checksum is not to be had here"),
        false => invalid("the checksum is not known"),
    }
}

/// Refuses headers with checksums that nobody here would compare: who sends one relies on it.
///
/// # Errors
/// `NotImplemented` for those that S3 has, `InvalidRequest` for others.
pub(crate) fn refuse_unknown_sums(headers: &HeaderMap) -> S3Result<()> {
    let is_known = |name: &str| {
        NO_SUMS.contains(&name) || Algorithm::ALL.into_iter().any(|algorithm| algorithm.header() == name)
    };
    let mut names = headers.keys().map(HeaderName::as_str);
    match names.find(|name| name.starts_with(PREFIX) && !is_known(name)) {
        Some(name) => Err(unknown(name)),
        None => Ok(()),
    }
}

/// The one checksum that is announced, before or behind the body.
fn sum(headers: &HeaderMap) -> S3Result<Option<Sum>> {
    refuse_unknown_sums(headers)?;
    let mut sums = Vec::new();
    for algorithm in Algorithm::ALL {
        if let Some(value) = headers.get(algorithm.header()) {
            let value = value.to_str().map_err(|_| invalid("the checksum is unreadable"))?;
            algorithm.require_sum(value)?;
            sums.push((algorithm, Expected::Given(value.to_owned())));
        }
    }
    let announced = headers.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
    for name in announced.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()) {
        match Algorithm::ALL.into_iter().find(|algorithm| algorithm.header() == name) {
            Some(algorithm) => sums.push((algorithm, Expected::Trailing)),
            None if name.starts_with(PREFIX) => return Err(unknown(&name)),
            None => {}
        }
    }
    if sums.len() > 1 {
        return Err(invalid("a body has one checksum"));
    }
    if let Some(named) = headers.get(SDK_ALGORITHM).map(|value| value.to_str().unwrap_or_default()) {
        let named =
            Algorithm::named(named).ok_or_else(|| invalid("the checksum algorithm is not known here"))?;
        if sums.iter().any(|(algorithm, _)| *algorithm != named) {
            return Err(invalid("the checksum is of another algorithm than was said"));
        }
    }
    Ok(sums.pop().map(|(algorithm, expected)| Sum { algorithm, hasher: algorithm.hasher(), expected }))
}

/// The body as far as it is what was announced, and if `confirm` says so at its end.
pub(crate) fn checked(
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    announced: Announced,
    confirm: impl Future<Output = S3Result<()>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let state = Some((body.boxed(), announced, Box::pin(confirm)));
    stream::unfold(state, |state| async move {
        let (mut body, mut announced, confirm) = state?;
        let refused = |error: S3Error| Some((Err(io::Error::other(error)), None));
        match body.next().await {
            Some(Ok(bytes)) => match announced.take(&bytes) {
                Ok(()) => Some((Ok(bytes), Some((body, announced, confirm)))),
                Err(error) => refused(error),
            },
            Some(Err(error)) => Some((Err(error), None)),
            None => match announced.finish() {
                Ok(()) => confirm.await.err().and_then(refused),
                Err(error) => refused(error),
            },
        }
    })
    .fuse()
}

/// A content on its way past the adapter, which would hash it on a thread that serves connections: whoever stores it computes that digest anyway,
/// and compares it with what was announced.
#[derive(Clone)]
pub(crate) struct Aside(Arc<Mutex<Option<Pieces>>>);

type Pieces = BoxStream<'static, io::Result<Bytes>>;

impl Aside {
    pub(crate) fn new(pieces: Pieces) -> Self {
        Self(Arc::new(Mutex::new(Some(pieces))))
    }

    fn take(&self) -> Option<Pieces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The content that came with a request, beside the adapter or through it; empty if none did.
pub(crate) fn received(beside: &Extensions, through: Option<StreamingBlob>) -> Pieces {
    if let Some(pieces) = beside.get::<Aside>().and_then(Aside::take) {
        return pieces.map(|piece| piece.map_err(|error| io::Error::other(own(error.into())))).boxed();
    }
    stream::iter(through).flatten().map(|piece| piece.map_err(|error| io::Error::other(own(error)))).boxed()
}

/// What refused a body: one of our own checks, or else whatever broke it.
pub(crate) fn own(error: Box<dyn std::error::Error + Send + Sync>) -> S3Error {
    let error = match error.downcast::<io::Error>() {
        Ok(error) if error.get_ref().is_none() => return broken(&*error),
        Ok(error) => error.into_inner().unwrap_or_else(|| "nothing is known of it".into()),
        Err(error) => error,
    };
    match error.downcast::<S3Error>() {
        Ok(own) => *own,
        Err(error) => broken(&*error),
    }
}

/// What ended a body before its time. The adapter's own errors are known by their words only.
fn broken(error: &(dyn std::error::Error + 'static)) -> S3Error {
    let text = error.to_string();
    let said = |words: &str| text.contains(words);
    let message = "the body is not what was announced, or did not arrive";
    let code = match () {
        () if said("SignatureMismatch") => S3ErrorCode::SignatureDoesNotMatch,
        () if said("Sha256Mismatch") => return Code::ContentSha256Mismatch.error(message),
        () if said("timed out") => S3ErrorCode::RequestTimeout,
        () => S3ErrorCode::IncompleteBody,
    };
    S3Error::with_message(code, message)
}

fn incomplete() -> S3Error {
    S3Error::with_message(S3ErrorCode::IncompleteBody, "the body is not as long as announced")
}

pub(crate) fn invalid(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests;
