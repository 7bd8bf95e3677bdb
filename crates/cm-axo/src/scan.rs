//! What is known of a source before it is parsed: where its strings are, that its brackets match, and how deep its tree
//! can get at most.
//!
//! ## The bound
//!
//! The parser's tree gets deeper by brackets, by prefixes (`not`, `-`, `await`, `lambda`), by suffixes (`.name`, calls,
//! subscripts), by operators that associate to one side, by conditional expressions and by indentation. Each of these begins
//! with a token of its own. A [`Frame`] counts those that can lie upon another: since its bracket opened, or since the
//! last comma, for what is separated by commas lies side by side. The depth within a bracket begins with the depth around
//! it. What is flat in the tree weighs nothing: `and`, `or`, comparisons, adjacent strings, `elif`.
//!
//! Two things reach over a comma. The parameters of a `lambda` do, so from `lambda` to its colon there is a frame, as if
//! it were a bracket. What follows `yield` and, after a syntax error, `async` does, so they count for the whole frame.
//!
//! ## Why it holds for wrong sources too
//!
//! Ruff's parser goes on after an error, and the tree that it drops then is as deep as any. It would take a line break
//! within a bracket for the end of a statement and read indentation there, which may be anything: levels would open that
//! nothing closes. So it is shown none: line breaks and comments within brackets are blanks in [`Scan::code`], as they
//! are by the grammar. Outside of brackets its levels are those counted here, for it is shown no line that goes back to
//! nowhere or that tabs and spaces indent differently. It never changes its mind on where a string begins, as strings must
//! close here and the inside of f-strings is not shown to it.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::ops::Range;

mod code;
mod embedded;
mod text;

/// How deep an expression may nest. Chains count: `a.b.c` nests twice, so does `a + b + c`. Python itself gives up at 200
/// brackets; a destructor of the tree takes up to 2 KiB of stack for a level.
pub const NESTING_MAX: usize = 200;

/// How many levels of indentation a source may have, which is Python's own limit.
pub const INDENTATION_MAX: usize = 100;

/// How deep f-strings may lie within f-strings; each level is read once more.
const FSTRING_NESTING_MAX: usize = 8;

/// Why a source is refused before it is parsed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is not Python, for this reason.
    Syntax(String),
    /// It nests too deeply.
    TooDeep,
}

/// A fault and the byte that it is about.
type Refusal = (usize, Fault);

/// A source that may be parsed.
pub(crate) struct Scan<'s> {
    /// The source, in which every byte within an f-string that has braces is an `x`, and line breaks and comments
    /// within brackets are blank. Offsets are the source's.
    pub(crate) code: Cow<'s, str>,
    /// What is not as in the source, by its beginning. Some lie within others.
    masks: Vec<Mask>,
    /// The expressions between those braces, by their beginning.
    expressions: Vec<Range<usize>>,
}

/// A part of the source whose every byte is something else to the parser.
struct Mask {
    range: Range<usize>,
    shown: char,
}

/// Reads a source once from beginning to end.
pub(crate) fn scan(source: &str) -> Result<Scan<'_>, Refusal> {
    let mut scanner = Scanner {
        source,
        bytes: source.as_bytes(),
        at: if source.starts_with('\u{feff}') { 3 } else { 0 },
        frames: vec![Frame::new(Kind::Line, 0, 0)],
        indents: Vec::new(),
        fstrings: 0,
        masks: Vec::new(),
        expressions: Vec::new(),
    };
    scanner.run()?;
    let Scanner { mut masks, mut expressions, .. } = scanner;
    // The inside of an f-string begins before what lies in it.
    masks.sort_by_key(|mask| (mask.range.start, Reverse(mask.range.end)));
    expressions.sort_unstable_by_key(|range| range.start);
    let code = embedded::masked(source, 0..source.len(), &masks);
    Ok(Scan { code, masks, expressions })
}

/// What a frame is the inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A logical line.
    Line,
    /// A bracket that this byte closes.
    Bracket(u8),
    /// From `lambda` to its colon.
    Lambda,
    /// An f-string or t-string between its quotes.
    Text { quote: u8, triple: bool, raw: bool, braces: bool },
    /// Between the braces in one.
    Field,
    /// Between the colon and the closing brace in a field, where text is text again.
    Spec,
}

#[derive(Debug)]
struct Frame {
    kind: Kind,
    /// Where it begins, for errors; for texts and fields the first byte of the inside.
    start: usize,
    /// How deep everything in here lies at least.
    base: usize,
    /// How much may lie upon that since the last comma.
    chain: usize,
}

impl Frame {
    fn new(kind: Kind, start: usize, base: usize) -> Self {
        Self { kind, start, base, chain: 0 }
    }
}

struct Scanner<'s> {
    source: &'s str,
    bytes: &'s [u8],
    /// The next byte; always the beginning of a character.
    at: usize,
    /// Never empty: the lowest is the line.
    frames: Vec<Frame>,
    /// The indentations of the blocks that are open, increasing. The root is not among them.
    indents: Vec<Indent>,
    /// How many frames are texts.
    fstrings: usize,
    masks: Vec<Mask>,
    expressions: Vec<Range<usize>>,
}

