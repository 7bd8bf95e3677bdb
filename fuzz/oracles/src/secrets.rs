//! What is signed or sealed, and keys in text form.

use std::io::Read;
use std::sync::LazyLock;

use cm_attest::{AcceptedMeasurements, Evidence, Expectation, Nonce, SoftwareVerifier};
use cm_crypto::cert::CertificateAuthority;
use cm_crypto::es256::EcSigningKey;
use cm_crypto::foreign::{ForeignAlgorithm, ForeignKeys, TOKEN_LEN_MAX, claimed_issuer};
use cm_crypto::seal::{Opener, RecipientPublicKey, RecipientSecretKey, open_slice, seal_slice};
use cm_crypto::sign::{SigningKey, VerifyingKey};
use cm_crypto::svid::{TrustBundle, bundle_document};
use cm_crypto::{Secret, sealed};
use cm_types::{Sha256Digest, Timestamp, TrustDomain};

static RECIPIENT: LazyLock<RecipientSecretKey> = LazyLock::new(RecipientSecretKey::generate);
static PROVIDER: LazyLock<EcSigningKey> =
    LazyLock::new(|| EcSigningKey::generate().expect("a key can be made"));
static BUNDLE: LazyLock<TrustBundle> = LazyLock::new(|| {
    let hour = std::time::Duration::from_secs(3600);
    let authority =
        CertificateAuthority::create("fuzz", Timestamp::from_micros(0), hour).expect("an authority");
    let key = PROVIDER.verifying_key();
    let authorities = [authority.certificate_der().to_vec()];
    let document = bundle_document(&authorities, &[(key.key_id(), key)], 1, 60).expect("a bundle");
    TrustBundle::parse(document.to_string().as_bytes()).expect("what we write, we read")
});
static SIGNER: LazyLock<SigningKey> = LazyLock::new(SigningKey::generate);

/// Foreign bytes do not open; what was sealed opens to itself, and neither a changed byte nor a cut goes unnoticed. The
/// streaming and the whole form agree.
pub fn sealed_objects(data: &[u8]) {
    assert!(open_slice(data, &RECIPIENT).is_err(), "bytes that nobody sealed were opened");
    let Some(([place, change], plaintext)) = data.split_first_chunk::<2>().map(|(head, rest)| (*head, rest))
    else {
        return;
    };
    let mut sealed = seal_slice(plaintext, &[RECIPIENT.public_key()]).expect("memory takes everything");
    assert_eq!(open_slice(&sealed, &RECIPIENT).expect("what we sealed").as_slice(), plaintext);
    let mut streamed = Vec::new();
    let mut opener = Opener::new(sealed.as_slice(), &RECIPIENT).expect("what we sealed");
    opener.read_to_end(&mut streamed).expect("what we sealed");
    assert_eq!(streamed, plaintext);
    let at = usize::from(place) * sealed.len() / 256;
    assert!(open_slice(&sealed[..at], &RECIPIENT).is_err(), "an object cut at {at} was opened");
    if change != 0 {
        sealed[at] ^= change;
        assert!(open_slice(&sealed, &RECIPIENT).is_err(), "a change at {at} went unnoticed");
    }
}

/// Bytes that are read as a bundle are read the same again, and nothing that they say makes noise a document of a workload; nor does a
/// bundle of our own.
pub fn trust_bundles(data: &[u8]) {
    let domain = TrustDomain::parse("fuzz.example").expect("a name");
    let now = Timestamp::from_micros(0);
    let judge = |bundle: &TrustBundle| {
        let chain = [data.to_vec()];
        assert!(bundle.verify_certificates(&domain, &chain, now).is_err(), "noise is no certificate");
        let text = String::from_utf8_lossy(data);
        assert!(bundle.verify_token(&domain, &text, "fuzz", now).is_err(), "noise is no token");
    };
    judge(&BUNDLE);
    if let Ok(bundle) = TrustBundle::parse(data) {
        let again = TrustBundle::parse(data).expect("the same bytes");
        assert_eq!(again.authorities(), bundle.authorities());
        judge(&bundle);
    }
}

