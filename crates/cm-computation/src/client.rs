//! What clients do: split inputs among the parties, and put results together. And the parties' ends of both.
//!
//! A share is sealed to one party's key. Which plan, which input, whose it is and for which party is part of what is sealed
//! (the `aad` of HPKE), so that a share that is moved to another place does not open there.

use cm_crypto::seal::{RecipientPublicKey, RecipientSecretKey, open_message, seal_message};
use cm_crypto::{CryptoError, Secret};
use cm_shares::{F61, Field, MpcError, Party, Scalar, Tier, reconstruct, split};

use crate::interpret::literals;
use crate::number::to_element;
use crate::plan::Agreed;
use crate::{FieldName, Id, Kind, Literal, Op, Owner, Shape};

/// Why an input cannot be split, or a result not be put together.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The plan has no such input.
    #[error("the computation has no input `{0}`")]
    NoInput(String),
    /// The plan has no such result, or somebody else learns it.
    #[error("the computation has no result `{0}` for this receiver")]
    NoOutput(String),
    /// Too few or too many numbers.
    #[error("`{input}` takes {shape}, which are {expected} numbers; {given} were given")]
    Count {
        /// Which input.
        input: String,
        /// Its shape.
        shape: Shape,
        /// How many it takes.
        expected: usize,
        /// How many there are.
        given: usize,
    },
    /// A number that the input cannot be.
    #[error("`{number}` cannot be a number of `{input}`, whose kind is {kind}")]
    Number {
        /// Which input.
        input: String,
        /// Which number.
        number: String,
        /// The input's kind.
        kind: Kind,
    },
    /// A share that does not open: another key, another plan, or altered.
    #[error("a sealed share does not open; it was made for another key or another plan, or was altered")]
    Sealed,
    /// Shares of a result are not there, or do not open, of more parties than may be missing.
    #[error("the shares of {} are missing or do not open, and the tier does not go on without them; nothing was shown", .0.join(", "))]
    SharesMissing(Vec<String>),
    /// Shares of a result contradict each other, in a tier that does not correct so many.
    #[error("shares of the result were altered; nothing was shown")]
    SharesAltered,
    /// A key that cannot be used.
    #[error(transparent)]
    Key(#[from] CryptoError),
    /// The shares do not make values.
    #[error(transparent)]
    Shares(#[from] MpcError),
}

/// A result that was put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// The numbers, row by row.
    pub values: Vec<Literal>,
    /// Their shape.
    pub shape: Shape,
    /// Parties that sent wrong shares or such as do not open: the robust tier goes on without them.
    pub wrong: Vec<String>,
}

fn input_aad(agreed: &Agreed, input: &str, owner: &Owner, party: usize) -> Vec<u8> {
    let party = &agreed.plan().parties[party].name;
    aad("input", agreed, &[input, &owner.to_string(), party])
}

fn output_aad(agreed: &Agreed, run: &str, output: &str, party: usize, receiver: &str) -> Vec<u8> {
    let party = &agreed.plan().parties[party].name;
    aad("output", agreed, &[run, output, party, receiver])
}

fn aad(what: &str, agreed: &Agreed, parts: &[&str]) -> Vec<u8> {
    let mut aad = format!("cryptomesh share v1 {what} {}", agreed.digest()).into_bytes();
    for part in parts {
        aad.extend_from_slice(&(part.len() as u64).to_le_bytes());
        aad.extend_from_slice(part.as_bytes());
    }
    aad
}

fn find_input<'a>(agreed: &'a Agreed, input: &str) -> Result<(Id, &'a Owner), ClientError> {
    let found = agreed.plan().program.inputs().find(|(name, ..)| *name == input);
    found.map(|(_, owner, id)| (id, owner)).ok_or_else(|| ClientError::NoInput(input.to_owned()))
}

/// Splits an input, and seals each share for its party: by the party's number. The value of a party's own private variable
/// is sealed whole, for that party alone.
///
/// # Errors
/// When the numbers are not those that the input takes.
pub fn seal_input(
    agreed: &Agreed,
    input: &str,
    values: &[Literal],
) -> Result<Vec<(usize, Vec<u8>)>, ClientError> {
    match agreed.plan().program.settings().field {
        FieldName::F61 => seal_input_in::<F61>(agreed, input, values),
        FieldName::Secp256k1 => seal_input_in::<Scalar>(agreed, input, values),
    }
}

fn seal_input_in<F: Field>(
    agreed: &Agreed,
    input: &str,
    values: &[Literal],
) -> Result<Vec<(usize, Vec<u8>)>, ClientError> {
    let plan = agreed.plan();
    let (id, owner) = find_input(agreed, input)?;
    let node = plan.program.node(id);
    if node.shape.len() != values.len() {
        return Err(ClientError::Count {
            input: input.to_owned(),
            shape: node.shape.clone(),
            expected: node.shape.len(),
            given: values.len(),
        });
    }
    let bits = plan.program.settings().fraction_bits;
    let mut elements: Vec<F> = Vec::with_capacity(values.len());
    for value in values {
        elements.push(to_element(value, node.kind, bits).ok_or_else(|| ClientError::Number {
            input: input.to_owned(),
            number: value.to_string(),
            kind: node.kind,
        })?);
    }
    let committee = agreed.terms("")?.committee();
    let parts: Vec<(usize, Vec<F>)> = match owner {
        Owner::Client(_) => split(&elements, committee).into_iter().enumerate().collect(),
        Owner::Party(name) => agreed.party(name).map(|party| (party, elements)).into_iter().collect(),
    };
    let seal = |(party, part): (usize, Vec<F>)| {
        let key = recipient(&plan.parties[party].sealing_key)?;
        let bytes = Secret::new(bytes_of(&part));
        Ok((party, seal_message(&key, &input_aad(agreed, input, owner, party), bytes.expose())?))
    };
    parts.into_iter().map(seal).collect()
}

