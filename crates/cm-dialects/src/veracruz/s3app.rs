//! The S3 app: from a bucket of any S3 service into a file of a running instance.
//!
//! | Route | Methods |
//! | --- | --- |
//! | `/s3_stream_veracruz` | `POST` copies an object |
//!
//! The bytes pass through in small pieces, however many there are. The caller lends its credentials for both ends: keys of S3, and a
//! certificate with its key by which the policy of the instance knows it. They are forgotten with the request. The instance is
//! believed if it presents what the policy demands.
//!
//! What fails on the way leaves the file as it was: a program that ran over half of the data would not notice.

mod reach;
mod request;
mod source;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use cm_client::{CertifiedConnection, ClientError, ClientIdentity};
use cm_door::{Caller, refusal};
use cm_functions::FunctionError;
use cm_http::{Asked, Deadline, Failure, FailureClass, Rendered, RequestLimits, Upload};
use cm_instance::policy::POLICY_LEN_MAX;
use cm_instance::{PolicyError, PolicyText};
use cm_kernel::events::{EventVerb, NewEvent, Outcome};
use futures::TryStreamExt;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use self::reach::ConnectError;
pub use self::reach::Endpoints;
use self::request::{Destination, Transfer};
use self::source::{Object, SourceError};
use super::Veracruz;
use super::flask::{self, refused, said};
use crate::failure::function_refusal;

/// Transfers at a time: each holds a connection at both ends and a few MiB.
const TRANSFERS_MAX: usize = 8;
/// When to try again for a place.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// The longest transfer: 4 TiB at 200 MiB/s.
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(6 * 3600);
/// What a request may hold besides its policy: two keys, a certificate, names.
const REQUEST_BYTES_MAX: usize = POLICY_LEN_MAX + (64 << 10);

/// What the transfers share.
#[derive(Clone)]
struct Transfers {
    places: Arc<Semaphore>,
    endpoints: Endpoints,
}

/// Cancelled when nobody waits for the answer any more.
#[derive(Clone)]
struct Gone(CancellationToken);

/// The routes. Objects are fetched from these endpoints only.
pub fn router(veracruz: Veracruz, endpoints: Endpoints, limits: RequestLimits) -> Router {
    let transfers = Transfers { places: Arc::new(Semaphore::new(TRANSFERS_MAX)), endpoints };
    let routes = Router::new().route("/s3_stream_veracruz", post(copy)).layer(Extension(transfers));
    // Around everything: inside, a change that was begun goes on without its client.
    flask::face(routes, veracruz, limits, shape).layer(middleware::from_fn(watch_caller))
}

async fn watch_caller(mut request: Request, next: Next) -> Response {
    let gone = CancellationToken::new();
    let _guard = gone.clone().drop_guard();
    request.extensions_mut().insert(Gone(gone));
    next.run(request).await
}

fn shape(failure: &Failure, asked: &Asked) -> Rendered {
    match failure.class() {
        // Clients look for the sentence behind this status.
        FailureClass::UpstreamFailed => flask::sentence(StatusCode::INTERNAL_SERVER_ERROR, failure.message()),
        _ => flask::shape(failure, asked),
    }
}

async fn copy(
    State(veracruz): State<Veracruz>,
    Extension(transfers): Extension<Transfers>,
    Extension(Gone(gone)): Extension<Gone>,
    caller: Caller,
    deadline: Deadline,
    body: Upload,
) -> Result<Response, Failure> {
    body.require_json().map_err(|_| refused("input should a json object!"))?;
    let transfer = Transfer::decode(&body.read_to_end(REQUEST_BYTES_MAX).await?)?;
    let caller = caller.again(&veracruz.kernel).await?;
    let _place = transfers.places.clone().try_acquire_owned().map_err(|_| {
        Failure::new(FailureClass::TooMany, "too many files are being copied, try again later")
            .with_retry_after(RETRY_AFTER)
    })?;
    // Bounded by the limits of both ends, and by the time of the whole.
    deadline.lift();
    let (bucket, filename) = (transfer.s3.bucket.clone(), transfer.s3.filename.clone());
    let unreadable = |error: SourceError| {
        let message = format!("Not able to read bucket {bucket} file {filename} from S3: {}", error.code());
        Failure::new(FailureClass::UpstreamFailed, message).with_cause(error)
    };
    let work = run(&veracruz, &caller, &transfers, transfer, &gone);
    let outcome = match tokio::time::timeout(TRANSFER_TIME_MAX, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(TransferError::Source(SourceError::Timeout)),
    };
    if let Err(error) = &outcome
        && let Some(address) = error.refused_address()
    {
        note_refusal(&veracruz, &caller, address).await?;
    }
    let copied = outcome.map_err(|error| match error {
        TransferError::Source(error) => unreadable(error),
        TransferError::Unknown(error) => function_refusal(error),
        TransferError::Address(error) => unwritable(error),
        TransferError::Policy(error) => unwritable(error),
        TransferError::Instance(error) => unwritable(*error),
        TransferError::Identity(error) => refused(format!("veracruz: {error}")),
        TransferError::Gone => Failure::new(FailureClass::RequestTimeout, "the caller has gone"),
    })?;
    record(&veracruz, &caller, copied).await?;
    Ok(said("OK video file copied"))
}

