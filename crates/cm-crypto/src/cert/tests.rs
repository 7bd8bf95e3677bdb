use std::time::Duration;

use cm_types::Timestamp;
use rustls_pki_types::PrivatePkcs8KeyDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;
use crate::CryptoError;
use crate::pem;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> Timestamp {
    "2026-03-01T12:00:00.5Z".parse().unwrap()
}

fn authority() -> CertificateAuthority {
    CertificateAuthority::create("Test CA", now(), 30 * DAY).unwrap()
}

fn spec(name: &str) -> CertificateSpec {
    CertificateSpec {
        dns_names: vec!["node.example".to_owned()],
        ip_addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        uris: vec!["spiffe://example/node".to_owned()],
        ..CertificateSpec::new(name, now(), DAY)
    }
}

#[test]
fn an_authority_signs_what_it_issues() {
    let authority = authority();
    let issued = authority.issue(&spec("node")).unwrap();
    let (_, ca) = X509Certificate::from_der(authority.certificate_der()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&issued.certificate_der).unwrap();
    leaf.verify_signature(Some(ca.public_key())).expect("signed by the authority");
    assert_eq!(leaf.issuer(), ca.subject());
    assert!(ca.is_ca() && !leaf.is_ca());
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any);
    let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names.len(), 4, "{names:?}");
    let other = self::authority();
    let (_, other) = X509Certificate::from_der(other.certificate_der()).unwrap();
    assert!(leaf.verify_signature(Some(other.public_key())).is_err());
}

#[test]
fn an_authority_reads_back_from_its_files() {
    let first = authority();
    let again =
        CertificateAuthority::from_pem(&first.certificate_pem(), first.private_key_pem().expose()).unwrap();
    assert_eq!(again.certificate_der(), first.certificate_der());
    let issued = again.issue(&spec("node")).unwrap();
    let (_, ca) = X509Certificate::from_der(first.certificate_der()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&issued.certificate_der).unwrap();
    leaf.verify_signature(Some(ca.public_key())).expect("signed by the first one's key");
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let (one, two) = (authority(), authority());
    let load = |certificate: &str, key: &str| CertificateAuthority::from_pem(certificate, key).map(|_| ());
    let key_of_two = two.private_key_pem();
    assert_eq!(load(&one.certificate_pem(), key_of_two.expose()), Err(CryptoError::KeyMismatch));
    let leaf = one.issue(&spec("leaf")).unwrap();
    let leaf_key = leaf.private_key_pem();
    assert_eq!(load(&leaf.certificate_pem(), leaf_key.expose()), Err(CryptoError::NotAnAuthority));
    assert_eq!(load("", key_of_two.expose()), Err(CryptoError::Pem("CERTIFICATE")));
    assert_eq!(load(&one.certificate_pem(), ""), Err(CryptoError::Pem("PRIVATE KEY")));
}

