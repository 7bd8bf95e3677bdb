//! Characters to words.

use super::{SourceError, SourceErrorKind};
use crate::Literal;

/// A place in a job, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character of the line.
    pub column: usize,
}

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Number(Literal),
    Symbol(&'static str),
    /// The end of a statement.
    End,
    /// The end of the job.
    Over,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Name(text) | Token::Text(text) => write!(f, "`{text}`"),
            Token::Number(number) => write!(f, "`{number}`"),
            Token::Symbol(symbol) => write!(f, "`{symbol}`"),
            Token::End => f.write_str("the end of the line"),
            Token::Over => f.write_str("the end of the job"),
        }
    }
}

const SYMBOLS: [&str; 20] =
    ["<=", ">=", "==", "!=", "<", ">", "=", "+", "-", "*", "/", "@", "(", ")", "[", "]", "{", "}", ",", ":"];

/// The words of a job, each with its place. Within round and square brackets lines do not end statements.
pub(super) fn lex(source: &str) -> Result<Vec<(Token, Position)>, SourceError> {
    let mut tokens = Vec::new();
    let (mut rest, mut at, mut open) = (source, Position { line: 1, column: 1 }, 0_usize);
    while let Some(first) = rest.chars().next() {
        let (token, len) = match first {
            '\n' => ((open == 0).then_some(Token::End), 1),
            ';' => (Some(Token::End), 1),
            '#' => (None, rest.find('\n').unwrap_or(rest.len())),
            ' ' | '\t' | '\r' => (None, 1),
            '"' => text(rest, at)?,
            c if c.is_ascii_alphabetic() || c == '_' => {
                let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Some(Token::Name(rest[..len].to_owned())), len)
            }
            c if c.is_ascii_digit() || c == '.' => number(rest, at)?,
            c => {
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
                let symbol = symbol.ok_or(SourceError { at, kind: SourceErrorKind::Character(c) })?;
                match *symbol {
                    "(" | "[" => open += 1,
                    ")" | "]" => open = open.saturating_sub(1),
                    _ => {}
                }
                (Some(Token::Symbol(symbol)), symbol.len())
            }
        };
        if let Some(token) = token {
            tokens.push((token, at));
        }
        for c in rest[..len].chars() {
            if c == '\n' {
                at = Position { line: at.line + 1, column: 1 };
            } else {
                at.column += 1;
            }
        }
        rest = &rest[len..];
    }
    tokens.push((Token::End, at));
    tokens.push((Token::Over, at));
    Ok(tokens)
}

fn text(rest: &str, at: Position) -> Result<(Option<Token>, usize), SourceError> {
    let inner = &rest[1..];
    let end = inner.find(['"', '\n']).filter(|end| inner[*end..].starts_with('"'));
    let end = end.ok_or(SourceError {
        at,
        kind: SourceErrorKind::Expected {
            expected: "a closing `\"`",
            found: "the end of the line".to_owned(),
        },
    })?;
    Ok((Some(Token::Text(inner[..end].to_owned())), end + 2))
}

fn number(rest: &str, at: Position) -> Result<(Option<Token>, usize), SourceError> {
    let mut len = 0;
    let bytes = rest.as_bytes();
    while let Some(&byte) = bytes.get(len) {
        let is_sign = matches!(byte, b'+' | b'-') && len > 0 && matches!(bytes[len - 1], b'e' | b'E');
        if !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || is_sign) {
            break;
        }
        len += 1;
    }
    let written = rest[..len].replace('_', "");
    let number = written.parse();
    let number = number.map_err(|_| SourceError {
        at,
        kind: SourceErrorKind::Number(rest[..len].chars().take(90).collect()),
    })?;
    Ok((Some(Token::Number(number)), len))
}
