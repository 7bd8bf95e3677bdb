//! A source from text to schema.

use ruff_python_parser::parse_module;

use crate::class;
use crate::error::{Position, SourceError};
use crate::scan::{Fault, Scan, scan};
use crate::schema::Schema;
use crate::stack;

/// The longest source that is read, in bytes.
pub const SOURCE_LEN_MAX: usize = 1024 * 1024;

/// The schema of the first class of a module. Without one, a schema of nothing called
/// [`DEFAULT_CLASS_NAME`](crate::DEFAULT_CLASS_NAME).
///
/// Everything up to Python 3.14 is understood, whatever version will run it. Names are in the normal form (NFKC) that
/// Python gives them. Nothing is executed, imported or resolved.
///
/// # Errors
///
/// A source that is too long, is not Python, or nests too deeply. The first fault of strings, brackets and characters is
/// told before any of the grammar, wherever they are.
///
/// # Limits
///
/// [`SOURCE_LEN_MAX`] bytes; [`NESTING_MAX`](crate::NESTING_MAX) and [`INDENTATION_MAX`](crate::INDENTATION_MAX). Time
/// and memory are linear in the length. A mebibyte takes up to 0.2 s in an optimised build, and two sources are parsed at a
/// time, each on a thread with a stack of its own: keep it off threads that must not block.
pub fn parse(source: &str) -> Result<Schema, SourceError> {
    stack::on_large(|| parse_here(source))
}

/// As [`parse`], on the stack of the caller.
pub(crate) fn parse_here(source: &str) -> Result<Schema, SourceError> {
    if source.len() > SOURCE_LEN_MAX {
        return Err(SourceError::TooLong { len: source.len() });
    }
    let scan = scan(source).map_err(|(offset, fault)| {
        let position = Position::of(source, offset);
        match fault {
            Fault::Syntax(reason) => SourceError::Syntax { position, reason },
            Fault::TooDeep => SourceError::TooDeep { position },
        }
    })?;
    let module = parse_module(&scan.code).map_err(|error| syntax_error(source, &error, |offset| offset))?;
    check_embedded(source, &scan)?;
    Ok(class::schema(module.suite()))
}

/// The expressions within f-strings, as statements of a module of their own.
fn check_embedded(source: &str, scan: &Scan<'_>) -> Result<(), SourceError> {
    let embedded = scan.embedded(source);
    parse_module(&embedded.text)
        .map(drop)
        .map_err(|error| syntax_error(source, &error, |offset| embedded.original(offset)))
}

fn syntax_error(
    source: &str,
    error: &ruff_python_parser::ParseError,
    original: impl Fn(usize) -> usize,
) -> SourceError {
    let offset = original(error.location.start().to_usize());
    SourceError::Syntax { position: Position::of(source, offset), reason: error.error.to_string() }
}
