//! Trust in an instance by the text of its policy alone.
//!
//! Whoever was given a policy by somebody it trusts needs no node and no evidence: the policy names the authority whose
//! certificates are believed and the measurements that are accepted. What the published client leaves unchecked is checked
//! here, and anything that is missing stops the handshake: the chain, the validity of both ends of it, the measurement, the
//! policy's hash, and on whose word the certificate was issued.

use cm_attest::AcceptedMeasurements;
use cm_instance::certificate::{NODE_EVIDENCE, evidence_kind};
use cm_instance::{FullPolicy, InstanceClaims, InvalidClaims};
use cm_types::Sha256Digest;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;

use super::{Demand, Distrust};

/// Why a certificate was not believed.
#[derive(Debug, thiserror::Error)]
pub enum Uncertified {
    /// The authority that the policy names did not sign it, or it does not hold at this moment.
    #[error("no certificate of the authority that the policy names")]
    Chain(#[source] rustls::Error),
    /// The policy, or the authority's own certificate, does not hold at this moment.
    #[error("the policy or its authority's certificate has expired")]
    Expired,
    /// It says something else than the policy.
    #[error("the certificate and the policy do not agree")]
    Claims(#[from] InvalidClaims),
    /// It is about an executable that the policy accepts and the caller does not.
    #[error("the instance runs {0}, which is none of the measurements that you accept")]
    OtherMeasurement(Sha256Digest),
    /// Only the node's own word stands behind it, and the caller did not allow that.
    #[error("nobody but the node itself vouches for the instance, which was not allowed")]
    InsecureSoftware,
}

/// Judges the peer of one connection by its certificate.
#[derive(Debug)]
pub(crate) struct CertificateJudge {
    pub(crate) policy: FullPolicy,
    pub(crate) policy_hash: Sha256Digest,
    /// What the caller accepts; what the policy accepts narrows it further.
    pub(crate) measurements: AcceptedMeasurements,
    pub(crate) allow_insecure_software: bool,
}

/// No name is compared: instances have none, and the policy says what an instance is.
impl Demand for CertificateJudge {
    type Belief = InstanceClaims;

    fn judge(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<InstanceClaims, Distrust> {
        let at = cm_tls::timestamp(now);
        let authority = &self.policy.proxy_service_cert;
        let (from, until) = authority.validity();
        if at < from || at > until || at >= self.policy.enclave_cert_expiry.to_timestamp() {
            return Err(Uncertified::Expired.into());
        }
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der())).map_err(Uncertified::Chain)?;
        let parsed = ParsedCertificate::try_from(peer).map_err(Uncertified::Chain)?;
        let all = aws_lc_rs::default_provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, all)
            .map_err(Uncertified::Chain)?;
        let claims = InstanceClaims::read(peer).map_err(Uncertified::Claims)?;
        claims.check(&self.policy, self.policy_hash).map_err(Uncertified::Claims)?;
        if let AcceptedMeasurements::OneOf(accepted) = &self.measurements
            && !accepted.contains(&claims.measurement)
        {
            return Err(Uncertified::OtherMeasurement(claims.measurement).into());
        }
        let kind = evidence_kind(peer).map_err(Distrust::Certificate)?;
        let vouched = kind.is_some_and(|kind| kind != NODE_EVIDENCE);
        if vouched || self.allow_insecure_software {
            Ok(claims)
        } else {
            Err(Uncertified::InsecureSoftware.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cm_crypto::cert::{self, CertificateAuthority};
    use cm_instance::policy::{Certificate, Expiry};
    use cm_instance::{Infrastructure, ProgramPolicy, UserPolicy, merge};
    use cm_types::Timestamp;
    use serde_json::json;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn at(moment: Timestamp) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(moment.as_secs().unsigned_abs()))
    }

    struct World {
        authority: CertificateAuthority,
        policy: FullPolicy,
        spki_der: Vec<u8>,
    }

    fn world() -> World {
        let authority = CertificateAuthority::create("CA", now(), HOUR * 100).unwrap();
        let identity = cert::generate_identity("somebody", now(), HOUR).unwrap().certificate_pem();
        let program = json!({ "function": "f", "execution_strategy": "JIT", "programs": [
            { "id": 0, "pi_hash": "0".repeat(64), "program_file_name": "p", "file_rights": [] }] });
        let rights = json!([{ "file_name": "p", "rights": 8198 }]);
        let user = json!({ "function": "f", "instanceid": "i", "identities": [
            { "certificate": identity, "file_rights": rights }] });
        let infrastructure = Infrastructure {
            server_url: "127.0.0.1:1".into(),
            measurement: Sha256Digest::from_bytes([1; 32]),
            node_certificate: Certificate::parse(authority.certificate_pem()).unwrap(),
            attestation_url: "127.0.0.1:2".into(),
            expiry: now().after(HOUR * 2),
            enable_clock: false,
            max_memory_mib: 64,
        };
        let program = ProgramPolicy::parse(program.to_string().as_bytes()).unwrap();
        let user = UserPolicy::parse(user.to_string().as_bytes()).unwrap();
        let policy = merge(&program, &user, &infrastructure).unwrap();
        World { authority, policy, spki_der: cert::generate_key().unwrap().spki_der }
    }

    impl World {
        fn claims(&self) -> InstanceClaims {
            let policy_hash = self.policy.to_text().hash();
            InstanceClaims { measurement: Sha256Digest::from_bytes([1; 32]), policy_hash }
        }

        fn certificate(&self, claims: InstanceClaims) -> CertificateDer<'static> {
            claims.certify(&self.authority, &self.spki_der, now(), now().after(HOUR)).unwrap().into()
        }

        fn judge(&self, allow_insecure_software: bool) -> CertificateJudge {
            CertificateJudge {
                policy: self.policy.clone(),
                policy_hash: self.policy.to_text().hash(),
                measurements: AcceptedMeasurements::Any,
                allow_insecure_software,
            }
        }
    }

