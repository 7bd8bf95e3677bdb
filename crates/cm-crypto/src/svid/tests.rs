use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_types::{SpiffeId, Timestamp, TrustDomain};
use serde_json::{Value, json};

use super::*;
use crate::cert::{CertificateAuthority, CertificateSpec, generate_request};
use crate::es256::EcSigningKey;

const HOUR: Duration = Duration::from_secs(3600);
const ID: &str = "spiffe://one.example/tenant/default/principal/web";

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn domain() -> TrustDomain {
    TrustDomain::parse("one.example").unwrap()
}

struct Mesh {
    authority: CertificateAuthority,
    key: EcSigningKey,
    bundle: TrustBundle,
}

impl Mesh {
    fn new() -> Mesh {
        let authority = CertificateAuthority::create("authority", now(), 24 * HOUR).unwrap();
        let key = EcSigningKey::generate().unwrap();
        let public = key.verifying_key();
        let document =
            bundle_document(&[authority.certificate_der().to_vec()], &[(public.key_id(), public)], 7, 300);
        let bundle = TrustBundle::parse(document.unwrap().to_string().as_bytes()).unwrap();
        Mesh { authority, key, bundle }
    }

    fn certificate(&self, uris: &[&str], at: Timestamp) -> Vec<u8> {
        let uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
        let spec = CertificateSpec { uris, ..CertificateSpec::new("web", at, HOUR) };
        self.authority.issue(&spec).unwrap().certificate_der
    }

    fn judge(&self, leaf: Vec<u8>) -> Result<Workload, CryptoError> {
        self.bundle.verify_certificates(&domain(), &[leaf], now())
    }

    fn token(&self, claims: Value) -> String {
        self.key.sign_token(claims.to_string().as_bytes()).unwrap()
    }

    fn judge_token(&self, claims: Value) -> Result<Workload, CryptoError> {
        self.bundle.verify_token(&domain(), &self.token(claims), "backend", now())
    }
}

#[test]
fn a_bundle_reads_back() {
    let mesh = Mesh::new();
    assert_eq!(mesh.bundle.authorities(), [mesh.authority.certificate_der().to_vec()]);
    assert_eq!((mesh.bundle.sequence(), mesh.bundle.refresh_secs()), (Some(7), Some(300)));
    assert_eq!(mesh.bundle.authorities_pem(), mesh.authority.certificate_pem());
}

