//! The header: who may open the file, and the keys that follow from that.

use std::io::{self, Read};

use aead_stream::NewStream;
use aws_lc_rs::{digest, hkdf, hmac, rand};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use cm_types::Sha256Digest;

use super::content::ContentKey;
use super::error::{FormatProblem, SealError};
use super::key::Kem;
use super::{MAGIC, RECIPIENTS_MAX, RecipientPublicKey, RecipientSecretKey, SegmentCipher, VERSION};

const SALT_BYTES: usize = 16;
const HINT_BYTES: usize = 8;
const ENCAPSULATED_BYTES: usize = 32;
const WRAPPED_BYTES: usize = super::content::CONTENT_KEY_BYTES + super::TAG_BYTES;
const STANZA_BYTES: usize = HINT_BYTES + ENCAPSULATED_BYTES + WRAPPED_BYTES;
const PREAMBLE_BYTES: usize = MAGIC.len() + 2 + SALT_BYTES;
const HEADER_TAG_BYTES: usize = 32;
const NONCE_PREFIX_BYTES: usize = 7;

const WRAP_INFO: &[u8] = b"cryptomesh seal v1 wrap";
const HINT_DOMAIN: &[u8] = b"cryptomesh seal v1 hint";
const HEADER_INFO: &[u8] = b"cryptomesh seal v1 header";
const PAYLOAD_INFO: &[u8] = b"cryptomesh seal v1 payload";

/// Length of the header for so many recipients, in bytes.
pub(super) const fn header_bytes(recipients: usize) -> usize {
    PREAMBLE_BYTES + recipients * STANZA_BYTES + HEADER_TAG_BYTES
}

/// Makes a fresh content key, wraps it for every recipient, and returns the header with the cipher of the
/// segments.
pub(super) fn create(recipients: &[RecipientPublicKey]) -> Result<(SealedHeader, SegmentCipher), SealError> {
    let mut distinct: Vec<&RecipientPublicKey> = Vec::with_capacity(recipients.len().min(RECIPIENTS_MAX));
    for recipient in recipients {
        if !distinct.contains(&recipient) {
            distinct.push(recipient);
        }
        if distinct.len() > RECIPIENTS_MAX {
            break;
        }
    }
    if distinct.is_empty() || distinct.len() > RECIPIENTS_MAX {
        return Err(SealError::Recipients { found: distinct.len() });
    }
    let content_key = ContentKey::generate()?;
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| SealError::NoRandomness)?;

    let count = u8::try_from(distinct.len()).expect("at most 64 recipients, checked above");
    let mut header = Vec::with_capacity(header_bytes(distinct.len()));
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&[VERSION, count]);
    header.extend_from_slice(&salt);
    let preamble = header.clone();
    for (position, recipient) in distinct.into_iter().enumerate() {
        let (encapsulated, wrapped) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeS::Base,
            &recipient.0,
            WRAP_INFO,
            content_key.expose(),
            &preamble,
        )
        .map_err(|_| SealError::WeakRecipient { position })?;
        header.extend_from_slice(&hint(&salt, recipient));
        header.extend_from_slice(&encapsulated.to_bytes());
        header.extend_from_slice(&wrapped);
    }
    let keys = derive(&content_key, &salt);
    let tag = hmac::sign(&header_key(&keys), &header);
    header.extend_from_slice(tag.as_ref());
    let cipher = segment_cipher(&keys, &header);
    Ok((SealedHeader { bytes: header }, cipher))
}

/// The header of a sealed file. It commits the file to one content key: no other segments belong to it than those of
/// whoever sealed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedHeader {
    bytes: Vec<u8>,
}

impl SealedHeader {
    /// Reads exactly the header, never more.
    pub fn read(reader: &mut impl Read) -> Result<Self, SealError> {
        read(reader).map(|bytes| Self { bytes })
    }

    /// The header at the beginning of some bytes; `None` if more of them are needed.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, SealError> {
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
            return Ok(None);
        }
        match read(&mut &bytes[..]) {
            Ok(bytes) => Ok(Some(Self { bytes })),
            Err(SealError::Truncated) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of its bytes: a name for the sealed file that nobody else can give to another.
    pub fn digest(&self) -> Sha256Digest {
        crate::digest::sha256(&self.bytes)
    }

    /// The content key, if it was wrapped for the holder of this secret key and the header is authentic.
    pub fn content_key(&self, secret: &RecipientSecretKey) -> Result<ContentKey, SealError> {
        let (signed, _) = self.bytes.split_at(self.bytes.len() - HEADER_TAG_BYTES);
        let (preamble, stanzas) = signed.split_at(PREAMBLE_BYTES);
        let content_key = unwrap_content_key(preamble, stanzas, secret)?;
        self.cipher(&content_key)?;
        Ok(content_key)
    }

    /// What opens the segments, if the header is authentic under the key.
    pub(super) fn cipher(&self, content_key: &ContentKey) -> Result<SegmentCipher, SealError> {
        let (signed, tag) = self.bytes.split_at(self.bytes.len() - HEADER_TAG_BYTES);
        let keys = derive(content_key, &signed[MAGIC.len() + 2..PREAMBLE_BYTES]);
        hmac::verify(&header_key(&keys), signed, tag).map_err(|_| SealError::TamperedHeader)?;
        Ok(segment_cipher(&keys, &self.bytes))
    }
}

