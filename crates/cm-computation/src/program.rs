//! Programs: what is computed, in an order in which it can be.

use serde::{Deserialize, Serialize};

use crate::{Kind, Literal, ProgramError, Shape};

/// Most nodes of a program.
pub const NODES_MAX: usize = 20_000;
/// Most numbers of one value.
pub const NODE_ELEMENTS_MAX: usize = 1 << 24;
/// Most numbers of all values of a program.
pub const ELEMENTS_MAX: usize = 1 << 27;
/// Longest name of a value.
const NAME_LEN_MAX: usize = 64;
/// Longest name of a person or party.
const OWNER_LEN_MAX: usize = 128;
/// What stands for everybody among those who learn a result.
pub const EVERYBODY: &str = "all";

/// A node of a program, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(pub u32);

impl Id {
    /// The place.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which numbers are computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldName {
    /// Modulo 2^61 - 1: fast, and made for comparisons and real numbers.
    #[default]
    F61,
    /// Modulo the order of the curve secp256k1, as the first system.
    Secp256k1,
}

impl FieldName {
    /// The field of this name.
    ///
    /// # Errors
    /// [`ProgramError::Setting`].
    pub fn parse(text: &str) -> Result<Self, ProgramError> {
        match text {
            "f61" => Ok(Self::F61),
            "secp256k1" => Ok(Self::Secp256k1),
            _ => Err(setting("field", text, "f61, secp256k1")),
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            FieldName::F61 => "f61",
            FieldName::Secp256k1 => "secp256k1",
        }
    }
}

/// What a computation withstands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TierName {
    /// Parties that follow the protocol and are curious.
    SemiHonest,
    /// Parties that cheat: no wrong result is opened, but there may be none.
    #[default]
    MaliciousAbort,
    /// Parties that cheat or vanish, less than a third: the right result comes, and cheaters are named.
    Robust,
}

impl TierName {
    /// The tier of this name.
    ///
    /// # Errors
    /// [`ProgramError::Setting`].
    pub fn parse(text: &str) -> Result<Self, ProgramError> {
        match text {
            "semi-honest" => Ok(Self::SemiHonest),
            "malicious-abort" => Ok(Self::MaliciousAbort),
            "robust" => Ok(Self::Robust),
            _ => Err(setting("tier", text, "semi-honest, malicious-abort, robust")),
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            TierName::SemiHonest => "semi-honest",
            TierName::MaliciousAbort => "malicious-abort",
            TierName::Robust => "robust",
        }
    }
}

fn setting(setting: &'static str, value: &str, choices: &'static str) -> ProgramError {
    ProgramError::Setting { setting, value: value.chars().take(40).collect(), choices }
}

/// What a program says of how it is computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The field.
    pub field: FieldName,
    /// What it withstands.
    pub tier: TierName,
    /// How many parties may know everything without learning a value; without it, as many as the tier allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u8>,
    /// Binary places of real numbers; 14 unless told, the most for which functions are approximated.
    pub fraction_bits: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { field: FieldName::F61, tier: TierName::MaliciousAbort, threshold: None, fraction_bits: 14 }
    }
}

/// Who has an input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Somebody who splits it and sends each party its share.
    Client(String),
    /// A party, of its own private variables.
    Party(String),
}

impl Owner {
    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Owner::Client(name) | Owner::Party(name) => name,
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Owner::Client(name) => f.write_str(name),
            Owner::Party(name) => write!(f, "party {name}"),
        }
    }
}

/// Who learns a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receivers {
    /// Everybody: the parties open it among themselves.
    Everybody,
    /// These people: each party seals its share to each of them, and no party learns it.
    Clients(Vec<String>),
}

/// One operation. What it uses stands before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "op")]
pub enum Op {
    /// A value that comes from outside.
    Input {
        /// What it is called.
        input: String,
        /// Whose it is.
        owner: Owner,
    },
    /// Numbers that everybody knows.
    Constant {
        /// The numbers, row by row.
        values: Vec<Literal>,
    },
    /// Random numbers that nobody knows.
    Random,
    /// The same numbers as reals.
    ToReal {
        /// Of what.
        a: Id,
    },
    /// Sum, number by number.
    Add {
        /// The first.
        a: Id,
        /// The second.
        b: Id,
    },
    /// Difference.
    Sub {
        /// From what.
        a: Id,
        /// What is taken away.
        b: Id,
    },
    /// The other sign.
    Neg {
        /// Of what.
        a: Id,
    },
    /// Product, number by number.
    Mul {
        /// The first.
        a: Id,
        /// The second.
        b: Id,
    },
    /// Quotient: of the field for integers, rounded for reals.
    Div {
        /// What is divided.
        a: Id,
        /// By what.
        b: Id,
    },
    /// One divided by it in the field.
    Inverse {
        /// Of what.
        a: Id,
    },
    /// The inner product of two vectors.
    Dot {
        /// The first.
        a: Id,
        /// The second.
        b: Id,
    },
    /// The product of matrices, or of a matrix and a vector.
    MatMul {
        /// The left one.
        a: Id,
        /// The right one.
        b: Id,
    },
    /// Rows as columns.
    Transpose {
        /// Of what.
        a: Id,
    },
    /// The sum of all numbers.
    Sum {
        /// Of what.
        a: Id,
    },
    /// Whether the first is less than the second.
    Less {
        /// The first.
        a: Id,
        /// The second.
        b: Id,
    },
    /// Whether both are equal.
    Equal {
        /// The first.
        a: Id,
        /// The second.
        b: Id,
    },
    /// The first where the bit is 1, the second where it is 0.
    Select {
        /// The bit.
        bit: Id,
        /// Where it is 1.
        a: Id,
        /// Where it is 0.
        b: Id,
    },
    /// The smallest of a vector.
    MinOf {
        /// Of what.
        a: Id,
    },
    /// The largest of a vector.
    MaxOf {
        /// Of what.
        a: Id,
    },
    /// The vector in rising order.
    Sort {
        /// Of what.
        a: Id,
    },
    /// A polynomial at each number, from the constant term upwards.
    Polynomial {
        /// Where.
        a: Id,
        /// The coefficients.
        coefficients: Vec<Literal>,
    },
    /// The exponential function.
    Exp {
        /// Of what.
        a: Id,
    },
    /// The logistic function.
    Sigmoid {
        /// Of what.
        a: Id,
    },
    /// The number where it is positive, 0 elsewhere.
    Relu {
        /// Of what.
        a: Id,
    },
    /// How many numbers two vectors have in common; in each, numbers are different.
    IntersectionSize {
        /// The first.
        a: Id,
        /// The second.
        b: Id,
    },
    /// Some of the numbers: of a vector elements, of a matrix rows.
    Slice {
        /// Of what.
        a: Id,
        /// The first.
        from: usize,
        /// The one after the last.
        to: usize,
    },
    /// One number of a vector, or one row of a matrix.
    Index {
        /// Of what.
        a: Id,
        /// Which, from 0.
        at: usize,
    },
    /// Vectors and numbers one after the other.
    Concat {
        /// What.
        parts: Vec<Id>,
    },
    /// A result.
    Reveal {
        /// What is revealed.
        a: Id,
        /// What the result is called.
        output: String,
        /// Who learns it.
        to: Receivers,
    },
}

