//! Motion in an encrypted video.
//!
//! The video is uncompressed YUV4MPEG2 (what `ffmpeg -pix_fmt gray -f yuv4mpegpipe` writes; colour is read over), encrypted
//! with AES in counter mode (NIST SP 800-38A, 6.5; the counter is 128 bits, big-endian). It is read as a stream: in
//! memory are two frames, however long it is.
//!
//! A frame is compared with the one before it in blocks of 8 by 8 pixels. A block has changed when the mean absolute
//! difference of its brightness exceeds 16 of 255. A frame with a changed block is a detection: one line with the
//! number of the frame, counted from 0, the number of changed blocks, and the rectangle around them in pixels.

mod cipher;
mod detect;
mod y4m;

use std::io::{Read, Write};

pub use cipher::{Decrypted, KeyError};
pub use detect::{Detection, detect};
pub use y4m::{Frames, VideoError};

/// Why a video could not be searched.
#[derive(Debug)]
pub enum MotionError {
    /// The key is not one of AES, or the counter's first value is not 16 bytes.
    Key(KeyError),
    /// The bytes are no video, as also when the key is a wrong one.
    Video(VideoError),
    /// The detections could not be written.
    Output(std::io::Error),
}

impl std::fmt::Display for MotionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(error) => write!(f, "{error}"),
            Self::Video(error) => write!(f, "{error}"),
            Self::Output(error) => write!(f, "cannot write the detections: {error}"),
        }
    }
}

impl std::error::Error for MotionError {}

/// Decrypts the video, searches every frame, and writes each detection as soon as it is made. Says how many frames
/// there were.
pub fn run(video: impl Read, key: &[u8], iv: &[u8], mut out: impl Write) -> Result<u64, MotionError> {
    let decrypted = Decrypted::new(video, key, iv).map_err(MotionError::Key)?;
    let mut frames = Frames::open(decrypted).map_err(MotionError::Video)?;
    let (width, height) = frames.size();
    let mut before: Option<Vec<u8>> = None;
    let mut number = 0;
    while let Some(frame) = frames.next_frame().map_err(MotionError::Video)? {
        if let Some(found) = before.as_ref().and_then(|before| detect(before, &frame, width, height)) {
            writeln!(out, "{number} {found}").map_err(MotionError::Output)?;
        }
        before = Some(frame);
        number += 1;
    }
    out.flush().map_err(MotionError::Output)?;
    Ok(number)
}

#[cfg(test)]
mod tests;
