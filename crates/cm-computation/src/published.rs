//! Jobs in the form that the published client of the first system writes, lowered to JSON steps.
//!
//! There a step is what one node does: a variable that is split has a step for each node, and a product of two split variables is some
//! seventy steps of Beaver's. Here all steps of one variable that say the same count once, and whatever stands for an intermediate value
//! is computed on shares, so that a job that spells Beaver's products out comes to the same number without opening anything.
//!
//! A value comes as ciphertexts of its shares, one for each node, which carry the number that they were masked with beside them
//! (`shared_secret`): whoever holds such a job can read it. That is accepted here, and never written. A ciphertext without that number
//! is opened if it was made for this node's own key.

use std::collections::BTreeMap;

use cm_shares::{Field as _, Scalar};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::number::of_fraction;
use crate::steps::{Operand, STEPS_MAX, Value};
use crate::{FieldName, Job, Kind, Literal, steps};

/// Most nodes that a variable may be split among.
const SHARES_MAX: usize = 16;
/// Longest parameters of a step, in bytes.
const PARAMETERS_LEN_MAX: usize = 16 << 10;

const OTHER_VALUE: &str = "output_value: the variable is defined with another value, too";

/// A job as the published client sends it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PublishedJob {
    /// What it is called.
    pub name: String,
    /// What is done, by whom.
    #[serde(default)]
    pub steps: Vec<PublishedStep>,
    /// When it is not wanted any more, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<i64>,
    /// When it was made, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<i64>,
    /// What it is called by its client; nothing here depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_id: Option<String>,
    /// Not looked at: what counts is the credential that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// A step of such a job: what one node does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PublishedStep {
    /// `init_variable`, `create_private_random_variable`, `assign_variable`, `add`, `multiply` or `apply_affine_transform`.
    pub step_type: String,
    /// What its result is called.
    pub variable_name: String,
    /// `shard` or `private_variable`.
    pub variable_type: String,
    /// JSON text: the names of operands, and coefficients.
    #[serde(default)]
    pub parameters: Option<String>,
    /// Who does it.
    pub assigned_node_public_key: String,
    /// Who is given the result.
    pub dest_node_public_key: String,
    /// The value of `init_variable`, encrypted.
    #[serde(default)]
    pub output_value: Option<String>,
    /// What it is called by its client.
    #[serde(default)]
    pub hash_id: Option<String>,
    /// What its job is called by its client.
    #[serde(default)]
    pub job_hash_id: Option<String>,
}

/// Why a published job cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {problem}")]
pub struct PublishedError {
    /// Which step, counted from 1.
    pub step: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A published job as steps, and what its variables are called there.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// The job, over the order of secp256k1.
    pub job: Job,
    /// The names of variables as the client wrote them, by their names in the job.
    pub names: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    variable_a: Option<String>,
    variable_b: Option<String>,
    coef_1: Option<Box<RawValue>>,
    coef_2: Option<Box<RawValue>>,
    source_variable_name: Option<String>,
    x: Option<String>,
    coef: Option<String>,
    intercept: Option<String>,
}

