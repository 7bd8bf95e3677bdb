//! What members of a replicated log say to each other.

use cm_quorum::{Frame, decode_body, decode_members, encode_body, encode_members};

/// A message, an entry and a list of members are the same after writing and reading, and no longer than what they came as.
pub fn quorum_messages(data: &[u8]) {
    if let Ok(frame) = Frame::decode(data) {
        let written = frame.encode();
        assert_eq!(written.len(), data.len(), "nothing is passed over");
        assert_eq!(Frame::decode(&written).expect("what we write, we read"), frame);
    }
    if let Ok(body) = decode_body(data) {
        assert_eq!(decode_body(&encode_body(&body)).expect("what we write, we read"), body);
    }
    if let Ok(members) = decode_members(data) {
        assert_eq!(decode_members(&encode_members(&members)).expect("what we write, we read"), members);
    }
}
