//! The launcher's end of the control connection.

use std::io;

use cm_instance::control::{
    self, ControlError, FromInstance, HEADER_LEN, MESSAGE_LEN_MAX, RAW_LEN_MAX, ToInstance, announced,
    decode, raw_header,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Connection, LaunchError};

/// A framed connection. Reading is cancel-safe: what has arrived is kept.
pub(super) struct Channel {
    connection: Box<dyn Connection>,
    arrived: Vec<u8>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("arrived", &self.arrived.len()).finish_non_exhaustive()
    }
}

impl Channel {
    pub(super) fn new(connection: Box<dyn Connection>) -> Self {
        Self { connection, arrived: Vec::new() }
    }

    pub(super) async fn send(&mut self, message: &ToInstance) -> Result<(), LaunchError> {
        self.write(&control::encode(message)?).await
    }

    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), LaunchError> {
        self.write(&raw_header(bytes.len(), RAW_LEN_MAX)?).await?;
        self.write(bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), LaunchError> {
        self.connection.write_all(bytes).await.map_err(LaunchError::Process)
    }

    /// Sends on what a connection may have kept back.
    pub(super) async fn flush(&mut self) -> Result<(), LaunchError> {
        self.connection.flush().await.map_err(LaunchError::Process)
    }

    /// The next message; `None` when the instance has closed its end.
    pub(super) async fn receive(&mut self) -> Result<Option<FromInstance>, LaunchError> {
        match self.frame(MESSAGE_LEN_MAX).await? {
            Some(text) => Ok(Some(decode(&text)?)),
            None => Ok(None),
        }
    }

    /// The raw frame that a message announced. One that is longer is refused before it arrives.
    pub(super) async fn receive_raw(&mut self, len_max: usize) -> Result<Option<Vec<u8>>, LaunchError> {
        self.frame(len_max.min(RAW_LEN_MAX)).await
    }

    async fn frame(&mut self, len_max: usize) -> Result<Option<Vec<u8>>, LaunchError> {
        loop {
            if let Some(frame) = self.take(len_max)? {
                return Ok(Some(frame));
            }
            match self.connection.read_buf(&mut self.arrived).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Ok(None),
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

/// A process that was killed may reset the connection instead of closing it, and one behind TLS cannot say goodbye.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)
}
