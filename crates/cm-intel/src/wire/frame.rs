//! Frames: the length of a body in four bytes, the greatest first, then the body.

/// Longest body, in bytes. The earlier node has no limit, and waits for four gigabytes if told so; its own events take about one
/// kilobyte.
pub const BODY_LEN_MAX: usize = 1 << 20;
/// Bytes before the body.
pub const HEAD_LEN: usize = 4;

/// A body is longer than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes was announced; at most {BODY_LEN_MAX} are read")]
pub struct TooLong {
    /// What was announced, in bytes.
    pub len: usize,
}

/// The length of the body that a head announces.
///
/// # Errors
/// [`TooLong`].
pub fn body_len(head: [u8; HEAD_LEN]) -> Result<usize, TooLong> {
    let len = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if len > BODY_LEN_MAX { Err(TooLong { len }) } else { Ok(len) }
}

/// A body in its frame.
///
/// # Errors
/// [`TooLong`].
pub fn frame(body: &[u8]) -> Result<Vec<u8>, TooLong> {
    let len = u32::try_from(body.len()).ok().filter(|_| body.len() <= BODY_LEN_MAX);
    let len = len.ok_or(TooLong { len: body.len() })?;
    let mut framed = Vec::with_capacity(HEAD_LEN + body.len());
    framed.extend(len.to_be_bytes());
    framed.extend_from_slice(body);
    Ok(framed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_bounded_both_ways() {
        assert_eq!(body_len([0, 0, 0, 7]), Ok(7));
        assert_eq!(body_len([0, 0x10, 0, 0]), Ok(BODY_LEN_MAX));
        assert_eq!(body_len([0, 0x10, 0, 1]), Err(TooLong { len: BODY_LEN_MAX + 1 }));
        assert_eq!(body_len([0xff; 4]), Err(TooLong { len: 0xffff_ffff }));
        assert_eq!(frame(b"{}").unwrap(), b"\0\0\0\x02{}");
        assert!(frame(&vec![b' '; BODY_LEN_MAX + 1]).is_err());
    }
}