impl Op {
    /// What it uses.
    pub fn uses(&self) -> Vec<Id> {
        match self {
            Op::Input { .. } | Op::Constant { .. } | Op::Random => Vec::new(),
            Op::ToReal { a }
            | Op::Neg { a }
            | Op::Inverse { a }
            | Op::Transpose { a }
            | Op::Sum { a }
            | Op::MinOf { a }
            | Op::MaxOf { a }
            | Op::Sort { a }
            | Op::Polynomial { a, .. }
            | Op::Exp { a }
            | Op::Sigmoid { a }
            | Op::Relu { a }
            | Op::Slice { a, .. }
            | Op::Index { a, .. }
            | Op::Reveal { a, .. } => vec![*a],
            Op::Add { a, b }
            | Op::Sub { a, b }
            | Op::Mul { a, b }
            | Op::Div { a, b }
            | Op::Dot { a, b }
            | Op::MatMul { a, b }
            | Op::Less { a, b }
            | Op::Equal { a, b }
            | Op::IntersectionSize { a, b } => vec![*a, *b],
            Op::Select { bit, a, b } => vec![*bit, *a, *b],
            Op::Concat { parts } => parts.clone(),
        }
    }
}

/// An operation with what it comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What is done.
    #[serde(flatten)]
    pub op: Op,
    /// How many numbers come of it.
    pub shape: Shape,
    /// Of which kind.
    pub kind: Kind,
    /// Whether nobody knows them.
    pub secret: bool,
}

/// A result of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Who learns it.
    pub to: &'a Receivers,
    /// The node that reveals it.
    pub node: Id,
}

/// A checked program. Made by the [`Builder`](crate::Builder), and read with [`Program::checked`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub(crate) settings: Settings,
    pub(crate) nodes: Vec<Node>,
}

impl Program {
    /// How it is computed.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The nodes, in an order in which they can be computed.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id.index()]
    }

    /// The inputs: name, owner, node.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &Owner, Id)> {
        self.ids().filter_map(|id| match &self.node(id).op {
            Op::Input { input, owner } => Some((input.as_str(), owner, id)),
            _ => None,
        })
    }

    /// The results.
    pub fn outputs(&self) -> impl Iterator<Item = Output<'_>> {
        self.ids().filter_map(|node| match &self.node(node).op {
            Op::Reveal { output, to, .. } => Some(Output { name: output, to, node }),
            _ => None,
        })
    }

    /// The nodes by place.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..u32::try_from(self.nodes.len()).expect("there are at most NODES_MAX nodes")).map(Id)
    }

    /// The same program after each of its nodes was checked anew: for one that comes from elsewhere.
    ///
    /// # Errors
    /// What is wrong with it; [`ProgramError::Shapes`] and others, as the builder finds them, and
    /// [`ProgramError::UnknownName`] for a node that uses one after it, or claims another shape or kind than follows.
    pub fn checked(self) -> Result<Self, ProgramError> {
        let mut builder = crate::Builder::new(self.settings.clone())?;
        for (at, node) in self.nodes.iter().enumerate() {
            let shape =
                Shape::new(node.shape.dimensions(), NODE_ELEMENTS_MAX).ok_or(ProgramError::BadShape)?;
            let id = match &node.op {
                Op::Input { input, owner } => builder.input(input, owner.clone(), shape, node.kind)?,
                Op::Constant { values } => builder.constant(values.clone(), shape, node.kind)?,
                Op::Random => builder.random(shape)?,
                op => builder.push(op.clone())?,
            };
            if id.index() != at || builder.node(id) != node {
                return Err(ProgramError::UnknownName(format!("node {at}")));
            }
        }
        builder.finish()
    }
}

/// Whether it can be the name of a value.
pub(crate) fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    text.len() <= NAME_LEN_MAX
        && characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether it can be the name of a person or a party.
pub(crate) fn is_owner(text: &str) -> bool {
    (1..=OWNER_LEN_MAX).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:@+".contains(c))
}
