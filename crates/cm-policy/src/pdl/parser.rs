//! From tokens to a document, by recursive descent.

use cm_types::ResourceKind;

use super::lexer::{Token, TokenKind, tokens};
use super::syntax::{ActionWord, Condition, Document, Effect, Position, Rule, Statement, What, Who};
use super::{
    BYTES_MAX, DEPTH_MAX, ENTRIES_MAX, ERRORS_MAX, PARTS_MAX, PdlError, PdlErrors, Problem, STATEMENTS_MAX,
};

pub(super) mod questions;

/// Words that cannot be names without quotes: whoever forgets a name is told so.
pub(super) const RESERVED: [&str; 12] =
    ["pdl", "allow", "deny", "to", "do", "on", "when", "unless", "and", "or", "not", "in"];

/// Reads a document.
///
/// # Errors
/// All that is wrong with it, up to [`ERRORS_MAX`]: after an error, reading goes on with the next statement.
pub fn parse(text: &str) -> Result<Document, PdlErrors> {
    if text.len() > BYTES_MAX {
        let at = Position { line: 1, column: 1 };
        return Err(PdlErrors(vec![PdlError { at, problem: Problem::TooLong }]));
    }
    // Some editors put a mark of the byte order in front, which says nothing here.
    let (tokens, mut errors) = tokens(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut parser = Parser { tokens, at: 0, comments: Vec::new(), last_line: 0 };
    let document = parser.document(&mut errors);
    if errors.is_empty() {
        return Ok(document);
    }
    errors.sort_by_key(|error| error.at);
    errors.truncate(ERRORS_MAX);
    Err(PdlErrors(errors))
}

type Parsed<T> = Result<T, PdlError>;

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    /// Comments that were passed and belong to no statement yet, with their lines.
    comments: Vec<(u32, String)>,
    /// The line of the token that was taken last.
    last_line: u32,
}

impl<'a> Parser<'a> {
    fn document(&mut self, errors: &mut Vec<PdlError>) -> Document {
        let mut document = Document::default();
        if let Err(error) = self.version() {
            errors.push(error);
            return document;
        }
        let mut entries = 0;
        // A comment behind the version stands above the first statement afterwards.
        while *self.peek() != TokenKind::End {
            if document.statements.len() == STATEMENTS_MAX {
                errors.push(self.error(Problem::TooManyStatements));
                return document;
            }
            let line_above = self.last_line;
            match self.statement(line_above) {
                Ok(statement) => {
                    entries += statement.rule.entries();
                    if entries > ENTRIES_MAX {
                        errors.push(PdlError { at: statement.at, problem: Problem::TooManyEntries });
                        return document;
                    }
                    document.statements.push(statement);
                }
                Err(error) => {
                    errors.push(error);
                    if errors.len() >= ERRORS_MAX {
                        return document;
                    }
                    self.recover();
                }
            }
        }
        document.closing = std::mem::take(&mut self.comments).into_iter().map(|(_, text)| text).collect();
        document
    }

    fn version(&mut self) -> Parsed<()> {
        let version = |parser: &Self| parser.error(Problem::Version);
        if !self.takes("pdl") {
            return Err(version(self));
        }
        if !self.takes("1") {
            return Err(version(self));
        }
        Ok(())
    }

    fn statement(&mut self, line_above: u32) -> Parsed<Statement> {
        // Comments are passed by looking at what follows them.
        self.peek();
        let at = self.place();
        let above = std::mem::take(&mut self.comments);
        let first_line = above.first().map_or(at.line, |(line, _)| *line);
        let rule = self.rule()?;
        let last_line = self.last_line;
        self.peek();
        let mut inside: Vec<String> = above.into_iter().map(|(_, text)| text).collect();
        let (mut behind, mut after) = (None, Vec::new());
        for (line, text) in std::mem::take(&mut self.comments) {
            match (line == last_line, line < last_line) {
                (true, _) => behind = Some(text),
                // In the middle of the statement: it goes above it.
                (_, true) => inside.push(text),
                _ => after.push((line, text)),
            }
        }
        self.comments = after;
        Ok(Statement { at, above: inside, behind, apart: first_line > line_above + 1, rule })
    }

    fn rule(&mut self) -> Parsed<Rule> {
        let effect = match self.peek() {
            TokenKind::Word("allow") => Effect::Allow,
            TokenKind::Word("deny") => Effect::Deny,
            _ => return Err(self.expected("`allow` or `deny`")),
        };
        self.advance();
        let who = self.list(Self::who)?;
        self.word("to", "`,` or `to`")?;
        let actions = match self.takes("do") {
            true => {
                self.word("anything", "`anything`")?;
                vec![ActionWord::Anything]
            }
            false => self.list(Self::action)?,
        };
        self.word("on", "`,` or `on`")?;
        let what = self.list(Self::what)?;
        let when = if self.takes("when") { Some(self.condition(0)?) } else { None };
        let unless = if self.takes("unless") { Some(self.condition(0)?) } else { None };
        match self.peek() {
            TokenKind::End | TokenKind::Word("allow" | "deny") => {
                Ok(Rule { effect, who, actions, what, when, unless })
            }
            _ if when.is_none() && unless.is_none() => {
                Err(self.expected("`,`, `when`, `unless` or the next statement"))
            }
            _ => Err(self.expected("`and`, `or`, `unless` or the next statement")),
        }
    }