#[derive(Deserialize)]
struct Ciphertext {
    encrypted_value: Box<RawValue>,
    #[serde(default)]
    ephemeral_public_key: Option<String>,
    #[serde(default)]
    shared_secret: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Point {
    x: String,
    y: String,
}

/// A split value: where its first share stands, and the points.
struct Split {
    at: usize,
    points: Vec<(Scalar, Scalar)>,
}

/// Opens what was masked for this node: from the ephemeral key of a ciphertext to the x coordinate of the shared point, big-endian.
pub type Unmask<'a> = dyn Fn(&str) -> Option<[u8; 32]> + 'a;

impl PublishedJob {
    /// The job as steps. A split value must have a share for each of `parties` nodes.
    ///
    /// # Errors
    /// With the first step that cannot be carried out.
    pub fn translate(&self, parties: usize, unmask: &Unmask<'_>) -> Result<Translated, PublishedError> {
        if self.steps.len() > STEPS_MAX {
            return Err(PublishedError { step: STEPS_MAX + 1, problem: "a job has at most 10000 steps" });
        }
        let mut translating = Translating::of(self);
        let mut split: BTreeMap<&str, Split> = BTreeMap::new();
        let mut whole: BTreeMap<&str, Scalar> = BTreeMap::new();
        // What a variable was defined by: its kind of step and its parameters.
        let mut defined: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            let wrong = |problem| PublishedError { step: at + 1, problem };
            let is_split = match step.variable_type.as_str() {
                "shard" => true,
                "private_variable" => false,
                "vector_shard" | "vector_private_variable" => {
                    return Err(wrong(
                        "vectors cannot be written in this form; send a job with lists to `/execute_job`",
                    ));
                }
                _ => return Err(wrong("variable_type: shard or private_variable")),
            };
            let parameters = step.parameters.as_deref().unwrap_or_default();
            if parameters.len() > PARAMETERS_LEN_MAX {
                return Err(wrong("parameters: longer than 16384 bytes"));
            }
            let read: Parameters = match parameters {
                "" => Parameters::default(),
                text => {
                    serde_json::from_str(text).map_err(|_| wrong("parameters: no JSON object of names"))?
                }
            };
            let name = step.variable_name.as_str();
            if step.step_type == "assign_variable" && read.source_variable_name.as_deref() == Some(name) {
                // The same value in another form, which makes no difference here.
                continue;
            }
            let definition = (step.step_type.as_str(), parameters);
            let is_first = match defined.insert(name, definition) {
                Some(earlier) if earlier != definition => {
                    return Err(wrong("variable_name: the variable is defined by another step, too"));
                }
                earlier => earlier.is_none(),
            };
            if step.step_type == "init_variable" {
                let sealed = step.output_value.as_deref();
                let sealed = sealed.ok_or_else(|| wrong("output_value: the value is missing"))?;
                if is_split {
                    let point: Point = serde_json::from_str(sealed)
                        .map_err(|_| wrong("output_value: no point of a share"))?;
                    let open = |text: &str| opened(text, unmask).map_err(wrong);
                    let point = (open(&point.x)?, open(&point.y)?);
                    split.entry(name).or_insert_with(|| Split { at, points: Vec::new() }).points.push(point);
                } else {
                    let value = opened(sealed, unmask).map_err(wrong)?;
                    if *whole.entry(name).or_insert(value) != value {
                        return Err(wrong(OTHER_VALUE));
                    }
                }
                continue;
            }
            if is_first {
                translating.operation(name, &step.step_type, &read).map_err(wrong)?;
            }
        }
        for (name, Split { at, points }) in split {
            let wrong = |problem| PublishedError { step: at + 1, problem };
            let value = joined(&points, parties).map_err(wrong)?;
            if *whole.entry(name).or_insert(value) != value {
                return Err(wrong(OTHER_VALUE));
            }
        }
        for (name, value) in whole {
            translating.value(name, value);
        }
        let job = Job {
            name: self.name.clone(),
            field: Some(FieldName::Secp256k1.as_str().to_owned()),
            steps: translating.steps,
            ..Job::default()
        };
        Ok(Translated { job, names: translating.names })
    }

    /// The same without values, for keeping.
    #[must_use]
    pub fn without_values(mut self) -> Self {
        for step in &mut self.steps {
            step.output_value = None;
        }
        self
    }

    /// What variables are called in the job that this one is translated to, by their names here.
    pub fn own_names(&self) -> BTreeMap<String, String> {
        Translating::of(self).own
    }
}

struct Translating {
    own: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    steps: Vec<steps::Step>,
}

impl Translating {
    /// Variables are numbered as their steps come, so that a job without values has the same names.
    fn of(job: &PublishedJob) -> Self {
        let mut translating = Self { own: BTreeMap::new(), names: BTreeMap::new(), steps: Vec::new() };
        for step in &job.steps {
            translating.own(&step.variable_name);
        }
        translating
    }

    /// What a variable is called here: names of the first system are expressions.
    fn own(&mut self, name: &str) -> String {
        if let Some(own) = self.own.get(name) {
            return own.clone();
        }
        let own = format!("v{}", self.own.len() + 1);
        self.own.insert(name.to_owned(), own.clone());
        self.names.insert(own.clone(), name.to_owned());
        own
    }

    fn value(&mut self, name: &str, value: Scalar) {
        let step = steps::Step {
            operation: "assign".to_owned(),
            variable_name: Some(self.own(name)),
            value: Some(Value::Number(of_fraction(value, Kind::Integer, 0))),
            ..steps::Step::default()
        };
        self.steps.push(step);
    }

