//! Words to a program.

use std::collections::BTreeMap;

use super::call::{Argument, apply, divide, folded, vector};
use super::lexer::{Position, Token, lex};
use super::{SourceError, SourceErrorKind};
use crate::program::NODE_ELEMENTS_MAX;
use crate::{
    Builder, FieldName, Id, Kind, Literal, Op, Owner, Program, ProgramError, Settings, Shape, TierName,
};

/// Deepest nesting of brackets and blocks.
const DEPTH_MAX: usize = 64;
/// Most repetitions of one block.
const REPEAT_MAX: i64 = 10_000;

/// The names that stand for values.
pub(super) type Scope = BTreeMap<String, Id>;

pub(super) struct Parser {
    tokens: Vec<(Token, Position)>,
    at: usize,
    depth: usize,
    /// What names stand for now.
    scope: Scope,
}

/// Reads one expression over values that are there.
///
/// # Errors
/// What is wrong with it first, with line and column.
pub fn parse_expression(
    source: &str,
    builder: &mut Builder,
    scope: &BTreeMap<String, Id>,
) -> Result<Id, SourceError> {
    if source.len() > super::SOURCE_LEN_MAX {
        return Err(SourceError { at: Position { line: 1, column: 1 }, kind: SourceErrorKind::TooLong });
    }
    let mut parser = Parser::new(lex(source)?);
    parser.scope.clone_from(scope);
    let value = parser.expression(builder)?;
    while *parser.peek() == Token::End {
        parser.at += 1;
    }
    match parser.peek() {
        Token::Over => Ok(value),
        _ => Err(parser.expected("the end of the expression")),
    }
}

impl Parser {
    pub(super) fn new(tokens: Vec<(Token, Position)>) -> Self {
        Self { tokens, at: 0, depth: 0, scope: Scope::new() }
    }

