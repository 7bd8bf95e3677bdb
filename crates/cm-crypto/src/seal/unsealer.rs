//! Opening a sealed file that is pushed in pieces of any size.

use aead_stream::StreamPrimitive;
use cm_types::Sha256Digest;
use zeroize::Zeroizing;

use super::header::SealedHeader;
use super::{ContentKey, SEGMENT_BYTES, SealError, SegmentCipher, TAG_BYTES};

/// Length of every segment but the last, in the sealed file.
const SEALED_SEGMENT_BYTES: usize = SEGMENT_BYTES + TAG_BYTES;

/// Opens a sealed file for whoever holds its content key, as it arrives.
///
/// The plaintext of a segment is given once the segment was authenticated. That nothing was cut off is known only
/// after [`Unsealer::finish`]; who must not act on a prefix keeps what was given aside until then. After an error
/// every further call fails.
pub struct Unsealer {
    key: ContentKey,
    expected: Sha256Digest,
    /// What has arrived and could not be opened yet: at most a header, or a segment and a piece.
    pending: Vec<u8>,
    cipher: Option<SegmentCipher>,
    position: u64,
    poisoned: bool,
}

impl Unsealer {
    /// Opens the file whose header has this digest.
    pub fn new(key: ContentKey, header: Sha256Digest) -> Self {
        Self { key, expected: header, pending: Vec::new(), cipher: None, position: 0, poisoned: false }
    }

    /// Takes the next piece; adds to `plaintext` what it completes.
    ///
    /// # Errors
    /// [`SealError::TamperedHeader`] also when the header is that of another file.
    pub fn push(&mut self, piece: &[u8], plaintext: &mut Zeroizing<Vec<u8>>) -> Result<(), SealError> {
        self.guarded(|unsealer| {
            unsealer.pending.extend_from_slice(piece);
            unsealer.begin()?;
            let mut opened = 0;
            // A segment is not the last when something follows it.
            while unsealer.cipher.is_some() && unsealer.pending.len() - opened > SEALED_SEGMENT_BYTES {
                unsealer.segment(opened..opened + SEALED_SEGMENT_BYTES, false, plaintext)?;
                opened += SEALED_SEGMENT_BYTES;
            }
            unsealer.pending.drain(..opened);
            Ok(())
        })
    }

    /// Whether the header has arrived, is the expected one, and commits to the key.
    pub fn has_begun(&self) -> bool {
        self.cipher.is_some()
    }

    /// The file ends here: opens its last segment, which proves that nothing is missing. Nothing can follow.
    pub fn finish(&mut self, plaintext: &mut Zeroizing<Vec<u8>>) -> Result<(), SealError> {
        let finished = self.guarded(|unsealer| {
            if unsealer.cipher.is_none() || unsealer.pending.len() < TAG_BYTES {
                return Err(SealError::Truncated);
            }
            // No sealer writes an empty segment behind others: two files with one plaintext would differ in form.
            if unsealer.pending.len() == TAG_BYTES && unsealer.position > 0 {
                return Err(SealError::Tampered { segment: unsealer.position });
            }
            unsealer.segment(0..unsealer.pending.len(), true, plaintext)
        });
        self.poisoned = true;
        finished
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Self) -> Result<(), SealError>) -> Result<(), SealError> {
        if std::mem::replace(&mut self.poisoned, true) {
            return Err(SealError::Poisoned);
        }
        work(self)?;
        self.poisoned = false;
        Ok(())
    }

    /// Takes the header off, once it is there.
    fn begin(&mut self) -> Result<(), SealError> {
        if self.cipher.is_some() {
            return Ok(());
        }
        if let Some(header) = SealedHeader::parse(&self.pending)? {
            if header.digest() != self.expected {
                return Err(SealError::TamperedHeader);
            }
            self.cipher = Some(header.cipher(&self.key)?);
            self.pending.drain(..header.as_bytes().len());
        }
        Ok(())
    }

    fn segment(
        &mut self,
        range: std::ops::Range<usize>,
        last: bool,
        plaintext: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), SealError> {
        let segment = self.position;
        let tampered = || SealError::Tampered { segment };
        let position = u32::try_from(segment).map_err(|_| tampered())?;
        let cipher = self.cipher.as_ref().ok_or(SealError::Truncated)?;
        let mut bytes = Zeroizing::new(self.pending[range].to_vec());
        cipher.decrypt_in_place(position, last, &[], &mut *bytes).map_err(|_| tampered())?;
        plaintext.extend_from_slice(&bytes);
        self.position += 1;
        Ok(())
    }
}

