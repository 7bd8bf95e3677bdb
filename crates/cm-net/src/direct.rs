//! A connection to a peer for one conversation, driven by the thread that has it.
//!
//! Exchanges of a link share a connection, and pass through the tasks that move its bytes. A computation whose rounds depend on each
//! other waits for every byte: its threads write to the socket and read from it themselves. The handshake, the keys and the judges
//! are those of links; what is said is up to the two ends.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use cm_crypto::Secret;
use cm_types::PeerId;
use rustls::Connection;
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Encrypted bytes that may wait for the socket.
const WAITING_LEN_MAX: usize = 256 * 1024;

/// A connection to a peer that belongs to whoever holds it. Nothing here waits: see [`Direct::as_fd`]. Dropping it ends the connection.
pub struct Direct {
    peer: PeerId,
    socket: std::net::TcpStream,
    tls: Connection,
}

impl Direct {
    pub(crate) fn new(peer: PeerId, stream: TlsStream<TcpStream>) -> io::Result<Self> {
        let (socket, tls) = match stream {
            TlsStream::Client(stream) => {
                let (socket, tls) = stream.into_inner();
                (socket, Connection::from(tls))
            }
            TlsStream::Server(stream) => {
                let (socket, tls) = stream.into_inner();
                (socket, Connection::from(tls))
            }
        };
        // Of tokio's sockets none blocks, and it stays so.
        let mut direct = Self { peer, socket: socket.into_std()?, tls };
        direct.tls.set_buffer_limit(Some(WAITING_LEN_MAX));
        Ok(direct)
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// A secret that only the two ends of this connection have, for one purpose and context (RFC 8446, section 7.5).
    ///
    /// # Errors
    /// When the connection's cipher suite cannot make one.
    pub fn shared_secret(&self, purpose: &[u8], context: &[u8]) -> io::Result<Secret<[u8; 32]>> {
        let made = self.tls.export_keying_material([0; 32], purpose, Some(context));
        made.map(Secret::new).map_err(io::Error::other)
    }

    /// Takes as many of the bytes as there is room for, and writes what the socket takes. Returns how many were taken: what is left
    /// must be given again when the socket can be written.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.tls.writer().write(bytes)?;
        self.flush_some()?;
        Ok(taken)
    }

    /// Writes what the socket takes of what waits; whether nothing waits any more.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn flush_some(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads what has come, as much as fits; 0 if nothing has.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the other end has closed the connection; when it is gone, or what comes is no TLS.
    pub fn receive_some(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match self.tls.reader().read(into) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => return Ok(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match self.tls.read_tls(&mut self.socket) {
                // The reader says how the connection ended.
                Ok(0) if self.tls.wants_read() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.tls.process_new_packets().map_err(|error| {
                // The alert says why, if the socket still takes it.
                let _ = self.tls.write_tls(&mut self.socket);
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?;
        }
    }

    /// Waits until there is something to receive, or the connection has ended. Cancel-safe: the connection comes back by the
    /// reference. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub async fn receivable(&self) -> io::Result<()> {
        let watched = TcpStream::from_std(self.socket.try_clone()?)?;
        watched.readable().await?;
        Ok(())
    }

    /// Says good-bye, as far as the socket takes it now.
    pub fn close(mut self) {
        self.tls.send_close_notify();
        // Who does not hear it finds the connection closed.
        let _ = self.flush_some();
    }
}

impl AsFd for Direct {
    /// For `poll`: readable when something may have come, writable when what waits may leave. What was received with earlier bytes
    /// is not seen there: call [`Direct::receive_some`] until it returns 0 first.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direct").field("peer", &self.peer).finish_non_exhaustive()
    }
}
