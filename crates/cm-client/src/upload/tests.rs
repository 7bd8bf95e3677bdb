use std::os::unix::fs::PermissionsExt;

use super::*;

fn pieces(content: &[u8], size: u64, part_bytes: u64) -> (std::io::Result<Sha256Digest>, Vec<Piece>) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    let (sender, mut receiver) = mpsc::channel(100);
    let whole = hash(&file, size, part_bytes, &sender);
    drop(sender);
    let mut pieces = Vec::new();
    while let Some(piece) = receiver.blocking_recv() {
        pieces.push(piece);
    }
    (whole, pieces)
}

#[test]
fn the_parts_of_a_file_are_all_of_it() {
    let content: Vec<u8> = (0..2_500_000_u32).map(|n| (n % 251) as u8).collect();
    for (size, part_bytes, count) in [(0, 7, 1), (7, 7, 1), (8, 7, 2), (2_500_000, 1_100_000, 3)] {
        let content = &content[..size];
        let (whole, found) = pieces(content, size as u64, part_bytes);
        assert_eq!(whole.unwrap(), sha256(content));
        assert_eq!(found.len(), count, "{size} by {part_bytes}");
        let mut position = 0;
        for (at, piece) in found.iter().enumerate() {
            assert_eq!((usize::from(piece.number), piece.from), (at + 1, position));
            let bytes = &content[piece.from as usize..(piece.from + piece.size) as usize];
            assert_eq!(piece.sha256, sha256(bytes));
            position += piece.size;
        }
        assert_eq!(position, size as u64);
    }
}

#[test]
fn a_file_that_is_shorter_than_it_was_is_noticed() {
    let (whole, _) = pieces(b"short", 6, 4);
    assert_eq!(whole.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn no_file_has_too_many_parts() {
    assert_eq!(part_bytes(0), PART_BYTES);
    for size in [PARTS_MAX * PART_BYTES, PARTS_MAX * PART_BYTES + 1, 5 << 40] {
        let bytes = part_bytes(size);
        assert!(size.div_ceil(bytes) <= PARTS_MAX && bytes.is_multiple_of(1 << 20), "{size}: {bytes}");
    }
}

#[test]
fn a_note_is_found_again_and_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let memory = UploadMemory::open(dir.path().join("uploads")).unwrap();
    assert_eq!(dir.path().join("uploads").metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let file = Path::new("/a/film");
    let note = |upload: &str| Note {
        node: "n".into(),
        object: "b/k".into(),
        file: file.to_owned(),
        upload: upload.into(),
        part_bytes: 8,
    };
    let mut held = memory.note("n", "b/k", file).unwrap();
    assert_eq!(held.read(), None);
    held.write(&note("a long name of an upload")).unwrap();
    held.write(&note("short")).unwrap();
    assert!(matches!(memory.note("n", "b/k", file), Err(ClientError::AlreadyUploading(_))));
    assert_eq!(memory.note("n", "b/other", file).unwrap().read(), None, "another object, another note");
    drop(held);
    let mut held = memory.note("n", "b/k", file).unwrap();
    assert_eq!(held.read(), Some(note("short")));
    held.forget();
    assert_eq!(memory.note("n", "b/k", file).unwrap().read(), None);
}

#[test]
fn what_is_no_note_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let memory = UploadMemory::open(dir.path().to_owned()).unwrap();
    let mut held = memory.note("n", "b/k", Path::new("/f")).unwrap();
    held.opened.write_all(b"{\"node\":").unwrap();
    assert_eq!(held.read(), None);
}