impl std::fmt::Debug for Unsealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsealer").field("position", &self.position).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{RecipientSecretKey, seal_slice};
    use super::*;

    /// What comes out of a file that is pushed in pieces of one size.
    fn unseal(
        sealed: &[u8],
        key: ContentKey,
        header: Sha256Digest,
        piece: usize,
    ) -> Result<Vec<u8>, SealError> {
        let mut unsealer = Unsealer::new(key, header);
        let mut plaintext = Zeroizing::new(Vec::new());
        for piece in sealed.chunks(piece) {
            unsealer.push(piece, &mut plaintext)?;
        }
        unsealer.finish(&mut plaintext)?;
        Ok(plaintext.to_vec())
    }

    fn sealed(plaintext: &[u8]) -> (Vec<u8>, ContentKey, Sha256Digest) {
        let secret = RecipientSecretKey::generate();
        let sealed = seal_slice(plaintext, &[secret.public_key()]).unwrap();
        let header = SealedHeader::read(&mut &sealed[..]).unwrap();
        (sealed, header.content_key(&secret).unwrap(), header.digest())
    }

    #[test]
    fn a_file_opens_however_it_is_cut() {
        for len in [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES] {
            let plaintext = vec![7; len];
            let (sealed, key, header) = sealed(&plaintext);
            for piece in [997, SEGMENT_BYTES, sealed.len()] {
                assert!(unseal(&sealed, key.clone(), header, piece).unwrap() == plaintext, "{len} {piece}");
            }
        }
    }

    #[test]
    fn nothing_else_opens() {
        let (mut file, key, header) = sealed(&vec![7; SEGMENT_BYTES + 100]);
        let (other, other_key, other_header) = sealed(b"other");
        assert!(matches!(unseal(&file, other_key.clone(), header, 9999), Err(SealError::TamperedHeader)));
        assert!(matches!(unseal(&other, other_key, header, 9999), Err(SealError::TamperedHeader)));
        assert!(matches!(unseal(&file, key.clone(), other_header, 9999), Err(SealError::TamperedHeader)));
        for cut in [0, 5, 40, file.len() - 1, file.len() - 116, file.len() - 117] {
            assert!(unseal(&file[..cut], key.clone(), header, 9999).is_err(), "{cut}");
        }
        let longer = [file.as_slice(), &[0; 20]].concat();
        assert!(unseal(&longer, key.clone(), header, 9999).is_err());
        for at in [0, 9, 30, 200, file.len() - 1] {
            file[at] ^= 1;
            assert!(unseal(&file, key.clone(), header, 9999).is_err(), "{at}");
            file[at] ^= 1;
        }
    }

    #[test]
    fn after_an_error_nothing_goes_on() {
        let (file, key, header) = sealed(b"x");
        let mut unsealer = Unsealer::new(key, header);
        let mut plaintext = Zeroizing::new(Vec::new());
        assert!(unsealer.push(b"no sealed file", &mut plaintext).is_err());
        assert!(matches!(unsealer.push(&file, &mut plaintext), Err(SealError::Poisoned)));
        assert!(plaintext.is_empty());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            let key = ContentKey::from_slice(&[1; 32]).unwrap();
            prop_assert!(unseal(&bytes, key, Sha256Digest::from_bytes([0; 32]), piece).is_err());
        }
    }
}
