//! Sealing against every way in which a store could cheat.

use std::io::{Read, Write};

use proptest::prelude::*;

use super::*;

const SEALED_SEGMENT: usize = SEGMENT_BYTES + TAG_BYTES;

fn key() -> RecipientSecretKey {
    RecipientSecretKey::generate()
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Seals for one recipient and returns header and segments apart.
fn sealed_parts(plaintext: &[u8], secret: &RecipientSecretKey) -> (Vec<u8>, Vec<Vec<u8>>) {
    let sealed = seal_slice(plaintext, &[secret.public_key()]).unwrap();
    let (header, body) = sealed.split_at(header::header_bytes(1));
    (header.to_vec(), body.chunks(SEALED_SEGMENT).map(<[u8]>::to_vec).collect())
}

fn joined(header: &[u8], segments: &[&[u8]]) -> Vec<u8> {
    let mut all = header.to_vec();
    segments.iter().for_each(|segment| all.extend_from_slice(segment));
    all
}

#[test]
fn every_size_reads_back_and_has_the_length_foretold() {
    let secret = key();
    let segment = SEGMENT_BYTES;
    for len in [0, 1, 17, segment - 1, segment, segment + 1, 2 * segment, 3 * segment + 5] {
        let plaintext = sample(len);
        let sealed = seal_slice(&plaintext, &[secret.public_key()]).unwrap();
        assert_eq!(sealed.len() as u64, sealed_len(len as u64, 1), "length for {len}");
        assert!(looks_sealed(&sealed));
        assert_eq!(*open_slice(&sealed, &secret).unwrap(), plaintext, "content for {len}");
    }
}

#[test]
fn each_of_many_recipients_can_open_and_nobody_else() {
    let secrets: Vec<_> = (0..RECIPIENTS_MAX).map(|_| key()).collect();
    let recipients: Vec<_> = secrets.iter().map(RecipientSecretKey::public_key).collect();
    let sealed = seal_slice(b"minutes of the board", &recipients).unwrap();
    for position in [0, 1, 31, RECIPIENTS_MAX - 1] {
        assert_eq!(open_slice(&sealed, &secrets[position]).unwrap().as_slice(), b"minutes of the board");
    }
    assert!(matches!(open_slice(&sealed, &key()), Err(SealError::NotForYou)));
}

#[test]
fn the_number_of_recipients_is_limited_and_duplicates_do_not_count() {
    assert!(matches!(seal_slice(b"", &[]), Err(SealError::Recipients { found: 0 })));
    let many: Vec<_> = (0..=RECIPIENTS_MAX).map(|_| key().public_key()).collect();
    assert!(matches!(seal_slice(b"", &many), Err(SealError::Recipients { found: 65 })));
    let one = key();
    let sealed = seal_slice(b"x", &vec![one.public_key(); 100]).unwrap();
    assert_eq!(sealed.len() as u64, sealed_len(1, 1));
}

#[test]
fn a_point_of_small_order_is_refused() {
    let weak = RecipientPublicKey::from_bytes(&[0; 32]);
    let recipients = [key().public_key(), weak];
    assert!(matches!(seal_slice(b"x", &recipients), Err(SealError::WeakRecipient { position: 1 })));
}

#[test]
fn every_single_flipped_byte_is_found() {
    let secret = key();
    let other = key().public_key();
    let sealed = seal_slice(b"a small file", &[other, secret.public_key()]).unwrap();
    for at in 0..sealed.len() {
        for bit in [0x01, 0x80] {
            let mut altered = sealed.clone();
            altered[at] ^= bit;
            let error = open_slice(&altered, &secret).expect_err("an altered byte was accepted");
            let in_body = at >= header::header_bytes(2);
            assert_eq!(in_body, matches!(error, SealError::Tampered { segment: 0 }), "byte {at}: {error}");
        }
    }
}

#[test]
fn a_flipped_byte_is_named_by_its_segment_and_what_came_before_is_released() {
    let secret = key();
    let plaintext = sample(3 * SEGMENT_BYTES + 9);
    let mut sealed = seal_slice(&plaintext, &[secret.public_key()]).unwrap();
    let at = header::header_bytes(1) + 2 * SEALED_SEGMENT + 77;
    sealed[at] ^= 4;
    let mut opener = Opener::new(sealed.as_slice(), &secret).unwrap();
    let mut released = Vec::new();
    let error = opener.read_to_end(&mut released).unwrap_err();
    let inner = error.get_ref().unwrap().downcast_ref::<SealError>().unwrap();
    assert!(matches!(inner, SealError::Tampered { segment: 2 }), "{inner}");
    assert_eq!(released, plaintext[..2 * SEGMENT_BYTES]);
    assert!(opener.read(&mut [0; 8]).is_err(), "an error was followed by an end");
}

#[test]
fn a_cut_at_any_place_is_found() {
    let secret = key();
    let sealed = seal_slice(b"0123456789", &[secret.public_key()]).unwrap();
    for len in 0..sealed.len() {
        assert!(open_slice(&sealed[..len], &secret).is_err(), "cut at {len} was accepted");
    }
    let (header, segments) = sealed_parts(&sample(3 * SEGMENT_BYTES), &secret);
    for kept in 0..3 {
        let kept: Vec<&[u8]> = segments[..kept].iter().map(Vec::as_slice).collect();
        let error = open_slice(&joined(&header, &kept), &secret).unwrap_err();
        assert!(matches!(error, SealError::Truncated), "{error}");
    }
}

#[test]
fn extension_reordering_and_swapping_are_found() {
    let secret = key();
    let content = sample(3 * SEGMENT_BYTES);
    let (header, s) = sealed_parts(&content, &secret);
    let (other_header, o) = sealed_parts(&content, &secret);
    let check = |header: &[u8], segments: &[&[u8]], expected: u64| {
        let error = open_slice(&joined(header, segments), &secret).unwrap_err();
        let found = matches!(error, SealError::Tampered { segment } if segment == expected);
        assert!(found, "expected segment {expected}, found {error:?}");
    };
    check(&header, &[&s[0], &s[1], &s[2], b"x"], 3);
    check(&header, &[&s[0], &s[1], &s[2], &s[2]], 3);
    check(&header, &[&s[1], &s[0], &s[2]], 0);
    check(&header, &[&s[0], &s[0], &s[2]], 1);
    check(&header, &[&s[0], &s[2]], 1);
    check(&header, &[&s[0], &o[1], &s[2]], 1);
    check(&other_header, &[&s[0], &s[1], &s[2]], 0);
}

#[test]
fn what_is_no_sealed_file_is_told_apart() {
    let secret = key();
    let problem = |bytes: &[u8]| match open_slice(bytes, &secret) {
        Err(SealError::Format(problem)) => problem,
        other => panic!("expected a format error, found {other:?}"),
    };
    assert_eq!(problem(b""), FormatProblem::Magic);
    assert_eq!(problem(b"PK\x03\x04 and more than that"), FormatProblem::Magic);
    let mut sealed = seal_slice(b"x", &[secret.public_key()]).unwrap();
    sealed[8] = 9;
    assert_eq!(problem(&sealed), FormatProblem::Version { found: 9 });
    sealed[8] = VERSION;
    sealed[9] = 65;
    assert_eq!(problem(&sealed), FormatProblem::Recipients { found: 65 });
}

#[test]
fn keys_read_back_what_they_print_and_slips_are_named() {
    let secret = key();
    let (secret_text, public_text) = (secret.to_text(), secret.public_key().to_string());
    assert!(public_text.starts_with("cmpub1") && secret_text.starts_with("cmsec1"));
    assert_eq!(public_text.parse::<RecipientPublicKey>().unwrap(), secret.public_key());
    assert_eq!(secret_text.parse::<RecipientSecretKey>().unwrap().public_key(), secret.public_key());
    assert_eq!(public_text.to_uppercase().parse::<RecipientPublicKey>().unwrap(), secret.public_key());
    let confused = secret_text.parse::<RecipientPublicKey>().unwrap_err();
    assert!(matches!(confused, InvalidRecipientKey::Prefix { expected: "cmpub", .. }));
    assert!(!confused.to_string().contains(secret_text.as_str()), "an error repeats a secret");
    for at in 6..public_text.len() {
        let mut slip = public_text.clone().into_bytes();
        slip[at] = if slip[at] == b'q' { b'p' } else { b'q' };
        let slip = String::from_utf8(slip).unwrap();
        assert_eq!(slip.parse::<RecipientPublicKey>().unwrap_err(), InvalidRecipientKey::Checksum);
    }
    assert_eq!(format!("{secret:?}"), "RecipientSecretKey([redacted])");
}

/// Gives one to three bytes at a time, as a slow connection may.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let given = out.len().min(self.0.len()).min(1 + self.0.len() % 3);
        out[..given].copy_from_slice(&self.0[..given]);
        self.0 = &self.0[given..];
        Ok(given)
    }
}

