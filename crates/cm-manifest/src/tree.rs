//! YAML as values with positions.
//!
//! The parser delivers events; here they become a tree, in which aliases are replaced by what they stand for. That
//! is where YAML grows out of bounds, so the number of values, the depth, and what aliases may add are limited. Plain
//! texts are understood by the core schema of YAML 1.2: `yes` is a text, `true` is not.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, Span, Tag};

use crate::position::Position;
use crate::problem::{Problems, Reason, shown};

/// Deepest nesting. The deepest shape that is understood has nine levels.
pub(crate) const DEPTH_MAX: usize = 32;
/// Most values of a file, keys included: some ten times what is in a file of [`crate::FILE_LEN_MAX`] that people write.
pub(crate) const VALUES_MAX: usize = 1_000_000;
/// What anchors and aliases may add, in values and bytes of text: as much as the longest file.
pub(crate) const EXPANSION_MAX: usize = 4 * 1024 * 1024;
/// What a value costs of [`EXPANSION_MAX`] besides its text: about its size in memory.
const VALUE_COST: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
    /// Levels of nesting, 1 for a text.
    height: usize,
    /// Values in it and bytes of their texts, weighted.
    cost: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A text; `plain` if it stands without quotes, so that it may mean a number.
    Text {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) node: Node,
}

impl Node {
    fn new(at: Position, value: Value) -> Self {
        let (height, cost) = match &value {
            Value::Text { text, .. } => (0, text.len()),
            Value::List(items) => (
                items.iter().map(|item| item.height).max().unwrap_or(0),
                items.iter().map(|item| item.cost).sum(),
            ),
            Value::Map(entries) => (
                entries.iter().map(|entry| entry.node.height).max().unwrap_or(0),
                entries.iter().map(|entry| entry.node.cost + entry.key.len() + VALUE_COST).sum(),
            ),
        };
        Self { at, value, height: height + 1, cost: cost + VALUE_COST }
    }

    /// What a message calls this.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Text { plain: false, .. } => "text",
            Value::Text { text, .. } => match text.as_str() {
                "" | "~" | "null" | "Null" | "NULL" => "nothing",
                "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => "true or false",
                number if is_number(number) => "a number",
                _ => "text",
            },
        }
    }

    /// Whether nothing is written here.
    pub(crate) fn is_nothing(&self) -> bool {
        self.describe() == "nothing"
    }
}

/// Numbers of the core schema.
fn is_number(text: &str) -> bool {
    let digits = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8);
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    // What remains of the core schema's floats is what Rust reads as such, less its words.
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && unsigned.parse::<f64>().is_ok()
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A collection that is not complete.
struct Open {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        first: HashMap<String, Position>,
        /// The key that waits for its value; without text if it was refused.
        key: Option<(Option<String>, Position)>,
    },
}

struct Builder<'p> {
    problems: &'p mut Problems,
    open: Vec<Open>,
    documents: Vec<Node>,
    /// `None` while the anchor's own value is being read.
    anchors: HashMap<usize, Option<Node>>,
    values: usize,
    expansion: usize,
}

/// Reading ended early; why is among the problems.
struct Stopped;

