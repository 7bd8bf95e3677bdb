use proptest::prelude::*;

use super::*;

/// The outcome of a body that arrives in pieces of a length.
fn run(mode: Mode, body: &[u8], piece: usize) -> Result<(Vec<u8>, HeaderMap), FramingError> {
    let (mut parser, mut out, trailers) = (Parser::new(mode), VecDeque::new(), Trailers::default());
    for piece in body.chunks(piece.max(1)) {
        parser.push(Bytes::copy_from_slice(piece), &mut out)?;
    }
    parser.finish(&trailers)?;
    let all = out.into_iter().flat_map(|bytes| bytes.to_vec()).collect();
    Ok((all, trailers.0.get().cloned().unwrap_or_default()))
}

const UNSIGNED: &[u8] = b"5\r\nhello\r\n1\r\n!\r\n0\r\nx-amz-checksum-crc32:aGVsbG8=\r\n\r\n";
const SIGNED: &[u8] = b"5;chunk-signature=00\r\nhello\r\n0;chunk-signature=11\r\n\r\n";

#[test]
fn framing_is_removed_kept_or_cut() {
    for piece in 1..70 {
        let (content, trailers) = run(Mode::Remove, UNSIGNED, piece).unwrap();
        assert_eq!(content, b"hello!");
        assert_eq!(trailers["x-amz-checksum-crc32"], "aGVsbG8=");
        assert_eq!(run(Mode::Remove, SIGNED, piece).unwrap().0, b"hello");
        assert_eq!(run(Mode::Keep, SIGNED, piece).unwrap().0, SIGNED);
        let (cut, _) = run(Mode::Cut, UNSIGNED, piece).unwrap();
        assert_eq!(run(Mode::Remove, &cut, 7).unwrap(), (content, trailers));
    }
}

/// Streams that end panic when they are asked again.
#[test]
fn a_body_that_has_ended_is_not_asked_again() {
    for end in [UNSIGNED.len(), 5] {
        let pieces: Vec<_> = UNSIGNED[..end].chunks(4).map(Bytes::from_static).collect();
        let body =
            stream::unfold(
                pieces.into_iter(),
                |mut pieces| async move { Some((Ok(pieces.next()?), pieces)) },
            );
        let frames = Frames::new(body, Mode::Remove, Trailers::default());
        let mut frames = std::pin::pin!(frames);
        let mut content = Vec::new();
        futures::executor::block_on(async {
            while let Some(Ok(piece)) = frames.next().await {
                content.extend_from_slice(&piece);
            }
            assert!(frames.next().await.is_none());
            assert!(frames.next().await.is_none());
        });
        assert!(b"hello!".starts_with(&content));
    }
}

#[test]
fn a_long_chunk_is_cut_or_refused() {
    let data = vec![7; 3 * PIECE_BYTES + 5];
    let body = [format!("{:X}\r\n", data.len()).as_bytes(), &data, b"\r\n0\r\n\r\n"].concat();
    let (cut, _) = run(Mode::Cut, &body, body.len()).unwrap();
    assert!(cut.starts_with(b"10000\r\n"), "the first chunk is still long");
    assert_eq!(run(Mode::Remove, &cut, 1000).unwrap().0, data);
    let long = format!("{:x};chunk-signature=0\r\n", SIGNED_CHUNK_BYTES_MAX + 1);
    assert_eq!(run(Mode::Keep, long.as_bytes(), 9).unwrap_err(), FramingError::ChunkTooLong);
}

#[test]
fn what_is_no_framing_is_refused() {
    for body in [
        &b"x\r\n"[..],
        b"5\nhello",
        b"\r\n",
        b"5\r\nhelloXX",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"11111111111111111\r\n",
        b"0\r\nno colon\r\n\r\n",
        &[b'1'; 300],
    ] {
        assert_eq!(run(Mode::Remove, body, 3).unwrap_err(), FramingError::Malformed, "{body:?}");
    }
    for end in 0..UNSIGNED.len() - 33 {
        let cut_off = run(Mode::Remove, &UNSIGNED[..end], 64);
        assert_eq!(cut_off.unwrap_err(), FramingError::Incomplete, "{end}");
    }
    assert_eq!(run(Mode::Cut, SIGNED, 64).unwrap_err(), FramingError::Malformed);
}

proptest! {
    #[test]
    fn every_content_survives_every_framing(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..6), piece in 1usize..300,
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(run(Mode::Remove, &body, piece).unwrap().0, chunks.concat());
        let cut = run(Mode::Cut, &body, piece).unwrap().0;
        prop_assert_eq!(run(Mode::Remove, &cut, 64).unwrap().0, chunks.concat());
        prop_assert_eq!(run(Mode::Keep, &body, piece).unwrap().0, body);
    }

    #[test]
    fn foreign_bytes_do_not_panic(body: Vec<u8>, piece in 1usize..50) {
        for mode in [Mode::Cut, Mode::Keep, Mode::Remove] {
            let _ = run(mode, &body, piece);
        }
    }
}