/// Opens a party's share of an input, or its own private value.
///
/// # Errors
/// [`ClientError::Sealed`] if it was not made for this party, this input and this plan.
pub fn open_input<F: Field>(
    agreed: &Agreed,
    input: &str,
    party: usize,
    key: &RecipientSecretKey,
    sealed: &[u8],
) -> Result<Vec<F>, ClientError> {
    let (id, owner) = find_input(agreed, input)?;
    let aad = input_aad(agreed, input, owner, party);
    let bytes = open_message(key, &aad, sealed).map_err(|_| ClientError::Sealed)?;
    elements_of(bytes.expose(), agreed.plan().program.node(id).shape.len())
}

/// Seals a party's share of a result for a receiver.
///
/// # Errors
/// When the receiver is none of the plan's.
pub fn seal_output<F: Field>(
    agreed: &Agreed,
    run: &str,
    output: &str,
    party: usize,
    receiver: &str,
    share: &[F],
) -> Result<Vec<u8>, ClientError> {
    let key = agreed.plan().receivers.get(receiver);
    let key = recipient(key.ok_or_else(|| ClientError::NoOutput(output.to_owned()))?)?;
    let bytes = Secret::new(bytes_of(share));
    Ok(seal_message(&key, &output_aad(agreed, run, output, party, receiver), bytes.expose())?)
}

/// Puts a result together from sealed shares, each with the number of the party that it is of.
///
/// Decoding is that of the tier: what the parties' protocol would not accept from each other, a receiver does not accept from them.
/// The robust tier takes the shares of all but `t` parties, missing and wrong ones counted together; every other tier takes the
/// shares of all parties, and they must lie on a polynomial of degree `t`.
///
/// # Errors
/// When shares are missing or do not open, or contradict each other beyond what the tier repairs.
pub fn open_output(
    agreed: &Agreed,
    run: &str,
    output: &str,
    receiver: &str,
    key: &RecipientSecretKey,
    sealed: &[(usize, Vec<u8>)],
) -> Result<Opened, ClientError> {
    match agreed.plan().program.settings().field {
        FieldName::F61 => open_output_in::<F61>(agreed, run, output, receiver, key, sealed),
        FieldName::Secp256k1 => open_output_in::<Scalar>(agreed, run, output, receiver, key, sealed),
    }
}

fn open_output_in<F: Field>(
    agreed: &Agreed,
    run: &str,
    output: &str,
    receiver: &str,
    key: &RecipientSecretKey,
    sealed: &[(usize, Vec<u8>)],
) -> Result<Opened, ClientError> {
    let plan = agreed.plan();
    let node = plan.program.ids().map(|id| plan.program.node(id));
    let node =
        node.into_iter().find(|node| matches!(&node.op, Op::Reveal { output: name, .. } if name == output));
    let node = node.ok_or_else(|| ClientError::NoOutput(output.to_owned()))?;
    let terms = agreed.terms(run)?;
    let mut shares = Vec::with_capacity(sealed.len());
    let mut unopened = Vec::new();
    for (party, sealed) in sealed {
        if *party >= plan.parties.len() {
            return Err(ClientError::Sealed);
        }
        let aad = output_aad(agreed, run, output, *party, receiver);
        let opened = open_message(key, &aad, sealed).map_err(|_| ClientError::Sealed);
        let opened = opened.and_then(|bytes| elements_of::<F>(bytes.expose(), node.shape.len()));
        match (opened, u8::try_from(*party)) {
            (Ok(share), Ok(number)) => shares.push((Party(number), share)),
            _ => unopened.push(*party),
        }
    }
    let name = |party: usize| plan.parties[party].name.clone();
    let has = |party: &usize| shares.iter().any(|(other, _)| other.index() == *party);
    let missing: Vec<usize> = (0..plan.parties.len()).filter(|party| !has(party)).collect();
    let tolerated = if terms.tier() == Tier::Robust { terms.committee().threshold() } else { 0 };
    if missing.len() > tolerated {
        return Err(ClientError::SharesMissing(missing.into_iter().map(name).collect()));
    }
    let found = match reconstruct(terms.committee(), &shares) {
        // The decoder corrects as many errors as the points allow. Whose shares are wrong are no more than may be corrupt.
        Ok(found) if found.wrong.len() + missing.len() <= tolerated => found,
        Ok(_) | Err(MpcError::WrongShares) => return Err(ClientError::SharesAltered),
        Err(error) => return Err(error.into()),
    };
    unopened.extend(found.wrong.iter().map(|party| party.index()));
    unopened.sort_unstable();
    unopened.dedup();
    let values = literals(&found.values, node.kind, plan.program.settings().fraction_bits);
    let wrong = unopened.into_iter().map(name).collect();
    Ok(Opened { values, shape: node.shape.clone(), wrong })
}

fn recipient(text: &str) -> Result<RecipientPublicKey, ClientError> {
    text.parse().map_err(|_| ClientError::Key(CryptoError::Key("X25519")))
}

fn bytes_of<F: Field>(elements: &[F]) -> Vec<u8> {
    let mut bytes = vec![0; elements.len() * F::BYTES];
    for (element, place) in elements.iter().zip(bytes.chunks_exact_mut(F::BYTES)) {
        element.write(place);
    }
    bytes
}

fn elements_of<F: Field>(bytes: &[u8], len: usize) -> Result<Vec<F>, ClientError> {
    if bytes.len() != len * F::BYTES {
        return Err(ClientError::Sealed);
    }
    bytes.chunks_exact(F::BYTES).map(|bytes| F::read(bytes).ok_or(ClientError::Sealed)).collect()
}

#[cfg(test)]
mod tests;
