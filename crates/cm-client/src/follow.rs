//! Following the event log as it grows, and threats as they come, across lost connections.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Method, Response};

use crate::resources::Entry;
use crate::{Api, ClientError};

/// Longest line of an event stream that is accepted.
const LINE_LEN_MAX: usize = 1 << 20;
/// How long to wait before a lost connection is made anew; twice as long after each attempt that fails.
const RESUME_AFTER: Duration = Duration::from_millis(250);
/// Longest such wait.
const RESUME_AFTER_MAX: Duration = Duration::from_secs(5);

/// What somebody who follows the log is told.
#[derive(Debug)]
pub enum Followed {
    /// Something happened.
    Event(Entry),
    /// The connection was lost; it is being made anew.
    Lost,
    /// There is a connection again. Nothing was missed.
    Resumed,
}

impl Api {
    /// Tells `seen` each event after `after` as it happens, until it returns `false`. A connection that is lost is made
    /// anew, however long that takes, and begins after the last event that was seen. `filters` are query parameters of
    /// `/api/v1/events/watch`.
    ///
    /// Cancel-safe: dropping it closes the connection.
    ///
    /// # Errors
    /// What the first connection fails with; later only what trying again does not help, such as a credential that was
    /// revoked.
    pub async fn follow_events(
        &self,
        after: u64,
        filters: &[(&str, String)],
        seen: impl FnMut(Followed) -> bool,
    ) -> Result<(), ClientError> {
        self.follow("/api/v1/events/watch", after, filters, seen).await
    }

    /// As [`Api::follow_events`], with threats as they come. `filters` are query parameters of `/api/v1/intel/events/watch`.
    ///
    /// # Errors
    /// As [`Api::follow_events`].
    pub async fn follow_threats(
        &self,
        after: u64,
        filters: &[(&str, String)],
        seen: impl FnMut(Followed) -> bool,
    ) -> Result<(), ClientError> {
        self.follow("/api/v1/intel/events/watch", after, filters, seen).await
    }

    async fn follow(
        &self,
        place: &str,
        after: u64,
        filters: &[(&str, String)],
        mut seen: impl FnMut(Followed) -> bool,
    ) -> Result<(), ClientError> {
        let mut last = after;
        let mut stream = self.watch(place, last, filters).await?;
        loop {
            match read(&mut stream, &mut last, &mut seen).await {
                Ok(End::Enough) => return Ok(()),
                Ok(End::Lost) => {}
                Err(error) => return Err(error),
            }
            if !seen(Followed::Lost) {
                return Ok(());
            }
            stream = self.watch_again(place, last, filters).await?;
            if !seen(Followed::Resumed) {
                return Ok(());
            }
        }
    }

    async fn watch(
        &self,
        place: &str,
        after: u64,
        filters: &[(&str, String)],
    ) -> Result<Response, ClientError> {
        let request = self
            .request(Method::GET, place)?
            .query(filters)
            .header("accept", "text/event-stream")
            .header("last-event-id", after.to_string());
        self.send(request).await
    }

    async fn watch_again(
        &self,
        place: &str,
        after: u64,
        filters: &[(&str, String)],
    ) -> Result<Response, ClientError> {
        let mut pause = RESUME_AFTER;
        loop {
            tokio::time::sleep(pause).await;
            match self.watch(place, after, filters).await {
                Err(error) if passes(&error) => pause = (pause * 2).min(RESUME_AFTER_MAX),
                watched => return watched,
            }
        }
    }
}

/// Whether the same request may succeed later.
fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused(refusal) => refusal.status == 429 || refusal.status >= 500,
        _ => false,
    }
}

/// Why a stream was read no further.
enum End {
    Enough,
    Lost,
}

async fn read(
    stream: &mut Response,
    last: &mut u64,
    seen: &mut impl FnMut(Followed) -> bool,
) -> Result<End, ClientError> {
    let url = stream.url().to_string();
    let mut buffer = BytesMut::new();
    while let Ok(Some(part)) = stream.chunk().await {
        buffer.extend_from_slice(&part);
        while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
            let line = buffer.split_to(end + 1);
            let Some(event) = decode_line(&line, &url)? else { continue };
            *last = event.get("seq").and_then(serde_json::Value::as_u64).unwrap_or(*last);
            if !seen(Followed::Event(event)) {
                return Ok(End::Enough);
            }
        }
        if buffer.len() > LINE_LEN_MAX {
            return Err(ClientError::Protocol { url, problem: "endless line in the event stream".into() });
        }
    }
    Ok(End::Lost)
}

/// The event in one line of the stream: each is a JSON document on a single `data:` line.
fn decode_line(line: &[u8], url: &str) -> Result<Option<Entry>, ClientError> {
    let Some(data) = line.strip_prefix(b"data:") else { return Ok(None) };
    serde_json::from_slice(data)
        .map(Some)
        .map_err(|error| ClientError::Protocol { url: url.to_owned(), problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::Location;

    /// Answers one request with this; returns the head of the request.
    fn serve(listener: &TcpListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(TcpStream::try_clone(&stream).unwrap()).lines().map(Result::unwrap);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        stream.write_all(answer.as_bytes()).unwrap();
        head.join("\n").to_lowercase()
    }

    fn streaming(events: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}")
    }

    fn refusing(status: &str) -> String {
        let body = r#"{"error":{"code":"x","message":"no"}}"#;
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_lost_connection_is_resumed_after_the_last_event_until_that_cannot_help() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let api = Api::new(Location { url, token: None, token_file: "unused".into() }).unwrap();
        let server = std::thread::spawn(move || {
            let answers = [
                // It breaks off within the second event, which then has not been seen.
                streaming(": hello\n\nid: 7\ndata: {\"seq\":7}\n\nid: 9\ndata: {\"se"),
                refusing("503 Service Unavailable"),
                streaming("id: 9\ndata: {\"seq\":9}\n\n"),
                refusing("401 Unauthorized"),
            ];
            answers.map(|answer| serve(&listener, &answer))
        });
        let mut told = Vec::new();
        let filters = [("verb", "function.".to_owned())];
        let outcome = api
            .follow_events(5, &filters, |followed| {
                told.push(match followed {
                    Followed::Event(event) => event["seq"].to_string(),
                    other => format!("{other:?}"),
                });
                true
            })
            .await;
        assert_eq!(outcome.unwrap_err().exit_code(), 3);
        assert_eq!(told, ["7", "Lost", "Resumed", "9", "Lost"]);
        let heads = server.join().unwrap();
        for (head, last) in heads.iter().zip([5, 7, 7, 9]) {
            assert!(head.starts_with("get /api/v1/events/watch?verb=function. "), "{head}");
            assert!(head.contains(&format!("last-event-id: {last}")), "{last}: {head}");
        }
    }

    #[tokio::test]
    async fn whoever_cannot_follow_at_all_is_told_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let api = Api::new(Location { url, token: None, token_file: "unused".into() }).unwrap();
        let outcome = api.follow_events(0, &[], |_| panic!("nothing happens")).await;
        assert_eq!(outcome.unwrap_err().exit_code(), 6);
    }
}
