//! A device that keeps passkeys, in software: what one does (WebAuthn, level 3, section 6), and what one must not.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_crypto::{digest, secret};
use serde_json::{Value, json};

use crate::PasskeyChallenge;

pub(super) const ORIGIN: &str = "http://localhost:19000";

const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const WITH_KEY: u8 = 0x40;

/// A device with one passkey. Its fields are what it claims; tests make it lie.
pub(super) struct Device {
    pub(super) key: EcdsaKeyPair,
    pub(super) id: Vec<u8>,
    pub(super) counter: u32,
    pub(super) party: String,
    pub(super) origin: String,
    pub(super) verifies: bool,
    /// What it knows the account by; known once it was asked to make a key.
    pub(super) handle: Option<String>,
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Device {
    pub(super) fn new() -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            id: secret::random_bytes::<32>().to_vec(),
            counter: 0,
            party: "localhost".to_owned(),
            origin: ORIGIN.to_owned(),
            verifies: true,
            handle: None,
        }
    }

    /// The answer to a registration: `RegistrationResponseJSON`.
    pub(super) fn make(&mut self, challenge: &PasskeyChallenge) -> Value {
        self.handle = challenge.options["user"]["id"].as_str().map(str::to_owned);
        let mut data = self.data(WITH_KEY);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        data.extend(self.cose_key());
        // A map of three texts (RFC 8949): no attestation.
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        object.extend(data);
        let client = self.client_data("webauthn.create", challenge);
        json!({ "id": base64(&self.id), "rawId": base64(&self.id), "type": "public-key",
            "response": { "attestationObject": base64(&object), "clientDataJSON": base64(&client) },
            "clientExtensionResults": { "credProps": { "rk": true } } })
    }

    /// The answer to a login: `AuthenticationResponseJSON`.
    pub(super) fn sign(&self, challenge: &PasskeyChallenge) -> Value {
        let data = self.data(0);
        let client = self.client_data("webauthn.get", challenge);
        let signed = [&data[..], digest::sha256(&client).as_bytes()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        json!({ "id": base64(&self.id), "rawId": base64(&self.id), "type": "public-key",
            "response": { "authenticatorData": base64(&data), "clientDataJSON": base64(&client),
                "signature": base64(signature.as_ref()), "userHandle": self.handle },
            "clientExtensionResults": {} })
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let flags = flags | PRESENT | if self.verifies { VERIFIED } else { 0 };
        let mut data = digest::sha256(self.party.as_bytes()).as_bytes().to_vec();
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, challenge: &PasskeyChallenge) -> Vec<u8> {
        let data = json!({ "type": kind, "challenge": challenge.options["challenge"], "origin": self.origin, "crossOrigin": false });
        data.to_string().into_bytes()
    }

    /// An ES256 key on P-256 (RFC 9053, section 7.1.1).
    fn cose_key(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let (x, y) = (&point[1..33], &point[33..65]);
        [b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20", x, b"\x22\x58\x20", y].concat()
    }
}
