//! What reaches an instance: frames, policies, file names.

use cm_instance::InstanceClaims;
use cm_instance::wire::posted::{self, BODY_LEN_MAX, HEAD_LEN_MAX};
use cm_instance::wire::{FrameDecoder, Incoming, Request, RequestDecoder, encode_frame};
use cm_instance::{
    FileName, FullPolicy, GuestPath, Pipeline, PolicyText, ProgramPolicy, UserPolicy, VaasPolicy,
};

/// Small, so that the limit itself is exercised.
const FRAME_LEN_MAX: usize = 4096;

/// The decoder finds the same requests however the stream is cut, and what it found encodes to a frame that
/// decodes to the same.
pub fn frames(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = requests(stream, stream.len().max(1));
    let pieces = requests(stream, usize::from(cut % 16) + 1);
    assert_eq!(whole, pieces, "the cutting of a stream changed its meaning");
    for request in whole {
        let frame = encode_frame(&request).expect("a request that fitted a frame fits one again");
        assert_eq!(requests(&frame, frame.len()), [request], "a request changed on the way");
    }
}

/// The requests up to the first error.
fn requests(stream: &[u8], piece_len: usize) -> Vec<Request> {
    let mut decoder = FrameDecoder::new(FRAME_LEN_MAX);
    let mut found = Vec::new();
    for piece in stream.chunks(piece_len) {
        decoder.push(piece);
        loop {
            match decoder.next_message::<Request>() {
                Ok(Some(request)) => found.push(request),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

/// Requests of both eras mean the same however the stream is cut, and as many bytes of a long file arrive as were announced.
pub fn requests_of_both_eras(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = incoming(stream, stream.len().max(1));
    let pieces = incoming(stream, usize::from(cut % 16) + 1);
    assert_eq!(whole, pieces, "the cutting of a stream changed its meaning");
}

/// What arrived up to the first error, the pieces of each file put together.
fn incoming(stream: &[u8], piece_len: usize) -> Vec<Incoming> {
    let mut decoder = RequestDecoder::of_both_eras(1 << 30);
    let mut found: Vec<Incoming> = Vec::new();
    let mut announced = 0;
    for piece in stream.chunks(piece_len) {
        decoder.push(piece);
        loop {
            match decoder.next_incoming() {
                Ok(Some(Incoming::Piece(bytes))) => {
                    announced -= bytes.len() as u64;
                    match found.last_mut() {
                        Some(Incoming::Piece(before)) => *before = [&before[..], &bytes[..]].concat().into(),
                        _ => found.push(Incoming::Piece(bytes)),
                    }
                }
                Ok(Some(other)) => {
                    match other {
                        Incoming::Begin { length, .. } => announced = length,
                        Incoming::End => assert_eq!(announced, 0, "a file ended early"),
                        Incoming::Message(_) | Incoming::Piece(_) => {}
                    }
                    found.push(other);
                }
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

/// A head that is read fits its limits and is the same with anything behind it; a body that is read is written the same way.
pub fn posts(data: &[u8]) {
    if let Ok(Some(head)) = posted::read_head(data) {
        assert!(head.length <= data.len().min(HEAD_LEN_MAX) && head.body_len <= BODY_LEN_MAX);
        assert_eq!(posted::read_head(&data[..head.length]), Ok(Some(head)));
    }
    if let Ok((session, records)) = posted::read_body(data) {
        let answer = posted::to_response(session, &records);
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

/// What a certificate says about an instance is read without harm.
pub fn instance_certificates(data: &[u8]) {
    let claims = InstanceClaims::read(data);
    assert!(claims.is_err() || cm_instance::certificate::evidence_kind(data).is_ok());
}

/// A policy that is accepted fulfils its own validation; a full one is written in one form, whose hash does not
/// change by reading.
pub fn policies(data: &[u8]) {
    if let Ok(policy) = ProgramPolicy::parse(data) {
        policy.validate().expect("parsing validates");
    }
    if let Ok(policy) = UserPolicy::parse(data) {
        policy.validate().expect("parsing validates");
    }
    if let Ok(policy) = VaasPolicy::parse(data) {
        policy.validate().expect("parsing validates");
    }
    if let Ok(policy) = FullPolicy::parse(data) {
        let text: PolicyText = policy.to_text();
        let again = text.parse().expect("what we write, we read");
        assert_eq!(again.to_text().hash(), text.hash(), "the form of a policy is not stable");
    }
}

/// A pipeline that is accepted has a normal form, which means the same; its programs are files, and it ends however its
/// conditions are answered.
pub fn pipelines(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(pipeline) = Pipeline::parse(text) else { return };
    assert_eq!(pipeline.as_str(), text, "the text of a policy is kept");
    let written = pipeline.to_string();
    let again = Pipeline::parse(written.as_str()).expect("what we write, we read");
    assert_eq!(again, pipeline);
    assert_eq!(again.to_string(), written);
    assert!(pipeline.programs().iter().all(|program| !program.is_root()));
    for answer in [false, true] {
        let mut evaluation = pipeline.begin();
        let mut left = pipeline.programs().len();
        while let Ok(Some(program)) =
            evaluation.next_program(|_| Ok::<bool, std::convert::Infallible>(answer))
        {
            assert!(pipeline.programs().contains(&program));
            left = left.checked_sub(1).expect("a pipeline runs no program more often than it names it");
        }
    }
}

/// A path that is accepted is normal: nothing in it climbs, and reading it again changes nothing. Whatever
/// lies below a path in the text lies below it for the rights.
pub fn guest_paths(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (base, name) = text.split_once('\n').unwrap_or((text, "x"));
    if let Ok(path) = GuestPath::parse(base) {
        assert!(path.as_str().starts_with('/'));
        assert!(path.names().all(|name| !name.is_empty() && name != "." && name != ".."));
        assert_eq!(GuestPath::parse(path.as_str()), Ok(path.clone()));
        assert!(GuestPath::root().covers(&path) && path.covers(&path));
        if let Ok(child) = path.join(name) {
            assert!(path.covers(&child) && !child.covers(&path), "{name:?} left {path}");
            assert_eq!(child.parent(), Some(path));
        }
    }
    if let Ok(file_name) = FileName::parse(base) {
        assert_eq!(file_name.as_str(), base, "the text of a policy is kept");
        assert_eq!(GuestPath::parse(base), Ok(file_name.path().clone()));
    }
}
