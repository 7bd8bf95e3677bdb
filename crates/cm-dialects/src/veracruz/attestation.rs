//! The attestation service: the routes that the earlier project's platforms call, and those of our own.
//!
//! | Route | Answer |
//! | --- | --- |
//! | `POST /proxy/v1/Start` | 201, a challenge: its name in `Location`, its 32 bytes as the body |
//! | `POST /proxy/v1/FORMAT/ID` | evidence (`token`) and a certificate request (`csr`), both base64 in a multipart form; 200 with the certificate and the authority's, one behind the other, in DER |
//! | `POST /attestation/v1/challenges` | 201, a challenge in JSON |
//! | `POST /attestation/v1/appraisals` | evidence in JSON; 200 with a signed result, and a certificate if one is asked for |
//! | `GET /attestation/v1/keys` | what verifies results (JWKS); for everybody |
//!
//! `FORMAT` is `Nitro`, `SNP`, `TDX`, `SGX` or `insecure-software`; `PSA` is known and refused. Unlike in the earlier service, a request
//! that does not match the evidence ends there, a challenge counts once and expires, and a program has to be one that the
//! node was told of.

mod form;
mod shape;
mod wire;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use cm_door::{Caller, Gate, authenticate, refusal};
use cm_functions::{AppraisalError, AppraisalSubject, Attestation, Submission};
use cm_http::{Failure, FailureClass, JsonBody, RequestLimits, Upload, frame};
use cm_kernel::Kernel;

use crate::failure::chain;
use form::Form;
use wire::{Appraisal, Appraised, Format, Issued, Keys};

/// Longest body, in bytes: collateral in base64 is the longest part of it.
const BODY_LEN_MAX: usize = 2 << 20;

/// What the handlers need.
#[derive(Clone)]
struct Desk {
    kernel: Kernel,
    attestation: Attestation,
}

/// The routes.
pub fn router(attestation: Attestation, gate: Gate, limits: RequestLimits) -> Router {
    let kernel = gate.kernel.clone();
    let tasks = kernel.tasks().clone();
    let limits = RequestLimits { json_bytes_max: BODY_LEN_MAX, ..limits };
    let authenticated = middleware::from_fn_with_state(gate, authenticate);
    let routes = Router::new()
        .route("/proxy/v1/Start", post(start))
        .route("/proxy/v1/{format}/{challenge}", post(certify))
        .route("/attestation/v1/challenges", post(challenge))
        .route("/attestation/v1/appraisals", post(appraise))
        .layer(authenticated)
        // What everybody may know stands outside of the layer.
        .route("/attestation/v1/keys", get(keys))
        .with_state(Desk { kernel, attestation });
    frame(routes, limits, shape::problem, &tasks)
}

async fn start(State(desk): State<Desk>, caller: Caller) -> Result<Response, Failure> {
    let challenge = desk.attestation.challenge(&caller).await.map_err(refused)?;
    let name = HeaderValue::try_from(challenge.id.to_string()).map_err(Failure::internal)?;
    let bytes = HeaderValue::from_static("application/octet-stream");
    let headers = [(header::LOCATION, name), (header::CONTENT_TYPE, bytes)];
    Ok((StatusCode::CREATED, headers, challenge.nonce.to_vec()).into_response())
}

async fn certify(
    State(desk): State<Desk>,
    caller: Caller,
    Path((format, challenge)): Path<(String, String)>,
    body: Upload,
) -> Result<Response, Failure> {
    let format = Format::parse(&format).ok_or_else(Failure::not_found)?;
    let form = Form::read(body, BODY_LEN_MAX).await?;
    let caller = caller.again(&desk.kernel).await?;
    let Format::Evidence(kind) = format else {
        let error = desk.attestation.refuse(&caller, &challenge, AppraisalError::PublicKeyToken).await;
        return Err(refused(error));
    };
    let submission =
        Submission { challenge, kind: Some(kind), evidence: form.token, endorsements: form.endorsements };
    let subject = AppraisalSubject::Request { csr_der: form.csr };
    let conclusion = desk.attestation.appraise(&caller, submission, subject).await.map_err(refused)?;
    let mut certificates = conclusion
        .certificate_der
        .ok_or_else(|| Failure::internal("a request was granted without a certificate"))?;
    certificates.extend(desk.attestation.authority_der());
    let bytes = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, bytes)], certificates).into_response())
}

async fn challenge(State(desk): State<Desk>, caller: Caller) -> Result<Response, Failure> {
    let challenge = desk.attestation.challenge(&caller).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(Issued::from(&challenge))).into_response())
}

async fn appraise(
    State(desk): State<Desk>,
    caller: Caller,
    body: JsonBody<Appraisal>,
) -> Result<Json<Appraised>, Failure> {
    let (submission, subject) = body.decode().await?.decode()?;
    let caller = caller.again(&desk.kernel).await?;
    let conclusion = desk.attestation.appraise(&caller, submission, subject).await.map_err(refused)?;
    Ok(Json(Appraised::new(&conclusion, &desk.attestation.authority_der())))
}

async fn keys(State(desk): State<Desk>) -> Json<Keys> {
    Json(Keys::of(&desk.attestation.verifying_key()))
}

/// What the service refused. The code is for programs, and the same as in the log.
fn refused(error: AppraisalError) -> Failure {
    let class = match &error {
        AppraisalError::ChallengeUnknown | AppraisalError::ChallengeExpired => FailureClass::NotFound,
        AppraisalError::ChallengeUsed => FailureClass::Conflict,
        AppraisalError::Request(_) => FailureClass::Malformed,
        AppraisalError::PublicKeyToken | AppraisalError::Evidence(_) => FailureClass::Forbidden,
        AppraisalError::Certificate(_) => return Failure::internal(error),
        AppraisalError::Draining => {
            return Failure::new(FailureClass::Unavailable, "try again later").with_cause(error);
        }
        AppraisalError::Kernel(_) => {
            let AppraisalError::Kernel(error) = error else { unreachable!("matched above") };
            return refusal(error);
        }
    };
    let failure = Failure::new(class, chain(&error));
    match error.code() {
        Some(code) => failure.with_detail("reason", code),
        None => failure,
    }
}