/// The documents of a text. What is wrong is added to the problems; then the documents are incomplete.
pub(crate) fn documents(text: &str, problems: &mut Problems) -> Vec<Node> {
    let mut options =
        granit_parser::options! { flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    options.set_emit_comments(false);
    let mut builder = Builder {
        problems,
        open: Vec::new(),
        documents: Vec::new(),
        anchors: HashMap::new(),
        values: 0,
        expansion: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let outcome = match event {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => {
                let reason = match error.kind() {
                    ErrorKind::RecursionLimitExceeded => Reason::TooDeep { max: DEPTH_MAX },
                    _ => Reason::Syntax(shown_message(&error.info())),
                };
                builder.problems.add(position(error.marker()), reason);
                Err(Stopped)
            }
        };
        if outcome.is_err() {
            break;
        }
    }
    builder.documents
}

/// The parser repeats little of the text, yet nothing says how little.
fn shown_message(message: &str) -> String {
    message.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Stopped> {
        let at = position(&span.start);
        let tag_at = span.tag_span().map_or(at, |tag| position(&tag.start));
        match event {
            Event::DocumentEnd => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                self.count(at)?;
                let text_by_tag = self.judge_tag(tag.as_deref(), tag_at);
                let plain = style == ScalarStyle::Plain && !text_by_tag;
                self.complete(Node::new(at, Value::Text { text: text.into_owned(), plain }), anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), tag_at);
                self.begin(at, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Map { entries: Vec::new(), first: HashMap::new(), key: None };
                self.refuse_tag(tag.as_deref(), tag_at);
                self.begin(at, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { at, anchor, content }) = self.open.pop() else { return Ok(()) };
                let value = match content {
                    Content::List(items) => Value::List(items),
                    Content::Map { entries, .. } => Value::Map(entries),
                };
                self.complete(Node::new(at, value), anchor)?;
            }
            Event::Alias(anchor) => self.repeat(anchor, at)?,
            _ => {}
        }
        Ok(())
    }

    fn stop(&mut self, at: Position, reason: Reason) -> Stopped {
        self.problems.add(at, reason);
        Stopped
    }

    fn count(&mut self, at: Position) -> Result<(), Stopped> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.stop(at, Reason::TooMany { max: VALUES_MAX }));
        }
        Ok(())
    }

    fn spend(&mut self, at: Position, cost: usize) -> Result<(), Stopped> {
        self.expansion += cost;
        if self.expansion > EXPANSION_MAX {
            return Err(self.stop(at, Reason::Expansion { max: EXPANSION_MAX }));
        }
        Ok(())
    }

    /// Whether the tag says that this is a text.
    fn judge_tag(&mut self, tag: Option<&Tag>, at: Position) -> bool {
        if tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str")) {
            return true;
        }
        self.refuse_tag(tag, at);
        false
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, at: Position) {
        if let Some(tag) = tag {
            self.problems.add(at, Reason::Tag(shown(&tag.original())));
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, content: Content) -> Result<(), Stopped> {
        self.count(at)?;
        if self.open.len() >= DEPTH_MAX {
            return Err(self.stop(at, Reason::TooDeep { max: DEPTH_MAX }));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { at, anchor, content });
        Ok(())
    }

    /// An alias: the value that it stands for, at the place of the alias.
    fn repeat(&mut self, anchor: usize, at: Position) -> Result<(), Stopped> {
        self.count(at)?;
        let Some(Some(Node { cost, height, .. })) = self.anchors.get(&anchor) else {
            return Err(self.stop(at, Reason::Endless));
        };
        let (cost, too_deep) = (*cost, self.open.len() + height > DEPTH_MAX);
        if too_deep {
            return Err(self.stop(at, Reason::TooDeep { max: DEPTH_MAX }));
        }
        // Before the copy: what is not allowed is not made.
        self.spend(at, cost)?;
        if let Some(Some(node)) = self.anchors.get(&anchor) {
            let node = Node { at, ..node.clone() };
            self.place(node);
        }
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Stopped> {
        if anchor != 0 {
            self.spend(node.at, node.cost)?;
            self.anchors.insert(anchor, Some(node.clone()));
        }
        self.place(node);
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, node: Node) {
        let Some(parent) = self.open.last_mut() else {
            self.documents.push(node);
            return;
        };
        match &mut parent.content {
            Content::List(items) => items.push(node),
            Content::Map { key: pending @ None, .. } => {
                let key = match &node.value {
                    Value::Text { text, .. } => Some(text.clone()),
                    _ => {
                        self.problems.add(node.at, Reason::Key(node.describe()));
                        None
                    }
                };
                *pending = Some((key, node.at));
            }
            Content::Map { entries, first, key } => {
                let Some((Some(key), at)) = key.take() else { return };
                if key == "<<" {
                    self.problems.add(at, Reason::MergeKey);
                } else if let Some(first) = first.get(&key) {
                    self.problems.add(at, Reason::DuplicateKey { key: shown(&key), first: *first });
                } else {
                    first.insert(key.clone(), at);
                    entries.push(Entry { key, at, node });
                }
            }
        }
    }
}
