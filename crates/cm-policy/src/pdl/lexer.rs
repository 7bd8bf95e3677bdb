//! From text to tokens.

use super::syntax::Position;
use super::{PdlError, Problem, TEXT_MAX};

/// A token with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) at: Position,
    pub(super) kind: TokenKind<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind<'a> {
    /// Letters, digits and `_ - . : / +`.
    Word(&'a str),
    /// What stood between quotes.
    Text(String),
    /// One of `, ( ) [ ] = != < <= > >= ..`
    Symbol(&'static str),
    /// What stood behind `#`, without the space in between.
    Comment(&'a str),
    /// The end of the text.
    End,
}

impl TokenKind<'_> {
    /// For messages.
    pub(super) fn describe(&self) -> String {
        match self {
            TokenKind::Word(word) => format!("`{word}`"),
            TokenKind::Text(_) => "a text".to_owned(),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::Comment(_) => "a comment".to_owned(),
            TokenKind::End => "the end".to_owned(),
        }
    }
}

const SYMBOLS: [&str; 12] = ["..", "!=", "<=", ">=", ",", "(", ")", "[", "]", "=", "<", ">"];

/// All tokens, [`TokenKind::End`] at last, and what could not be read.
pub(super) fn tokens(text: &str) -> (Vec<Token<'_>>, Vec<PdlError>) {
    let mut lexer = Lexer { text, rest: text, counted: 0, place: Position { line: 1, column: 1 } };
    let (mut tokens, mut errors) = (Vec::new(), Vec::new());
    loop {
        match lexer.next() {
            Ok(token) => {
                let is_end = token.kind == TokenKind::End;
                tokens.push(token);
                if is_end {
                    return (tokens, errors);
                }
            }
            Err(error) => errors.push(error),
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
    /// Up to where lines and columns are counted, and the place there.
    counted: usize,
    place: Position,
}

impl<'a> Lexer<'a> {
    fn place(&mut self) -> Position {
        let at = self.text.len() - self.rest.len();
        for character in self.text[self.counted..at].chars() {
            match character {
                '\n' => self.place = Position { line: self.place.line.saturating_add(1), column: 1 },
                _ => self.place.column = self.place.column.saturating_add(1),
            }
        }
        self.counted = at;
        self.place
    }

    fn next(&mut self) -> Result<Token<'a>, PdlError> {
        self.rest = self.rest.trim_start();
        let at = self.place();
        let kind = self.kind().map_err(|problem| PdlError { at, problem })?;
        Ok(Token { at, kind })
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn kind(&mut self) -> Result<TokenKind<'a>, Problem> {
        let Some(first) = self.rest.chars().next() else { return Ok(TokenKind::End) };
        if first == '#' {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            let comment = &self.take(end)[1..];
            return Ok(TokenKind::Comment(comment.strip_prefix(' ').unwrap_or(comment).trim_end()));
        }
        if first == '"' {
            return self.quoted();
        }
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| self.rest.starts_with(symbol)) {
            self.take(symbol.len());
            return Ok(TokenKind::Symbol(symbol));
        }
        let len = word_len(self.rest);
        if len == 0 {
            self.take(first.len_utf8());
            return Err(Problem::Character(first));
        }
        match self.take(len) {
            word if word.len() > TEXT_MAX => Err(Problem::LongText),
            word => Ok(TokenKind::Word(word)),
        }
    }

    fn quoted(&mut self) -> Result<TokenKind<'a>, Problem> {
        let line_end = self.rest.find('\n').unwrap_or(self.rest.len());
        let mut text = String::new();
        let mut wrong_escape = false;
        let mut characters = self.rest[1..line_end].char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.take(at + 2);
                    return match (wrong_escape, text.len() > TEXT_MAX) {
                        (true, _) => Err(Problem::Escape),
                        (_, true) => Err(Problem::LongText),
                        _ => Ok(TokenKind::Text(text)),
                    };
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => wrong_escape = true,
                },
                character if character.is_control() => wrong_escape = true,
                character => text.push(character),
            }
        }
        self.take(line_end);
        Err(Problem::Unterminated)
    }
}

/// How many bytes a word takes. Two dots in a row end it: they are a symbol.
fn word_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let belongs = |at: usize| {
        let byte = bytes[at];
        let range = byte == b'.' && bytes.get(at + 1) == Some(&b'.');
        !range && (byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/' | b'+'))
    };
    (0..bytes.len()).take_while(|at| belongs(*at)).count()
}
