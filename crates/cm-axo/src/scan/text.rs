//! Strings, and the text in f-strings and t-strings.

use super::{FSTRING_NESTING_MAX, Fault, Frame, Kind, Mask, Refusal, Scanner, syntax};

impl Scanner<'_> {
    /// A string whose quotes begin here: all of it, or the beginning of a formatted one.
    pub(super) fn string(&mut self, raw: bool, formatted: bool) -> Result<(), Refusal> {
        let start = self.at;
        let quote = self.peek(0);
        let triple = self.peek(1) == quote && self.peek(2) == quote;
        self.at += if triple { 3 } else { 1 };
        if formatted {
            if self.fstrings == FSTRING_NESTING_MAX {
                return Err((start, Fault::TooDeep));
            }
            self.fstrings += 1;
            let kind = Kind::Text { quote, triple, raw, braces: false };
            self.frames.push(Frame::new(kind, self.at, 0));
            return Ok(());
        }
        loop {
            match self.peek(0) {
                _ if self.at >= self.bytes.len() => return syntax(start, "this string does not end"),
                b'\n' | b'\r' if !triple => return syntax(start, "this string does not end on its line"),
                b'\\' => self.escape(),
                byte if byte == quote && self.ends(quote, triple) => return Ok(()),
                _ => self.at += 1,
            }
        }
    }

    /// Passes the quotes if the string ends here.
    fn ends(&mut self, quote: u8, triple: bool) -> bool {
        let len = if triple { 3 } else { 1 };
        let ends = (0..len).all(|ahead| self.peek(ahead) == quote);
        if ends {
            self.at += len;
        }
        ends
    }

    /// A backslash and what follows, raw or not: it never ends the string.
    fn escape(&mut self) {
        self.at += match (self.peek(1), self.peek(2)) {
            (b'\r', b'\n') => 3,
            _ => 2,
        };
        // Both end at the same byte when the character that is escaped is longer.
        while self.at < self.bytes.len() && !self.source.is_char_boundary(self.at) {
            self.at += 1;
        }
        self.at = self.at.min(self.bytes.len());
    }

    /// The text of a formatted string, up to a field or the end.
    pub(super) fn text(&mut self, quote: u8, triple: bool, raw: bool) -> Result<(), Refusal> {
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'\n' | b'\r' if !triple => {
                    return syntax(self.top().start, "this f-string does not end on its line");
                }
                byte if byte == quote => {
                    let end = self.at;
                    if self.ends(quote, triple) {
                        self.end_text(end);
                        return Ok(());
                    }
                    self.at += 1;
                }
                b'\\' if !raw && self.peek(1) == b'N' && self.peek(2) == b'{' => {
                    self.has_braces();
                    self.at += 3;
                    while self.peek(0).is_ascii_alphanumeric() || matches!(self.peek(0), b' ' | b'-') {
                        self.at += 1;
                    }
                    if self.peek(0) != b'}' {
                        return syntax(self.at, "the name of this character does not end");
                    }
                    self.at += 1;
                }
                // A backslash does not escape a brace.
                b'\\' if matches!(self.peek(1), b'{' | b'}') => self.at += 1,
                b'\\' => self.escape(),
                b'{' if self.peek(1) == b'{' => {
                    self.has_braces();
                    self.at += 2;
                }
                b'{' => {
                    self.has_braces();
                    self.open_field();
                    return Ok(());
                }
                b'}' if self.peek(1) == b'}' => {
                    self.has_braces();
                    self.at += 2;
                }
                b'}' => return syntax(self.at, "a single '}' is not allowed in an f-string"),
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    /// The format of a field, up to a field in it or the end of both.
    pub(super) fn spec(&mut self) -> Result<(), Refusal> {
        let (quote, triple) = self.innermost_quotes();
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'{' => {
                    self.open_field();
                    return Ok(());
                }
                b'}' => {
                    self.frames.pop();
                    self.frames.pop();
                    self.at += 1;
                    return Ok(());
                }
                b'\n' | b'\r' if !triple => break,
                byte if byte == quote && (!triple || (self.peek(1) == quote && self.peek(2) == quote)) => {
                    break;
                }
                b'\\' if !matches!(self.peek(1), b'{' | b'}') => self.escape(),
                _ => self.at += 1,
            }
        }
        syntax(self.at.min(self.bytes.len()), "'}' is missing in this f-string")
    }

    fn innermost_quotes(&self) -> (u8, bool) {
        self.frames
            .iter()
            .rev()
            .find_map(|frame| match frame.kind {
                Kind::Text { quote, triple, .. } => Some((quote, triple)),
                _ => None,
            })
            .expect("a format lies within a formatted string")
    }

    /// Fields are parsed as expressions for themselves, in parentheses: their depth begins anew.
    fn open_field(&mut self) {
        self.at += 1;
        self.frames.push(Frame::new(Kind::Field, self.at, 1));
    }

    fn has_braces(&mut self) {
        if let Kind::Text { braces, .. } = &mut self.top_mut().kind {
            *braces = true;
        }
    }

    fn end_text(&mut self, end: usize) {
        let text = self.frames.pop().expect("the frame of the text is on top");
        self.fstrings -= 1;
        if matches!(text.kind, Kind::Text { braces: true, .. }) {
            self.masks.push(Mask { range: text.start..end, shown: 'x' });
        }
    }
}