#[test]
fn what_is_no_bundle_is_refused() {
    let leaf = Mesh::new().certificate(&[ID], now());
    let leaf = json!({ "keys": [{ "use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(leaf)] }] });
    let two = CertificateAuthority::create("a", now(), HOUR).unwrap();
    let two = STANDARD.encode(two.certificate_der());
    let two = json!({ "keys": [{ "use": "x509-svid", "kty": "EC", "x5c": [two, two] }] });
    for bad in [
        "",
        "{}",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"use":"sig","kty":"oct","k":"AAAA"}]}"#,
        r#"{"keys":[{"use":"x509-svid","kty":"EC","x5c":["AAAA"]}]}"#,
        r#"{"keys":[{"use":"x509-svid","kty":"EC"}]}"#,
        &leaf.to_string(),
        &two.to_string(),
        &" ".repeat(BUNDLE_LEN_MAX + 1),
    ] {
        let refused = TrustBundle::parse(bad.as_bytes()).map(|_| ());
        assert_eq!(refused, Err(CryptoError::TrustBundle), "{}", &bad[..bad.len().min(80)]);
    }
}

#[test]
fn certificates_vouch_within_their_domain_and_time_alone() {
    let mesh = Mesh::new();
    let found = mesh.judge(mesh.certificate(&[ID], now())).unwrap();
    assert_eq!(found.id, SpiffeId::parse(ID).unwrap());
    assert_eq!(found.expires_at, now().after(HOUR));
    assert_eq!(mesh.judge(Mesh::new().certificate(&[ID], now())), Err(CryptoError::UntrustedSigner));
    let old = mesh.certificate(&[ID], "2026-03-01T10:00:00Z".parse().unwrap());
    assert_eq!(mesh.judge(old), Err(CryptoError::Expired));
    let early = mesh.certificate(&[ID], "2026-03-01T13:00:00Z".parse().unwrap());
    assert_eq!(mesh.judge(early), Err(CryptoError::Expired));
    for uris in [
        &["spiffe://two.example/tenant/default/principal/web"][..],
        &["spiffe://one.example"],
        &["https://one.example/web"],
        &[ID, "https://one.example/web"],
        &[],
    ] {
        assert_eq!(mesh.judge(mesh.certificate(uris, now())), Err(CryptoError::Workload), "{uris:?}");
    }
    // An authority's own time counts, too: an old bundle believes nobody any more.
    let later = now().after(25 * HOUR);
    let late = mesh.certificate(&[ID], later);
    let judged = mesh.bundle.verify_certificates(&domain(), &[late], later);
    assert_eq!(judged, Err(CryptoError::UntrustedSigner));
    // What may issue others is no workload, whatever it is called.
    assert_eq!(mesh.judge(mesh.authority.certificate_der().to_vec()), Err(CryptoError::Workload));
    assert_eq!(mesh.judge(b"junk".to_vec()), Err(CryptoError::Certificate));
    let long = vec![mesh.certificate(&[ID], now()); CHAIN_MAX + 1];
    let refused = mesh.bundle.verify_certificates(&domain(), &long, now());
    assert_eq!(refused, Err(CryptoError::Certificate));
}

#[test]
fn a_request_is_certified_under_the_name_that_the_issuer_chooses() {
    let mesh = Mesh::new();
    let (key, request) = generate_request().unwrap();
    let request = cert::CertificateRequest::from_pem(&request).unwrap();
    assert_eq!(request.spki_der(), key.spki_der);
    let spec = CertificateSpec { uris: vec![ID.to_owned()], ..CertificateSpec::new("web", now(), HOUR) };
    let leaf = mesh.authority.issue_for(request.spki_der(), &spec).unwrap();
    assert_eq!(claimed_domain(&leaf).unwrap(), domain());
    assert_eq!(mesh.judge(leaf).unwrap().id.to_string(), ID);
    assert!(cert::CertificateRequest::from_pem("junk").is_err());
}

#[test]
fn tokens_vouch_towards_their_audience_alone() {
    let mesh = Mesh::new();
    let (iat, exp) = (now().as_secs(), now().after(HOUR).as_secs());
    let good = json!({ "sub": ID, "aud": ["backend"], "iat": iat, "exp": exp });
    let found = mesh.judge_token(good.clone()).unwrap();
    assert_eq!((found.id.to_string(), found.expires_at), (ID.to_owned(), now().after(HOUR)));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        mesh.judge_token(claims)
    };
    assert!(with("aud", json!("backend")).is_ok());
    assert_eq!(with("aud", json!("front")), Err(CryptoError::Audience));
    assert_eq!(with("aud", json!([])), Err(CryptoError::Audience));
    assert_eq!(with("aud", Value::Null), Err(CryptoError::Audience));
    assert_eq!(with("exp", json!(now().as_secs())), Err(CryptoError::Expired));
    assert_eq!(with("exp", Value::Null), Err(CryptoError::Token));
    assert_eq!(with("nbf", json!(exp)), Err(CryptoError::Expired));
    for sub in ["spiffe://two.example/a", "spiffe://one.example", "web", ""] {
        assert_eq!(with("sub", json!(sub)), Err(CryptoError::Workload), "{sub}");
    }
    let other = Mesh::new().token(good.clone());
    let refused = mesh.bundle.verify_token(&domain(), &other, "backend", now());
    assert_eq!(refused, Err(CryptoError::UntrustedSigner));
    assert_eq!(claimed_domain_of_token(&other).unwrap(), domain());
    assert_eq!(claimed_domain_of_token("a.b.c"), Err(CryptoError::Token));
}
