//! The attestation service: challenges, and what becomes of the evidence that answers them.
//!
//! Whoever wants an instance believed asks for a challenge, has the instance answer it with evidence, and gets either an
//! attestation result that the node signs, or a certificate that the node's authority issues. Both are worth what the
//! node is worth to whoever relies on them; the evidence itself is worth more. Nothing is accepted that was not
//! configured: this node's own executable is, a program on hardware has to be named, and `insecure-software` allowed.
//!
//! Each answer uses its challenge up, whatever becomes of it. What was refused is written to the log, bounded in its
//! rate, so that whoever watches it learns of replays, of stolen evidence and of old platforms.

mod certificate;
mod error;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cm_attest::{
    Accepted, AttestError, AttestationResult, DcapVerifier, Demands, EvidenceKind, Measurement,
    NitroVerifier, Nonce, Presented, ReportBinding, SnpVerifier, SoftwareVerifier, Statement, TcbPolicy,
    Verifier, detect,
};
use cm_crypto::cert::CertificateRequest;
use cm_crypto::digest::sha256;
use cm_crypto::sign::VerifyingKey;
use cm_kernel::events::{EventVerb, NewEvent, Outcome};
use cm_kernel::{Answered, Challenge, Kernel, OpContext};
use cm_types::Sha256Digest;
use serde_json::{Map, Value};

pub use error::AppraisalError;

use crate::refusals::Allowance;

/// How long a certificate for an appraised instance holds: as long as the earlier service's.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a challenge lasts unless configured otherwise.
pub const CHALLENGE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What the service accepts.
#[derive(Clone, Debug)]
pub struct AttestationConfig {
    /// Whether a node's own word is enough. Results and certificates say so.
    pub allow_insecure: bool,
    /// The programs that may run on hardware, and on nodes beside this node's own executable.
    pub measurements: Vec<Measurement>,
    /// How old a platform may be.
    pub tcb: TcbPolicy,
    /// How long challenges last.
    pub challenge_lifetime: Duration,
}

impl Default for AttestationConfig {
    /// Hardware that is kept up, programs that are named: none.
    fn default() -> Self {
        Self {
            allow_insecure: false,
            measurements: Vec::new(),
            tcb: TcbPolicy::default(),
            challenge_lifetime: CHALLENGE_LIFETIME,
        }
    }
}

/// Evidence that answers a challenge.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The name of the challenge.
    pub challenge: String,
    /// Whose evidence it is; found out by its looks if not said.
    pub kind: Option<EvidenceKind>,
    /// The evidence.
    pub evidence: Vec<u8>,
    /// What its maker says about the platform, if that comes along.
    pub endorsements: Option<Vec<u8>>,
}

/// What evidence has to be about.
#[derive(Clone, Debug)]
pub enum AppraisalSubject {
    /// An instance with this key under this policy.
    Instance {
        /// SubjectPublicKeyInfo of the key, in DER.
        tls_spki_der: Vec<u8>,
        /// SHA-256 of the policy's text.
        policy_hash: Sha256Digest,
    },
    /// A request for a certificate, in DER (PKCS#10).
    Request {
        /// The request.
        csr_der: Vec<u8>,
    },
}

/// What was concluded about accepted evidence.
#[derive(Clone, Debug)]
pub struct Conclusion {
    /// The result.
    pub result: AttestationResult,
    /// The same, signed: an EAR.
    pub token: String,
    /// The certificate in DER, if one was asked for. The authority's is [`Attestation::authority_der`].
    pub certificate_der: Option<Vec<u8>>,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Attestation(Arc<Inner>);

struct Inner {
    kernel: Kernel,
    config: AttestationConfig,
    accepted: Accepted,
    noted: Mutex<Allowance>,
}

impl std::fmt::Debug for Attestation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attestation").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Attestation {
    /// A service that accepts this node's own executable, by its measurement, and what is configured.
    pub fn new(kernel: Kernel, own: Sha256Digest, config: AttestationConfig) -> Self {
        let mut accepted = config.measurements.clone();
        accepted.push(own.into());
        let noted = Mutex::new(Allowance::new(kernel.clock().monotonic()));
        Self(Arc::new(Inner { kernel, accepted: Accepted::OneOf(accepted), config, noted }))
    }