    fn who(&mut self) -> Parsed<Who> {
        const EXPECTED: &str = "`role`, `group`, `user`, `tenant`, `anyone` or `authenticated`";
        let TokenKind::Word(word) = *self.peek() else { return Err(self.expected(EXPECTED)) };
        let of: fn(String) -> Who = match word {
            "anyone" => |_| Who::Anyone,
            "authenticated" => |_| Who::Authenticated,
            "role" => Who::Role,
            "group" => Who::Group,
            "user" => Who::User,
            "tenant" => Who::Tenant,
            _ => return Err(self.expected(EXPECTED)),
        };
        self.advance();
        match word {
            "anyone" | "authenticated" => Ok(of(String::new())),
            _ => Ok(of(self.name()?)),
        }
    }

    fn action(&mut self) -> Parsed<ActionWord> {
        let TokenKind::Word(word) = *self.peek() else { return Err(self.expected("an action")) };
        let found = match ActionWord::GROUPS.iter().find(|(name, _)| *name == word) {
            Some((_, group)) => *group,
            None if RESERVED.contains(&word) => return Err(self.expected("an action")),
            None => match word.parse() {
                Ok(action) => ActionWord::One(action),
                Err(_) => return Err(self.error(Problem::Action(word.to_owned()))),
            },
        };
        self.advance();
        Ok(found)
    }

    fn what(&mut self) -> Parsed<What> {
        let TokenKind::Word(word) = *self.peek() else { return Err(self.expected("a kind or `anything`")) };
        let kind = match word {
            "anything" => None,
            word => match ResourceKind::ALL.iter().find(|kind| kind.as_str() == word) {
                Some(kind) => Some(*kind),
                None => return Err(self.error(Problem::Kind(word.to_owned()))),
            },
        };
        self.advance();
        Ok(What { kind, pattern: self.takes_text() })
    }

    fn name(&mut self) -> Parsed<String> {
        if let Some(text) = self.takes_text() {
            return Ok(text);
        }
        match *self.peek() {
            TokenKind::Word(word) if !RESERVED.contains(&word) => {
                self.advance();
                Ok(word.to_owned())
            }
            _ => Err(self.expected("a name, in quotes if it is a word of the language")),
        }
    }

    fn condition(&mut self, depth: usize) -> Parsed<Condition> {
        self.chain(depth, "or", Condition::Any, |parser, depth| {
            parser.chain(depth, "and", Condition::All, Self::negation)
        })
    }

    fn chain(
        &mut self,
        depth: usize,
        between: &str,
        joined: fn(Vec<Condition>) -> Condition,
        part: fn(&mut Self, usize) -> Parsed<Condition>,
    ) -> Parsed<Condition> {
        let mut parts = vec![part(self, depth)?];
        while self.takes(between) {
            if parts.len() == PARTS_MAX {
                return Err(self.error(Problem::TooManyParts));
            }
            parts.push(part(self, depth)?);
        }
        Ok(match parts.len() {
            1 => parts.pop().expect("it has one"),
            _ => joined(parts),
        })
    }

    fn negation(&mut self, depth: usize) -> Parsed<Condition> {
        if depth > DEPTH_MAX {
            return Err(self.error(Problem::TooDeep));
        }
        if self.takes("not") {
            return Ok(Condition::Not(Box::new(self.negation(depth + 1)?)));
        }
        if self.takes_symbol("(") {
            let inner = self.condition(depth + 1)?;
            self.symbol(")", "`)`, `and` or `or`")?;
            return Ok(inner);
        }
        Ok(Condition::Test(self.test()?))
    }

    /// One or more, with commas between them.
    fn list<T>(&mut self, one: fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.takes_symbol(",") {
            if all.len() == PARTS_MAX {
                return Err(self.error(Problem::TooManyParts));
            }
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// The next token, which is no comment.
    fn peek(&mut self) -> &TokenKind<'a> {
        while let Token { at, kind: TokenKind::Comment(text) } = &self.tokens[self.at] {
            self.comments.push((at.line, (*text).to_owned()));
            self.at += 1;
        }
        &self.tokens[self.at].kind
    }

    fn place(&self) -> Position {
        self.tokens[self.at].at
    }

    /// Goes behind the token that was looked at; the end is never passed.
    fn advance(&mut self) {
        self.last_line = self.place().line;
        if self.tokens[self.at].kind != TokenKind::End {
            self.at += 1;
        }
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_it = matches!(self.peek(), TokenKind::Word(found) if *found == word);
        if is_it {
            self.advance();
        }
        is_it
    }

    fn takes_symbol(&mut self, symbol: &str) -> bool {
        let is_it = matches!(self.peek(), TokenKind::Symbol(found) if *found == symbol);
        if is_it {
            self.advance();
        }
        is_it
    }

    fn takes_text(&mut self) -> Option<String> {
        let TokenKind::Text(text) = self.peek() else { return None };
        let text = text.clone();
        self.advance();
        Some(text)
    }

    fn word(&mut self, word: &str, expected: &'static str) -> Parsed<()> {
        if self.takes(word) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn symbol(&mut self, symbol: &str, expected: &'static str) -> Parsed<()> {
        if self.takes_symbol(symbol) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn error(&self, problem: Problem) -> PdlError {
        PdlError { at: self.place(), problem }
    }

    fn expected(&mut self, expected: &'static str) -> PdlError {
        let found = self.peek().describe();
        self.error(Problem::Expected { expected, found })
    }

    /// Goes to the next statement.
    fn recover(&mut self) {
        self.comments.clear();
        let mut first = true;
        loop {
            match self.peek() {
                TokenKind::End => return,
                TokenKind::Word("allow" | "deny") if !first => return,
                _ => self.advance(),
            }
            first = false;
        }
    }
}
