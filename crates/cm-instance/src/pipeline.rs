//! Several programs one after the other: `a.wasm ; if /path { b.wasm } else { c.wasm }`.
//!
//! ```text
//! pipeline  = steps
//! steps     = [ step { ";" step } [ ";" ] ]
//! step      = program | "if" path "{" steps "}" [ "else" "{" steps "}" ]
//! program   = word            path = word
//! word      = one or more characters that are neither white space nor ";", "{", "}"
//! ```
//!
//! Behind a closing brace the semicolon may be missing. `if` asks whether something of that name exists at the
//! moment when the pipeline gets there. There are no loops, so a pipeline ends when its programs do. A program
//! whose name is a keyword is written absolutely: `/if`.
//!
//! [`Pipeline`] is the text, read; [`Pipeline::begin`] gives what has to run, step by step, to whoever can run
//! programs and look for files. Nothing here does.

use serde::{Deserialize, Serialize};

use crate::{GuestPath, InvalidPath};

mod parser;
#[cfg(test)]
mod tests;

/// Longest text of a pipeline, in bytes.
pub const PIPELINE_LEN_MAX: usize = 16 * 1024;
/// Most programs and conditions in a pipeline, those in its branches included.
pub const STEPS_MAX: usize = 256;
/// Most conditions within each other.
pub const DEPTH_MAX: usize = 16;

/// Why a text is no pipeline, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {problem}")]
pub struct InvalidPipeline {
    /// How many characters of the text stand before the mistake, plus one.
    pub at: usize,
    /// What is wrong there.
    pub problem: PipelineProblem,
}

/// What can be wrong with the text of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipelineProblem {
    /// It has more bytes than [`PIPELINE_LEN_MAX`].
    #[error("a pipeline has at most {PIPELINE_LEN_MAX} bytes")]
    TooLong,
    /// It has more steps than [`STEPS_MAX`].
    #[error("a pipeline has at most {STEPS_MAX} programs and conditions")]
    TooManySteps,
    /// Its conditions stand within each other more than [`DEPTH_MAX`] times.
    #[error("conditions stand within each other at most {DEPTH_MAX} times")]
    TooDeep,
    /// Something else was expected.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What could have stood there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// No program runs, whatever exists.
    #[error("the pipeline runs no program")]
    Empty,
    /// A name that no path can be made of.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// A program is needed and the name is that of a directory.
    #[error("`{0}` names a directory, a program is needed")]
    Directory(String),
}

/// One step of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run the program of this name.
    Run(GuestPath),
    /// Go on with one of two lists of steps.
    If {
        /// What has to exist for the first.
        exists: GuestPath,
        /// The steps if it does.
        then: Vec<Step>,
        /// The steps if it does not.
        otherwise: Vec<Step>,
    },
}

/// A pipeline that has been read. The text is kept as written, because a policy's hash is over its text.
///
/// Two pipelines are equal when they have the same steps. What [`Display`](std::fmt::Display) writes is the normal
/// form, which reads back as an equal pipeline.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pipeline {
    text: String,
    steps: Vec<Step>,
}

impl Pipeline {
    /// Reads a pipeline.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidPipeline> {
        let text = text.into();
        let steps = parser::parse(&text)?;
        Ok(Self { text, steps })
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Every program that may run, in the order of the text; repeated as often as it stands there.
    pub fn programs(&self) -> Vec<&GuestPath> {
        let mut found = Vec::new();
        visit(&self.steps, &mut |step| {
            if let Step::Run(program) = step {
                found.push(program);
            }
        });
        found
    }

    /// Every path whose existence decides something, in the order of the text.
    pub fn conditions(&self) -> Vec<&GuestPath> {
        let mut found = Vec::new();
        visit(&self.steps, &mut |step| {
            if let Step::If { exists, .. } = step {
                found.push(exists);
            }
        });
        found
    }

    /// Stands before the first step.
    pub fn begin(&self) -> Evaluation<'_> {
        Evaluation { rest: vec![self.steps.iter()] }
    }
}

fn visit<'a>(steps: &'a [Step], see: &mut impl FnMut(&'a Step)) {
    for step in steps {
        see(step);
        if let Step::If { then, otherwise, .. } = step {
            visit(then, see);
            visit(otherwise, see);
        }
    }
}

/// A place in a pipeline: what has been decided so far, and what is left.
#[derive(Clone, Debug)]
pub struct Evaluation<'a> {
    /// What is left of each list of steps that was entered, the innermost last.
    rest: Vec<std::slice::Iter<'a, Step>>,
}

impl<'a> Evaluation<'a> {
    /// The next program to run; `None` at the end. Asks whether paths exist on the way there, and gives up with the
    /// first error of the one who is asked. Whoever runs the programs stops at the first that fails.
    pub fn next_program<E>(
        &mut self,
        mut exists: impl FnMut(&'a GuestPath) -> Result<bool, E>,
    ) -> Result<Option<&'a GuestPath>, E> {
        while let Some(steps) = self.rest.last_mut() {
            match steps.next() {
                None => drop(self.rest.pop()),
                Some(Step::Run(program)) => return Ok(Some(program)),
                Some(Step::If { exists: path, then, otherwise }) => {
                    self.rest.push(if exists(path)? { then.iter() } else { otherwise.iter() });
                }
            }
        }
        Ok(None)
    }
}

impl std::fmt::Display for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_steps(&self.steps, f)
    }
}

fn write_steps(steps: &[Step], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    for (at, step) in steps.iter().enumerate() {
        if at > 0 {
            f.write_str(" ; ")?;
        }
        match step {
            Step::Run(program) => write!(f, "{program}")?,
            Step::If { exists, then, otherwise } => {
                write!(f, "if {exists} {{ ")?;
                write_steps(then, f)?;
                f.write_str(" }")?;
                if !otherwise.is_empty() {
                    f.write_str(" else { ")?;
                    write_steps(otherwise, f)?;
                    f.write_str(" }")?;
                }
            }
        }
    }
    Ok(())
}

impl PartialEq for Pipeline {
    fn eq(&self, other: &Self) -> bool {
        self.steps == other.steps
    }
}

impl Eq for Pipeline {}

impl std::str::FromStr for Pipeline {
    type Err = InvalidPipeline;

    fn from_str(text: &str) -> Result<Self, InvalidPipeline> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Pipeline {
    type Error = InvalidPipeline;

    fn try_from(text: String) -> Result<Self, InvalidPipeline> {
        Self::parse(text)
    }
}

impl From<Pipeline> for String {
    fn from(pipeline: Pipeline) -> String {
        pipeline.text
    }
}
