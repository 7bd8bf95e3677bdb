//! The transport of the first era: TLS records in the bodies of HTTP requests.
//!
//! ```text
//! POST /runtime_manager HTTP/1.1          HTTP/1.1 200 OK
//! Content-Length: ..                      Content-Length: ..
//!
//! SESSION BASE64                          SESSION BASE64 BASE64 ..
//! ```
//!
//! Session 0 asks for a new one. An answer without records has an empty body. The published client hands each item of
//! an answer to its TLS library at once, which takes no more than one record at a time; so each item is one record.
//!
//! This is all of HTTP that there is: no chunks, no compression, no other path. What is written here is pure; who
//! listens is the instance.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The one path.
pub const PATH: &str = "/runtime_manager";
/// Longest head of a request, in bytes.
pub const HEAD_LEN_MAX: usize = 8 * 1024;
/// Longest body, in bytes: the published client sends at most 64 records at once.
pub const BODY_LEN_MAX: usize = 4 * 1024 * 1024;
/// Most fields in a head.
const FIELDS_MAX: usize = 32;
/// Length of what stands before the content of a TLS record, in bytes.
const RECORD_HEADER_LEN: usize = 5;

/// The head of a request that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many bytes the head has, hence where the body begins.
    pub length: usize,
    /// How many bytes the body has.
    pub body_len: usize,
    /// Whether the client may send another request on the same connection.
    pub keeps_alive: bool,
    /// Whether the client waits to be told to send the body.
    pub expects_continue: bool,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// It is no HTTP that is understood here.
    #[error("not an HTTP request that is understood here")]
    Malformed,
    /// Something else than posting is asked for.
    #[error("only POST is served here")]
    Method,
    /// Another path is asked for.
    #[error("only {PATH} is served here")]
    Path,
    /// The body's length is not announced.
    #[error("the length of the body must be announced")]
    Length,
    /// The head or the body is too long.
    #[error("the request is too long")]
    TooLong,
    /// The body is not a session and records.
    #[error("the body must be a session and base64")]
    Body,
    /// The session is not there, or is another client's.
    #[error("no such session")]
    Session,
    /// The session is busy, or there is no room for another.
    #[error("busy")]
    Busy,
}

impl PostError {
    /// The status line's number and words.
    fn status(self) -> &'static str {
        match self {
            Self::Malformed | Self::Body | Self::Session => "400 Bad Request",
            Self::Path => "404 Not Found",
            Self::Method => "405 Method Not Allowed",
            Self::Length => "411 Length Required",
            Self::TooLong => "413 Content Too Large",
            Self::Busy => "503 Service Unavailable",
        }
    }

    /// The whole answer, after which the connection is closed.
    pub fn to_response(self) -> Vec<u8> {
        let body = self.to_string();
        let length = body.len();
        let status = self.status();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        [head, body].concat().into_bytes()
    }
}

/// Reads the head of a request; `None` until all of it has arrived.
pub fn read_head(bytes: &[u8]) -> Result<Option<Head>, PostError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(&bytes[..bytes.len().min(HEAD_LEN_MAX)]).map_err(|_| PostError::Malformed)?;
    let length = match parsed {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if bytes.len() >= HEAD_LEN_MAX => return Err(PostError::TooLong),
        httparse::Status::Partial => return Ok(None),
    };
    if request.method != Some("POST") {
        return Err(PostError::Method);
    }
    if request.path != Some(PATH) {
        return Err(PostError::Path);
    }
    let fields = || request.headers.iter().map(|field| (field.name, field.value));
    let named = |name: &str| fields().filter(|(found, _)| found.eq_ignore_ascii_case(name)).count();
    let value =
        |name: &str| fields().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|field| field.1);
    if named("transfer-encoding") > 0 || named("content-length") != 1 {
        return Err(PostError::Length);
    }
    let digits = value("content-length").and_then(|value| std::str::from_utf8(value).ok());
    let digits = digits.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let body_len = digits.ok_or(PostError::Malformed)?.parse().map_err(|_| PostError::TooLong)?;
    if body_len > BODY_LEN_MAX {
        return Err(PostError::TooLong);
    }
    let says = |name: &str, word: &str| {
        value(name).is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    Ok(Some(Head {
        length,
        body_len,
        keeps_alive: request.version == Some(1) && !says("connection", "close"),
        expects_continue: says("expect", "100-continue"),
    }))
}

/// Reads a body: the session, and the records.
pub fn read_body(body: &[u8]) -> Result<(u32, Vec<u8>), PostError> {
    let text = std::str::from_utf8(body).map_err(|_| PostError::Body)?;
    let mut items = text.split_ascii_whitespace();
    let (Some(session), Some(records), None) = (items.next(), items.next(), items.next()) else {
        return Err(PostError::Body);
    };
    let session = session.parse().map_err(|_| PostError::Body)?;
    let records = STANDARD.decode(records).map_err(|_| PostError::Body)?;
    Ok((session, records))
}

/// The whole answer of a session that had these records to say.
pub fn to_response(session: u32, mut records: &[u8]) -> Vec<u8> {
    let mut body = String::new();
    if !records.is_empty() {
        body.reserve(records.len() / 3 * 4 + records.len() / 1024 + 64);
        body.push_str(&session.to_string());
    }
    while !records.is_empty() {
        let (record, rest) = records.split_at(record_len(records));
        body.push(' ');
        STANDARD.encode_string(record, &mut body);
        records = rest;
    }
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    [head, body].concat().into_bytes()
}