    pub(super) fn program(mut self) -> Result<Program, SourceError> {
        let settings = self.settings()?;
        let at = self.position();
        let mut builder = Builder::new(settings).map_err(|error| wrong(at, error))?;
        self.statements(&mut builder, &Token::Over)?;
        let at = self.position();
        builder.finish().map_err(|error| wrong(at, error))
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)].0
    }

    fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    fn position(&self) -> Position {
        self.tokens[self.at.min(self.tokens.len() - 1)].1
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn expected(&self, expected: &'static str) -> SourceError {
        let found = self.peek().to_string().chars().take(80).collect();
        SourceError { at: self.position(), kind: SourceErrorKind::Expected { expected, found } }
    }

    fn takes(&mut self, symbol: &'static str) -> bool {
        let is_there = *self.peek() == Token::Symbol(symbol);
        if is_there {
            self.at += 1;
        }
        is_there
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_there = matches!(self.peek(), Token::Name(name) if name == word);
        if is_there {
            self.at += 1;
        }
        is_there
    }

    fn symbol(&mut self, symbol: &'static str) -> Result<(), SourceError> {
        if self.takes(symbol) { Ok(()) } else { Err(self.expected(quoted(symbol))) }
    }

    fn name(&mut self) -> Result<String, SourceError> {
        match self.peek() {
            Token::Name(_) => match self.next() {
                Token::Name(name) => Ok(name),
                _ => Err(self.expected("a name")),
            },
            _ => Err(self.expected("a name")),
        }
    }

    fn count(&mut self) -> Result<i64, SourceError> {
        let value = match self.peek() {
            Token::Number(number) => number.to_i64().filter(|number| *number >= 0),
            _ => None,
        };
        let value = value.ok_or_else(|| self.expected("a whole number"))?;
        self.at += 1;
        Ok(value)
    }

    fn place(&mut self) -> Result<usize, SourceError> {
        let at = self.position();
        usize::try_from(self.count()?).map_err(|_| wrong(at, ProgramError::BadShape))
    }

    /// The settings at the beginning.
    fn settings(&mut self) -> Result<Settings, SourceError> {
        let mut settings = Settings::default();
        loop {
            while *self.peek() == Token::End {
                self.at += 1;
            }
            let at = self.position();
            let is_setting = matches!(self.peek(), Token::Name(name) if is_setting(name))
                && *self.peek_second() != Token::Symbol("=");
            if !is_setting {
                return Ok(settings);
            }
            match self.name()?.as_str() {
                "field" => {
                    let name = self.name()?;
                    settings.field = FieldName::parse(&name).map_err(|error| wrong(at, error))?;
                }
                "tier" => {
                    let mut name = self.name()?;
                    while self.takes("-") {
                        name = format!("{name}-{}", self.name()?);
                    }
                    settings.tier = TierName::parse(&name).map_err(|error| wrong(at, error))?;
                }
                "threshold" => {
                    let threshold =
                        u8::try_from(self.count()?).map_err(|_| self.expected("a small number"))?;
                    settings.threshold = Some(threshold);
                }
                _ => {
                    let bits = u32::try_from(self.count()?);
                    settings.fraction_bits = bits.map_err(|_| wrong(at, ProgramError::NoReals))?;
                }
            }
            self.end()?;
        }
    }

    fn end(&mut self) -> Result<(), SourceError> {
        match self.peek() {
            Token::End => {
                self.at += 1;
                Ok(())
            }
            Token::Over | Token::Symbol("}") => Ok(()),
            _ => Err(self.expected("the end of the statement")),
        }
    }

    fn statements(&mut self, builder: &mut Builder, last: &Token) -> Result<(), SourceError> {
        loop {
            while *self.peek() == Token::End {
                self.at += 1;
            }
            if self.peek() == last {
                return Ok(());
            }
            self.statement(builder)?;
            self.end()?;
        }
    }

    fn statement(&mut self, builder: &mut Builder) -> Result<(), SourceError> {
        let is_word = *self.peek_second() != Token::Symbol("=");
        let word = match self.peek() {
            Token::Name(name) if is_word => name.clone(),
            Token::Name(_) => String::new(),
            _ => return Err(self.expected("a statement")),
        };
        match word.as_str() {
            "input" => self.input(builder),
            "reveal" => self.reveal(builder),
            "repeat" => self.repeat(builder),
            word if is_setting(word) => {
                Err(SourceError { at: self.position(), kind: SourceErrorKind::SettingLate })
            }
            _ => {
                let name = self.name()?;
                self.symbol("=")?;
                let value = self.expression(builder)?;
                self.scope.insert(name, value);
                Ok(())
            }
        }
    }

    fn input(&mut self, builder: &mut Builder) -> Result<(), SourceError> {
        self.at += 1;
        let at = self.position();
        let name = self.name()?;
        let mut dimensions = Vec::new();
        if self.takes("[") {
            dimensions.push(self.place()?);
            while self.takes(",") {
                dimensions.push(self.place()?);
            }
            self.symbol("]")?;
        }
        if !self.takes_word("from") {
            return Err(self.expected("`from` and whose it is"));
        }
        let is_party = matches!(self.peek(), Token::Name(name) if name == "party")
            && matches!(self.peek_second(), Token::Name(_) | Token::Text(_) | Token::Number(_));
        let owner = if is_party {
            self.at += 1;
            Owner::Party(self.whom()?)
        } else {
            Owner::Client(self.whom()?)
        };
        let kind = if self.takes_word("as") {
            match self.name()?.as_str() {
                "integer" => Kind::Integer,
                "real" => Kind::Real,
                "bit" => Kind::Bit,
                _ => {
                    self.at -= 1;
                    return Err(self.expected("`integer`, `real` or `bit`"));
                }
            }
        } else {
            Kind::Integer
        };
        let shape =
            Shape::new(&dimensions, NODE_ELEMENTS_MAX).ok_or_else(|| wrong(at, ProgramError::BadShape))?;
        let id = builder.input(&name, owner, shape, kind).map_err(|error| wrong(at, error))?;
        self.scope.insert(name, id);
        Ok(())
    }

    /// The name of somebody: words with dashes in between, or a text in quotes.
    fn whom(&mut self) -> Result<String, SourceError> {
        let mut whom = match self.next() {
            Token::Name(name) | Token::Text(name) => name,
            Token::Number(number) => number.to_string(),
            _ => {
                self.at -= 1;
                return Err(self.expected("a name"));
            }
        };
        while *self.peek() == Token::Symbol("-") {
            self.at += 1;
            match self.next() {
                Token::Name(part) => whom = format!("{whom}-{part}"),
                Token::Number(part) => whom = format!("{whom}-{part}"),
                _ => {
                    self.at -= 1;
                    return Err(self.expected("the rest of the name"));
                }
            }
        }
        Ok(whom)
    }

    fn reveal(&mut self, builder: &mut Builder) -> Result<(), SourceError> {
        self.at += 1;
        let at = self.position();
        let bare = match (self.peek(), self.peek_second()) {
            (Token::Name(name), Token::Name(_)) => Some(name.clone()),
            _ => None,
        };
        let value = self.expression(builder)?;
        let output = if self.takes_word("as") { Some(self.name()?) } else { bare };
        let output = output.ok_or_else(|| self.expected("`as` and what the result is called"))?;
        if !self.takes_word("to") {
            return Err(self.expected("`to` and who learns it"));
        }
        let mut to = vec![self.whom()?];
        while self.takes(",") {
            to.push(self.whom()?);
        }
        builder.reveal(value, &output, &to).map_err(|error| wrong(at, error))?;
        Ok(())
    }

    fn repeat(&mut self, builder: &mut Builder) -> Result<(), SourceError> {
        self.at += 1;
        let at = self.position();
        let times = self.count()?;
        if !(1..=REPEAT_MAX).contains(&times) {
            return Err(wrong(at, ProgramError::TooLarge));
        }
        self.symbol("{")?;
        self.enter()?;
        let begin = self.at;
        for _ in 0..times {
            self.at = begin;
            let before = builder.nodes_len();
            self.statements(builder, &Token::Symbol("}"))?;
            if builder.nodes_len() == before {
                // What makes nothing new does not do so the next time.
                break;
            }
        }
        self.depth -= 1;
        self.symbol("}")
    }

    fn enter(&mut self) -> Result<(), SourceError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SourceError { at: self.position(), kind: SourceErrorKind::TooDeep(DEPTH_MAX) });
        }
        Ok(())
    }

    fn expression(&mut self, builder: &mut Builder) -> Result<Id, SourceError> {
        self.enter()?;
        let value = self.comparison(builder);
        self.depth -= 1;
        value
    }

    fn comparison(&mut self, builder: &mut Builder) -> Result<Id, SourceError> {
        let left = self.sum(builder)?;
        let at = self.position();
        let operation = match self.peek() {
            Token::Symbol("<") => "lt",
            Token::Symbol("<=") => "le",
            Token::Symbol(">") => "gt",
            Token::Symbol(">=") => "ge",
            Token::Symbol("==") => "eq",
            Token::Symbol("!=") => "ne",
            _ => return Ok(left),
        };
        self.at += 1;
        let right = self.sum(builder)?;
        let arguments = [Argument::Value(left), Argument::Value(right)];
        apply(builder, operation, &arguments).map_err(|error| wrong(at, error))
    }

    fn sum(&mut self, builder: &mut Builder) -> Result<Id, SourceError> {
        let mut left = self.product(builder)?;
        loop {
            let at = self.position();
            let is_sum = if self.takes("+") {
                true
            } else if self.takes("-") {
                false
            } else {
                return Ok(left);
            };
            let (a, b) = (left, self.product(builder)?);
            let op = if is_sum { Op::Add { a, b } } else { Op::Sub { a, b } };
            left = folded(builder, op).map_err(|error| wrong(at, error))?;
        }
    }

    fn product(&mut self, builder: &mut Builder) -> Result<Id, SourceError> {
        let mut left = self.signed(builder)?;
        loop {
            let at = self.position();
            let operation = match self.peek() {
                Token::Symbol(symbol @ ("*" | "/" | "@")) => *symbol,
                _ => return Ok(left),
            };
            self.at += 1;
            let (a, b) = (left, self.signed(builder)?);
            let made = match operation {
                "*" => folded(builder, Op::Mul { a, b }),
                "/" => divide(builder, a, b),
                _ => builder.push(Op::MatMul { a, b }),
            };
            left = made.map_err(|error| wrong(at, error))?;
        }
    }

    fn signed(&mut self, builder: &mut Builder) -> Result<Id, SourceError> {
        let at = self.position();
        if !self.takes("-") {
            return self.indexed(builder);
        }
        self.enter()?;
        let a = self.signed(builder)?;
        self.depth -= 1;
        let node = builder.node(a);
        let negated = match (&node.op, node.shape.is_scalar()) {
            (Op::Constant { values }, true) => values.first().cloned().map(Literal::negated),
            _ => None,
        };
        let made = match negated {
            Some(number) => builder.number(number),
            None => builder.push(Op::Neg { a }),
        };
        made.map_err(|error| wrong(at, error))
    }

    fn indexed(&mut self, builder: &mut Builder) -> Result<Id, SourceError> {
        let mut a = self.primary(builder)?;
        loop {
            let at = self.position();
            if !self.takes("[") {
                return Ok(a);
            }
            let from = self.place()?;
            let op = if self.takes(":") {
                Op::Slice { a, from, to: self.place()? }
            } else {
                Op::Index { a, at: from }
            };
            self.symbol("]")?;
            a = builder.push(op).map_err(|error| wrong(at, error))?;
        }
    }

    fn primary(&mut self, builder: &mut Builder) -> Result<Id, SourceError> {
        let at = self.position();
        match self.peek().clone() {
            Token::Number(number) => {
                self.at += 1;
                builder.number(number).map_err(|error| wrong(at, error))
            }
            Token::Symbol("(") => {
                self.at += 1;
                let value = self.expression(builder)?;
                self.symbol(")")?;
                Ok(value)
            }
            Token::Symbol("[") => {
                let list = self.list()?;
                vector(builder, list).map_err(|error| wrong(at, error))
            }
            Token::Name(name) => {
                self.at += 1;
                if self.takes("(") {
                    return self.call(&name, at, builder);
                }
                let found = self.scope.get(&name).copied();
                found.ok_or_else(|| wrong(at, ProgramError::UnknownName(name.chars().take(80).collect())))
            }
            _ => Err(self.expected("a value")),
        }
    }

    fn list(&mut self) -> Result<Vec<Literal>, SourceError> {
        self.symbol("[")?;
        let mut list = Vec::new();
        loop {
            let negative = self.takes("-");
            let Token::Number(number) = self.peek().clone() else { return Err(self.expected("a number")) };
            self.at += 1;
            list.push(if negative { number.negated() } else { number });
            if self.takes("]") {
                return Ok(list);
            }
            self.symbol(",")?;
        }
    }

    fn call(&mut self, name: &str, at: Position, builder: &mut Builder) -> Result<Id, SourceError> {
        let mut arguments = Vec::new();
        if !self.takes(")") {
            loop {
                let argument = if *self.peek() == Token::Symbol("[") {
                    self.bracketed(builder)?
                } else {
                    Argument::Value(self.expression(builder)?)
                };
                arguments.push(argument);
                if self.takes(")") {
                    break;
                }
                self.symbol(",")?;
            }
        }
        apply(builder, name, &arguments).map_err(|error| wrong(at, error))
    }

    /// A list alone is known numbers; what follows it makes it part of an expression.
    fn bracketed(&mut self, builder: &mut Builder) -> Result<Argument, SourceError> {
        let begin = self.at;
        let list = self.list()?;
        if matches!(self.peek(), Token::Symbol("," | ")")) {
            return Ok(Argument::List(list));
        }
        self.at = begin;
        Ok(Argument::Value(self.expression(builder)?))
    }
}

fn is_setting(word: &str) -> bool {
    matches!(word, "field" | "tier" | "threshold" | "fraction")
}

fn wrong(at: Position, error: ProgramError) -> SourceError {
    SourceError { at, kind: error.into() }
}

fn quoted(symbol: &'static str) -> &'static str {
    match symbol {
        "=" => "`=`",
        ")" => "`)`",
        "]" => "`]`",
        "[" => "`[`",
        "{" => "`{`",
        "}" => "`}`",
        "," => "`,`",
        _ => "a symbol",
    }
}