fn unwritable(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(FailureClass::UpstreamFailed, "Not able to write file to veracruz instance")
        .with_cause(error)
}

/// What was copied.
struct Copied {
    bucket: String,
    filename: String,
    file: String,
    bytes: u64,
}

async fn record(veracruz: &Veracruz, caller: &Caller, copied: Copied) -> Result<(), Failure> {
    let mut facts = Map::new();
    facts.insert("bucket".to_owned(), copied.bucket.into());
    facts.insert("object".to_owned(), copied.filename.into());
    facts.insert("file".to_owned(), copied.file.into());
    facts.insert("bytes".to_owned(), Value::from(copied.bytes));
    let event = NewEvent {
        tenant: caller.tenant(),
        actor: caller.principal().cloned(),
        verb: EventVerb::fixed("s3-app.copied"),
        resource: None,
        request: Some(caller.request.clone()),
        outcome: Outcome::Allowed,
        facts,
    };
    veracruz.kernel.record_event(event).await.map(drop).map_err(refusal)
}

/// Writes down that somebody wanted the node to connect where it must not.
async fn note_refusal(veracruz: &Veracruz, caller: &Caller, address: &'static str) -> Result<(), Failure> {
    let event = NewEvent {
        actor: caller.principal().cloned(),
        request: Some(caller.request.clone()),
        outcome: Outcome::Denied,
        facts: Map::from_iter([("address".to_owned(), address.into())]),
        ..NewEvent::new(caller.tenant(), EventVerb::fixed("s3-app.refused"))
    };
    veracruz.kernel.record_event(event).await.map(drop).map_err(refusal)
}

/// What ended a transfer.
enum TransferError {
    Source(SourceError),
    /// The text is no policy.
    Policy(PolicyError),
    /// Its address is not connected to.
    Address(ConnectError),
    Instance(Box<ClientError>),
    Identity(Box<ClientError>),
    /// Whether the instance is one of ours cannot be found out.
    Unknown(FunctionError),
    Gone,
}

impl TransferError {
    /// Whose address it was that may not be connected to, if it was that.
    fn refused_address(&self) -> Option<&'static str> {
        match self {
            TransferError::Source(SourceError::NotAllowed) => Some("endpoint"),
            TransferError::Address(ConnectError::NotAllowed) => Some("policy"),
            _ => None,
        }
    }
}

fn instance(error: ClientError) -> TransferError {
    TransferError::Instance(Box::new(error))
}

async fn run(
    veracruz: &Veracruz,
    caller: &Caller,
    transfers: &Transfers,
    transfer: Transfer,
    gone: &CancellationToken,
) -> Result<Copied, TransferError> {
    let Destination { filename: file, policy, certificate, key } = transfer.veracruz;
    let identity = ClientIdentity::from_pem(&certificate, key.expose())
        .map_err(|error| TransferError::Identity(Box::new(error)))?;
    let (bucket, filename) = (transfer.s3.bucket.clone(), transfer.s3.filename.clone());
    let copying = async {
        let object = Object::open(transfer.s3, &transfers.endpoints).await.map_err(TransferError::Source)?;
        let connection = connect(veracruz, caller, &transfers.endpoints, &policy, &identity).await?;
        pump(object, connection, &file).await
    };
    // Given up anywhere, it takes the connection along, and the instance forgets what it has of the file.
    let bytes = tokio::select! {
        copied = copying => copied?,
        () = gone.cancelled() => return Err(TransferError::Gone),
    };
    Ok(Copied { bucket, filename, file, bytes })
}

/// Connects to the instance of a policy. The address in it is the caller's word unless an instance of the catalogue obeys exactly
/// this text: then a node wrote it.
///
/// Whoever asks takes the word of the node that launched the instance, as the earlier app did: what it asks to be copied passes
/// through a node anyway.
async fn connect(
    veracruz: &Veracruz,
    caller: &Caller,
    endpoints: &Endpoints,
    policy: &str,
    identity: &ClientIdentity,
) -> Result<CertifiedConnection, TransferError> {
    let text = PolicyText::new(policy);
    let address = text.parse().map_err(TransferError::Policy)?.veracruz_server_url;
    let is_known = veracruz.functions.is_running_under(caller, &text.hash()).await;
    let is_known = is_known.map_err(TransferError::Unknown)?;
    let tcp = endpoints.connect(&address, is_known).await.map_err(TransferError::Address)?;
    CertifiedConnection::over(tcp, policy, identity, true).await.map_err(instance)
}

/// Sends the object's bytes as they arrive; answers how many they were.
async fn pump(object: Object, mut connection: CertifiedConnection, file: &str) -> Result<u64, TransferError> {
    let size = object.size();
    // The connection only learns that its source failed; this says why.
    let failed = Arc::new(Mutex::new(None));
    let keep = failed.clone();
    let bytes = object.into_stream().map_err(move |error| {
        let told = std::io::Error::other("the source failed");
        *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        told
    });
    let written = connection.write_whole(file, StreamReader::new(Box::pin(bytes)), size).await;
    let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (failed, written) {
        (Some(error), _) => Err(TransferError::Source(error)),
        (None, Ok(())) => Ok(size),
        (None, Err(error)) => Err(instance(error)),
    }
}