/// Reads a header and unwraps the content key. Reads exactly the header, never more.
pub(super) fn open(reader: &mut impl Read, secret: &RecipientSecretKey) -> Result<SegmentCipher, SealError> {
    let header = SealedHeader::read(reader)?;
    header.cipher(&header.content_key(secret)?)
}

fn read(reader: &mut impl Read) -> Result<Vec<u8>, SealError> {
    let mut header = vec![0; PREAMBLE_BYTES];
    read_exact(reader, &mut header[..MAGIC.len()]).map_err(|error| match error {
        SealError::Truncated => SealError::Format(FormatProblem::Magic),
        other => other,
    })?;
    if header[..MAGIC.len()] != MAGIC {
        return Err(SealError::Format(FormatProblem::Magic));
    }
    read_exact(reader, &mut header[MAGIC.len()..])?;
    let (version, count) = (header[MAGIC.len()], header[MAGIC.len() + 1]);
    if version != VERSION {
        return Err(SealError::Format(FormatProblem::Version { found: version }));
    }
    let recipients = usize::from(count);
    if recipients == 0 || recipients > RECIPIENTS_MAX {
        return Err(SealError::Format(FormatProblem::Recipients { found: count }));
    }
    header.resize(header_bytes(recipients), 0);
    read_exact(reader, &mut header[PREAMBLE_BYTES..])?;
    Ok(header)
}

fn unwrap_content_key(
    preamble: &[u8],
    stanzas: &[u8],
    secret: &RecipientSecretKey,
) -> Result<ContentKey, SealError> {
    let expected = hint(&preamble[MAGIC.len() + 2..], &secret.public_key());
    let mut addressed = false;
    for stanza in stanzas.chunks_exact(STANZA_BYTES) {
        let (hint, rest) = stanza.split_at(HINT_BYTES);
        // The hint is public; a comparison in constant time would protect nothing.
        if hint != expected {
            continue;
        }
        addressed = true;
        let (encapsulated, wrapped) = rest.split_at(ENCAPSULATED_BYTES);
        let Ok(encapsulated) = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated) else { continue };
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &secret.0,
            &encapsulated,
            WRAP_INFO,
            wrapped,
            preamble,
        );
        if let Ok(opened) = opened {
            let opened = Zeroizing::new(opened);
            return Ok(ContentKey::from_slice(&opened)
                .expect("a wrapped key is 48 bytes long, hence 32 when opened"));
        }
    }
    Err(if addressed { SealError::TamperedHeader } else { SealError::NotForYou })
}

fn hint(salt: &[u8], recipient: &RecipientPublicKey) -> [u8; HINT_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(HINT_DOMAIN);
    context.update(salt);
    context.update(&recipient.to_bytes());
    let digest = context.finish();
    let mut hint = [0; HINT_BYTES];
    hint.copy_from_slice(&digest.as_ref()[..HINT_BYTES]);
    hint
}

fn derive(content_key: &ContentKey, salt: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(content_key.expose())
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(keys: &hkdf::Prk, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    keys.expand(info, Length(N))
        .and_then(|okm| okm.fill(out.as_mut()))
        .expect("the lengths asked for are far below 255 digests");
    out
}

fn header_key(keys: &hkdf::Prk) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, expand::<32>(keys, &[HEADER_INFO]).as_ref())
}

fn segment_cipher(keys: &hkdf::Prk, header: &[u8]) -> SegmentCipher {
    let digest = digest::digest(&digest::SHA256, header);
    let key = expand::<32>(keys, &[PAYLOAD_INFO, b" key ", digest.as_ref()]);
    let nonce = expand::<NONCE_PREFIX_BYTES>(keys, &[PAYLOAD_INFO, b" nonce ", digest.as_ref()]);
    SegmentCipher::new((&*key).into(), (&*nonce).into())
}

fn read_exact(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), SealError> {
    reader.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SealError::Truncated,
        _ => SealError::Io(error),
    })
}