impl Scanner<'_> {
    fn run(&mut self) -> Result<(), Refusal> {
        self.begin_line()?;
        while self.at < self.bytes.len() {
            match self.top().kind {
                Kind::Text { quote, triple, raw, .. } => self.text(quote, triple, raw)?,
                Kind::Spec => self.spec()?,
                Kind::Line | Kind::Bracket(_) | Kind::Lambda | Kind::Field => self.code()?,
            }
        }
        let top = self.top();
        match top.kind {
            Kind::Line => Ok(()),
            Kind::Bracket(_) => self.never_closed(top.start),
            Kind::Lambda => syntax(top.start, "this lambda has no colon"),
            Kind::Text { .. } | Kind::Field | Kind::Spec => {
                syntax(top.start, "the f-string that this is in does not end")
            }
        }
    }

    fn never_closed<T>(&self, start: usize) -> Result<T, Refusal> {
        syntax(start, format!("'{}' was never closed", char::from(self.bytes[start])))
    }

    fn top(&self) -> &Frame {
        self.frames.last().expect("the frame of the line is never popped")
    }

    fn top_mut(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the frame of the line is never popped")
    }

    /// The byte `ahead` bytes from here; beyond the end 0, which is refused wherever it matters.
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Counts tokens that deepen the tree, which begin here.
    fn weigh(&mut self, weight: usize) -> Result<(), Refusal> {
        let at = self.at;
        let top = self.top_mut();
        top.chain += weight;
        if top.base + top.chain > NESTING_MAX { Err((at, Fault::TooDeep)) } else { Ok(()) }
    }

    /// Counts the opening token, which stays part of the chain when what it opens has closed.
    fn push(&mut self, kind: Kind) -> Result<(), Refusal> {
        self.weigh(1)?;
        let base = self.top().base + self.top().chain;
        self.frames.push(Frame::new(kind, self.at, base));
        Ok(())
    }

    /// Passes the indentation of the line that begins here and counts it as the parser's lexer does. A blank line and a
    /// comment have none, nor has a line within brackets.
    fn begin_line(&mut self) -> Result<(), Refusal> {
        if self.frames.len() > 1 {
            return Ok(());
        }
        let mut indent = Indent::ROOT;
        loop {
            match self.peek(0) {
                b' ' => indent = indent.space(),
                b'\t' => indent = indent.tab(),
                b'\x0c' => indent = Indent::ROOT,
                // A line that is continued before it has begun is indented as its first part, or, if that is not
                // indented at all, as its second.
                b'\\' if matches!(self.peek(1), b'\n' | b'\r') => {
                    self.at += if self.peek(1) == b'\r' && self.peek(2) == b'\n' { 2 } else { 1 };
                    while indent != Indent::ROOT && matches!(self.peek(1), b' ' | b'\t' | b'\x0c') {
                        self.at += 1;
                    }
                }
                _ => break,
            }
            self.at += 1;
        }
        if self.at >= self.bytes.len() || matches!(self.peek(0), b'\n' | b'\r' | b'#') {
            return Ok(());
        }
        self.indent(indent)
    }

    /// Opens and closes blocks for a line that is indented so.
    fn indent(&mut self, indent: Indent) -> Result<(), Refusal> {
        let mut dedents = false;
        loop {
            let last = self.indents.last().copied().unwrap_or(Indent::ROOT);
            match indent.compare(last) {
                None => {
                    return syntax(self.at, "tabs and spaces indent this line differently from those before");
                }
                Some(Ordering::Less) => {
                    self.indents.pop();
                    dedents = true;
                }
                // The parser would see the next indentation without a dedent before it.
                Some(Ordering::Greater) if dedents => {
                    return syntax(self.at, "this indentation matches no line before");
                }
                Some(Ordering::Greater) => {
                    self.indents.push(indent);
                    break;
                }
                Some(Ordering::Equal) => break,
            }
        }
        if self.indents.len() > INDENTATION_MAX { Err((self.at, Fault::TooDeep)) } else { Ok(()) }
    }
}

/// How far a line is indented, for both readings of a tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Indent {
    /// A tab is one character.
    characters: usize,
    /// A tab reaches to the next multiple of eight.
    column: usize,
}

impl Indent {
    const ROOT: Self = Self { characters: 0, column: 0 };

    fn space(self) -> Self {
        Self { characters: self.characters + 1, column: self.column + 1 }
    }

    fn tab(self) -> Self {
        Self { characters: self.characters + 1, column: (self.column / 8 + 1) * 8 }
    }

    /// `None` if it depends on the width of a tab, which is an error in Python.
    fn compare(self, other: Self) -> Option<Ordering> {
        let order = self.characters.cmp(&other.characters);
        (order == self.column.cmp(&other.column)).then_some(order)
    }
}

fn syntax<T>(at: usize, reason: impl Into<String>) -> Result<T, Refusal> {
    Err((at, Fault::Syntax(reason.into())))
}
