//! Jobs as JSON steps.
//!
//! ```json
//! {"name": "add", "steps": [
//!   {"step_id": "a", "operation": "assign", "destination_node": 1, "variable_name": "a", "variable_type": "shard", "value": 10},
//!   {"step_id": "b", "operation": "assign", "destination_node": 1, "variable_name": "b", "variable_type": "shard", "value": 20},
//!   {"step_id": "sum", "operation": "add", "variable_name": "result", "operand1": "a", "operand2": "b"}]}
//! ```
//!
//! Beyond `assign`, every function of the language is an operation, `input` declares a value of somebody, `expr` takes an expression, and
//! `reveal` says who learns what. A job without `reveal` reveals what no other step uses, to its owner.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::language::{Argument, SourceError, SourceErrorKind, apply, parse_expression};
use crate::program::NODE_ELEMENTS_MAX;
use crate::{Builder, FieldName, Id, Kind, Literal, Owner, Program, ProgramError, Settings, Shape, TierName};

/// Most steps of a job.
pub const STEPS_MAX: usize = 10_000;

/// A job. What is absent has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What it is called.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The field: `f61` or `secp256k1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What it withstands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// How many parties may join what they know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u8>,
    /// Binary places of real numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction_bits: Option<u32>,
    /// What is done.
    pub steps: Vec<Step>,
}

/// One step of a job. What else a step has is kept by whoever shows it, and means nothing here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What it is called within the job; without it, its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<String>,
    /// What is done.
    pub operation: String,
    /// The node that has the value, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_node: Option<u32>,
    /// What the result is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable_name: Option<String>,
    /// `shard`, `private` or `public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable_type: Option<String>,
    /// The value of an assignment: a number, a list, or a list of lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The first operand: a name or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operand1: Option<Operand>,
    /// The second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operand2: Option<Operand>,
    /// All operands, where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operands: Option<Vec<Operand>>,
    /// An expression over what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// The dimensions of an input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
    /// `integer`, `real` or `bit`: of which kind an input is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Whose an input is; without it, the job's owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Who learns what is revealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
    /// Steps that must be before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<String>>,
}

/// An operand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Operand {
    /// Known numbers.
    List(Vec<Literal>),
    /// A name, or a number as text.
    Text(String),
    /// A known number.
    Number(Literal),
}

/// The value of an assignment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(Literal),
    /// A vector.
    Vector(Vec<Literal>),
    /// A matrix, row by row.
    Matrix(Vec<Vec<Literal>>),
}

impl Value {
    /// The numbers row by row, and their shape.
    ///
    /// # Errors
    /// [`ProgramError::BadShape`] for rows of different lengths, and for nothing.
    pub fn flat(&self) -> Result<(Vec<Literal>, Shape), ProgramError> {
        let (values, dimensions) = match self {
            Value::Number(number) => (vec![number.clone()], Vec::new()),
            Value::Vector(values) => (values.clone(), vec![values.len()]),
            Value::Matrix(rows) => {
                let columns = rows.first().map_or(0, Vec::len);
                if rows.iter().any(|row| row.len() != columns) {
                    return Err(ProgramError::BadShape);
                }
                (rows.concat(), vec![rows.len(), columns])
            }
        };
        let shape = Shape::new(&dimensions, NODE_ELEMENTS_MAX).ok_or(ProgramError::BadShape)?;
        Ok((values, shape))
    }
}

/// A value that came with its job.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The input that it is for.
    pub input: String,
    /// The numbers, row by row.
    pub values: Vec<Literal>,
    /// Of which kind.
    pub kind: Kind,
    /// The node that has it as a private variable, counted from 1; `None` if it is split by whoever takes the job.
    pub private_to: Option<u32>,
}

/// A job as a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    /// The program.
    pub program: Program,
    /// The values that came with it.
    pub assigned: Vec<Assigned>,
    /// Of each step, in the order of the job, what it comes to; `None` for one that reveals.
    pub steps: Vec<(String, Option<Id>)>,
}

impl Job {
    /// The job as a program. `owner` is who learns what nobody else is named for; `party` names the party of a node's number.
    ///
    /// # Errors
    /// What is wrong with it first.
    pub fn lower(
        &self,
        owner: &str,
        defaults: &Settings,
        party: impl Fn(u32) -> Option<String>,
    ) -> Result<Lowered, ProgramError> {
        if self.steps.len() > STEPS_MAX {
            return Err(ProgramError::TooLarge);
        }
        let settings = Settings {
            field: self.field.as_deref().map_or(Ok(defaults.field), FieldName::parse)?,
            tier: self.tier.as_deref().map_or(Ok(defaults.tier), TierName::parse)?,
            threshold: self.threshold.or(defaults.threshold),
            fraction_bits: self.fraction_bits.unwrap_or(defaults.fraction_bits),
        };
        let ids: Vec<String> = (self.steps.iter().enumerate())
            .map(|(at, step)| step.step_id.clone().unwrap_or_else(|| format!("step_{}", at + 1)))
            .collect();
        let order = self.order(&ids)?;
        let mut lowering = Lowering {
            builder: Builder::new(settings)?,
            scope: BTreeMap::new(),
            assigned: Vec::new(),
            owner,
            party: &party,
        };
        let mut made: Vec<Option<Id>> = vec![None; self.steps.len()];
        let mut reveals = false;
        for at in order {
            let step = &self.steps[at];
            reveals |= step.operation == "reveal";
            made[at] = lowering.step(&ids[at], step)?;
        }
        if !reveals {
            lowering.reveal_ends()?;
        }
        let Lowering { builder, assigned, .. } = lowering;
        let steps = ids.into_iter().zip(made).collect();
        Ok(Lowered { program: builder.finish()?, assigned, steps })
    }

