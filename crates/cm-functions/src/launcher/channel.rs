//! The launcher's end of the control socket.

use std::io;

use cm_instance::control::{
    self, ControlError, FromInstance, HEADER_LEN, MESSAGE_LEN_MAX, RAW_LEN_MAX, ToInstance, announced,
    decode, raw_header,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::LaunchError;

/// A framed socket. Reading is cancel-safe: what has arrived is kept.
#[derive(Debug)]
pub(super) struct Channel {
    socket: UnixStream,
    arrived: Vec<u8>,
}

impl Channel {
    pub(super) fn new(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)?, arrived: Vec::new() })
    }

    pub(super) async fn send(&mut self, message: &ToInstance) -> Result<(), LaunchError> {
        self.write(&control::encode(message)?).await
    }

    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), LaunchError> {
        self.write(&raw_header(bytes.len(), RAW_LEN_MAX)?).await?;
        self.write(bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), LaunchError> {
        self.socket.write_all(bytes).await.map_err(LaunchError::Process)
    }

    /// The next message; `None` when the process has closed its end.
    pub(super) async fn receive(&mut self) -> Result<Option<FromInstance>, LaunchError> {
        match self.frame(MESSAGE_LEN_MAX).await? {
            Some(text) => Ok(Some(decode(&text)?)),
            None => Ok(None),
        }
    }

    /// The raw frame that a message announced.
    pub(super) async fn receive_raw(&mut self) -> Result<Option<Vec<u8>>, LaunchError> {
        self.frame(RAW_LEN_MAX).await
    }

    async fn frame(&mut self, len_max: usize) -> Result<Option<Vec<u8>>, LaunchError> {
        loop {
            if let Some(frame) = self.take(len_max)? {
                return Ok(Some(frame));
            }
            match self.socket.read_buf(&mut self.arrived).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // A process that was killed may reset the connection instead of closing it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(LaunchError::Process(error)),
            }
        }
    }

    fn take(&mut self, len_max: usize) -> Result<Option<Vec<u8>>, ControlError> {
        let Some(header) = self.arrived.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let end = HEADER_LEN + announced(*header, len_max)?;
        if self.arrived.len() < end {
            return Ok(None);
        }
        let rest = self.arrived.split_off(end);
        let mut frame = std::mem::replace(&mut self.arrived, rest);
        frame.drain(..HEADER_LEN);
        Ok(Some(frame))
    }
}
