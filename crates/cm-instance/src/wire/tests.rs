use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::report::{DeniedAccess, ExecutionReport, Outcome};
use crate::{GuestPath, Rights};

#[test]
fn the_bytes_are_those_of_the_published_runtime() {
    let mut reply = Response::data(vec![0, 0, 0, 0]);
    assert_eq!(hex::encode(reply.encode_to_vec()), "080122060a0400000000");
    reply = Response::success();
    assert_eq!(hex::encode(reply.encode_to_vec()), "0801");
    let shutdown = Request::from(RequestBody::RequestShutdown(RequestShutdown {}));
    assert_eq!(hex::encode(shutdown.encode_to_vec()), "4200");
}

#[test]
fn an_announcement_over_the_limit_ends_the_connection() {
    let mut decoder = FrameDecoder::new(10);
    decoder.push(&11u64.to_be_bytes());
    assert!(matches!(decoder.next_frame(), Err(FrameError::TooLong { found: 11, max: 10 })));
    decoder.push(&[0; 100]);
    assert!(decoder.next_frame().unwrap().is_none());
}

#[test]
fn a_report_survives_the_wire() {
    let path = GuestPath::parse("x").unwrap();
    let denied = DeniedAccess { path: path.clone(), right: Rights::FD_READ, call: "fd_read".into() };
    let outcome = Outcome::MissingRight { path, right: Rights::FD_READ, call: "fd_read".into() };
    let report = ExecutionReport {
        fuel: Some(7),
        denied: vec![denied],
        denied_count: 1,
        ..ExecutionReport::before_start(outcome)
    };
    assert_eq!(Report::pack(&report).unpack().unwrap(), report);
}

fn request() -> impl Strategy<Value = Request> {
    let data = || {
        (".{0,20}", prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(file_name, data)| Data { file_name, data: Bytes::from(data) })
    };
    let body = prop_oneof![
        data().prop_map(RequestBody::WriteFile),
        data().prop_map(RequestBody::AppendFile),
        ".{0,20}".prop_map(|file_name| RequestBody::RequestPiHash(RequestPiHash { file_name })),
        ".{0,20}".prop_map(|file_name| RequestBody::RequestResult(RequestResult { file_name })),
        Just(RequestBody::RequestShutdown(RequestShutdown {})),
        Just(RequestBody::RequestPolicyHash(RequestPolicyHash {})),
        (".{0,20}", any::<u64>(), any::<u64>()).prop_map(|(file_name, offset, length)| {
            RequestBody::ReadFile(ReadFile { file_name, offset, length })
        }),
        ".{0,20}".prop_map(|pipeline_id| RequestBody::RequestPipeline(RequestPipeline { pipeline_id })),
        (".{0,20}", any::<u64>(), prop::collection::vec(".{0,9}", 0..3), prop::option::of(".{0,9}"))
            .prop_map(|(file_name, deadline_ms, arguments, pipeline)| {
                RequestBody::Execute(Execute { file_name, deadline_ms, arguments, pipeline })
            }),
        Just(RequestBody::Cancel(Cancel {})),
        Just(RequestBody::ListFiles(ListFiles {})),
        (".{0,20}", any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(file_name, key, header)| {
            let (content_key, sealed_header) = (key.to_vec(), header.to_vec());
            RequestBody::ProvideKey(ProvideKey { file_name, content_key, sealed_header })
        }),
        (data(), any::<u64>(), any::<bool>()).prop_map(|(Data { file_name, data }, offset, last)| {
            RequestBody::WriteSealed(WriteSealed { file_name, data, offset, last })
        }),
    ];
    (any::<u32>(), prop::option::of(body)).prop_map(|(context, body)| Request { context, body })
}

proptest! {
    #[test]
    fn requests_arrive_as_sent_however_the_stream_is_cut(
        requests in prop::collection::vec(request(), 0..6),
        cuts in prop::collection::vec(1usize..64, 1..50),
    ) {
        let mut stream = Vec::new();
        for request in &requests {
            stream.extend_from_slice(&encode_frame(request).unwrap());
        }
        let mut decoder = FrameDecoder::default();
        let mut arrived = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            while let Some(request) = decoder.next_message::<Request>().unwrap() {
                arrived.push(request);
            }
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            decoder.push(piece);
            rest = behind;
        }
        prop_assert_eq!(arrived, requests);
        prop_assert!(decoder.is_at_boundary());
    }

    #[test]
    fn foreign_bytes_never_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
        let mut decoder = FrameDecoder::new(64);
        for piece in pieces {
            decoder.push(&piece);
            for _ in 0..8 {
                let _ = decoder.next_message::<Request>();
            }
        }
    }

    #[test]
    fn foreign_messages_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut stream = (bytes.len() as u64).to_be_bytes().to_vec();
        stream.extend_from_slice(&bytes);
        let mut decoder = FrameDecoder::default();
        decoder.push(&stream);
        if let Ok(Some(response)) = decoder.next_message::<Response>() {
            let again = encode_frame(&response).unwrap();
            let mut decoder = FrameDecoder::default();
            decoder.push(&again);
            prop_assert_eq!(decoder.next_message::<Response>().unwrap(), Some(response));
        }
    }
}
