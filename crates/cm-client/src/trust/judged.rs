//! The peer of one connection, judged within its handshake.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use cm_tls::Judge;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::Distrust;

/// What is demanded of an instance.
pub(crate) trait Demand: fmt::Debug + Send + Sync + 'static {
    /// What is known of an instance that fulfils it.
    type Belief: fmt::Debug + Send;

    /// Whether the peer fulfils it. That it holds the key of its certificate is proved afterwards.
    fn judge(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Self::Belief, Distrust>;
}

/// A demand with what came of it: the handshake can only say yes or no, and this says why.
#[derive(Debug)]
pub(crate) struct Judged<D: Demand> {
    demand: D,
    verdict: Mutex<Option<Result<D::Belief, Distrust>>>,
}

impl<D: Demand> Judged<D> {
    pub(crate) fn new(demand: D) -> Self {
        Self { demand, verdict: Mutex::default() }
    }

    /// Takes the verdict; `None` if no handshake came as far.
    pub(crate) fn verdict(&self) -> Option<Result<D::Belief, Distrust>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<D: Demand> Judge for Judged<D> {
    fn judge(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let judged = self.demand.judge(peer, intermediates, now);
        let refused = |_: &Distrust| CertificateError::ApplicationVerificationFailure.into();
        let outcome = judged.as_ref().map(|_| ()).map_err(refused);
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged);
        outcome
    }
}
