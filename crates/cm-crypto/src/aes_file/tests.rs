use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// Made by Python's `cryptography`; see `vectors.py`.
const VECTORS: &str = include_str!("vectors/aes.txt");

struct Vector {
    key: AesKey,
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    file: Vec<u8>,
    blob: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let vector = |line: &str| {
        let parts: Vec<&str> = line.split(' ').collect();
        let bytes = |place: usize| hex::decode(parts[place].trim_matches('-')).unwrap();
        Vector {
            key: AesKey::from_hex(parts[0]).unwrap(),
            aad: bytes(1),
            plaintext: bytes(2),
            file: bytes(3),
            blob: bytes(4),
        }
    };
    VECTORS.lines().map(vector).collect()
}

fn open_slice(key: &AesKey, aad: &[u8], file: &[u8]) -> Result<Vec<u8>, AesFileError> {
    let mut plaintext = Vec::new();
    let opened = open(key, aad, Cursor::new(file), &mut plaintext, |_| Ok(()));
    assert!(opened.is_ok() || plaintext.is_empty(), "nothing reaches the destination of what is refused");
    opened.map(|_| plaintext)
}

fn seal_slice(key: &AesKey, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    assert_eq!(seal(key, aad, plaintext, &mut file, |_| Ok(())).unwrap(), plaintext.len() as u64);
    file
}

#[test]
fn what_another_library_sealed_opens() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 18);
    for Vector { key, aad, plaintext, file, blob } in vectors {
        assert_eq!(open_slice(&key, &aad, &file).unwrap(), plaintext);
        assert_eq!(*open_blob(&key, &aad, &blob).unwrap(), plaintext);
    }
}

#[test]
fn every_change_of_a_file_is_noticed_before_anything_is_written() {
    let key = AesKey::generate(256).unwrap();
    let file = seal_slice(&key, b"aad", b"forty bytes of plaintext are two blocks.");
    for at in 0..file.len() {
        let mut altered = file.clone();
        altered[at] ^= 1;
        assert!(matches!(open_slice(&key, b"aad", &altered), Err(AesFileError::Sealed)), "byte {at}");
        assert!(matches!(open_slice(&key, b"aad", &file[..at]), Err(AesFileError::Sealed)), "cut at {at}");
    }
    let mut reordered = file.clone();
    reordered[..32].rotate_left(16);
    for wrong in [[&file[..], b"x"].concat(), [b"x", &file[..]].concat(), reordered] {
        assert!(matches!(open_slice(&key, b"aad", &wrong), Err(AesFileError::Sealed)));
    }
    assert!(matches!(open_slice(&key, b"", &file), Err(AesFileError::Sealed)));
    let other = AesKey::generate(256).unwrap();
    assert!(matches!(open_slice(&other, b"aad", &file), Err(AesFileError::Sealed)));
}

/// A file that somebody changes after it was found authentic.
struct Changing {
    file: Cursor<Vec<u8>>,
    rewinds: usize,
}

impl Read for Changing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Changing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if to == SeekFrom::Start(0) {
            self.rewinds += 1;
            if self.rewinds == 2 {
                self.file.get_mut()[0] ^= 1;
            }
        }
        self.file.seek(to)
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_noticed() {
    let key = AesKey::generate(128).unwrap();
    let file = Changing { file: Cursor::new(seal_slice(&key, b"", &[7; 100])), rewinds: 0 };
    assert!(matches!(open(&key, b"", file, Vec::new(), |_| Ok(())), Err(AesFileError::Changed)));
}

#[test]
fn work_ends_when_it_is_told_to() {
    let key = AesKey::generate(192).unwrap();
    let stop = |_| Err(io::Error::other("enough"));
    assert!(matches!(seal(&key, b"", &[0; 10][..], Vec::new(), stop), Err(AesFileError::Io(_))));
}

#[test]
fn keys_have_one_of_three_lengths() {
    for (hex_digits, bits) in [(32, 128), (48, 192), (64, 256)] {
        let key = AesKey::from_hex(&format!("{}\n", "a".repeat(hex_digits))).unwrap();
        assert_eq!((key.bits(), key.to_hex().len()), (bits, hex_digits));
        assert!(!format!("{key:?}").contains("aa"));
    }
    for wrong in ["", "aa", &"a".repeat(33), &"g".repeat(32)] {
        assert_eq!(AesKey::from_hex(wrong).unwrap_err(), CryptoError::Key("AES"));
    }
    assert!(AesKey::generate(512).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn files_and_blobs_open_again(
        bits in prop::sample::select(vec![128, 192, 256]),
        aad in prop::collection::vec(any::<u8>(), 0..40),
        len in prop_oneof![0usize..70, (PIECE_BYTES - 2)..(PIECE_BYTES + 40)],
    ) {
        let key = AesKey::generate(bits).unwrap();
        let plaintext: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let file = seal_slice(&key, &aad, &plaintext);
        prop_assert_eq!(file.len(), len + 32);
        prop_assert!(open_slice(&key, &aad, &file).unwrap() == plaintext);
        let blob = seal_blob(&key, &aad, &plaintext);
        prop_assert!(*open_blob(&key, &aad, &blob).unwrap() == plaintext);
    }

    #[test]
    fn foreign_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let key = AesKey::generate(256).unwrap();
        prop_assert!(open_slice(&key, b"", &bytes).is_err());
        prop_assert!(open_blob(&key, b"", &bytes).is_err());
    }
}