    /// An order in which every step comes after those that it depends on, by name or by operand.
    fn order(&self, ids: &[String]) -> Result<Vec<usize>, ProgramError> {
        let mut by_id = BTreeMap::new();
        let mut by_variable: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, (id, step)) in ids.iter().zip(&self.steps).enumerate() {
            if by_id.insert(id.as_str(), at).is_some() {
                return Err(ProgramError::StepTaken(id.clone()));
            }
            if let Some(name) = step.variable_name.as_deref().filter(|_| step.operation != "reveal") {
                by_variable.entry(name).or_default().push(at);
            }
        }
        let mut waits: Vec<BTreeSet<usize>> = Vec::with_capacity(ids.len());
        for (at, step) in self.steps.iter().enumerate() {
            let mut before = BTreeSet::new();
            for on in step.dependencies.iter().flatten() {
                let found = by_id.get(on.as_str()).ok_or_else(|| ProgramError::UnknownStep {
                    step: ids[at].clone(),
                    on: on.chars().take(80).collect(),
                })?;
                before.insert(*found);
            }
            for name in step.reads() {
                // A variable that is written twice is read as it was last written before.
                let writers = by_variable.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
                let writer = writers.iter().rev().find(|writer| **writer < at).or(writers.first());
                before.extend(writer);
            }
            waits.push(before);
        }
        let mut order = Vec::with_capacity(ids.len());
        let mut is_done = vec![false; ids.len()];
        // The first that can be done is done first, so that the order of the job is kept where it can be.
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); ids.len()];
        let mut open: Vec<usize> = waits.iter().map(BTreeSet::len).collect();
        for (at, before) in waits.iter().enumerate() {
            for earlier in before {
                followers[*earlier].push(at);
            }
        }
        let mut ready: BTreeSet<usize> = (0..ids.len()).filter(|at| open[*at] == 0).collect();
        while let Some(at) = ready.pop_first() {
            is_done[at] = true;
            order.push(at);
            for follower in &followers[at] {
                open[*follower] -= 1;
                if open[*follower] == 0 {
                    ready.insert(*follower);
                }
            }
        }
        if order.len() < ids.len() {
            let stuck = (0..ids.len()).filter(|at| !is_done[*at]).take(10).map(|at| ids[at].clone());
            return Err(ProgramError::Cycle(stuck.collect()));
        }
        Ok(order)
    }
}

impl Step {
    fn operands(&self) -> impl Iterator<Item = &Operand> {
        self.operand1.iter().chain(&self.operand2).chain(self.operands.iter().flatten())
    }

    /// The names that it may read.
    fn reads(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .operands()
            .filter_map(|operand| match operand {
                Operand::Text(text) => Some(text.clone()),
                Operand::List(_) | Operand::Number(_) => None,
            })
            .collect();
        if self.operation == "reveal" {
            names.extend(self.variable_name.clone());
        }
        let words = |text: &str| -> Vec<String> {
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned).collect()
        };
        names.extend(self.expr.as_deref().map(words).unwrap_or_default());
        names
    }
}

struct Lowering<'a> {
    builder: Builder,
    scope: BTreeMap<String, Id>,
    assigned: Vec<Assigned>,
    owner: &'a str,
    party: &'a dyn Fn(u32) -> Option<String>,
}

