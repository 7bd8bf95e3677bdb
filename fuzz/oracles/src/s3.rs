//! What reaches the S3 face before anybody is known: framed bodies.

use std::collections::VecDeque;

use cm_s3::framing::{FramingError, Mode, Parser, Trailers};

type Outcome = Result<(Vec<u8>, Option<String>), FramingError>;

fn run(mode: Mode, body: &[u8], piece: usize) -> Outcome {
    let (mut parser, mut out, trailers) = (Parser::new(mode), VecDeque::new(), Trailers::default());
    for piece in body.chunks(piece) {
        parser.push(piece.to_vec().into(), &mut out)?;
    }
    parser.finish(&trailers)?;
    let all = out.into_iter().flat_map(|bytes| bytes.to_vec()).collect();
    Ok((all, trailers.0.get().map(|trailers| format!("{trailers:?}"))))
}

/// The content of a body does not depend on how it arrives; cutting its chunks changes neither content nor trailers, and
/// keeping them changes nothing.
pub fn aws_chunked(data: &[u8]) {
    let whole = run(Mode::Remove, data, data.len().max(1));
    for piece in [1, 3, 64] {
        assert_eq!(run(Mode::Remove, data, piece), whole, "in pieces of {piece}");
    }
    if let Ok((kept, _)) = run(Mode::Keep, data, 7) {
        assert_eq!(kept, data);
    }
    if let Ok((cut, _)) = run(Mode::Cut, data, 7) {
        assert_eq!(run(Mode::Remove, &cut, 5), whole);
    }
}
