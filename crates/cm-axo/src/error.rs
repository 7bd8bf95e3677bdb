//! Why a source is refused, and where.

use std::fmt;

use thiserror::Error;

use crate::scan::{INDENTATION_MAX, NESTING_MAX};
use crate::source::SOURCE_LEN_MAX;

const BOM: char = '\u{feff}';

/// A place in a source as an editor counts: both numbers begin with 1, a column is a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line. Lines end with `\n`, `\r\n` or `\r`.
    pub line: usize,
    /// The character within the line; a byte order mark is none.
    pub column: usize,
}

impl Position {
    /// The place of a byte. Beyond the end, or within a character, the nearest one before.
    pub(crate) fn of(source: &str, offset: usize) -> Self {
        let source =
            source.strip_prefix(BOM).map_or((source, offset), |rest| (rest, offset.saturating_sub(3)));
        let (text, offset) = source;
        let mut before = &text[..text.floor_char_boundary(offset)];
        // Of `\r\n` the second byte still belongs to the line.
        if before.ends_with('\r') && text[before.len()..].starts_with('\n') {
            before = &before[..before.len() - 1];
        }
        let bytes = before.as_bytes();
        let mut line = 1;
        let mut line_start = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
                line += 1;
                line_start = at + 1;
            }
        }
        Self { line, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, column {}", self.line, self.column)
    }
}

/// Why a source has no schema. The author of the source is at fault in every case; trying again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// Longer than is read.
    #[error("the source has {len} bytes, more than {SOURCE_LEN_MAX}")]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// Not Python.
    #[error("{position}: {reason}")]
    Syntax {
        /// Where it was noticed.
        position: Position,
        /// What was expected or found, for a person.
        reason: String,
    },
    /// Python perhaps, but nested deeper than [`NESTING_MAX`] or indented deeper than [`INDENTATION_MAX`].
    #[error(
        "{position}: nested too deeply (at most {NESTING_MAX} levels in an expression, {INDENTATION_MAX} of indentation)"
    )]
    TooDeep {
        /// Where the bound was exceeded.
        position: Position,
    },
}

impl SourceError {
    /// Where in the source, unless it was not read at all.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::TooLong { .. } => None,
            Self::Syntax { position, .. } | Self::TooDeep { position } => Some(*position),
        }
    }
}
