//! From a document to its text: the one way in which it is written.

use cm_types::Timestamp;

use super::parser::questions::{is_plain, is_plain_attribute};
use super::syntax::{Attribute, Condition, Document, Operand, Statement, Test, What, Who};
use super::time::Zone;

/// Statements longer than this get a line of their own for each condition.
const WIDTH: usize = 100;

/// The text of a document. What it is parsed to is the document again, and its text is the same again.
pub fn format(document: &Document) -> String {
    let mut text = String::from("pdl 1\n");
    for (place, statement) in document.statements.iter().enumerate() {
        if statement.apart || place == 0 {
            text.push('\n');
        }
        push_statement(&mut text, statement);
    }
    if !document.closing.is_empty() {
        text.push('\n');
    }
    for comment in &document.closing {
        push_comment(&mut text, comment);
    }
    text
}

fn push_comment(text: &mut String, comment: &str) {
    text.push_str(format!("# {comment}").trim_end());
    text.push('\n');
}

fn push_statement(text: &mut String, statement: &Statement) {
    for comment in &statement.above {
        push_comment(text, comment);
    }
    let rule = &statement.rule;
    let list = |words: Vec<String>| words.join(", ");
    let mut head = String::new();
    head.push_str(rule.effect.as_str());
    head.push(' ');
    head.push_str(&list(rule.who.iter().map(Who::to_string).collect()));
    head.push_str(" to ");
    head.push_str(&list(rule.actions.iter().map(|word| word.as_str().to_owned()).collect()));
    head.push_str(" on ");
    head.push_str(&list(rule.what.iter().map(What::to_string).collect()));
    let mut conditions = Vec::new();
    for (keyword, condition) in [("when", &rule.when), ("unless", &rule.unless)] {
        if let Some(condition) = condition {
            conditions.push(format!("{keyword} {condition}"));
        }
    }
    let width = head.chars().count() + conditions.iter().map(|text| text.chars().count() + 1).sum::<usize>();
    let between = if width > WIDTH { "\n    " } else { " " };
    text.push_str(&head);
    for condition in &conditions {
        text.push_str(between);
        text.push_str(condition);
    }
    if let Some(comment) = &statement.behind {
        text.push_str(format!(" # {comment}").trim_end());
    }
    text.push('\n');
}

/// A moment; the beginning of a day is written as the day.
fn written(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.strip_suffix("T00:00:00Z").map(str::to_owned).unwrap_or(text)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (keyword, name) = match self {
            Who::Anyone => return f.write_str("anyone"),
            Who::Authenticated => return f.write_str("authenticated"),
            Who::Role(name) => ("role", name),
            Who::Group(name) => ("group", name),
            Who::User(name) => ("user", name),
            Who::Tenant(name) => ("tenant", name),
        };
        match is_plain(name) {
            true => write!(f, "{keyword} {name}"),
            false => write!(f, "{keyword} {}", quoted(name)),
        }
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.map_or("anything", |kind| kind.as_str()))?;
        match &self.pattern {
            Some(pattern) => write!(f, " {}", quoted(pattern)),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match is_plain_attribute(&self.name) {
            true => write!(f, "{}.{}", self.of.as_str(), self.name),
            false => write!(f, "{}.{}", self.of.as_str(), quoted(&self.name)),
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chain = |f: &mut std::fmt::Formatter<'_>, parts: &[Condition], between: &str| {
            for (place, part) in parts.iter().enumerate() {
                f.write_str(if place == 0 { "" } else { between })?;
                match part {
                    // `and` binds more closely than `or`, which not every reader has to know.
                    Condition::All(_) | Condition::Any(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Condition::All(parts) => chain(f, parts, " and "),
            Condition::Any(parts) => chain(f, parts, " or "),
            Condition::Not(inner) => match **inner {
                Condition::All(_) | Condition::Any(_) => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
            Condition::Test(test) => test.fmt(f),
        }
    }
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let zone = |zone: &Zone| match zone.name() {
            "" => String::new(),
            name => format!(" {name}"),
        };
        match self {
            Test::Mfa => f.write_str("mfa"),
            Test::Tls => f.write_str("tls"),
            Test::Owner => f.write_str("owner"),
            Test::Who(who) => who.fmt(f),
            Test::Time(window, place) => write!(f, "time in {window}{}", zone(place)),
            Test::Day(days, place) => write!(f, "day in {days}{}", zone(place)),
            Test::Before(moment) => write!(f, "before {}", written(*moment)),
            Test::After(moment) => write!(f, "after {}", written(*moment)),
            Test::Address(networks) => {
                let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
                write!(f, "address in {}", networks.join(", "))
            }
            Test::Has(attribute) => write!(f, "has {attribute}"),
            Test::Compare(attribute, comparison, operand) => {
                write!(f, "{attribute} {} ", comparison.as_str())?;
                match operand {
                    Operand::Text(text) => f.write_str(&quoted(text)),
                    Operand::Number(number) => write!(f, "{number}"),
                    Operand::Attribute(other) => other.fmt(f),
                }
            }
            Test::OneOf(attribute, values) => {
                let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                write!(f, "{attribute} in [{}]", values.join(", "))
            }
        }
    }
}