#[test]
fn an_authority_certifies_a_key_that_it_never_sees() {
    const OID: &[u64] = &[2, 5, 30, 1];
    let authority = authority();
    let key = generate_key().unwrap();
    let extension = Extension { oid: OID, content: vec![0xff; 32] };
    let spec = CertificateSpec {
        organization: Some("Example".to_owned()),
        organizational_unit: Some("Unit".to_owned()),
        extensions: vec![extension],
        ..spec("leaf")
    };
    let der = authority.issue_for(&key.spki_der, &spec).unwrap();
    assert_eq!(spki_der(&der).unwrap(), key.spki_der);
    assert_eq!(subject(&der).unwrap(), "O=Example, OU=Unit, CN=leaf");
    assert_eq!(super::extension(&der, OID).unwrap(), Some(vec![0xff; 32]));
    assert_eq!(super::extension(&der, &[2, 5, 30, 9]).unwrap(), None);
    assert_eq!(uris(&der).unwrap(), ["spiffe://example/node"]);
    let (_, ca) = X509Certificate::from_der(authority.certificate_der()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    leaf.verify_signature(Some(ca.public_key())).expect("signed by the authority");
    assert!(
        !leaf.is_ca() && leaf.extensions().iter().all(|e| e.oid.to_id_string() != "2.5.30.1" || !e.critical)
    );
    let read = rcgen::KeyPair::try_from(key.private_key_der.expose().as_slice()).unwrap();
    assert_eq!(rcgen::PublicKeyData::subject_public_key_info(&read), key.spki_der);
    assert_eq!(authority.issue_for(b"no key", &spec).unwrap_err(), CryptoError::Key("public"));
}

#[test]
fn an_identity_says_what_it_was_made_for() {
    let identity = generate_identity("Alice", now(), DAY).unwrap();
    let der = pem_to_der(&identity.certificate_pem()).unwrap();
    assert_eq!(der, identity.certificate_der);
    assert_eq!(subject(&der).unwrap(), "CN=Alice");
    assert_eq!(common_name(&der).unwrap().as_deref(), Some("Alice"));
    let (begin, end) = validity(&der).unwrap();
    assert_eq!(
        (begin.to_string(), end.to_string()),
        ("2026-03-01T11:55:00Z".to_owned(), "2026-03-02T12:00:00Z".to_owned())
    );
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    parsed.verify_signature(None).expect("signed by itself");
    assert_eq!(spki_der(&der).unwrap(), parsed.public_key().raw);
    let again = generate_identity("Alice", now(), DAY).unwrap();
    assert_ne!(fingerprint(&again.certificate_der), fingerprint(&der));
}

#[test]
fn the_private_key_is_the_one_of_the_certificate() {
    let identity = generate_identity("Alice", now(), DAY).unwrap();
    let text = identity.private_key_pem();
    let der: PrivatePkcs8KeyDer<'static> = pem::decode_one("PRIVATE KEY", text.expose()).unwrap();
    assert_eq!(der.secret_pkcs8_der(), identity.private_key_der.expose().as_slice());
    let key = rcgen::KeyPair::from_pem(text.expose()).unwrap();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    assert_eq!(spki, spki_der(&identity.certificate_der).unwrap());
    assert!(!format!("{identity:?}").contains(text.expose().lines().nth(1).unwrap()));
}

#[test]
fn names_that_no_certificate_can_carry_are_refused() {
    let refused = |spec: CertificateSpec| {
        assert_eq!(self_signed(&spec).unwrap_err(), CryptoError::CertificateName, "{spec:?}");
    };
    refused(spec(""));
    refused(spec(&"x".repeat(65)));
    refused(CertificateSpec { dns_names: vec!["b\u{fc}ro.example".to_owned()], ..spec("node") });
    refused(CertificateSpec { uris: vec!["spiffe://b\u{fc}ro".to_owned()], ..spec("node") });
}

#[test]
fn far_moments_do_not_break_the_calendar() {
    let end = |now: Timestamp, valid_for| {
        let identity = generate_identity("x", now, valid_for).unwrap();
        validity(&identity.certificate_der).unwrap().1.to_string()
    };
    assert_eq!(end(now(), Duration::MAX), "9999-12-31T23:59:59Z");
    assert_eq!(end(Timestamp::from_micros(0), Duration::from_secs(1)), "1970-01-01T00:00:01Z");
}

#[test]
fn what_is_no_certificate_is_refused() {
    let identity = generate_identity("Alice", now(), DAY).unwrap();
    let der = &identity.certificate_der;
    let trailing = [der.as_slice(), &[0]].concat();
    for bad in [&[][..], b"junk", &der[..der.len() - 1], &trailing] {
        assert_eq!(spki_der(bad), Err(CryptoError::Certificate));
        assert_eq!(pem_to_der(&pem::encode("CERTIFICATE", bad)), Err(CryptoError::Certificate));
    }
    let twice = identity.certificate_pem().repeat(2);
    assert_eq!(pem_to_der(&twice), Err(CryptoError::Pem("CERTIFICATE")));
}
