//! Letters that XML has no place for, or that its readers change.
//!
//! Prefixes and messages say what clients said, whatever letters that has, and the adapter writes them as they are. A carriage return would
//! be read as the end of a line, and the others would make the document unreadable to strict readers: all of them leave as references, as
//! with S3. In documents of requests such letters are refused.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use http_body::Body as _;

use crate::subresources::decode;

/// Longest answer that is looked at: a page of a thousand of the longest keys is shorter. What is longer, or goes on while it is sent, is left
/// as it is.
const LOOKED_AT_MAX: u64 = 32 << 20;

/// Whether a byte has no place in a document, being of one byte only.
fn is_out_of_place(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')
}

/// U+FFFE and U+FFFF, in UTF-8.
fn is_no_letter(bytes: &[u8]) -> bool {
    matches!(bytes, [0xEF, 0xBF, 0xBE | 0xBF, ..])
}

/// Watches over a document that arrives in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Letters {
    /// The last two bytes.
    before: [u8; 2],
}

impl Letters {
    /// Whether a piece goes on without a letter that is out of place.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        let mut is_clean = true;
        for byte in bytes {
            let [first, second] = self.before;
            is_clean &= !is_out_of_place(*byte) && !is_no_letter(&[first, second, *byte]);
            self.before = [second, *byte];
        }
        is_clean
    }
}

/// A text with references in place of what XML has no place for.
pub(crate) fn referred(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\r' => all.push_str("&#13;"),
            '\t' | '\n' => all.push(letter),
            '\0'..'\u{20}' | '\u{FFFE}' | '\u{FFFF}' => all.push_str(&format!("&#x{:X};", u32::from(letter))),
            letter => all.push(letter),
        }
    }
    all
}

fn has_such(bytes: &[u8]) -> bool {
    let is_such = |byte: &u8| is_out_of_place(*byte) || *byte == b'\r';
    bytes.iter().any(is_such) || bytes.windows(3).any(is_no_letter)
}

/// An answer as it may leave: a document with references where it needs them, and a refusal with a message and the name of its request, of which
/// the adapter's own have none.
pub(crate) async fn readable(answer: Response, asked: &Asked, request: &str) -> Response {
    let is_xml = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/xml"));
    let length = answer.body().size_hint().exact();
    if !is_xml || !length.is_some_and(|length| (1..=LOOKED_AT_MAX).contains(&length)) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let bytes = match axum::body::to_bytes(body, LOOKED_AT_MAX as usize).await {
        Ok(bytes) => bytes,
        // It breaks off for the client, too.
        Err(error) => {
            let broken = futures::stream::once(async move { Err::<bytes::Bytes, _>(error) });
            return Response::from_parts(parts, Body::from_stream(broken));
        }
    };
    let is_refusal = parts.status.is_client_error() || parts.status.is_server_error();
    if !is_refusal && !has_such(&bytes) {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { return Response::from_parts(parts, Body::from(bytes)) };
    let text = referred(text);
    let text = if is_refusal { complete(text, asked, request) } else { text };
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(text))
}

/// What a refusal is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    path: String,
    /// The conditions that the request has, by the names of their headers.
    conditions: Vec<&'static str>,
    /// Whether it is about two objects, of which nobody can tell any more which was refused.
    copies: bool,
}

/// The headers with conditions, as S3 writes them.
const CONDITIONS: [(HeaderName, &str); 4] = [
    (header::IF_MATCH, "If-Match"),
    (header::IF_NONE_MATCH, "If-None-Match"),
    (header::IF_MODIFIED_SINCE, "If-Modified-Since"),
    (header::IF_UNMODIFIED_SINCE, "If-Unmodified-Since"),
];

