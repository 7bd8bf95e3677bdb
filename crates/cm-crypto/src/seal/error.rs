//! Why sealing or opening failed.

use std::io;

/// Why a file could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The bytes are no sealed file of a known version. Retrying cannot help.
    #[error("no sealed file that this version can read")]
    Format(#[source] FormatProblem),
    /// The file is sealed, but not for this secret key.
    #[error("the file is not sealed for this key")]
    NotForYou,
    /// The header was altered after sealing; nothing was released.
    #[error("the header of the sealed file was altered")]
    TamperedHeader,
    /// A segment is altered, out of place, cut in its middle, or follows the end. Every segment before it
    /// was authentic.
    #[error("segment {segment} of the sealed file was altered")]
    Tampered {
        /// Which one, counted from zero.
        segment: u64,
    },
    /// The file ends before its last segment. Everything released so far was authentic.
    #[error("the sealed file was cut off")]
    Truncated,
    /// There must be between one and [`RECIPIENTS_MAX`](super::RECIPIENTS_MAX) recipients.
    #[error("a file is sealed for 1 to {max} recipients, not for {found}", max = super::RECIPIENTS_MAX)]
    Recipients {
        /// How many were given, duplicates not counted.
        found: usize,
    },
    /// The public key of a recipient is a point with which no secret can be agreed.
    #[error("the public key of recipient {position} is unusable")]
    WeakRecipient {
        /// Which one, counted from zero.
        position: usize,
    },
    /// More than 256 TiB of plaintext.
    #[error("the file is too long to be sealed")]
    TooLong,
    /// An earlier call failed; what it left behind cannot be continued.
    #[error("the sealed stream failed before")]
    Poisoned,
    /// The system gave no random bytes. Retrying may help.
    #[error("the system has no random bytes")]
    NoRandomness,
    /// The underlying reader or writer failed. How much was written is unknown.
    #[error("the sealed stream could not be read or written")]
    Io(#[from] io::Error),
}

/// What is wrong with the form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatProblem {
    /// It does not begin with [`MAGIC`](super::MAGIC).
    #[error("the file does not begin like a sealed one")]
    Magic,
    /// A version that this code does not know.
    #[error("the file has version {found} of the sealed format, known is {known}", known = super::VERSION)]
    Version {
        /// The version in the file.
        found: u8,
    },
    /// A number of recipients that is not allowed.
    #[error("the file claims {found} recipients")]
    Recipients {
        /// The number in the file.
        found: u8,
    },
}

/// Why a text is no recipient key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecipientKey {
    /// The text is not bech32m: a mistyped character, most likely.
    #[error("the recipient key is mistyped or incomplete, its checksum does not match")]
    Checksum,
    /// It is well formed but something else, a secret key in place of a public one, for example.
    #[error("expected a key that begins with `{expected}1`, found one that begins with `{found}1`")]
    Prefix {
        /// The prefix that the call expects.
        expected: &'static str,
        /// The prefix that was found.
        found: String,
    },
    /// The number of bytes is not that of a key.
    #[error("a recipient key has {expected} bytes, found {found}")]
    Length {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

impl From<SealError> for io::Error {
    /// Keeps the error as the source, so that `error.get_ref()` finds it again.
    fn from(error: SealError) -> io::Error {
        let kind = match &error {
            SealError::Io(_) => {
                let SealError::Io(inner) = error else { unreachable!("matched above") };
                return inner;
            }
            SealError::Truncated => io::ErrorKind::UnexpectedEof,
            SealError::NotForYou => io::ErrorKind::PermissionDenied,
            SealError::Recipients { .. } | SealError::WeakRecipient { .. } | SealError::TooLong => {
                io::ErrorKind::InvalidInput
            }
            SealError::Poisoned | SealError::NoRandomness => io::ErrorKind::Other,
            SealError::Format(_) | SealError::TamperedHeader | SealError::Tampered { .. } => {
                io::ErrorKind::InvalidData
            }
        };
        io::Error::new(kind, error)
    }
}
