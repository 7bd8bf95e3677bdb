//! From text to steps. Recursive descent; its depth is that of the conditions, which is bounded.

use super::{DEPTH_MAX, InvalidPipeline, PIPELINE_LEN_MAX, PipelineProblem, STEPS_MAX, Step};
use crate::GuestPath;

/// Most characters of the text that an error repeats.
const SHOWN_MAX: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Semicolon,
    Open,
    Close,
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// Where the next token begins, in bytes.
    at: usize,
    steps: usize,
}

pub(super) fn parse(text: &str) -> Result<Vec<Step>, InvalidPipeline> {
    let mut parser = Parser { text, at: 0, steps: 0 };
    if text.len() > PIPELINE_LEN_MAX {
        return Err(parser.fault(0, PipelineProblem::TooLong));
    }
    let steps = parser.steps(0)?;
    match parser.peek() {
        (_, Token::End) if runs_something(&steps) => Ok(steps),
        (_, Token::End) => Err(parser.fault(0, PipelineProblem::Empty)),
        (at, found) => Err(parser.expected(at, "a program, `if` or the end", found)),
    }
}

fn runs_something(steps: &[Step]) -> bool {
    steps.iter().any(|step| match step {
        Step::Run(_) => true,
        Step::If { then, otherwise, .. } => runs_something(then) || runs_something(otherwise),
    })
}

impl<'a> Parser<'a> {
    /// The next token and where it begins, without taking it.
    fn peek(&self) -> (usize, Token<'a>) {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        let at = self.at + rest.len() - trimmed.len();
        let token = match trimmed.chars().next() {
            None => Token::End,
            Some(';') => Token::Semicolon,
            Some('{') => Token::Open,
            Some('}') => Token::Close,
            Some(_) => {
                let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}');
                Token::Word(&trimmed[..trimmed.find(ends).unwrap_or(trimmed.len())])
            }
        };
        (at, token)
    }

    fn take(&mut self) -> (usize, Token<'a>) {
        let (at, token) = self.peek();
        self.at = at
            + match token {
                Token::Word(word) => word.len(),
                Token::Semicolon | Token::Open | Token::Close => 1,
                Token::End => 0,
            };
        (at, token)
    }

    /// Steps up to a closing brace or the end, neither of which is taken.
    fn steps(&mut self, depth: usize) -> Result<Vec<Step>, InvalidPipeline> {
        let mut steps = Vec::new();
        while let (at, Token::Word(word)) = self.peek() {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(self.fault(at, PipelineProblem::TooManySteps));
            }
            self.take();
            let braced = word == "if";
            steps.push(if braced { self.condition(at, depth)? } else { self.program(at, word)? });
            match self.peek() {
                (_, Token::Semicolon) => drop(self.take()),
                (_, Token::Close | Token::End) => break,
                (_, Token::Word(_)) if braced => {}
                (at, found) => return Err(self.expected(at, "`;`", found)),
            }
        }
        Ok(steps)
    }

    /// What follows the word `if`, which stands at a place.
    fn condition(&mut self, at: usize, depth: usize) -> Result<Step, InvalidPipeline> {
        if depth == DEPTH_MAX {
            return Err(self.fault(at, PipelineProblem::TooDeep));
        }
        let exists = match self.take() {
            (at, Token::Word(word)) => self.path(at, word)?,
            (at, found) => return Err(self.expected(at, "the path that `if` asks for", found)),
        };
        let then = self.block(depth)?;
        let otherwise = match self.peek() {
            (_, Token::Word("else")) => {
                self.take();
                self.block(depth)?
            }
            _ => Vec::new(),
        };
        Ok(Step::If { exists, then, otherwise })
    }

    fn block(&mut self, depth: usize) -> Result<Vec<Step>, InvalidPipeline> {
        match self.take() {
            (_, Token::Open) => {}
            (at, found) => return Err(self.expected(at, "`{`", found)),
        }
        let steps = self.steps(depth + 1)?;
        match self.take() {
            (_, Token::Close) => Ok(steps),
            (at, found) => Err(self.expected(at, "a program, `if` or `}`", found)),
        }
    }

    fn program(&self, at: usize, word: &str) -> Result<Step, InvalidPipeline> {
        if word == "else" {
            return Err(self.expected(at, "a program or `if`", Token::Word(word)));
        }
        let path = self.path(at, word)?;
        if path.is_root() || word.ends_with('/') {
            return Err(self.fault(at, PipelineProblem::Directory(shown(word))));
        }
        Ok(Step::Run(path))
    }

    fn path(&self, at: usize, word: &str) -> Result<GuestPath, InvalidPipeline> {
        GuestPath::parse(word).map_err(|error| self.fault(at, error.into()))
    }

    fn expected(&self, at: usize, expected: &'static str, found: Token<'_>) -> InvalidPipeline {
        let found = match found {
            Token::Word(word) => format!("`{}`", shown(word)),
            Token::Semicolon => "`;`".to_owned(),
            Token::Open => "`{`".to_owned(),
            Token::Close => "`}`".to_owned(),
            Token::End => "the end".to_owned(),
        };
        self.fault(at, PipelineProblem::Expected { expected, found })
    }

    fn fault(&self, at: usize, problem: PipelineProblem) -> InvalidPipeline {
        InvalidPipeline { at: self.text[..at].chars().count() + 1, problem }
    }
}

fn shown(word: &str) -> String {
    word.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect()
}
