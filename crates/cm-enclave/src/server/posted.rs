//! The way in for clients of the first era: TLS records in the bodies of posts (`cm_instance::wire::posted`).
//!
//! A connection that posts is a stranger's as long as it waits for a request, and gives way like one. Who is at the other
//! end belongs to the session inside.

use std::io;
use std::net::IpAddr;

use bytes::{Buf as _, BytesMut};
use cm_instance::RefusalKind;
use cm_instance::wire::posted::{self, Head, PostError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{HANDSHAKE_TIMEOUT, READ_LEN, Server, TRANSFER_TIMEOUT};

/// A request as it arrived.
struct Post {
    head: Head,
    body: BytesMut,
}

/// Why there is no request.
enum NoPost {
    /// The client left between two.
    Gone,
    /// It cannot be served.
    Refused(PostError),
    Io(io::Error),
}

impl From<io::Error> for NoPost {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Server {
    /// Serves one request after the other until the client leaves.
    pub(super) async fn serve_posts(
        &self,
        mut stream: TcpStream,
        peer: IpAddr,
        handshake: &CancellationToken,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        loop {
            let post = tokio::select! {
                () = handshake.cancelled() => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                () = stop.cancelled() => return Ok(()),
                post = timeout(TRANSFER_TIMEOUT, next_post(&mut stream, &mut buffer)) => {
                    post.unwrap_or_else(|elapsed| Err(io::Error::from(elapsed).into()))
                }
            };
            let (response, again) = match post {
                Ok(post) => match self.post(peer, &post.body).await {
                    Ok(response) => (response, post.head.keeps_alive),
                    Err(error) => (self.refused(peer, error), false),
                },
                Err(NoPost::Gone) => return Ok(()),
                Err(NoPost::Refused(error)) => (self.refused(peer, error), false),
                Err(NoPost::Io(error)) => {
                    if error.kind() == io::ErrorKind::TimedOut {
                        self.refusals.stranger(RefusalKind::TooSlow, peer);
                    }
                    return Err(error);
                }
            };
            timeout(TRANSFER_TIMEOUT, stream.write_all(&response)).await??;
            if !again {
                return timeout(TRANSFER_TIMEOUT, stream.shutdown()).await?;
            }
        }
    }

    /// Hands the records to their session, and what it says back.
    async fn post(&self, peer: IpAddr, body: &[u8]) -> Result<Vec<u8>, PostError> {
        let (number, records) = posted::read_body(body)?;
        let (number, session) = if number == 0 {
            self.sessions.open(self, peer).ok_or(PostError::Busy)?
        } else {
            (number, self.sessions.find(number, peer).ok_or(PostError::Session)?)
        };
        let mut session = session.try_lock_owned().map_err(|_| PostError::Busy)?;
        let said = session.turn(self, number, peer, &records).await;
        drop(session);
        match said.is_over {
            true => self.sessions.close(number),
            false => self.sessions.expect(number, said.message_until),
        }
        if said.is_over && said.records.is_empty() {
            return Err(PostError::Session);
        }
        Ok(posted::to_response(number, &said.records))
    }

    fn refused(&self, peer: IpAddr, error: PostError) -> Vec<u8> {
        let kind = match error {
            PostError::Session => Some(RefusalKind::UnknownSession),
            PostError::TooLong => Some(RefusalKind::OversizeMessage),
            PostError::Malformed | PostError::Body | PostError::Length => Some(RefusalKind::MalformedMessage),
            PostError::Method | PostError::Path | PostError::Busy => None,
        };
        if let Some(kind) = kind {
            self.refusals.stranger(kind, peer);
        }
        error.to_response()
    }
}

/// Reads the next request. What the client sent beyond it stays in the buffer.
async fn next_post(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Post, NoPost> {
    let head = loop {
        if let Some(head) = posted::read_head(buffer).map_err(NoPost::Refused)? {
            break head;
        }
        buffer.reserve(READ_LEN);
        // A client that keeps the connection without using it is not slow, it is merely there.
        let waiting = buffer.is_empty();
        match timeout(HANDSHAKE_TIMEOUT, stream.read_buf(buffer)).await {
            Ok(Ok(0)) | Err(_) if waiting => return Err(NoPost::Gone),
            Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(read) => drop(read?),
            Err(elapsed) => return Err(io::Error::from(elapsed).into()),
        }
    };
    buffer.advance(head.length);
    if head.expects_continue && buffer.len() < head.body_len {
        stream.write_all(posted::CONTINUE).await?;
    }
    while buffer.len() < head.body_len {
        buffer.reserve(READ_LEN);
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(Post { head, body: buffer.split_to(head.body_len) })
}