impl Asked {
    pub(crate) fn of(path: &str, headers: &HeaderMap) -> Self {
        let has = |(name, text): (HeaderName, &'static str)| headers.contains_key(name).then_some(text);
        let conditions = CONDITIONS.into_iter().filter_map(has).collect();
        Self { path: path.to_owned(), conditions, copies: headers.contains_key("x-amz-copy-source") }
    }

    /// The bucket and the key.
    fn names(&self) -> (String, String) {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        (decode(bucket), decode(key))
    }

    /// What S3 says along with a code.
    fn detail(&self, code: &str) -> Option<(&'static str, String)> {
        let (bucket, key) = self.names();
        match code {
            _ if self.copies => None,
            "NoSuchBucket" | "InvalidBucketName" => Some(("BucketName", bucket)),
            "NoSuchKey" => Some(("Key", key)),
            // Which of several was not met, nobody knows any more.
            "PreconditionFailed" => match self.conditions[..] {
                [one] => Some(("Condition", one.to_owned())),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What is said of refusals that come without a message: those of the adapter.
fn message(code: &str) -> &'static str {
    match code {
        "InvalidBucketName" => "no bucket can be called so",
        "InvalidURI" => "the address is none",
        "KeyTooLongError" => "a key has 1024 bytes at most",
        "MalformedXML" => "the document is not what is expected here",
        "MissingRequestBodyError" => "a document is missing",
        "MissingContentLength" => "how long is the body?",
        "IncompleteBody" => "the body is not as long as announced",
        "MaxMessageLengthExceeded" => "the document is too long",
        _ => "the request cannot be followed",
    }
}

/// A refusal with what belongs into one.
fn complete(mut text: String, asked: &Asked, request: &str) -> String {
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map(|(code, _)| code.to_owned()).unwrap_or_default();
    if !text.contains("<Message>") {
        let said = format!("</Code><Message>{}</Message>", message(&code));
        text = text.replacen("</Code>", &said, 1);
    }
    let mut missing = Vec::new();
    missing.extend(asked.detail(&code));
    missing.extend([("Resource", asked.path.clone()), ("RequestId", request.to_owned())]);
    for (name, value) in missing {
        if !text.contains(&format!("<{name}>")) {
            let said = format!("<{name}>{}</{name}></Error>", crate::failure::escaped(&value));
            text = text.replacen("</Error>", &said, 1);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(status: u16, kind: &str, body: &str) -> String {
        let answer = Response::builder().status(status).header("content-type", kind);
        let answer = answer.header("content-length", body.len()).body(Body::from(body.to_owned())).unwrap();
        let headers = HeaderMap::from_iter([(header::IF_MATCH, "x".parse().unwrap())]);
        let answer = readable(answer, &Asked::of("/b/a%20b", &headers), "id").await;
        let length = answer.headers().get("content-length").map(|text| text.to_str().unwrap().to_owned());
        let bytes = axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
        assert!(length.is_none_or(|length| length == bytes.len().to_string()));
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn letters_leave_as_references() {
        let xml = "application/xml";
        assert_eq!(
            sent(200, xml, "<P>a\rb\u{1}\u{FFFF}\t\n\u{85}</P>").await,
            "<P>a&#13;b&#x1;&#xFFFF;\t\n\u{85}</P>"
        );
        for (status, kind, body) in [(200, xml, "<P>a</P>"), (200, "text/plain", "a\rb"), (200, xml, "")] {
            assert_eq!(sent(status, kind, body).await, body);
        }
    }

    #[tokio::test]
    async fn refusals_have_a_message_and_a_name() {
        let xml = "application/xml";
        let bare = sent(400, xml, "<Error><Code>MalformedXML</Code></Error>").await;
        assert_eq!(
            bare,
            "<Error><Code>MalformedXML</Code><Message>the document is not what is expected here</Message>\
             <Resource>/b/a%20b</Resource><RequestId>id</RequestId></Error>"
        );
        for (code, detail) in [
            ("NoSuchKey", "<Key>a b</Key>"),
            ("NoSuchBucket", "<BucketName>b</BucketName>"),
            ("PreconditionFailed", "<Condition>If-Match</Condition>"),
        ] {
            let refused = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
            assert!(sent(404, xml, &refused).await.contains(detail), "{code}");
        }
        let whole =
            "<Error><Code>A</Code><Message>b</Message><Resource>/</Resource><RequestId>c</RequestId></Error>";
        assert_eq!(sent(404, xml, whole).await, whole);
    }

    #[test]
    fn documents_have_no_letters_out_of_place() {
        let check = |pieces: &[&[u8]], expected: bool| {
            let mut letters = Letters::default();
            let found = pieces.iter().all(|piece| letters.take(piece));
            assert_eq!(found, expected, "{pieces:?}");
        };
        check(&["<a>\t\r\n\u{FFFD}é</a>".as_bytes()], true);
        check(&[b"<a>\x00</a>"], false);
        check(&[b"<a>", b"\x1F</a>"], false);
        check(&["\u{FFFE}".as_bytes()], false);
        check(&[b"\xEF", b"\xBF", b"\xBF"], false);
        check(&[b"\xEF\xBF", b"\xBD"], true);
    }
}
