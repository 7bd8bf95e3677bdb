//! Single questions of conditions.

use super::super::lexer::TokenKind;
use super::super::syntax::{Attribute, AttributeOf, Comparison, Operand, Test};
use super::super::time::{Days, Window, Zone};
use super::super::{Problem, TEXT_MAX};
use super::{Parsed, Parser};
use crate::network::Network;

/// Words that may follow a window or days, and hence are no zones.
const BEHIND: [&str; 5] = ["and", "or", "unless", "allow", "deny"];

impl<'a> Parser<'a> {
    pub(super) fn test(&mut self) -> Parsed<Test> {
        let TokenKind::Word(word) = *self.peek() else { return Err(self.expected("a condition")) };
        match word {
            "anyone" | "authenticated" | "role" | "group" | "user" | "tenant" => {
                let who = self.who()?;
                Ok(Test::Who(who))
            }
            "mfa" | "tls" | "owner" => {
                self.advance();
                Ok(match word {
                    "mfa" => Test::Mfa,
                    "tls" => Test::Tls,
                    _ => Test::Owner,
                })
            }
            "time" => self.time(),
            "day" => self.day(),
            "before" | "after" => {
                self.advance();
                let moment = self.moment()?;
                Ok(if word == "before" { Test::Before(moment) } else { Test::After(moment) })
            }
            "address" => {
                self.advance();
                self.word("in", "`in`")?;
                Ok(Test::Address(self.list(Self::network)?))
            }
            "has" => {
                self.advance();
                match self.attribute()? {
                    Some(attribute) => Ok(Test::Has(attribute)),
                    None => Err(self.expected("label.NAME, subject.NAME or request.NAME")),
                }
            }
            _ => match self.attribute()? {
                Some(attribute) => self.comparison(attribute),
                None => Err(self.error(Problem::Test(word.to_owned()))),
            },
        }
    }

    fn time(&mut self) -> Parsed<Test> {
        self.advance();
        self.word("in", "`in`")?;
        let from = self.any_word("a time such as 08:00")?;
        self.symbol("..", "`..`")?;
        let TokenKind::Word(until) = *self.peek() else { return Err(self.expected("a time such as 18:00")) };
        let Some(window) = Window::parse(from, until) else {
            return Err(self.error(Problem::Window(format!("{from}..{until}"))));
        };
        self.advance();
        Ok(Test::Time(window, self.zone()?))
    }

    fn day(&mut self) -> Parsed<Test> {
        self.advance();
        self.word("in", "`in`")?;
        let mut days = Days::NONE;
        loop {
            let TokenKind::Word(from) = *self.peek() else { return Err(self.expected("a day such as mon")) };
            if days.with(from, None).is_none() {
                return Err(self.error(Problem::Day(from.to_owned())));
            }
            self.advance();
            let until = match self.takes_symbol("..") {
                false => None,
                true => match *self.peek() {
                    TokenKind::Word(until) if days.with(until, None).is_some() => {
                        self.advance();
                        Some(until)
                    }
                    _ => return Err(self.expected("a day such as fri")),
                },
            };
            days = days.with(from, until).expect("both were found to be days");
            if !self.takes_symbol(",") {
                return Ok(Test::Day(days, self.zone()?));
            }
        }
    }

    /// The zone behind a window or days; UTC if none is named.
    fn zone(&mut self) -> Parsed<Zone> {
        let TokenKind::Word(name) = *self.peek() else { return Ok(Zone::utc()) };
        if BEHIND.contains(&name) {
            return Ok(Zone::utc());
        }
        let Some(zone) = Zone::parse(name) else { return Err(self.error(Problem::Zone(name.to_owned()))) };
        self.advance();
        Ok(zone)
    }

    fn moment(&mut self) -> Parsed<cm_types::Timestamp> {
        let TokenKind::Word(text) = *self.peek() else {
            return Err(self.expected("a moment such as 2027-01-31"));
        };
        let moment = match text.contains('T') {
            true => text.parse(),
            false => format!("{text}T00:00:00Z").parse(),
        };
        let Ok(moment) = moment else { return Err(self.error(Problem::Moment(text.to_owned()))) };
        self.advance();
        Ok(moment)
    }