    fn operation(&mut self, name: &str, kind: &str, read: &Parameters) -> Result<(), &'static str> {
        let variable_name = Some(self.own(name));
        let mut operand = |given: &Option<String>| match given {
            Some(given) => Ok(self.own(given)),
            None => Err("parameters: the name of an operand is missing"),
        };
        let mut step = steps::Step { variable_name, ..steps::Step::default() };
        match kind {
            "create_private_random_variable" => step.expr = Some("random(1)[0]".to_owned()),
            "assign_variable" => {
                step.operation = "assign".to_owned();
                step.operand1 = Some(Operand::Text(operand(&read.source_variable_name)?));
            }
            "add" => {
                let (a, b) = (operand(&read.variable_a)?, operand(&read.variable_b)?);
                let (first, second) =
                    (coefficient(read.coef_1.as_deref())?, coefficient(read.coef_2.as_deref())?);
                step.expr = Some(format!("{a} * ({first}) + {b} * ({second})"));
            }
            "multiply" => {
                let (a, b) = (operand(&read.variable_a)?, operand(&read.variable_b)?);
                step.expr = Some(format!("{a} * {b}"));
            }
            "apply_affine_transform" => {
                let (x, coef) = (operand(&read.x)?, operand(&read.coef)?);
                step.expr = Some(format!("{x} * {coef} + {}", operand(&read.intercept)?));
            }
            _ => return Err("step_type: the first system does not carry such steps out, nor does this node"),
        }
        if step.expr.is_some() {
            step.operation = "expr".to_owned();
        }
        self.steps.push(step);
        Ok(())
    }
}

fn coefficient(given: Option<&RawValue>) -> Result<Literal, &'static str> {
    match given {
        None => Ok(Literal::integer(1)),
        Some(raw) => {
            let literal: Option<Literal> = raw.get().trim_matches('"').parse().ok();
            literal.filter(Literal::is_integer).ok_or("parameters: a coefficient is no whole number")
        }
    }
}

/// A ciphertext's number: what it was masked with is taken away, modulo the order.
fn opened(text: &str, unmask: &Unmask<'_>) -> Result<Scalar, &'static str> {
    let sealed: Ciphertext = serde_json::from_str(text).map_err(|_| "output_value: no encrypted number")?;
    let number = |raw: &RawValue| {
        let digits = raw.get().trim_matches('"');
        let is_number = (1..=crate::number::DIGITS_MAX).contains(&digits.len());
        let is_number = is_number && digits.bytes().all(|byte| byte.is_ascii_digit());
        let ten = Scalar::from_u64(10);
        let value = |sum, digit| sum * ten + Scalar::from_u64(u64::from(digit - b'0'));
        is_number
            .then(|| digits.bytes().fold(Scalar::ZERO, value))
            .ok_or("output_value: a number has other than digits")
    };
    let masked = number(&sealed.encrypted_value)?;
    if let Some(mask) = &sealed.shared_secret {
        return Ok(masked - number(mask)?);
    }
    let bytes = sealed.ephemeral_public_key.as_deref().and_then(unmask);
    let bytes = bytes.ok_or(
        "output_value: sealed to a key that is not this node's; share values by `cryptomesh mpc share` so that no node reads them",
    )?;
    let base = Scalar::from_u64(256);
    Ok(masked - bytes.iter().fold(Scalar::ZERO, |sum, byte| sum * base + Scalar::from_u64(u64::from(*byte))))
}

/// The value of a polynomial at 0, of its points: all of them, as the first system splits with the highest degree.
fn joined(points: &[(Scalar, Scalar)], parties: usize) -> Result<Scalar, &'static str> {
    if points.len() != parties || parties > SHARES_MAX {
        return Err("output_value: a split value needs one share for each node");
    }
    let mut sum = Scalar::ZERO;
    for (at, (x, y)) in points.iter().enumerate() {
        let (mut above, mut below) = (Scalar::ONE, Scalar::ONE);
        for (_, (other, _)) in points.iter().enumerate().filter(|(other, _)| *other != at) {
            above = above * *other;
            below = below * (*other - *x);
        }
        let below = below.invert().ok_or("output_value: two shares are of the same node")?;
        sum += *y * above * below;
    }
    Ok(sum)
}

/// The JSON text with whole numbers of more than 18 digits as texts of digits: numbers of 256 bits, which JSON has and its readers
/// round. Everything else stays as it is.
pub fn quote_large(text: &str) -> String {
    const EXACT_DIGITS: usize = 18;
    let mut quoted = String::with_capacity(text.len());
    let (mut rest, mut in_text) = (text, false);
    while let Some(first) = rest.chars().next() {
        let len = if in_text {
            let len = if first == '\\' {
                1 + rest[1..].chars().next().map_or(0, char::len_utf8)
            } else {
                first.len_utf8()
            };
            in_text = first != '"';
            len
        } else if first == '-' || first.is_ascii_digit() {
            let len = rest
                .find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
                .unwrap_or(rest.len());
            let number = &rest[..len];
            let is_whole =
                number.strip_prefix('-').unwrap_or(number).bytes().all(|byte| byte.is_ascii_digit());
            if is_whole && len > EXACT_DIGITS {
                quoted.push('"');
                quoted.push_str(number);
                quoted.push('"');
                rest = &rest[len..];
                continue;
            }
            len
        } else {
            in_text = first == '"';
            first.len_utf8()
        };
        quoted.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    quoted
}

#[cfg(test)]
mod tests;
