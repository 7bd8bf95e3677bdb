//! Requests and answers of one client, whatever carries them.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cm_instance::wire::{FRAME_LEN_MAX, FrameError, HEADER_LEN, Incoming, RequestDecoder};

use super::requests::{Service, Upload};

/// From the first byte of a message to its last; for a long file, from one piece of [`FRAME_LEN_MAX`] bytes to the next.
pub(super) const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest message whose memory is kept for the next one.
const KEPT_LEN_MAX: usize = 1024 * 1024;

/// What has arrived from one client, and the file that it is in the middle of sending.
pub(super) struct Exchange {
    decoder: RequestDecoder,
    upload: Option<Upload>,
}

impl Exchange {
    pub(super) fn new(decoder: RequestDecoder) -> Self {
        Self { decoder, upload: None }
    }

    /// Where arriving bytes are to be appended.
    ///
    /// The buffer is kept from message to message: to give memory back and take it anew for every piece of a large
    /// file costs more than to decrypt it. Memory is taken as bytes arrive, not as they are announced, and what a
    /// longer message took is given back.
    pub(super) fn buffer_mut(&mut self) -> &mut BytesMut {
        self.decoder.buffer_mut()
    }

    /// Whether the client may leave here.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.decoder.is_at_boundary()
    }

    /// The answer to the next request; `None` until more bytes arrive. Not cancel-safe: a request that is being
    /// carried out would be lost.
    pub(super) async fn answer(
        &mut self,
        service: &Service,
        identity: u64,
    ) -> Result<Option<Bytes>, FrameError> {
        while let Some(incoming) = self.decoder.next_incoming()? {
            let answer = match incoming {
                Incoming::Message(message) => {
                    let length = message.len();
                    let answer = service.answer(identity, message).await;
                    if length > KEPT_LEN_MAX {
                        let buffer = self.decoder.buffer_mut();
                        *buffer = BytesMut::from(&buffer[..]);
                    }
                    answer
                }
                Incoming::Begin { append, file_name, length } => {
                    self.upload = Some(service.begin_upload(identity, append, &file_name, length));
                    continue;
                }
                Incoming::Piece(piece) => {
                    if let Some(upload) = &mut self.upload {
                        upload.push(&piece);
                    }
                    continue;
                }
                Incoming::End => match self.upload.take() {
                    Some(upload) => service.end_upload(identity, upload),
                    None => continue,
                },
            };
            // Who sends without a length expects none.
            return Ok(Some(if self.decoder.is_bare() { answer.slice(HEADER_LEN..) } else { answer }));
        }
        Ok(None)
    }
}

/// Until when the rest of a message must have arrived.
pub(super) struct Progress {
    until: Instant,
    arrived: usize,
}

impl Progress {
    /// A message begins.
    pub(super) fn begin() -> Self {
        Self { until: Instant::now() + TRANSFER_TIMEOUT, arrived: 0 }
    }

    /// More of it has arrived.
    pub(super) fn add(&mut self, arrived: usize) {
        self.arrived += arrived;
        if self.arrived >= FRAME_LEN_MAX {
            *self = Self::begin();
        }
    }

    /// When the rest must be there.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// How long the client has for more.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