/// Tells a client that waits for it to send the body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The length of the first record; of everything, if that is no whole record.
fn record_len(bytes: &[u8]) -> usize {
    let announced =
        bytes.get(3..RECORD_HEADER_LEN).map(|length| usize::from(length[0]) << 8 | usize::from(length[1]));
    let whole = announced.map(|length| RECORD_HEADER_LEN + length).filter(|length| *length <= bytes.len());
    whole.unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POST: &str = "POST /runtime_manager HTTP/1.1\r\nHost: x\r\ncontent-length: 12\r\n\r\n";

    fn check(text: &str, expected: Result<Option<Head>, PostError>) {
        assert_eq!(read_head(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn a_head_is_read_when_all_of_it_is_there() {
        let head = Head { length: POST.len(), body_len: 12, keeps_alive: true, expects_continue: false };
        for end in 0..POST.len() {
            check(&POST[..end], Ok(None));
        }
        check(POST, Ok(Some(head)));
        check(&format!("{POST}0 AAAA"), Ok(Some(head)));
        let closes = POST.replace("Host: x", "Connection: Close");
        check(&closes, Ok(Some(Head { length: closes.len(), keeps_alive: false, ..head })));
        let old = POST.replace("1.1", "1.0");
        check(&old, Ok(Some(Head { keeps_alive: false, ..head })));
        let expects = POST.replace("Host: x", "expect: 100-Continue");
        check(&expects, Ok(Some(Head { length: expects.len(), expects_continue: true, ..head })));
    }

    #[test]
    fn what_is_not_this_transport_is_refused_with_its_reason() {
        check(&POST.replace("POST", "GET"), Err(PostError::Method));
        check(&POST.replace("manager", "manage"), Err(PostError::Path));
        check(&POST.replace("content-length: 12", "x: 12"), Err(PostError::Length));
        check(&POST.replace("Host: x", "Content-Length: 13"), Err(PostError::Length));
        check(&POST.replace("Host: x", "Transfer-Encoding: chunked"), Err(PostError::Length));
        check(&POST.replace("12", "+12"), Err(PostError::Malformed));
        check(&POST.replace("12", "4194305"), Err(PostError::TooLong));
        check(&POST.replace("12", "99999999999999999999999"), Err(PostError::TooLong));
        check("\u{16}\u{3}\u{1}", Err(PostError::Malformed));
        let long = format!("POST /runtime_manager HTTP/1.1\r\nx: {}", "x".repeat(HEAD_LEN_MAX));
        check(&long, Err(PostError::TooLong));
        let many = POST.replace("Host: x\r\n", &"x: y\r\n".repeat(FIELDS_MAX));
        check(&many, Err(PostError::Malformed));
    }

    #[test]
    fn a_body_is_a_session_and_records() {
        assert_eq!(read_body(b"0 AAEC"), Ok((0, vec![0, 1, 2])));
        assert_eq!(read_body(b" 4294967295\n\tAAEC\r\n"), Ok((u32::MAX, vec![0, 1, 2])));
        for bad in
            ["", "0", "0 AAEC AAEC", "-1 AAEC", "4294967296 AAEC", "x AAEC", "0 A", "0 ====", "\u{e4} AAEC"]
        {
            assert_eq!(read_body(bad.as_bytes()), Err(PostError::Body), "{bad}");
        }
    }

    #[test]
    fn an_answer_has_one_item_for_each_record() {
        let response = |records: &[u8]| String::from_utf8(to_response(7, records)).unwrap();
        assert!(response(&[]).ends_with("Content-Length: 0\r\n\r\n"));
        let record = |content: &[u8]| [&[22, 3, 3, 0, content.len() as u8], content].concat();
        let two = [record(b"abc"), record(b"")].concat();
        let expected = format!("7 {} {}", STANDARD.encode(record(b"abc")), STANDARD.encode(record(b"")));
        let answer = response(&two);
        assert!(
            answer.ends_with(&format!("Content-Length: {}\r\n\r\n{expected}", expected.len())),
            "{answer}"
        );
        let refused = String::from_utf8(PostError::Path.to_response()).unwrap();
        assert!(refused.starts_with("HTTP/1.1 404 Not Found\r\n"), "{refused}");
        assert!(refused.ends_with("\r\n\r\nonly /runtime_manager is served here"), "{refused}");
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_head(&bytes);
            let _ = read_head(&[POST.as_bytes(), &bytes].concat());
            let _ = read_body(&bytes);
        }

        #[test]
        fn records_arrive_whole(records in prop::collection::vec(any::<u8>(), 0..500), session in 1u32..) {
            let response = to_response(session, &records);
            let body = response.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            let text = std::str::from_utf8(&response[body..]).unwrap();
            let mut items = text.split(' ');
            prop_assert!(records.is_empty() || items.next() == Some(session.to_string().as_str()));
            let items: Vec<Vec<u8>> = items.filter(|item| !item.is_empty()).map(|item| STANDARD.decode(item).unwrap()).collect();
            prop_assert_eq!(items.concat(), records);
        }
    }
}