    /// The key that verifies results.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.0.kernel.keys().verifying()
    }

    /// The authority's certificate, in DER.
    pub fn authority_der(&self) -> Vec<u8> {
        self.0.kernel.keys().ca().certificate_der().to_vec()
    }

    /// A new challenge for the caller.
    ///
    /// # Errors
    /// [`AppraisalError::Kernel`] for somebody unknown, and for somebody who has too many.
    pub async fn challenge(&self, op: &OpContext) -> Result<Challenge, AppraisalError> {
        Ok(self.0.kernel.issue_challenge(op, self.0.config.challenge_lifetime).await?)
    }

    /// Judges an answer. The challenge is used up, whatever becomes of it.
    ///
    /// # Errors
    /// Everything that stands against the answer; it is in the log then.
    pub async fn appraise(
        &self,
        op: &OpContext,
        submission: Submission,
        subject: AppraisalSubject,
    ) -> Result<Conclusion, AppraisalError> {
        let (challenge, kind) = (submission.challenge.clone(), submission.kind);
        let judged = self.judge(op, submission, subject).await;
        if let Err(error) = &judged
            && let Some(reason) = error.code()
        {
            self.note(op, &challenge, kind, reason, error).await;
        }
        judged
    }

    async fn judge(
        &self,
        op: &OpContext,
        submission: Submission,
        subject: AppraisalSubject,
    ) -> Result<Conclusion, AppraisalError> {
        let inner = &self.0;
        let challenge = match inner.kernel.consume_challenge(op, &submission.challenge).await? {
            Answered::First(challenge) => challenge,
            Answered::Again => return Err(AppraisalError::ChallengeUsed),
            Answered::Late => return Err(AppraisalError::ChallengeExpired),
            Answered::Unknown => return Err(AppraisalError::ChallengeUnknown),
        };
        let nonce = Nonce::from_bytes(challenge.nonce).expect("a challenge is as long as a nonce may be");
        // Signatures of several makers are checked: not on the runtime.
        let this = self.clone();
        let concluding = inner
            .kernel
            .tasks()
            .spawn_blocking("appraise-evidence", move || this.conclude(&submission, &subject, nonce));
        concluding.await.map_err(|_| AppraisalError::Draining)?
    }

    fn conclude(
        &self,
        submission: &Submission,
        subject: &AppraisalSubject,
        nonce: Nonce,
    ) -> Result<Conclusion, AppraisalError> {
        let inner = &self.0;
        let (request, binding) = bind(subject, nonce.clone())?;
        let demands = Demands {
            binding,
            measurements: inner.accepted.clone(),
            allow_insecure: inner.config.allow_insecure,
            tcb: inner.config.tcb.clone(),
            require_isolation: Vec::new(),
        };
        let statement = self.verify(submission, &demands)?;
        let (kernel, now) = (&inner.kernel, inner.kernel.now());
        let name = &kernel.config().node_name;
        let result = AttestationResult::of(&statement, &demands, Some(nonce), name, now);
        let certificate_der = match request {
            None => None,
            Some(request) => Some(certificate::issue(kernel.keys().ca(), &request, &statement, now)?),
        };
        let token = result.sign(kernel.keys().signing());
        Ok(Conclusion { result, token, certificate_der })
    }

    fn verify(&self, submission: &Submission, demands: &Demands) -> Result<Statement, AttestError> {
        let presented =
            Presented { evidence: &submission.evidence, endorsements: submission.endorsements.as_deref() };
        let kind = submission.kind.or_else(|| detect(&submission.evidence));
        let verifier: Box<dyn Verifier> = match kind.ok_or(AttestError::Malformed)? {
            EvidenceKind::InsecureSoftware => Box::new(SoftwareVerifier::new(vec![self.verifying_key()])),
            EvidenceKind::AwsNitro => Box::new(NitroVerifier::new()),
            EvidenceKind::AmdSevSnp => Box::new(SnpVerifier::new()),
            EvidenceKind::IntelTdx => Box::new(DcapVerifier::tdx()),
            EvidenceKind::IntelSgx => Box::new(DcapVerifier::sgx()),
        };
        verifier.appraise(&presented, demands, self.0.kernel.now())
    }

    /// Uses up the challenge of an answer that is of no kind that can be judged, and refuses it.
    pub async fn refuse(&self, op: &OpContext, challenge: &str, error: AppraisalError) -> AppraisalError {
        let error = match self.0.kernel.consume_challenge(op, challenge).await {
            Ok(Answered::First(_)) => error,
            Ok(Answered::Again) => AppraisalError::ChallengeUsed,
            Ok(Answered::Late) => AppraisalError::ChallengeExpired,
            Ok(Answered::Unknown) => AppraisalError::ChallengeUnknown,
            Err(failed) => return failed.into(),
        };
        if let Some(reason) = error.code() {
            self.note(op, challenge, None, reason, &error).await;
        }
        error
    }

    /// Writes down what was refused.
    async fn note(
        &self,
        op: &OpContext,
        challenge: &str,
        kind: Option<EvidenceKind>,
        reason: &'static str,
        error: &AppraisalError,
    ) {
        let kernel = &self.0.kernel;
        let taken =
            self.0.noted.lock().unwrap_or_else(PoisonError::into_inner).take(kernel.clock().monotonic());
        let Some(dropped) = taken else { return };
        let mut facts = Map::from_iter([("reason".to_owned(), Value::from(reason))]);
        // What a caller wrote in its place may be anything, and of any length.
        if let Ok(challenge) = challenge.parse::<uuid::Uuid>() {
            facts.insert("challenge".to_owned(), challenge.to_string().into());
        }
        if let Some(kind) = kind {
            facts.insert("evidence".to_owned(), kind.as_str().into());
        }
        if let AppraisalError::Evidence(AttestError::Program { found }) = error {
            facts.insert("measurement".to_owned(), found.to_string().into());
        }
        if dropped > 0 {
            facts.insert("dropped".to_owned(), dropped.into());
        }
        let event = NewEvent {
            actor: op.principal().cloned(),
            request: Some(op.request.clone()),
            outcome: Outcome::Denied,
            facts,
            ..NewEvent::new(op.tenant(), EventVerb::fixed("attestation.refused"))
        };
        if let Err(error) = kernel.record_event(event).await {
            tracing::error!(error = &error as &dyn std::error::Error, "refused evidence not recorded");
        }
    }
}

/// What evidence must be bound to, and the request that is to be granted.
fn bind(
    subject: &AppraisalSubject,
    nonce: Nonce,
) -> Result<(Option<CertificateRequest>, ReportBinding), AppraisalError> {
    match subject {
        AppraisalSubject::Instance { tls_spki_der, policy_hash } => {
            let (tls_spki_der, policy_hash) = (tls_spki_der.clone(), *policy_hash);
            Ok((None, ReportBinding::Instance { tls_spki_der, policy_hash, nonce }))
        }
        AppraisalSubject::Request { csr_der } => {
            let request = CertificateRequest::parse(csr_der).map_err(AppraisalError::Request)?;
            let spki_der = request.spki_der().to_vec();
            let binding = ReportBinding::Request { csr_sha256: sha256(csr_der), spki_der, nonce };
            Ok((Some(request), binding))
        }
    }
}
