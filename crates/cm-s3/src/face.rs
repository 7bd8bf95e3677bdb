//! The routes, and the way through the adapter.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header, request};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use cm_http::{Deadline, Failure, FailureClass, KeptAsSaid, Peer, RequestLimits, Upload, frame};
use cm_kernel::{Access, Actor, Kernel, OpContext};
use cm_types::{BucketName, RequestId, TenantId};
use futures::{Stream, StreamExt, TryStreamExt};
use http_body_util::StreamBody;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;

use crate::caller::{AskingTenant, Caller, Door, Keys};
use crate::content::Aside;
use crate::cors::{self, Page};
use crate::documents::Document;
use crate::forms::{self, Form};
use crate::framing::{Frames, Mode};
use crate::gate::{self, Framed};
use crate::host::Domain;
use crate::operations::{self, Store};
use crate::refused::{self, Refusals};
use crate::tolerance::Tolerance;
use crate::{circumstances, content, expectation, failure, subresources, version_two, xml};

/// The name of a request, under the header that clients of S3 report.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

#[derive(Clone)]
struct Face {
    kernel: Kernel,
    access: Access,
    adapter: S3Service,
    store: Store,
    refusals: Arc<Refusals>,
    domain: Option<Domain>,
}

/// The routes. Below a domain, hosts are buckets.
pub fn router(kernel: Kernel, access: Access, limits: RequestLimits, domain: Option<Domain>) -> Router {
    let store = Store::new(kernel.clone());
    let mut adapter = S3ServiceBuilder::new(store.clone());
    adapter.set_validation(Names);
    let mut behind = S3ServiceBuilder::new(store.clone());
    behind.set_validation(Names);
    let mut door = None;
    if let Access::Credential = access {
        if let Some(domain) = &domain {
            behind.set_host(domain.clone());
            adapter.set_host(domain.clone());
        }
        adapter.set_auth(Keys::new(kernel.clone()));
        adapter.set_access(Door::new(kernel.clone()));
        door = Some(Door::new(kernel.clone()));
    }
    adapter.set_route(Tolerance::new(door, behind.build()));
    let tasks = kernel.tasks().clone();
    let refusals = Arc::new(Refusals::new(kernel.clock().monotonic()));
    let face = Face { kernel, access, adapter: adapter.build(), store, refusals, domain };
    let routes = Router::new().route("/", any(answer)).route("/{*path}", any(answer)).with_state(face);
    // Around everything, since refusals are answers too.
    frame(routes, limits, failure::shape, &tasks).layer(middleware::from_fn(expectation::settle))
}

/// Names are what they are elsewhere on the node: a bucket that the native API made can be reached.
struct Names;

impl NameValidation for Names {
    fn validate_bucket_name(&self, name: &str) -> bool {
        BucketName::parse(name).is_ok()
    }
}

