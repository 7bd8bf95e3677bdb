use super::*;

const VIDEO: &[u8] = include_bytes!("../data/clip.y4m.aes");
const KEY: &[u8] = include_bytes!("../data/key");
const IV: &[u8] = include_bytes!("../data/iv");
const EXPECTED: &str = include_str!("../data/detections");

/// Encrypts, which is the same as decrypting.
fn encrypted(plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Decrypted::new(plain, KEY, IV).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn search(plain: &[u8]) -> Result<String, MotionError> {
    let mut out = Vec::new();
    run(encrypted(plain).as_slice(), KEY, IV, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn the_clip_has_the_expected_detections() {
    let mut out = Vec::new();
    assert_eq!(run(VIDEO, KEY, IV, &mut out).unwrap(), 48);
    assert_eq!(String::from_utf8(out).unwrap(), EXPECTED);
    // The square comes with frame 9 and is gone with frame 40; frames 20 to 23 stand still.
    let moving: Vec<u64> =
        EXPECTED.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    let expected: Vec<u64> = (9..=40).filter(|frame| !(20..=23).contains(frame)).collect();
    assert_eq!(moving, expected);
}

#[test]
fn the_cipher_is_that_of_the_published_examples() {
    // NIST SP 800-38A, F.5.1 and F.5.5: the first block.
    let iv: Vec<u8> = (0xf0..=0xff).collect();
    let plain = hex("6bc1bee22e409f96e93d7e117393172a");
    for (key, cipher) in [
        ("2b7e151628aed2a6abf7158809cf4f3c", "874d6191b620e3261bef6864990db6ce"),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "601ec313775789a5b7a7f504bbf3d228",
        ),
    ] {
        let mut out = Vec::new();
        Decrypted::new(plain.as_slice(), &hex(key), &iv).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, hex(cipher));
    }
    assert_eq!(Decrypted::new(VIDEO, &KEY[1..], IV).unwrap_err(), KeyError);
    assert_eq!(Decrypted::new(VIDEO, KEY, &IV[1..]).unwrap_err(), KeyError);
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_wrong_key_is_told_and_detects_nothing() {
    let mut key = KEY.to_vec();
    key[0] ^= 1;
    let mut out = Vec::new();
    assert!(matches!(run(VIDEO, &key, IV, &mut out), Err(MotionError::Video(VideoError::Header))));
    assert!(out.is_empty());
}

#[test]
fn colours_are_read_over_and_small_changes_are_none() {
    let frame = |level: u8| [b"FRAME\n".to_vec(), vec![level; 64 + 32]].concat();
    let video = [b"YUV4MPEG2 W8 H8 F1:1 C420jpeg\n".to_vec(), frame(0), frame(16), frame(33)].concat();
    assert_eq!(search(&video).unwrap(), "2 1 0,0 8,8\n");
    let odd = [b"YUV4MPEG2 W3 H1 Cmono\n".as_slice(), b"FRAME\nabcFRAME I1\n\xff\xff\xff"].concat();
    assert_eq!(search(&odd).unwrap(), "1 1 0,0 3,1\n");
}

#[test]
fn what_is_no_video_is_told() {
    let check = |plain: &[u8]| search(plain).unwrap_err().to_string();
    assert!(check(b"").contains("not a YUV4MPEG2"));
    assert!(check(b"YUV4MPEG2 W0 H5\n").contains("pixels"));
    assert!(check(b"YUV4MPEG2 W9999 H5\n").contains("pixels"));
    assert!(check(b"YUV4MPEG2 W2 H2 C420p10\n").contains("8-bit"));
    assert!(check(b"YUV4MPEG2 W2 H2 Cmono\nFRAME\nabc").contains("within a frame"));
    assert!(check(b"YUV4MPEG2 W2 H2 Cmono\nFROME\nabcd").contains("not a YUV4MPEG2"));
    assert!(check(&[b'Y'; 5000]).contains("not a YUV4MPEG2"));
}
