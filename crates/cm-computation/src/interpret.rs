//! A program, carried out by one party.
//!
//! All parties run the same program over their own shares. A layer's batches become one call each on everything in them, so that it
//! takes as many rounds as its longest operation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cm_shares::{Field, MpcError, Party, Session, Shared, Tier};

use crate::number::{of_fraction, to_element};
use crate::schedule::extra_bits;
use crate::{Id, Kind, Literal, Op, Owner, Program, Receivers, schedule};

/// How far a party is: layers that are done. Cheap to read at any time.
#[derive(Clone, Debug, Default)]
pub struct Advance(Arc<AtomicU32>);

impl Advance {
    /// Layers that are done.
    pub fn layers(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a party has of the inputs before it starts.
#[derive(Debug)]
pub struct Given<F> {
    /// Its number.
    pub me: Party,
    /// The parties' names, by number.
    pub parties: Vec<String>,
    /// Its shares of what clients split, by input.
    pub shares: BTreeMap<String, Vec<F>>,
    /// The values of its own private variables, by input.
    pub private: BTreeMap<String, Vec<F>>,
}

/// What a party has of a result in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released<F> {
    /// Everybody learned it.
    Open(Vec<F>),
    /// Its own share, which goes to the receivers.
    Share(Vec<F>),
}

/// Carries the program out; what comes back are the results in the program's order.
///
/// # Errors
/// What ends a run; see [`MpcError`].
pub async fn interpret<F: Field>(
    mut session: Session,
    program: Arc<Program>,
    given: Given<F>,
    advance: Advance,
) -> Result<Vec<(Id, Released<F>)>, MpcError> {
    carry_out(&mut session, &program, &given, &advance).await
}

/// The same in a run that goes on afterwards.
///
/// # Errors
/// What ends a run; see [`MpcError`].
pub async fn carry_out<F: Field>(
    session: &mut Session,
    program: &Program,
    given: &Given<F>,
    advance: &Advance,
) -> Result<Vec<(Id, Released<F>)>, MpcError> {
    let mut uses_left = vec![0_u32; program.nodes().len()];
    for node in program.nodes() {
        for used in node.op.uses() {
            uses_left[used.index()] += 1;
        }
    }
    let mut state =
        State { program, values: vec![None; program.nodes().len()], uses_left, released: Vec::new() };
    for layer in schedule(program) {
        for batch in &layer.batches {
            state.together(session, given, &batch.nodes).await?;
        }
        for id in &layer.local {
            let value = state.alone(*id)?;
            state.keep(*id, value);
        }
        advance.0.fetch_add(1, Ordering::Relaxed);
    }
    state.released.sort_by_key(|(id, _)| *id);
    Ok(state.released)
}

/// A value, as far as a party knows it.
#[derive(Clone, Debug)]
enum Value<F> {
    Shared(Shared<F>),
    Known(Arc<Vec<F>>),
}

struct State<'a, F> {
    program: &'a Program,
    values: Vec<Option<Value<F>>>,
    uses_left: Vec<u32>,
    released: Vec<(Id, Released<F>)>,
}

