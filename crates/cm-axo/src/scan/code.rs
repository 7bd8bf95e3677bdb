//! Source outside of strings.

use unicode_ident::{is_xid_continue, is_xid_start};

use super::{Frame, Kind, Mask, Refusal, Scanner, syntax};

/// The words that deepen the tree or may do so after an error. All others are names, flat, or begin statements.
const WEIGHED: &[&str] = &["not", "await", "lambda", "if", "else", "for", "from", "as", "yield", "async"];

impl Scanner<'_> {
    /// One token.
    pub(super) fn code(&mut self) -> Result<(), Refusal> {
        match self.peek(0) {
            b' ' | b'\t' | b'\x0c' => self.at += 1,
            b'\n' | b'\r' => return self.line_break(),
            b'\\' => return self.continuation(),
            b'#' => self.comment(),
            b'"' | b'\'' => return self.string(false, false),
            b'(' => return self.open(b')'),
            b'[' => return self.open(b']'),
            b'{' => return self.open(b'}'),
            closer @ (b')' | b']' | b'}') => return self.close(closer),
            b',' => {
                self.top_mut().chain = 0;
                self.at += 1;
            }
            b';' => {
                if self.top().kind == Kind::Line {
                    self.end_statement();
                }
                self.at += 1;
            }
            b':' => return self.colon(),
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => return self.word(),
            _ => return self.operator(),
        }
        Ok(())
    }

    fn comment(&mut self) {
        let start = self.at;
        while self.at < self.bytes.len() && !matches!(self.peek(0), b'\n' | b'\r') {
            self.at += 1;
        }
        self.blank(start);
    }

    /// What was read since `start` is nothing if it lies within brackets.
    fn blank(&mut self, start: usize) {
        if self.frames.len() > 1 {
            self.masks.push(Mask { range: start..self.at, shown: ' ' });
        }
    }

    fn line_break(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        self.at += if self.peek(0) == b'\r' && self.peek(1) == b'\n' { 2 } else { 1 };
        match self.top().kind {
            Kind::Line => self.end_statement(),
            // Within brackets it may go on; elsewhere the parser would look for the colon in the next statement.
            Kind::Lambda
                if self.frames.iter().all(|frame| matches!(frame.kind, Kind::Line | Kind::Lambda)) =>
            {
                return syntax(self.top().start, "this lambda has no colon");
            }
            _ => {}
        }
        self.blank(start);
        self.begin_line()
    }

    fn end_statement(&mut self) {
        let top = self.top_mut();
        top.base = 0;
        top.chain = 0;
    }

    fn continuation(&mut self) -> Result<(), Refusal> {
        self.at += match (self.peek(1), self.peek(2)) {
            (b'\r', b'\n') => 3,
            (b'\r' | b'\n', _) => 2,
            _ => return syntax(self.at, "a line must end after the backslash that continues it"),
        };
        Ok(())
    }

    fn open(&mut self, closer: u8) -> Result<(), Refusal> {
        self.push(Kind::Bracket(closer))?;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self, closer: u8) -> Result<(), Refusal> {
        let top = self.top();
        match top.kind {
            Kind::Bracket(expected) if expected == closer => {
                self.frames.pop();
            }
            Kind::Field if closer == b'}' => {
                self.end_expression()?;
                self.frames.pop();
            }
            Kind::Lambda => return syntax(top.start, "this lambda has no colon"),
            Kind::Bracket(_) => {
                let opener = char::from(self.bytes[top.start]);
                return syntax(self.at, format!("'{}' does not close '{opener}'", char::from(closer)));
            }
            _ => return syntax(self.at, format!("nothing is open that '{}' closes", char::from(closer))),
        }
        self.at += 1;
        Ok(())
    }

    fn colon(&mut self) -> Result<(), Refusal> {
        match self.top().kind {
            // One token, which ends no `lambda`; directly in a field it is a colon and text.
            kind if self.peek(1) == b'=' && kind != Kind::Field => {
                self.weigh(1)?;
                self.at += 1;
            }
            Kind::Lambda => {
                self.frames.pop();
            }
            Kind::Field => {
                self.end_expression()?;
                self.frames.push(Frame::new(Kind::Spec, self.at, 0));
            }
            _ => self.weigh(1)?,
        }
        self.at += 1;
        Ok(())
    }

    /// The expression of a field ends here.
    fn end_expression(&mut self) -> Result<(), Refusal> {
        let start = self.top().start;
        let text = self.source[start..self.at].trim_end();
        // `{x=}` shows the expression with its value.
        let compares = ["==", "!=", "<=", ">="].iter().any(|operator| text.ends_with(operator));
        let text = if compares { text } else { text.strip_suffix('=').unwrap_or(text) };
        if text.trim().is_empty() {
            return syntax(self.at, "an expression is missing in this f-string");
        }
        self.expressions.push(start..start + text.len());
        Ok(())
    }

    fn operator(&mut self) -> Result<(), Refusal> {
        let (len, weight) = match (self.peek(0), self.peek(1)) {
            (b'=' | b'!' | b'<' | b'>', b'=') => (2, 0),
            (b'<', b'<') | (b'>', b'>') => (2, 1),
            (b'<' | b'>', _) => (1, 0),
            (b'+' | b'-' | b'*' | b'/' | b'%' | b'@' | b'&' | b'|' | b'^' | b'~' | b'=' | b'.', _) => (1, 1),
            (b'!', _) if self.top().kind == Kind::Field => return self.conversion(),
            (byte, _) => {
                return syntax(self.at, format!("unexpected character {:?}", char::from(byte)));
            }
        };
        self.weigh(weight)?;
        self.at += len;
        Ok(())
    }

    /// `!r` in a field.
    fn conversion(&mut self) -> Result<(), Refusal> {
        self.end_expression()?;
        if !matches!(self.peek(1), b's' | b'r' | b'a') {
            return syntax(self.at, "a conversion is one of !s, !r and !a");
        }
        self.at += 2;
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        match self.peek(0) {
            b'}' => {
                self.frames.pop();
                self.at += 1;
            }
            b':' => {
                self.frames.push(Frame::new(Kind::Spec, self.at, 0));
                self.at += 1;
            }
            _ => return syntax(self.at, "'}' is missing in this f-string"),
        }
        Ok(())
    }

    /// A name, a keyword, a number or the prefix of a string.
    fn word(&mut self) -> Result<(), Refusal> {
        let rest = &self.source[self.at..];
        let first = rest.chars().next().unwrap_or_default();
        let numeric = first.is_ascii_digit();
        if !numeric && first != '_' && !is_xid_start(first) {
            return syntax(self.at, format!("unexpected character {first:?}"));
        }
        let len = rest.find(|char| !is_xid_continue(char)).unwrap_or(rest.len());
        let word = &rest[..len];
        if matches!(self.peek(len), b'"' | b'\'') {
            // Where a number ends that is followed by letters is a question that need not be answered.
            if numeric || (self.at > 0 && self.bytes[self.at - 1] == b'.') {
                return syntax(self.at + len, "a string may not follow directly");
            }
            if let Some(prefix) = Prefix::of(word) {
                self.at += len;
                return self.string(prefix.raw, prefix.formatted);
            }
        }
        // Python ends the number before such a keyword, but these cannot follow one.
        if numeric && ["lambda", "yield", "async"].iter().any(|keyword| word.ends_with(keyword)) {
            return syntax(self.at, "a keyword may not follow a number directly");
        }
        match word {
            "lambda" => self.push(Kind::Lambda)?,
            // What follows may reach over commas.
            "yield" | "async" => {
                self.weigh(1)?;
                let top = self.top_mut();
                top.base += top.chain;
                top.chain = 0;
            }
            // A keyword may follow a number without a space.
            word if WEIGHED.contains(&word) || (numeric && word.contains(char::is_alphabetic)) => {
                self.weigh(1)?
            }
            _ => {}
        }
        self.at += len;
        Ok(())
    }
}

struct Prefix {
    raw: bool,
    formatted: bool,
}

impl Prefix {
    fn of(word: &str) -> Option<Self> {
        let prefix = |raw, formatted| Some(Self { raw, formatted });
        match word.to_ascii_lowercase().as_str() {
            "u" | "b" => prefix(false, false),
            "r" | "br" | "rb" => prefix(true, false),
            "f" | "t" => prefix(false, true),
            "fr" | "rf" | "tr" | "rt" => prefix(true, true),
            _ => None,
        }
    }
}