#[test]
fn the_reader_may_give_as_little_as_it_likes() {
    let secret = key();
    let plaintext = sample(SEGMENT_BYTES + 3);
    let sealed = seal_slice(&plaintext, &[secret.public_key()]).unwrap();
    let mut found = Vec::new();
    Opener::new(Dribble(&sealed), &secret).unwrap().read_to_end(&mut found).unwrap();
    assert_eq!(found, plaintext);
}

/// Accepts so many bytes, then fails.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 < bytes.len() {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sealer_whose_writer_failed_does_not_go_on() {
    let recipients = [key().public_key()];
    let mut sealer = Sealer::new(Full(header::header_bytes(1)), &recipients).unwrap();
    let error = sealer.write_all(&sample(2 * SEGMENT_BYTES)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(matches!(sealer.finish(), Err(SealError::Poisoned)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_way_of_writing_and_reading_keeps_the_bytes(
        writes in prop::collection::vec(0usize..40_000, 0..6), read_step in 1usize..90_000,
    ) {
        let secret = key();
        let plaintext = sample(writes.iter().sum());
        let mut sealer = Sealer::new(Vec::new(), &[secret.public_key()]).unwrap();
        let mut rest = plaintext.as_slice();
        for len in writes {
            let (now, later) = rest.split_at(len);
            sealer.write_all(now).unwrap();
            rest = later;
        }
        let sealed = sealer.finish().unwrap();
        let mut opener = Opener::new(sealed.as_slice(), &secret).unwrap();
        let (mut found, mut step) = (Vec::new(), vec![0; read_step]);
        loop {
            match opener.read(&mut step).unwrap() {
                0 => break,
                read => found.extend_from_slice(&step[..read]),
            }
        }
        prop_assert_eq!(found, plaintext);
    }

    #[test]
    fn foreign_bytes_never_panic_and_never_open(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let secret = key();
        prop_assert!(open_slice(&bytes, &secret).is_err());
        let beginning = bytes.len().min(10);
        bytes[..beginning].copy_from_slice(&b"cmsealed\x01\x01"[..beginning]);
        prop_assert!(open_slice(&bytes, &secret).is_err());
    }
}

#[test]
fn the_signing_key_of_a_secret_is_always_the_same_and_no_other_s() {
    let (secret, other) = (RecipientSecretKey::generate(), RecipientSecretKey::generate());
    let again: RecipientSecretKey = secret.to_text().parse().unwrap();
    assert_eq!(secret.signing_key().verifying_key(), again.signing_key().verifying_key());
    assert_ne!(secret.signing_key().verifying_key(), other.signing_key().verifying_key());
}
