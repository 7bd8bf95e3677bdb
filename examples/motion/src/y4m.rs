//! The frames of a YUV4MPEG2 stream.

use std::io::{BufRead, BufReader, Read};

/// Longest header of the stream or of a frame, in bytes.
const HEADER_LEN_MAX: u64 = 1024;
/// Widest and highest picture, in pixels: what 8K video has.
const SIDE_MAX: usize = 8192;
const BUFFER_LEN: usize = 64 * 1024;

/// Why a stream is no video.
#[derive(Debug)]
pub enum VideoError {
    /// It does not begin as a video does, or a frame does not. So it is too when it was decrypted with another key.
    Header,
    /// The picture has no size, or is larger than 8192 by 8192.
    Size,
    /// A form of colours that is not read.
    Colours,
    /// It ends within a frame.
    Truncated,
    /// It cannot be read.
    Read(std::io::Error),
}

impl std::fmt::Display for VideoError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header => f.write_str("not a YUV4MPEG2 video, or decrypted with another key"),
            Self::Size => write!(f, "the picture must have 1 to {SIDE_MAX} pixels each way"),
            Self::Colours => f.write_str("only 8-bit mono, 420, 422 and 444 are read"),
            Self::Truncated => f.write_str("the video ends within a frame"),
            Self::Read(error) => write!(f, "cannot read the video: {error}"),
        }
    }
}

impl std::error::Error for VideoError {}

/// Reads frame after frame.
#[derive(Debug)]
pub struct Frames<R> {
    inner: BufReader<R>,
    width: usize,
    height: usize,
    /// Bytes of colour behind the brightness of each frame.
    colour_len: u64,
}

impl<R: Read> Frames<R> {
    /// Reads the stream's header.
    pub fn open(inner: R) -> Result<Self, VideoError> {
        let mut inner = BufReader::with_capacity(BUFFER_LEN, inner);
        let header = line(&mut inner)?.ok_or(VideoError::Header)?;
        let mut words = header.split(' ');
        if words.next() != Some("YUV4MPEG2") {
            return Err(VideoError::Header);
        }
        let (mut width, mut height, mut colours) = (0, 0, "420");
        for word in words.filter(|word| !word.is_empty()) {
            let (tag, value) = word.split_at_checked(1).ok_or(VideoError::Header)?;
            match tag {
                "W" => width = value.parse().map_err(|_| VideoError::Size)?,
                "H" => height = value.parse().map_err(|_| VideoError::Size)?,
                "C" => colours = value,
                _ => {}
            }
        }
        if !(1..=SIDE_MAX).contains(&width) || !(1..=SIDE_MAX).contains(&height) {
            return Err(VideoError::Size);
        }
        let half = |side: usize| side.div_ceil(2);
        let colour_len = match colours {
            "mono" => 0,
            "420" | "420jpeg" | "420mpeg2" | "420paldv" => 2 * half(width) * half(height),
            "422" => 2 * half(width) * height,
            "444" => 2 * width * height,
            _ => return Err(VideoError::Colours),
        };
        Ok(Self { inner, width, height, colour_len: colour_len as u64 })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The brightness of the next frame, row after row; `None` at the end.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, VideoError> {
        let Some(header) = line(&mut self.inner)? else { return Ok(None) };
        if header != "FRAME" && !header.starts_with("FRAME ") {
            return Err(VideoError::Header);
        }
        let mut frame = vec![0; self.width * self.height];
        self.inner.read_exact(&mut frame).map_err(read_error)?;
        let colour = std::io::copy(&mut (&mut self.inner).take(self.colour_len), &mut std::io::sink());
        if colour.map_err(read_error)? < self.colour_len {
            return Err(VideoError::Truncated);
        }
        Ok(Some(frame))
    }
}

fn read_error(error: std::io::Error) -> VideoError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => VideoError::Truncated,
        _ => VideoError::Read(error),
    }
}

/// A line without its end; `None` at the end of the stream.
fn line(inner: &mut impl BufRead) -> Result<Option<String>, VideoError> {
    let mut bytes = Vec::new();
    inner.take(HEADER_LEN_MAX).read_until(b'\n', &mut bytes).map_err(read_error)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(VideoError::Header);
    }
    String::from_utf8(bytes).map(Some).map_err(|_| VideoError::Header)
}
