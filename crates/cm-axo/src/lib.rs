//! What an active object's Python source declares: the class, its parameters, its methods. Parsed, never executed.
//!
//! [`parse`] answers with a [`Schema`], the `axo_schema` of the API. It takes a foreign text of up to [`SOURCE_LEN_MAX`]
//! bytes and owes its caller three things: no panic, a stack that a worker thread has, and time linear in the length.
//!
//! The grammar is ruff's, whose parser grows its stack on the heap as deep as a text nests and builds a tree whose
//! destructor recurses. So the text passes `scan` first, which knows strings, brackets and indentation, and nothing
//! else. It
//!
//! 1. refuses what cannot be Python whatever the grammar says: strings and brackets that do not close, foreign characters;
//! 2. bounds from above how deep the tree of what remains can get, and refuses what exceeds [`NESTING_MAX`];
//! 3. blanks out f-strings, and line breaks within brackets. There ruff's recovery from an error changes its mind about
//!    what is text, code or indentation, and the bound would not hold for what it then reads. The expressions in f-strings
//!    are parsed for themselves.
//!
//! Should the bound not hold after all, `stack` is large enough for any tree of a source of that length.
//!
//! Reading order: `schema`, `error`, `source`, `scan`, `stack`, `class`, `literal`, `docstring`.

mod class;
mod docstring;
mod error;
mod literal;
mod scan;
mod schema;
mod source;
mod stack;

pub use error::{Position, SourceError};
pub use scan::{INDENTATION_MAX, NESTING_MAX};
pub use schema::{DEFAULT_CLASS_NAME, Method, Parameter, Schema};
pub use source::{SOURCE_LEN_MAX, parse};

#[cfg(test)]
mod tests;
