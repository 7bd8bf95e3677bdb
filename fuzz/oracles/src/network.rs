//! What reaches a node from its peers, and what policies of replication say.

use cm_net::frame::{Frame, FrameError, Head, MESSAGE_LEN_MAX};
use cm_placement::apac::{Policy, Readings};
use futures::executor::block_on;

/// Small, so that the limit itself is exercised.
const ANSWER_LEN_MAX: usize = 4096;

/// A head and frames that were accepted are written as the bytes that they were read from, and keep the limits.
pub fn links(data: &[u8]) {
    let mut from = data;
    let Ok(head) = block_on(Head::read(&mut from)) else { return };
    assert!(head.body_len <= MESSAGE_LEN_MAX, "a body above the limit was announced");
    assert_eq!(head.encode(), data[..data.len() - from.len()], "a head has two forms");
    loop {
        let before = from;
        let frame = match block_on(Frame::read(&mut from, ANSWER_LEN_MAX)) {
            Ok(frame) => frame,
            Err(FrameError::Io(_) | FrameError::Malformed) => return,
            Err(FrameError::TooLong { len, max }) => {
                assert!(len > max, "what is within the limit was refused");
                return;
            }
        };
        let mut written = frame.header().to_vec();
        if let Frame::Piece(bytes) | Frame::End(bytes) = &frame {
            written.extend_from_slice(bytes);
        }
        assert_eq!(written, before[..before.len() - from.len()], "a frame has two forms");
    }
}

/// A problem stands in the text; conditions of what was accepted read back and mean the same.
pub fn replication_policies(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let policy = match Policy::parse(text) {
        Ok(policy) => policy,
        Err(problem) => {
            assert!(problem.at.line >= 1 && problem.at.column >= 1, "a problem stands nowhere");
            // One more, since what is missing at the end is expected behind it.
            assert!(
                problem.at.line <= text.split(['\n', '\r']).count() + 1,
                "a problem stands behind the text"
            );
            return;
        }
    };
    for (_, condition) in policy.conditions() {
        let written = format!(
            "apac: v1\navailable-resources: {{p: a}}\nwhat: b\nwhere: p\nwhen: [{{c: \"{condition}\"}}]"
        );
        let again = Policy::parse(&written).expect("what was read reads again");
        for gets in [0, 1, 10, 1000] {
            let readings = Readings { gets, access_percent: gets as f64 / 10.0 };
            let (_, read) = &again.conditions()[0];
            assert_eq!(read.holds(&readings), condition.holds(&readings), "a condition changed its meaning");
        }
    }
}