/// As for objects; associated data count too.
pub fn sealed_artefacts(data: &[u8]) {
    let key = Secret::new([7u8; 32]);
    assert!(sealed::open(&key, b"aad", data).is_err(), "bytes that nobody sealed were opened");
    let Some(([place, change], plaintext)) = data.split_first_chunk::<2>().map(|(head, rest)| (*head, rest))
    else {
        return;
    };
    let mut bytes = sealed::seal(&key, b"aad", plaintext);
    assert_eq!(sealed::open(&key, b"aad", &bytes).expect("what we sealed"), plaintext);
    assert!(sealed::open(&key, b"other", &bytes).is_err(), "associated data do not count");
    let at = usize::from(place) * bytes.len() / 256;
    if change != 0 {
        bytes[at] ^= change;
        assert!(sealed::open(&key, b"aad", &bytes).is_err(), "a change at {at} went unnoticed");
    }
}

/// No foreign text is evidence, even for a verifier that accepts every measurement and software.
pub fn evidence(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let expectation = Expectation {
        nonce: Nonce::from_bytes([1; 32]).expect("32 bytes are a nonce"),
        policy_hash: Sha256Digest::from_bytes([2; 32]),
        tls_spki_der: vec![3; 44],
        measurements: AcceptedMeasurements::Any,
        allow_insecure: true,
        require_isolation: Vec::new(),
    };
    let verifier = SoftwareVerifier::new(vec![SIGNER.verifying_key()]);
    let verdict = verifier.verify(&Evidence::from_text(text), &expectation, Timestamp::from_micros(0));
    assert!(verdict.is_err(), "evidence that nobody signed was accepted");
}

/// A key that is accepted is the same key after writing and reading.
pub fn keys(data: &[u8]) {
    if let Ok(key) = VerifyingKey::from_spki_der(data) {
        let again = VerifyingKey::from_spki_pem(&key.to_spki_pem()).expect("what we write, we read");
        assert_eq!(again.key_id(), key.key_id());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = VerifyingKey::from_spki_pem(text) {
        let again = VerifyingKey::from_spki_der(&key.to_spki_der()).expect("what we write, we read");
        assert_eq!(again.key_id(), key.key_id());
    }
    if let Ok(key) = text.parse::<RecipientPublicKey>() {
        assert_eq!(key.to_string().parse::<RecipientPublicKey>().expect("what we write, we read"), key);
    }
    if let Ok(key) = text.parse::<RecipientSecretKey>() {
        let again = key.to_text().parse::<RecipientSecretKey>().expect("what we write, we read");
        assert_eq!(again.public_key(), key.public_key());
    }
}

/// No bytes are a token that somebody signed, whatever keys they say; what a provider signed reads back under its key, and a
/// changed character does not go unnoticed.
pub fn foreign_tokens(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = claimed_issuer(&text);
    if let Ok(keys) = ForeignKeys::parse(data) {
        assert!(keys.verify(&text, &ForeignAlgorithm::ALL).is_err(), "a set of keys is no token");
    }
    let public = PROVIDER.verifying_key();
    let (x, y) = public.coordinates();
    let set = serde_json::json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": public.key_id(), "x": x, "y": y }] });
    let keys = ForeignKeys::parse(set.to_string().as_bytes()).expect("what we wrote");
    assert!(keys.verify(&text, &ForeignAlgorithm::ALL).is_err(), "nobody signed these bytes");
    let claims = serde_json::json!({ "iss": text }).to_string();
    let token = PROVIDER.sign_token(claims.as_bytes()).expect("a key signs");
    if token.len() > TOKEN_LEN_MAX {
        return;
    }
    let read = keys.verify(&token, &[ForeignAlgorithm::Es256]).expect("what the provider signed");
    assert_eq!(read["iss"].as_str(), Some(&*text));
    assert_eq!(claimed_issuer(&token).as_deref(), Some(&*text));
    let at = data.first().map_or(0, |place| usize::from(*place) * token.len() / 256);
    let cut = format!("{}{}", &token[..at], &token[at + 1..]);
    assert!(keys.verify(&cut, &ForeignAlgorithm::ALL).is_err(), "a cut at {at} went unnoticed");
}
