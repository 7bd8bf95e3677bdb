use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
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

/// Reads a request: its first line.
fn request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        if first.is_empty() {
            first = line;
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    first
}

#[tokio::test]
async fn a_file_that_is_written_to_while_it_is_sent_becomes_no_object() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "content").unwrap();
    File::open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let part = format!(r#"{{"number":1,"size":7,"sha256":"{}","etag":"e"}}"#, sha256(b"content"));
    let written = file.clone();
    let server = std::thread::spawn(move || {
        for (expected, body) in [("POST", r#"{"id":"u","key":"a/../b"}"#), ("PUT", &part)] {
            let (mut stream, _) = listener.accept().unwrap();
            let first = request(&stream);
            assert!(first.starts_with(expected), "{first}");
            if expected == "PUT" {
                assert!(first.contains("/uploads/u/a%2F..%2Fb?part=1 "), "{first}");
                // The same bytes: that they were written says that they were not at rest.
                std::fs::write(&written, "content").unwrap();
            }
            let length = body.len();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .unwrap();
        }
    });
    let api = Api::new(crate::Location { url, token: None, token_file: "unused".into() }).unwrap();
    let memory = UploadMemory::open(dir.path().join("uploads")).unwrap();
    let (bucket, key) = (BucketName::parse("box").unwrap(), ObjectKey::parse("a/../b").unwrap());
    let outcome = api.upload(&bucket, &key, &file, &memory, Arc::new(|_| {})).await;
    assert!(matches!(outcome, Err(ClientError::FileChanged(_))), "{outcome:?}");
    server.join().unwrap();
}