async fn answer(State(face): State<Face>, deadline: Deadline, request: Request) -> Result<Response, Failure> {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(RequestId::random);
    let (mut request, mut signed_address) = (request, None);
    let place = Domain::place(face.domain.as_ref(), &request);
    request.extensions_mut().insert(place);
    if let Some(seen) = face.domain.as_ref().and_then(|domain| domain.path_style(&request)) {
        let address = std::mem::replace(request.uri_mut(), seen);
        // Where nothing is signed, the adapter is shown paths only.
        signed_address = matches!(face.access, Access::Credential).then_some(address);
    }
    let (request, framed) = match &face.access {
        Access::Credential => gate::examine(request)?,
        Access::Open(_) => gate::strip(request)?,
    };
    // Bodies are bounded by their pace, and what is done without one, such as copying, by the size of objects.
    if !request.method().is_safe() {
        deadline.lift();
    }
    let key = refused::key_of(&request);
    let is_form = forms::is_form(&request);
    let (parts, body) = request.into_parts();
    if parts.method == Method::OPTIONS {
        // Browsers ask without credentials, but show the address, which may be signed: the bucket is of whoever signed it.
        let signer = refused::holder_of(&face.kernel, key.as_deref()).await;
        let tenant = signer.as_ref().and_then(Actor::facts).map(|facts| facts.tenant.clone());
        return cors::preflight(&face.kernel, &tenant.unwrap_or_else(TenantId::default_tenant), &parts).await;
    }
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    // Of whoever signed it is known later who they are, and then decided: whoever administers the first tenant is refused nowhere.
    if key.is_none() && !is_form {
        let actor = match &face.access {
            Access::Open(actor) => actor,
            Access::Credential => &Actor::Anonymous,
        };
        let admitted = face.kernel.admit(peer, actor);
        admitted.map_err(|refused| Failure::new(FailureClass::Forbidden, refused.to_string()))?;
    }
    let circumstances = circumstances::of(&parts, peer, face.kernel.now());
    let (page, tenant) = (Page::of(&parts), AskingTenant::default());
    let mut op = OpContext::new(Actor::Anonymous, id.clone(), face.kernel.tasks().token().child_token())
        .asked_at(face.kernel.now(), peer, None);
    // Whoever signs is looked up, which waits for the same.
    if key.is_none() {
        face.kernel.freshen().await.map_err(|error| {
            let later = Failure::new(FailureClass::Unavailable, "try again later");
            later.with_retry_after(Duration::from_secs(2)).with_cause(error)
        })?;
    }
    // Whoever does not sign is of the first tenant.
    let policies = face.kernel.policies_of(&op.tenant()).await;
    op.anonymous_policies = policies
        .map_err(|_| Failure::new(FailureClass::Unavailable, "the permission policies cannot be read now"))?;
    if is_form {
        let body = paced(Request::from_parts(parts.clone(), body)).await;
        let is_open = matches!(face.access, Access::Open(_));
        if let Access::Open(actor) = &face.access {
            op.actor = actor.clone();
        }
        let form = Form { store: &face.store, kernel: &face.kernel, op: op.clone(), circumstances, is_open };
        let (mut answer, key) = form.take(&parts, body).await;
        answer = face.refusals.note(&face.kernel, &op, key.as_deref(), answer).await;
        if let Some(page) = page {
            page.admit(&face.kernel, &tenant.get(), answer.headers_mut()).await;
        }
        answer.headers_mut().insert(REQUEST_ID, name_of(&id));
        return Ok(answer);
    }
    if matches!(face.access, Access::Credential)
        && let Err(refused) = version_two::verify(&face.kernel, &parts).await
    {
        face.refusals.record(&face.kernel, &op, key.as_deref(), version_two::MISMATCH).await;
        return Err(refused);
    }
    let asks_attributes = is_of_attributes(&parts.method, &parts.uri);
    // Bodies that stay framed are looked at by the adapter, which does not take documents in such.
    let is_bare = matches!(framed, Framed::Plain | Framed::Chunks(Mode::Remove, _));
    let document = Document::of(&parts).filter(|_| is_bare);
    let wrong = document.as_ref().map(Document::wrong).unwrap_or_default();
    let (path, is_head) = (parts.uri.path().to_owned(), parts.method == Method::HEAD);
    let asked = xml::Asked::of(&path, &parts.headers);
    let kind_of_body = subresources::body(&parts.method, &parts.uri);
    let reads_object = subresources::reads_object(&parts.method, &parts.uri);
    let mut request = into_adapter(Request::from_parts(parts, body), framed, document).await;
    if let Some(address) = signed_address {
        *request.uri_mut() = address;
    }
    if let Access::Open(actor) = &face.access {
        op.actor = actor.clone();
        request.extensions_mut().insert(Caller::open(op.clone(), circumstances));
    } else {
        request.extensions_mut().insert(circumstances);
    }
    request.extensions_mut().insert(kind_of_body);
    request.extensions_mut().insert(tenant.clone());
    request.extensions_mut().insert(op.clone());
    let answered =
        face.adapter.call(request).await.map_err(|error| Failure::internal(format!("{error:?}")))?;
    let mut answer = answered.map(Body::new).into_response();
    answer = face.refusals.note(&face.kernel, &op, key.as_deref(), answer).await;
    if asks_attributes && answer.status() == StatusCode::OK {
        answer = operations::with_bare_tag(answer).await;
    }
    if let Some(error) = wrong.get() {
        answer = failure::answer(error, &path, id.as_str());
    }
    if is_head && answer.status() == StatusCode::OK && answer.headers().contains_key(header::CONTENT_RANGE) {
        // The adapter says so of reads only.
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if answer.status() == StatusCode::NOT_MODIFIED {
        // The adapter made an error of it, with a body.
        *answer.body_mut() = Body::empty();
        answer.headers_mut().remove(header::CONTENT_TYPE);
    }
    if reads_object && (answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED) {
        // Its writer said how it may be kept, or nothing.
        answer.extensions_mut().insert(KeptAsSaid);
    } else {
        answer = xml::readable(answer, &asked, id.as_str()).await;
    }
    if let Some(page) = page {
        page.admit(&face.kernel, &tenant.get(), answer.headers_mut()).await;
    }
    answer.headers_mut().insert(REQUEST_ID, name_of(&id));
    Ok(answer)
}

/// Whether this asks for the attributes of an object: of a bucket, the parameter means nothing.
fn is_of_attributes(method: &Method, uri: &Uri) -> bool {
    let mut names = uri.query().unwrap_or_default().split('&').map(|pair| pair.split('=').next());
    let key = uri.path().trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    method == Method::GET && !key.is_empty() && names.any(|name| name == Some("attributes"))
}

fn name_of(id: &RequestId) -> HeaderValue {
    HeaderValue::from_str(id.as_str()).expect("ids are visible ASCII")
}

/// A body that must keep flowing.
async fn paced(request: Request) -> impl Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static {
    let Ok(upload) = Upload::from_request(request, &()).await;
    upload.into_stream()
}

/// The request as the adapter takes it, its body as a stream that must keep flowing.
async fn into_adapter(request: Request, framed: Framed, document: Option<Document>) -> s3s::HttpRequest {
    let is_empty = axum::body::HttpBody::is_end_stream(request.body());
    let (parts, body) = request.into_parts();
    let document = if is_empty { document.and_then(Document::empty) } else { document };
    if is_empty && document.is_none() {
        return Request::from_parts(parts, s3s::Body::empty());
    }
    let mut paced = Request::new(body);
    *paced.extensions_mut() = parts.extensions.clone();
    let Ok(upload) = Upload::from_request(paced, &()).await;
    let stream = upload.into_stream();
    let is_framed = matches!(framed, Framed::Chunks(..));
    let stream = match framed {
        Framed::Plain => stream.boxed(),
        Framed::Chunks(mode, trailers) => Frames::new(stream, mode, trailers).boxed(),
    };
    let stream = match document {
        Some(document) => document.checked(stream),
        None if is_hashed_once(&parts, is_framed) => {
            let mut request = Request::from_parts(parts, s3s::Body::empty());
            request.extensions_mut().insert(Aside::new(stream));
            return request;
        }
        None => stream,
    };
    Request::from_parts(parts, content::body(StreamBody::new(stream.map_ok(http_body::Frame::data))))
}

/// Whether this is a content of which the digest was announced: whoever stores it compares that.
fn is_hashed_once(parts: &request::Parts, is_framed: bool) -> bool {
    // The adapter demands a length, which it would take from the body if the header were missing.
    subresources::body(&parts.method, &parts.uri) == subresources::Body::Content
        && !is_framed
        && parts.headers.contains_key(header::CONTENT_LENGTH)
        && operations::announced_sha256(&parts.headers).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_have_attributes() {
        for (uri, is_of_them) in [
            ("/scans/a/b?attributes", true),
            ("/scans/a?versionId=null&attributes=", true),
            ("/scans/a?attribute", false),
            ("/scans?attributes", false),
            ("/scans/?list-type=2&attributes", false),
            ("/?attributes", false),
        ] {
            assert_eq!(is_of_attributes(&Method::GET, &uri.parse().unwrap()), is_of_them, "{uri}");
        }
        assert!(!is_of_attributes(&Method::PUT, &Uri::from_static("/scans/a?attributes")));
    }
}