    #[test]
    fn a_certificate_that_says_what_the_policy_says_is_believed() {
        let w = world();
        let peer = w.certificate(w.claims());
        let judged = w.judge(true).judge(&peer, &[], at(now())).unwrap();
        assert_eq!(judged, w.claims());
        let refused = w.judge(false).judge(&peer, &[], at(now()));
        assert!(matches!(refused, Err(Distrust::Uncertified(Uncertified::InsecureSoftware))));
    }

    #[test]
    fn the_caller_may_accept_less_than_the_policy() {
        let w = world();
        let peer = w.certificate(w.claims());
        let judged = |accepted: Vec<Sha256Digest>| {
            let measurements = AcceptedMeasurements::OneOf(accepted);
            CertificateJudge { measurements, ..w.judge(true) }.judge(&peer, &[], at(now()))
        };
        let (own, other) = (w.claims().measurement, Sha256Digest::from_bytes([2; 32]));
        assert_eq!(judged(vec![other, own]).unwrap(), w.claims());
        for wrong in [vec![other], vec![]] {
            let refused = judged(wrong).unwrap_err();
            let Distrust::Uncertified(Uncertified::OtherMeasurement(found)) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!(found, own);
        }
        // The caller cannot accept what the policy does not.
        let foreign = w.certificate(InstanceClaims { measurement: other, ..w.claims() });
        let measurements = AcceptedMeasurements::OneOf(vec![other]);
        let judge = CertificateJudge { measurements, ..w.judge(true) };
        let refused = judge.judge(&foreign, &[], at(now()));
        assert!(matches!(refused, Err(Distrust::Uncertified(Uncertified::Claims(_)))));
    }

    #[test]
    fn everything_else_is_not() {
        let w = world();
        let check = |judge: &CertificateJudge, peer: &CertificateDer<'_>, moment, expected: &str| {
            let Err(Distrust::Uncertified(refused)) = judge.judge(peer, &[], at(moment)) else {
                panic!("{expected}: believed")
            };
            assert!(format!("{refused:?}").starts_with(expected), "{expected}: {refused:?}");
        };
        let (judge, good) = (w.judge(true), w.certificate(w.claims()));
        let other_policy = InstanceClaims { policy_hash: Sha256Digest::from_bytes([2; 32]), ..w.claims() };
        check(&judge, &w.certificate(other_policy), now(), "Claims(OtherPolicy");
        let other_code = InstanceClaims { measurement: Sha256Digest::from_bytes([2; 32]), ..w.claims() };
        check(&judge, &w.certificate(other_code), now(), "Claims(OtherMeasurement");
        let stranger = CertificateAuthority::create("CA", now(), HOUR * 100).unwrap();
        let forged = w.claims().certify(&stranger, &w.spki_der, now(), now().after(HOUR)).unwrap();
        check(&judge, &forged.into(), now(), "Chain");
        let own = cert::generate_identity("VeracruzCompute", now(), HOUR).unwrap().certificate_der;
        check(&judge, &own.into(), now(), "Chain");
        let plain = w.authority.issue(&cert::CertificateSpec::new("x", now(), HOUR)).unwrap().certificate_der;
        check(&judge, &plain.into(), now(), "Claims(Measurement");
        // The authority's own certificate is no instance's.
        check(&judge, &w.authority.certificate_der().to_vec().into(), now(), "Chain");
        check(&judge, &good, now().after(HOUR + Duration::from_secs(60)), "Chain");
        check(&judge, &good, now().after(HOUR * 3), "Expired");
        let mut changed = w.judge(true);
        changed.policy.enclave_cert_expiry = Expiry::from_timestamp(now().after(HOUR * 50));
        changed.policy_hash = changed.policy.to_text().hash();
        check(&changed, &good, now(), "Claims(OtherPolicy");
        check(&judge, &CertificateDer::from(b"x".to_vec()), now(), "Chain");
    }
}