    fn network(&mut self) -> Parsed<Network> {
        let TokenKind::Word(text) = *self.peek() else {
            return Err(self.expected("a network such as 10.0.0.0/8"));
        };
        let Some(network) = Network::parse(text) else {
            return Err(self.error(Problem::Network(text.to_owned())));
        };
        self.advance();
        Ok(network)
    }

    /// `label.NAME`, where the name may be in quotes; `None` if the next word begins differently.
    fn attribute(&mut self) -> Parsed<Option<Attribute>> {
        let TokenKind::Word(word) = *self.peek() else { return Ok(None) };
        let Some((of, name)) = word.split_once('.') else { return Ok(None) };
        let of = match of {
            "subject" => AttributeOf::Subject,
            "label" => AttributeOf::Label,
            "request" => AttributeOf::Request,
            _ => return Ok(None),
        };
        let at = self.place();
        self.advance();
        let name = match name {
            "" => self.takes_text().unwrap_or_default(),
            name => name.to_owned(),
        };
        if name.is_empty() || name.len() > TEXT_MAX {
            return Err(super::PdlError { at, problem: Problem::Attribute(name) });
        }
        Ok(Some(Attribute { of, name }))
    }

    fn comparison(&mut self, attribute: Attribute) -> Parsed<Test> {
        if self.takes("in") {
            self.symbol("[", "`[`")?;
            let values = self.list(Self::value)?;
            self.symbol("]", "`,` or `]`")?;
            return Ok(Test::OneOf(attribute, values));
        }
        let comparison = match *self.peek() {
            TokenKind::Symbol("=") => Comparison::Equal,
            TokenKind::Symbol("!=") => Comparison::NotEqual,
            TokenKind::Symbol("<") => Comparison::Less,
            TokenKind::Symbol("<=") => Comparison::LessOrEqual,
            TokenKind::Symbol(">") => Comparison::Greater,
            TokenKind::Symbol(">=") => Comparison::GreaterOrEqual,
            TokenKind::Word("like") => Comparison::Like,
            _ => return Err(self.expected("`=`, `!=`, `<`, `<=`, `>`, `>=`, `like` or `in`")),
        };
        self.advance();
        let operand = self.operand()?;
        match &operand {
            Operand::Text(_) if comparison.is_numeric() => {
                Err(self.error(Problem::NotANumber(comparison.as_str())))
            }
            Operand::Number(_) | Operand::Attribute(_) if comparison == Comparison::Like => {
                Err(self.error(Problem::NotAPattern))
            }
            _ => Ok(Test::Compare(attribute, comparison, operand)),
        }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        if let Some(text) = self.takes_text() {
            return Ok(Operand::Text(text));
        }
        if let Some(attribute) = self.attribute()? {
            return Ok(Operand::Attribute(attribute));
        }
        match *self.peek() {
            TokenKind::Word(word) => match word.parse() {
                Ok(number) => {
                    self.advance();
                    Ok(Operand::Number(number))
                }
                Err(_) => Err(self.expected("a text in quotes, a whole number or an attribute")),
            },
            _ => Err(self.expected("a text in quotes, a whole number or an attribute")),
        }
    }

    fn value(&mut self) -> Parsed<String> {
        match self.takes_text() {
            Some(text) => Ok(text),
            None => Err(self.expected("a text in quotes")),
        }
    }

    fn any_word(&mut self, expected: &'static str) -> Parsed<&'a str> {
        let TokenKind::Word(word) = *self.peek() else { return Err(self.expected(expected)) };
        self.advance();
        Ok(word)
    }
}

/// Whether a name can be written without quotes behind `role`, `group`, `user` and `tenant`.
pub(in crate::pdl) fn is_plain(name: &str) -> bool {
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let goes_on = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    starts && goes_on && !super::RESERVED.contains(&name)
}

/// Whether the name of an attribute can be written without quotes.
pub(in crate::pdl) fn is_plain_attribute(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/'));
    plain && !name.is_empty()
}
