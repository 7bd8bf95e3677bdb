//! Building programs, node by node, each checked when it is added.

use std::collections::BTreeSet;

use crate::program::{ELEMENTS_MAX, EVERYBODY, NODE_ELEMENTS_MAX, NODES_MAX, is_name, is_owner};
use crate::{
    FieldName, Id, Kind, Literal, Node, Op, Owner, Program, ProgramError, Receivers, Settings, Shape,
};

/// Most binary places of real numbers: a product has twice as many until it is truncated, and f61 has 60 bits and a sign.
const FRACTION_BITS_MAX: u32 = 24;
/// Binary digits before the point that real numbers of f61 may have beside their places.
const REAL_BITS: u32 = 58;
/// Most people of one result.
const RECEIVERS_MAX: usize = 64;

/// A program that grows.
#[derive(Debug)]
pub struct Builder {
    settings: Settings,
    nodes: Vec<Node>,
    inputs: BTreeSet<String>,
    outputs: BTreeSet<String>,
    elements: usize,
}

impl Builder {
    /// An empty program with these settings.
    ///
    /// # Errors
    /// [`ProgramError::NoReals`] for fraction bits beyond what the field holds.
    pub fn new(settings: Settings) -> Result<Self, ProgramError> {
        if !(1..=FRACTION_BITS_MAX).contains(&settings.fraction_bits) {
            return Err(ProgramError::NoReals);
        }
        let (inputs, outputs) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { settings, nodes: Vec::new(), inputs, outputs, elements: 0 })
    }

    /// A node.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id.index()]
    }

    /// How many nodes there are so far.
    pub fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    /// How it is computed.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The finished program.
    ///
    /// # Errors
    /// [`ProgramError::NothingRevealed`].
    pub fn finish(self) -> Result<Program, ProgramError> {
        if self.outputs.is_empty() {
            return Err(ProgramError::NothingRevealed);
        }
        Ok(Program { settings: self.settings, nodes: self.nodes })
    }

    /// A value from outside.
    ///
    /// # Errors
    /// When the name is none or taken, or the owner is nobody.
    pub fn input(&mut self, name: &str, owner: Owner, shape: Shape, kind: Kind) -> Result<Id, ProgramError> {
        if !is_name(name) {
            return Err(ProgramError::BadName(name.chars().take(80).collect()));
        }
        if !is_owner(owner.name()) || owner.name() == EVERYBODY {
            return Err(ProgramError::BadOwner(owner.name().chars().take(140).collect()));
        }
        if !self.inputs.insert(name.to_owned()) {
            return Err(ProgramError::NameTaken(name.to_owned()));
        }
        self.add(Op::Input { input: name.to_owned(), owner }, shape, kind, true)
    }

    /// Numbers that everybody knows.
    ///
    /// # Errors
    /// When their count is not the shape's, or one does not fit.
    pub fn constant(&mut self, values: Vec<Literal>, shape: Shape, kind: Kind) -> Result<Id, ProgramError> {
        if values.len() != shape.len() {
            return Err(ProgramError::BadShape);
        }
        let most = f64::from(REAL_BITS - self.settings.fraction_bits).exp2();
        for value in &values {
            let too_large = || {
                let text = value.to_string();
                ProgramError::NumberTooLarge(text, REAL_BITS - self.settings.fraction_bits)
            };
            match kind {
                Kind::Real if value.to_f64().abs() >= most => return Err(too_large()),
                Kind::Integer | Kind::Bit if !value.is_integer() => {
                    return Err(ProgramError::WrongKind {
                        operation: "constant",
                        takes: "whole numbers",
                        given: Kind::Real,
                    });
                }
                Kind::Integer | Kind::Bit
                    if self.settings.field == FieldName::F61
                        && value.to_i64().is_none_or(|value| value.unsigned_abs() >= 1 << 60) =>
                {
                    return Err(too_large());
                }
                Kind::Bit if !matches!(value.to_i64(), Some(0 | 1)) => return Err(too_large()),
                _ => {}
            }
        }
        self.add(Op::Constant { values }, shape, kind, false)
    }

    /// One number that everybody knows.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn number(&mut self, value: Literal) -> Result<Id, ProgramError> {
        let kind = if value.is_integer() { Kind::Integer } else { Kind::Real };
        self.constant(vec![value], Shape::SCALAR, kind)
    }

    /// Random numbers that nobody knows.
    ///
    /// # Errors
    /// When the program becomes too large.
    pub fn random(&mut self, shape: Shape) -> Result<Id, ProgramError> {
        self.add(Op::Random, shape, Kind::Integer, true)
    }

    /// A result.
    ///
    /// # Errors
    /// When the name is none or taken, or a receiver is nobody.
    pub fn reveal(&mut self, a: Id, output: &str, to: &[String]) -> Result<Id, ProgramError> {
        let to = if to.iter().any(|name| name == EVERYBODY) {
            Receivers::Everybody
        } else {
            let mut names = to.to_vec();
            names.sort();
            names.dedup();
            Receivers::Clients(names)
        };
        self.push(Op::Reveal { a, output: output.to_owned(), to })
    }

    /// The smaller (or the larger) of two, number by number.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn extreme(&mut self, a: Id, b: Id, smaller: bool) -> Result<Id, ProgramError> {
        let (a, b) = self.unified(a, b)?;
        let bit = self.push(Op::Less { a, b })?;
        let (first, second) = if smaller { (a, b) } else { (b, a) };
        self.push(Op::Select { bit, a: first, b: second })
    }

    /// The same as reals; what is real already stays.
    ///
    /// # Errors
    /// [`ProgramError::NoReals`] in a field without them.
    pub fn to_real(&mut self, a: Id) -> Result<Id, ProgramError> {
        let node = self.node(a).clone();
        match node.op {
            _ if node.kind == Kind::Real => Ok(a),
            Op::Constant { values } => self.constant(values, node.shape, Kind::Real),
            _ => self.add(Op::ToReal { a }, node.shape, Kind::Real, node.secret),
        }
    }

    /// Both of the same kind: reals if one is.
    fn unified(&mut self, a: Id, b: Id) -> Result<(Id, Id), ProgramError> {
        if self.node(a).kind == Kind::Real || self.node(b).kind == Kind::Real {
            Ok((self.to_real(a)?, self.to_real(b)?))
        } else {
            Ok((a, b))
        }
    }

    fn is_known(&self, ids: &[Id]) -> Result<(), ProgramError> {
        match ids.iter().find(|id| id.index() >= self.nodes.len()) {
            Some(id) => Err(ProgramError::UnknownName(format!("node {}", id.0))),
            None => Ok(()),
        }
    }

    /// An operation on what is there. Integers that meet reals become reals first.
    ///
    /// # Errors
    /// When shapes or kinds do not fit, or the program becomes too large.
    ///
    /// # Panics
    /// Never for inputs, constants and random numbers: they are refused, as [`ProgramError::UnknownOperation`]; their own methods make them.
    pub fn push(&mut self, op: Op) -> Result<Id, ProgramError> {
        self.is_known(&op.uses())?;
        match op {
            Op::Input { .. } | Op::Constant { .. } | Op::Random => {
                Err(ProgramError::UnknownOperation("input".to_owned()))
            }
            Op::ToReal { a } => self.to_real(a),
            Op::Add { a, b } => self.combined(a, b, "+", |a, b| Op::Add { a, b }),
            Op::Sub { a, b } => self.combined(a, b, "-", |a, b| Op::Sub { a, b }),
            Op::Mul { a, b } => self.product(a, b),
            Op::Div { a, b } => self.combined(a, b, "/", |a, b| Op::Div { a, b }),
            Op::Neg { a } => self.like(a, Op::Neg { a }, integer_or_real),
            Op::Inverse { a } => {
                self.demand(a, "inverse", "whole numbers", |kind| kind != Kind::Real)?;
                self.like(a, Op::Inverse { a }, integer_or_real)
            }
            Op::Relu { a } => self.like(a, Op::Relu { a }, integer_or_real),
            Op::Exp { a } => {
                let a = self.to_real(a)?;
                self.like(a, Op::Exp { a }, |kind| kind)
            }
            Op::Sigmoid { a } => {
                let a = self.to_real(a)?;
                self.like(a, Op::Sigmoid { a }, |kind| kind)
            }
            Op::Dot { a, b } => self.dot(a, b),
            Op::MatMul { a, b } => self.mat_mul(a, b),
            Op::Transpose { a } => {
                let &[rows, columns] = self.node(a).shape.dimensions() else {
                    return Err(self.misshapen(a, "transpose", "a matrix"));
                };
                self.shaped(a, Op::Transpose { a }, Shape::matrix(columns, rows), |kind| kind)
            }
            Op::Sum { a } => self.shaped(a, Op::Sum { a }, Shape::SCALAR, integer_or_real),
            Op::Less { a, b } => self.compared(a, b, "<", |a, b| Op::Less { a, b }),
            Op::Equal { a, b } => self.compared(a, b, "==", |a, b| Op::Equal { a, b }),
            Op::Select { bit, a, b } => self.select(bit, a, b),
            Op::MinOf { a } => self.of_vector(a, "min", Op::MinOf { a }, Shape::SCALAR),
            Op::MaxOf { a } => self.of_vector(a, "max", Op::MaxOf { a }, Shape::SCALAR),
            Op::Sort { a } => {
                let shape = self.node(a).shape.clone();
                self.of_vector(a, "sort", Op::Sort { a }, shape)
            }
            Op::Polynomial { a, coefficients } => self.polynomial(a, coefficients),
            Op::IntersectionSize { a, b } => {
                for id in [a, b] {
                    self.demand_vector(id, "intersection_size")?;
                    self.demand(id, "intersection_size", "whole numbers", |kind| kind != Kind::Real)?;
                }
                let secret = self.node(a).secret || self.node(b).secret;
                self.add(Op::IntersectionSize { a, b }, Shape::SCALAR, Kind::Integer, secret)
            }
            Op::Slice { a, from, to } => self.slice(a, from, to),
            Op::Index { a, at } => self.index(a, at),
            Op::Concat { parts } => self.concat(parts),
            Op::Reveal { a, output, to } => self.revealed(a, output, to),
        }
    }

    fn add(&mut self, op: Op, shape: Shape, kind: Kind, secret: bool) -> Result<Id, ProgramError> {
        if kind == Kind::Real && self.settings.field != FieldName::F61 {
            return Err(ProgramError::NoReals);
        }
        if shape.len() > NODE_ELEMENTS_MAX {
            return Err(ProgramError::BadShape);
        }
        self.elements += shape.len();
        let id = u32::try_from(self.nodes.len()).map_err(|_| ProgramError::TooLarge)?;
        if self.nodes.len() >= NODES_MAX || self.elements > ELEMENTS_MAX {
            return Err(ProgramError::TooLarge);
        }
        self.nodes.push(Node { op, shape, kind, secret });
        Ok(Id(id))
    }

    fn like(&mut self, a: Id, op: Op, kind: fn(Kind) -> Kind) -> Result<Id, ProgramError> {
        let shape = self.node(a).shape.clone();
        self.shaped(a, op, shape, kind)
    }

    fn shaped(&mut self, a: Id, op: Op, shape: Shape, kind: fn(Kind) -> Kind) -> Result<Id, ProgramError> {
        let (kind, secret) = (kind(self.node(a).kind), self.node(a).secret);
        self.add(op, shape, kind, secret)
    }

    fn joined(&self, a: Id, b: Id, operation: &'static str) -> Result<Shape, ProgramError> {
        let (left, right) = (&self.node(a).shape, &self.node(b).shape);
        left.joined(right).ok_or_else(|| ProgramError::Shapes {
            operation,
            left: left.clone(),
            right: right.clone(),
        })
    }

    fn combined(
        &mut self,
        a: Id,
        b: Id,
        operation: &'static str,
        op: fn(Id, Id) -> Op,
    ) -> Result<Id, ProgramError> {
        let (a, b) = self.unified(a, b)?;
        let shape = self.joined(a, b, operation)?;
        let (kind, secret) = (integer_or_real(self.node(a).kind), self.node(a).secret || self.node(b).secret);
        self.add(op(a, b), shape, kind, secret)
    }

    /// Of a real and an integer comes a real, without truncation.
    fn product(&mut self, a: Id, b: Id) -> Result<Id, ProgramError> {
        let shape = self.joined(a, b, "*")?;
        let (left, right) = (self.node(a), self.node(b));
        let kind = match (left.kind, right.kind) {
            (Kind::Real, _) | (_, Kind::Real) => Kind::Real,
            (Kind::Bit, Kind::Bit) => Kind::Bit,
            _ => Kind::Integer,
        };
        let secret = left.secret || right.secret;
        self.add(Op::Mul { a, b }, shape, kind, secret)
    }

    fn compared(
        &mut self,
        a: Id,
        b: Id,
        operation: &'static str,
        op: fn(Id, Id) -> Op,
    ) -> Result<Id, ProgramError> {
        let (a, b) = self.unified(a, b)?;
        let shape = self.joined(a, b, operation)?;
        let secret = self.node(a).secret || self.node(b).secret;
        self.add(op(a, b), shape, Kind::Bit, secret)
    }

    fn dot(&mut self, a: Id, b: Id) -> Result<Id, ProgramError> {
        let (a, b) = self.unified(a, b)?;
        self.demand_vector(a, "dot")?;
        self.demand_vector(b, "dot")?;
        let (left, right) = (self.node(a), self.node(b));
        if left.shape != right.shape {
            let (left, right) = (left.shape.clone(), right.shape.clone());
            return Err(ProgramError::Shapes { operation: "dot", left, right });
        }
        let (kind, secret) = (integer_or_real(left.kind), left.secret || right.secret);
        self.add(Op::Dot { a, b }, Shape::SCALAR, kind, secret)
    }

    fn mat_mul(&mut self, a: Id, b: Id) -> Result<Id, ProgramError> {
        let (a, b) = self.unified(a, b)?;
        let (left, right) = (self.node(a), self.node(b));
        let shape = match (left.shape.dimensions(), right.shape.dimensions()) {
            (&[rows, inner], &[other, columns]) if inner == other => Shape::matrix(rows, columns),
            (&[rows, inner], &[other]) if inner == other => Shape::vector(rows),
            (&[inner], &[other, columns]) if inner == other => Shape::vector(columns),
            _ => {
                let (left, right) = (left.shape.clone(), right.shape.clone());
                return Err(ProgramError::Shapes { operation: "@", left, right });
            }
        };
        let (kind, secret) = (integer_or_real(left.kind), left.secret || right.secret);
        self.add(Op::MatMul { a, b }, shape, kind, secret)
    }

    fn select(&mut self, bit: Id, a: Id, b: Id) -> Result<Id, ProgramError> {
        self.demand(bit, "select", "a bit first, which is what comparisons come to", |kind| {
            kind == Kind::Bit
        })?;
        let (a, b) = self.unified(a, b)?;
        let both = self.joined(a, b, "select")?;
        let shape = self.node(bit).shape.joined(&both).ok_or_else(|| ProgramError::Shapes {
            operation: "select",
            left: self.node(bit).shape.clone(),
            right: both.clone(),
        })?;
        let secret = [bit, a, b].iter().any(|id| self.node(*id).secret);
        let kind = match (self.node(a).kind, self.node(b).kind) {
            (Kind::Bit, Kind::Bit) => Kind::Bit,
            (kind, _) => integer_or_real(kind),
        };
        self.add(Op::Select { bit, a, b }, shape, kind, secret)
    }

    fn polynomial(&mut self, a: Id, coefficients: Vec<Literal>) -> Result<Id, ProgramError> {
        const COEFFICIENTS_MAX: usize = 256;
        if coefficients.is_empty() || coefficients.len() > COEFFICIENTS_MAX {
            return Err(ProgramError::Operands {
                operation: "polynomial".to_owned(),
                takes: "1 to 256 coefficients",
                given: coefficients.len(),
            });
        }
        let is_real = self.node(a).kind == Kind::Real || coefficients.iter().any(|c| !c.is_integer());
        let a = if is_real { self.to_real(a)? } else { a };
        self.like(a, Op::Polynomial { a, coefficients }, integer_or_real)
    }

    fn slice(&mut self, a: Id, from: usize, to: usize) -> Result<Id, ProgramError> {
        let shape = self.node(a).shape.clone();
        let (len, shaped) = match *shape.dimensions() {
            [len] => (len, Shape::vector(to.saturating_sub(from))),
            [rows, columns] => (rows, Shape::matrix(to.saturating_sub(from), columns)),
            _ => return Err(self.misshapen(a, "[..]", "a vector or a matrix")),
        };
        if from >= to || to > len {
            return Err(ProgramError::Range { from, to, shape });
        }
        self.shaped(a, Op::Slice { a, from, to }, shaped, |kind| kind)
    }

    fn index(&mut self, a: Id, at: usize) -> Result<Id, ProgramError> {
        let shape = self.node(a).shape.clone();
        let (len, shaped) = match *shape.dimensions() {
            [len] => (len, Shape::SCALAR),
            [rows, columns] => (rows, Shape::vector(columns)),
            _ => return Err(self.misshapen(a, "[..]", "a vector or a matrix")),
        };
        if at >= len {
            return Err(ProgramError::Range { from: at, to: at.saturating_add(1), shape });
        }
        self.shaped(a, Op::Index { a, at }, shaped, |kind| kind)
    }

    fn concat(&mut self, parts: Vec<Id>) -> Result<Id, ProgramError> {
        if parts.is_empty() {
            return Err(ProgramError::BadShape);
        }
        let is_real = parts.iter().any(|id| self.node(*id).kind == Kind::Real);
        let mut same = Vec::with_capacity(parts.len());
        for id in parts {
            same.push(if is_real { self.to_real(id)? } else { id });
        }
        let nodes = || same.iter().map(|id| self.node(*id));
        let columns = match *self.node(same[0]).shape.dimensions() {
            [_, columns] => Some(columns),
            _ => None,
        };
        let mut len = 0_usize;
        for node in nodes() {
            len = len.saturating_add(match *node.shape.dimensions() {
                [rows, own] if columns == Some(own) => rows,
                [own] if columns.is_none() => own,
                [] if columns.is_none() => 1,
                _ => {
                    let (left, right) = (self.node(same[0]).shape.clone(), node.shape.clone());
                    return Err(ProgramError::Shapes { operation: "concat", left, right });
                }
            });
        }
        let kind = if nodes().all(|node| node.kind == Kind::Bit) {
            Kind::Bit
        } else {
            integer_or_real(self.node(same[0]).kind)
        };
        let secret = nodes().any(|node| node.secret);
        let dimensions: Vec<usize> = std::iter::once(len).chain(columns).collect();
        let shape = Shape::new(&dimensions, NODE_ELEMENTS_MAX).ok_or(ProgramError::BadShape)?;
        self.add(Op::Concat { parts: same }, shape, kind, secret)
    }

    fn revealed(&mut self, a: Id, output: String, to: Receivers) -> Result<Id, ProgramError> {
        if !is_name(&output) {
            return Err(ProgramError::BadName(output.chars().take(80).collect()));
        }
        if let Receivers::Clients(names) = &to {
            if names.is_empty() || names.len() > RECEIVERS_MAX {
                return Err(ProgramError::Operands {
                    operation: "reveal".to_owned(),
                    takes: "1 to 64 receivers",
                    given: names.len(),
                });
            }
            if let Some(bad) = names.iter().find(|name| !is_owner(name)) {
                return Err(ProgramError::BadOwner(bad.chars().take(140).collect()));
            }
        }
        if !self.outputs.insert(output.clone()) {
            return Err(ProgramError::NameTaken(output));
        }
        let (shape, kind) = (self.node(a).shape.clone(), self.node(a).kind);
        self.add(Op::Reveal { a, output, to }, shape, kind, false)
    }

    fn of_vector(
        &mut self,
        a: Id,
        operation: &'static str,
        op: Op,
        shape: Shape,
    ) -> Result<Id, ProgramError> {
        self.demand_vector(a, operation)?;
        self.shaped(a, op, shape, integer_or_real)
    }

    fn demand_vector(&self, a: Id, operation: &'static str) -> Result<(), ProgramError> {
        match self.node(a).shape.dimensions() {
            [_] => Ok(()),
            _ => Err(self.misshapen(a, operation, "a vector")),
        }
    }

    fn demand(
        &self,
        a: Id,
        operation: &'static str,
        takes: &'static str,
        is_fit: impl Fn(Kind) -> bool,
    ) -> Result<(), ProgramError> {
        let given = self.node(a).kind;
        if is_fit(given) { Ok(()) } else { Err(ProgramError::WrongKind { operation, takes, given }) }
    }

    fn misshapen(&self, a: Id, operation: &'static str, takes: &'static str) -> ProgramError {
        ProgramError::Shape { operation, takes, given: self.node(a).shape.clone() }
    }
}

fn integer_or_real(kind: Kind) -> Kind {
    if kind == Kind::Real { Kind::Real } else { Kind::Integer }
}