impl<F: Field> State<'_, F> {
    fn fraction_bits(&self) -> u32 {
        self.program.settings().fraction_bits
    }

    fn len(&self, id: Id) -> usize {
        self.program.node(id).shape.len()
    }

    fn is_real(&self, id: Id) -> bool {
        self.program.node(id).kind == Kind::Real
    }

    fn value(&self, id: Id) -> &Value<F> {
        self.values[id.index()].as_ref().expect("operands are computed before, and kept until their last use")
    }

    /// Keeps a value, and lets go what was used for the last time.
    fn keep(&mut self, id: Id, value: Value<F>) {
        for used in self.program.node(id).op.uses() {
            let left = &mut self.uses_left[used.index()];
            *left -= 1;
            if *left == 0 {
                self.values[used.index()] = None;
            }
        }
        if self.uses_left[id.index()] > 0 {
            self.values[id.index()] = Some(value);
        }
    }

    /// As shares, repeated if it is one number and more are needed.
    fn shared(&self, id: Id, len: usize) -> Shared<F> {
        let shared = match self.value(id) {
            Value::Shared(shared) => shared.clone(),
            Value::Known(values) => Shared::public(values),
        };
        if shared.len() == 1 && len > 1 { shared.repeat(len) } else { shared }
    }

    fn known(&self, id: Id, len: usize) -> Option<Vec<F>> {
        match self.value(id) {
            Value::Known(values) if values.len() == 1 && len > 1 => Some(vec![values[0]; len]),
            Value::Known(values) => Some(values.to_vec()),
            Value::Shared(_) => None,
        }
    }

    /// Operands of all nodes of a batch, one after the other.
    fn joined(&self, ids: &[Id], operand: fn(&Op) -> Id) -> Shared<F> {
        let parts: Vec<_> =
            ids.iter().map(|id| self.shared(operand(&self.program.node(*id).op), self.len(*id))).collect();
        Shared::concat(&parts)
    }

    /// What came of a batch, to each of its nodes.
    fn spread(&mut self, ids: &[Id], results: &Shared<F>) {
        let mut from = 0;
        for id in ids {
            let to = from + self.len(*id);
            self.keep(*id, Value::Shared(results.slice(from..to)));
            from = to;
        }
    }

    /// What a party does alone.
    fn alone(&self, id: Id) -> Result<Value<F>, MpcError> {
        let node = self.program.node(id);
        let len = node.shape.len();
        let zip = |a: &[F], b: &[F], with: fn(F, F) -> F| -> Arc<Vec<F>> {
            Arc::new(a.iter().zip(b).map(|(a, b)| with(*a, *b)).collect())
        };
        Ok(match &node.op {
            Op::Constant { values } => Value::Known(Arc::new(self.elements(values, node.kind)?)),
            Op::ToReal { a } => {
                let factor = F::from_u64(1 << self.fraction_bits());
                match self.value(*a) {
                    Value::Shared(shared) => Value::Shared(shared.scale(factor)),
                    Value::Known(values) => {
                        Value::Known(Arc::new(values.iter().map(|v| *v * factor).collect()))
                    }
                }
            }
            Op::Add { a, b } => match (self.known(*a, len), self.known(*b, len)) {
                (Some(a), Some(b)) => Value::Known(zip(&a, &b, |a, b| a + b)),
                (Some(known), None) => Value::Shared(self.shared(*b, len).add_public(&known)),
                (None, Some(known)) => Value::Shared(self.shared(*a, len).add_public(&known)),
                (None, None) => Value::Shared(self.shared(*a, len).add(&self.shared(*b, len))),
            },
            Op::Sub { a, b } => match (self.known(*a, len), self.known(*b, len)) {
                (Some(a), Some(b)) => Value::Known(zip(&a, &b, |a, b| a - b)),
                (Some(known), None) => Value::Shared(self.shared(*b, len).neg().add_public(&known)),
                (None, Some(known)) => {
                    let negative: Vec<F> = known.iter().map(|value| -*value).collect();
                    Value::Shared(self.shared(*a, len).add_public(&negative))
                }
                (None, None) => Value::Shared(self.shared(*a, len).sub(&self.shared(*b, len))),
            },
            Op::Neg { a } => match self.value(*a) {
                Value::Shared(shared) => Value::Shared(shared.neg()),
                Value::Known(values) => Value::Known(Arc::new(values.iter().map(|value| -*value).collect())),
            },
            Op::Mul { a, b } => {
                let both_real = self.is_real(*a) && self.is_real(*b);
                match (self.known(*a, len), self.known(*b, len)) {
                    (Some(a), Some(b)) => {
                        let products = zip(&a, &b, |a, b| a * b);
                        Value::Known(if both_real { Arc::new(self.rounded(&products)?) } else { products })
                    }
                    (Some(known), None) => Value::Shared(self.shared(*b, len).scale_by(&known)),
                    (None, Some(known)) => Value::Shared(self.shared(*a, len).scale_by(&known)),
                    (None, None) => unreachable!("products of two secrets take messages"),
                }
            }
            Op::Dot { a, b } | Op::MatMul { a, b } => {
                let products = self.product_known(*a, *b);
                match (products, self.is_real(*a) && self.is_real(*b)) {
                    (Value::Known(values), true) => Value::Known(Arc::new(self.rounded(&values)?)),
                    (products, _) => products,
                }
            }
            Op::Sum { a } => match self.value(*a) {
                Value::Shared(shared) => Value::Shared(shared.sum()),
                Value::Known(values) => {
                    Value::Known(Arc::new(vec![values.iter().fold(F::ZERO, |sum, value| sum + *value)]))
                }
            },
            Op::Transpose { a } => {
                let [rows, columns] = *self.program.node(*a).shape.dimensions() else {
                    unreachable!("the builder transposes matrices only")
                };
                self.gathered(*a, &|at| (at % rows) * columns + at / rows, len)
            }
            Op::Slice { a, from, .. } => {
                let width = self.width(*a);
                self.gathered(*a, &|at| from * width + at, len)
            }
            Op::Index { a, at: index } => {
                let width = self.width(*a);
                self.gathered(*a, &|at| index * width + at, len)
            }
            Op::Concat { parts } => {
                if parts.iter().all(|part| matches!(self.value(*part), Value::Known(_))) {
                    let all: Vec<F> =
                        parts.iter().filter_map(|part| self.known(*part, 1)).flatten().collect();
                    Value::Known(Arc::new(all))
                } else {
                    let parts: Vec<_> = parts.iter().map(|part| self.shared(*part, 1)).collect();
                    Value::Shared(Shared::concat(&parts))
                }
            }
            _ => unreachable!("the schedule has every other operation take messages"),
        })
    }

    /// Numbers of one row of a matrix; 1 for a vector.
    fn width(&self, id: Id) -> usize {
        match *self.program.node(id).shape.dimensions() {
            [_, columns] => columns,
            _ => 1,
        }
    }

    fn gathered(&self, id: Id, place: &dyn Fn(usize) -> usize, len: usize) -> Value<F> {
        match self.value(id) {
            Value::Shared(shared) => Value::Shared(shared.gather((0..len).map(place))),
            Value::Known(values) => Value::Known(Arc::new((0..len).map(|at| values[place(at)]).collect())),
        }
    }

    fn elements(&self, values: &[Literal], kind: Kind) -> Result<Vec<F>, MpcError> {
        let element = |value| to_element(value, kind, self.fraction_bits());
        let elements: Option<Vec<F>> = values.iter().map(element).collect();
        elements.ok_or(MpcError::Parameter("a number does not fit into the field"))
    }

    /// Known products of reals, with as many binary places as reals have.
    fn rounded(&self, products: &[F]) -> Result<Vec<F>, MpcError> {
        let rounded = |value: &F| value.to_i64().map(|value| F::from_i64(value >> self.fraction_bits()));
        let all: Option<Vec<F>> = products.iter().map(rounded).collect();
        all.ok_or(MpcError::Parameter("a known number does not fit into the field"))
    }

    /// Rows, inner length and columns of a product of vectors or matrices.
    fn dimensions(&self, a: Id, b: Id) -> (usize, usize, usize) {
        let (left, right) = (&self.program.node(a).shape, &self.program.node(b).shape);
        match (left.dimensions(), right.dimensions()) {
            (&[rows, inner], &[_, columns]) => (rows, inner, columns),
            (&[rows, inner], _) => (rows, inner, 1),
            (_, &[inner, columns]) => (1, inner, columns),
            _ => (1, left.len(), 1),
        }
    }

    /// A product at least one side of which is known: linear, hence alone.
    fn product_known(&self, a: Id, b: Id) -> Value<F> {
        let (rows, inner, columns) = self.dimensions(a, b);
        let slice = |id: Id| match self.value(id) {
            Value::Shared(shared) => shared.as_slice().to_vec(),
            Value::Known(values) => values.to_vec(),
        };
        let (left, right) = (slice(a), slice(b));
        let mut products = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                let mut sum = F::ZERO;
                for at in 0..inner {
                    sum += left[row * inner + at] * right[at * columns + column];
                }
                products.push(sum);
            }
        }
        let is_known = [a, b].iter().all(|id| matches!(self.value(*id), Value::Known(_)));
        if is_known { Value::Known(Arc::new(products)) } else { Value::Shared(Shared::from_shares(products)) }
    }

    /// What takes messages: all nodes of a batch at once.
    async fn together(
        &mut self,
        session: &mut Session,
        given: &Given<F>,
        ids: &[Id],
    ) -> Result<(), MpcError> {
        let bits = self.fraction_bits() as usize;
        let first = ids[0];
        let node = self.program.node(first);
        let results = match &node.op {
            Op::Input { .. } => return self.inputs(session, given, ids).await,
            Op::Reveal { .. } => return self.reveal(session, ids).await,
            Op::Random => session.random::<F>(ids.iter().map(|id| self.len(*id)).sum()).await?,
            Op::Mul { a, b } => {
                if self.program.node(*a).secret && self.program.node(*b).secret {
                    let is_real = self.is_real(*a) && self.is_real(*b);
                    let (left, right) = (self.joined(ids, left), self.joined(ids, right));
                    if is_real {
                        session.mul_fixed(&left, &right, bits).await?
                    } else {
                        session.mul(&left, &right).await?
                    }
                } else {
                    let extra = extra_bits(self.program, first);
                    let scaled =
                        ids.iter().map(|id| self.scaled(*id, extra)).collect::<Result<Vec<_>, _>>()?;
                    session.truncate(&Shared::concat(&scaled), bits + extra as usize).await?
                }
            }
            Op::Dot { a, b } | Op::MatMul { a, b } => {
                let (rows, inner, columns) = self.dimensions(*a, *b);
                let is_real = self.is_real(*a) && self.is_real(*b);
                if self.program.node(*a).secret && self.program.node(*b).secret {
                    let (left, right) = (self.shared(*a, 1), self.shared(*b, 1));
                    if is_real {
                        session.matmul_fixed(&left, &right, [rows, inner, columns], bits).await?
                    } else {
                        session.matmul(&left, &right, rows, inner, columns).await?
                    }
                } else {
                    let Value::Shared(products) = self.product_known(*a, *b) else {
                        unreachable!("one side is secret")
                    };
                    session.truncate(&products, bits).await?
                }
            }
            Op::Div { a, .. } => {
                let is_real = self.is_real(*a);
                let (left, right) = (self.joined(ids, left), self.joined(ids, right));
                if is_real {
                    session.div_fixed(&left, &right, bits).await?
                } else {
                    session.div(&left, &right).await?
                }
            }
            Op::Inverse { .. } => session.inverse(&self.joined(ids, left)).await?,
            Op::Less { .. } => session.lt(&self.joined(ids, left), &self.joined(ids, right)).await?,
            Op::Equal { .. } => session.eq(&self.joined(ids, left), &self.joined(ids, right)).await?,
            Op::Select { .. } => {
                let condition = self.joined(ids, |op| match op {
                    Op::Select { bit, .. } => *bit,
                    _ => unreachable!("batches are of one operation"),
                });
                session.select(&condition, &self.joined(ids, left), &self.joined(ids, right)).await?
            }
            Op::MinOf { a } => session.min_of(&self.shared(*a, 1)).await?,
            Op::MaxOf { a } => session.max_of(&self.shared(*a, 1)).await?,
            Op::Sort { a } => session.sort(&self.shared(*a, 1)).await?,
            Op::Exp { .. } => session.exp(&self.joined(ids, left), bits).await?,
            Op::Sigmoid { .. } => session.sigmoid(&self.joined(ids, left), bits).await?,
            Op::Relu { .. } => session.relu(&self.joined(ids, left)).await?,
            Op::IntersectionSize { a, b } => {
                session.intersection_size(&self.shared(*a, 1), &self.shared(*b, 1)).await?
            }
            Op::Polynomial { a, coefficients } => self.polynomial(session, *a, coefficients).await?,
            _ => unreachable!("the schedule has every other operation done alone"),
        };
        self.spread(ids, &results);
        Ok(())
    }

    /// A secret times a known real, with the places of both.
    fn scaled(&self, id: Id, extra: u32) -> Result<Shared<F>, MpcError> {
        let Op::Mul { a, b } = self.program.node(id).op else { unreachable!("batches are of one operation") };
        let len = self.len(id);
        let (secret, known) = if self.program.node(a).secret { (a, b) } else { (b, a) };
        let shared = self.shared(secret, len);
        if extra > 0
            && let Op::Constant { values } = &self.program.node(known).op
        {
            let factor = to_element(&values[0], Kind::Real, self.fraction_bits() + extra);
            let factor = factor.ok_or(MpcError::Parameter("a number does not fit into the field"))?;
            return Ok(shared.scale(factor));
        }
        let factors = self.known(known, len).ok_or(MpcError::Parameter("one factor must be known"))?;
        Ok(shared.scale_by(&factors))
    }

    /// By Horner's rule for reals, each step truncated; for integers by the powers of the protocol.
    async fn polynomial(
        &self,
        session: &mut Session,
        a: Id,
        coefficients: &[Literal],
    ) -> Result<Shared<F>, MpcError> {
        let x = self.shared(a, 1);
        let kind = if self.is_real(a) { Kind::Real } else { Kind::Integer };
        let known = self.elements(coefficients, kind)?;
        if kind == Kind::Integer {
            return session.polynomial(&x, &known).await;
        }
        let mut sum = Shared::constant(*known.last().expect("there is at least one"), x.len());
        for coefficient in known.iter().rev().skip(1) {
            sum =
                session.mul_fixed(&sum, &x, self.fraction_bits() as usize).await?.add_constant(*coefficient);
        }
        Ok(sum)
    }

    async fn inputs(&mut self, session: &mut Session, given: &Given<F>, ids: &[Id]) -> Result<(), MpcError> {
        let mut bits = Vec::new();
        for id in ids {
            let Op::Input { input, owner } = &self.program.node(*id).op else {
                unreachable!("batches are of one operation")
            };
            let len = self.len(*id);
            let shared = match owner {
                Owner::Client(_) => {
                    let shares = given.shares.get(input).cloned();
                    let shares = shares.ok_or(MpcError::MissingInput { party: given.me })?;
                    session.accept(shares).await?
                }
                Owner::Party(name) => {
                    let from = given.parties.iter().position(|party| party == name);
                    let from = from.and_then(|from| u8::try_from(from).ok()).map(Party);
                    let from = from.ok_or(MpcError::Parameter("the owner of an input is no party"))?;
                    session.input(from, len, given.private.get(input).map(Vec::as_slice)).await?
                }
            };
            if shared.len() != len {
                return Err(MpcError::Lengths { expected: len, got: shared.len() });
            }
            if self.program.node(*id).kind == Kind::Bit {
                bits.push(shared.clone());
            }
            self.keep(*id, Value::Shared(shared));
        }
        if bits.is_empty() || session.terms().tier() == Tier::SemiHonest {
            return Ok(());
        }
        // Everything that takes bits is wrong for other numbers, and may tell of them what it should not: b² - b is zero for bits alone.
        let bits = Shared::concat(&bits);
        let off = session.mul(&bits, &bits).await?.sub(&bits);
        if session.open(&off).await?.iter().any(|off| *off != F::ZERO) {
            return Err(MpcError::InconsistentInput);
        }
        Ok(())
    }

    /// All results at once: what everybody learns in one opening, everything else as shares.
    async fn reveal(&mut self, session: &mut Session, ids: &[Id]) -> Result<(), MpcError> {
        let (mut open, mut kept) = (Vec::new(), Vec::new());
        for id in ids {
            let Op::Reveal { a, to, .. } = &self.program.node(*id).op else {
                unreachable!("batches are of one operation")
            };
            let shared = self.shared(*a, 1);
            match to {
                Receivers::Everybody => open.push((*id, shared)),
                Receivers::Clients(_) => kept.push((*id, shared)),
            }
        }
        let all = |parts: &[(Id, Shared<F>)]| Shared::concat(parts.iter().map(|(_, shared)| shared));
        if !kept.is_empty() {
            let mut shares = session.release(&all(&kept)).await?.into_iter();
            for (id, shared) in &kept {
                let own = shares.by_ref().take(shared.len()).collect();
                self.released.push((*id, Released::Share(own)));
            }
        }
        if !open.is_empty() {
            let mut values = session.open(&all(&open)).await?.into_iter();
            for (id, shared) in &open {
                let own = values.by_ref().take(shared.len()).collect();
                self.released.push((*id, Released::Open(own)));
            }
        }
        Ok(())
    }
}

/// The first operand.
fn left(op: &Op) -> Id {
    match op {
        Op::Select { a, .. } => *a,
        op => op.uses()[0],
    }
}

/// The second operand.
fn right(op: &Op) -> Id {
    match op {
        Op::Select { b, .. } => *b,
        op => op.uses()[1],
    }
}

/// Values as numbers, as their kind has them.
pub fn literals<F: Field>(values: &[F], kind: Kind, fraction_bits: u32) -> Vec<Literal> {
    values.iter().map(|value| of_fraction(*value, kind, fraction_bits)).collect()
}

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;
