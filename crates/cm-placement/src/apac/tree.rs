//! The YAML of a policy as values with positions.

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use super::policy::{Problem, Reason};

/// Deepest nesting; a policy needs three levels.
const DEPTH_MAX: usize = 8;
/// Most values.
const VALUES_MAX: usize = 10_000;
/// Longest message of the YAML parser that is repeated, in characters.
const MESSAGE_LEN_MAX: usize = 200;

/// A place in the text. Lines and columns are counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Text(Text),
    List(Vec<Node>),
    Map(Vec<(Text, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Text {
    /// Where its first character stands, behind a quote if there is one.
    pub(super) at: Position,
    pub(super) text: String,
}

/// A collection that is not complete.
enum Open {
    List(Position, Vec<Node>),
    Map(Position, Vec<(Text, Node)>, Option<Text>),
}

/// The one document of a text.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let mut options =
        granit_parser::options! { flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    options.set_emit_comments(false);
    let (mut open, mut document, mut values) = (Vec::new(), None, 0);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| {
            let message = error.info();
            let shown = message.chars().take(MESSAGE_LEN_MAX);
            let message = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
            Problem { at: position(error.marker()), reason: Reason::Syntax(message) }
        })?;
        let at = position(&span.start);
        let fail = |reason| Err(Problem { at, reason });
        values += 1;
        if values > VALUES_MAX || open.len() > DEPTH_MAX {
            return fail(Reason::TooMuch);
        }
        let node = match event {
            Event::Scalar(_, _, 1.., _)
            | Event::SequenceStart(_, 1.., _)
            | Event::MappingStart(_, 1.., _) => {
                return fail(Reason::Anchor);
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => return fail(Reason::Tag),
            Event::Alias(_) => return fail(Reason::Anchor),
            Event::Scalar(text, style, ..) => {
                let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
                let begin = Position { column: at.column + usize::from(quoted), ..at };
                Node { at, value: Value::Text(Text { at: begin, text: text.into_owned() }) }
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(at, Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(at, Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(at, items)) => Node { at, value: Value::List(items) },
                Some(Open::Map(at, entries, _)) => Node { at, value: Value::Map(entries) },
                None => continue,
            },
            Event::DocumentStart(..) if document.is_some() => return fail(Reason::SecondDocument),
            _ => continue,
        };
        match open.last_mut() {
            None => document = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, key)) => match (key.take(), node.value) {
                (None, Value::Text(text)) if entries.iter().any(|(key, _)| key.text == text.text) => {
                    return fail(Reason::Twice(text.text));
                }
                (None, Value::Text(text)) => *key = Some(text),
                (None, _) => return fail(Reason::Expected("a name")),
                (Some(name), value) => entries.push((name, Node { at: node.at, value })),
            },
        }
    }
    document.ok_or(Problem { at: Position { line: 1, column: 1 }, reason: Reason::Missing("apac") })
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}