impl Lowering<'_> {
    fn step(&mut self, id: &str, step: &Step) -> Result<Option<Id>, ProgramError> {
        let missing = |field| ProgramError::MissingField { step: id.to_owned(), field };
        if step.operation == "reveal" {
            let operand = match (&step.operand1, &step.variable_name) {
                (Some(operand), _) => operand.clone(),
                (None, Some(name)) => Operand::Text(name.clone()),
                (None, None) => return Err(missing("operand1")),
            };
            let value = self.operand(&operand)?;
            let name = match (&step.variable_name, &operand) {
                (Some(name), _) | (None, Operand::Text(name)) => name.clone(),
                _ => return Err(missing("variable_name")),
            };
            let to = step.to.clone().unwrap_or_else(|| vec![self.owner.to_owned()]);
            self.builder.reveal(value, &name, &to)?;
            return Ok(None);
        }
        let name = step.variable_name.clone().ok_or_else(|| missing("variable_name"))?;
        if !crate::program::is_name(&name) {
            return Err(ProgramError::BadName(name.chars().take(80).collect()));
        }
        let made = match step.operation.as_str() {
            "assign" => self.assign(id, &name, step)?,
            "input" => {
                let dimensions = step.shape.clone().unwrap_or_default();
                let shape = Shape::new(&dimensions, NODE_ELEMENTS_MAX).ok_or(ProgramError::BadShape)?;
                let owner = Owner::Client(step.owner.clone().unwrap_or_else(|| self.owner.to_owned()));
                self.builder.input(&name, owner, shape, step.kind.unwrap_or(Kind::Integer))?
            }
            "expr" => {
                let text = step.expr.as_deref().ok_or_else(|| missing("expr"))?;
                parse_expression(text, &mut self.builder, &self.scope).map_err(of_expression)?
            }
            operation => {
                let arguments = step
                    .operands()
                    .map(|operand| match operand {
                        Operand::List(values) => Ok(Argument::List(values.clone())),
                        operand => Ok(Argument::Value(self.operand(operand)?)),
                    })
                    .collect::<Result<Vec<_>, ProgramError>>()?;
                apply(&mut self.builder, operation, &arguments)?
            }
        };
        self.scope.insert(name, made);
        Ok(Some(made))
    }

    fn assign(&mut self, id: &str, name: &str, step: &Step) -> Result<Id, ProgramError> {
        let missing = |field| ProgramError::MissingField { step: id.to_owned(), field };
        let Some(value) = &step.value else {
            // An assignment of what is there already gives it another name.
            let operand = step.operand1.clone().ok_or_else(|| missing("value"))?;
            return self.operand(&operand);
        };
        let (values, shape) = value.flat()?;
        let is_whole = values.iter().all(Literal::is_integer);
        let kind = step.kind.unwrap_or(if is_whole { Kind::Integer } else { Kind::Real });
        let private_to = match step.variable_type.as_deref() {
            Some("public") => return self.builder.constant(values, shape, kind),
            Some("private") => Some(step.destination_node.ok_or_else(|| missing("destination_node"))?),
            None | Some("shard") => None,
            Some(other) => {
                return Err(ProgramError::Setting {
                    setting: "variable_type",
                    value: other.chars().take(40).collect(),
                    choices: "shard, private, public",
                });
            }
        };
        let owner = match private_to {
            Some(node) => {
                let party = (self.party)(node).ok_or_else(|| ProgramError::BadOwner(node.to_string()))?;
                Owner::Party(party)
            }
            None => Owner::Client(self.owner.to_owned()),
        };
        let made = self.builder.input(name, owner, shape, kind)?;
        self.assigned.push(Assigned { input: name.to_owned(), values, kind, private_to });
        Ok(made)
    }

    fn operand(&mut self, operand: &Operand) -> Result<Id, ProgramError> {
        match operand {
            Operand::Number(number) => self.builder.number(number.clone()),
            Operand::List(values) => {
                let kind = if values.iter().all(Literal::is_integer) { Kind::Integer } else { Kind::Real };
                let shape = Shape::new(&[values.len()], NODE_ELEMENTS_MAX).ok_or(ProgramError::BadShape)?;
                self.builder.constant(values.clone(), shape, kind)
            }
            Operand::Text(name) => match (self.scope.get(name), name.parse::<Literal>()) {
                (Some(id), _) => Ok(*id),
                (None, Ok(number)) => self.builder.number(number),
                (None, Err(_)) => Err(ProgramError::UnknownName(name.chars().take(80).collect())),
            },
        }
    }

    /// Reveals to the owner what nothing else uses.
    fn reveal_ends(&mut self) -> Result<(), ProgramError> {
        let mut is_used = vec![false; self.builder.nodes_len()];
        for at in 0..self.builder.nodes_len() {
            let id = Id(u32::try_from(at).map_err(|_| ProgramError::TooLarge)?);
            for used in self.builder.node(id).op.uses() {
                is_used[used.index()] = true;
            }
        }
        let ends: Vec<(String, Id)> = (self.scope.iter())
            .filter(|(_, id)| !is_used[id.index()])
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        for (name, id) in ends {
            self.builder.reveal(id, &name, &[self.owner.to_owned()])?;
        }
        Ok(())
    }
}

/// What is wrong with an expression within a step; its place within so short a text says little.
fn of_expression(error: SourceError) -> ProgramError {
    match error.kind {
        SourceErrorKind::Program(error) => error,
        _ => ProgramError::Setting {
            setting: "expression",
            value: error.to_string().chars().take(160).collect(),
            choices: "those of the job language",
        },
    }
}

#[cfg(test)]
mod tests;
