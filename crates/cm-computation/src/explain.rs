//! What a computation costs and who learns what, before it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use cm_shares::{F61, Field, JobTag, MpcError, Scalar, Shared, rehearse};
use serde::Serialize;

use crate::interpret::{Advance, Given, interpret};
use crate::plan::terms;
use crate::{FieldName, Owner, Program, Receivers};

/// Most numbers of a program that is rehearsed; of larger ones costs are not told.
pub const REHEARSED_MAX: usize = 2_000_000;

/// What a computation costs and who learns what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// How many parties compute.
    pub parties: usize,
    /// How many of them learn nothing together.
    pub threshold: usize,
    /// What it withstands.
    pub tier: &'static str,
    /// The field.
    pub field: &'static str,
    /// Operations.
    pub operations: usize,
    /// Layers: what comes after something else.
    pub layers: usize,
    /// How often the parties wait for each other, about; absent for programs that are too large to be rehearsed.
    pub rounds: Option<u64>,
    /// Bytes that each party sends to others.
    pub bytes_per_party: Option<Vec<u64>>,
    /// Each input with its owner and how many numbers it has.
    pub inputs: Vec<(String, String, usize)>,
    /// Each result with those who learn it.
    pub outputs: Vec<(String, String, usize)>,
}

/// Explains a program for so many parties. Costs are found by a rehearsal: all parties in memory, on made-up inputs.
///
/// # Errors
/// When so many parties cannot compute it: which operation is not there under its terms, and why.
pub fn explain(program: &Program, parties: usize) -> Result<Explanation, MpcError> {
    let settings = program.settings();
    let terms = terms(settings, parties, JobTag([0; 32]))?;
    let elements: usize = program.nodes().iter().map(|node| node.shape.len()).sum();
    let costs = if elements * parties > REHEARSED_MAX {
        None
    } else {
        Some(match settings.field {
            FieldName::F61 => costs::<F61>(program, parties)?,
            FieldName::Secp256k1 => costs::<Scalar>(program, parties)?,
        })
    };
    let to = |to: &Receivers| match to {
        Receivers::Everybody => "everybody".to_owned(),
        Receivers::Clients(names) => names.join(", "),
    };
    let len = |id| program.node(id).shape.len();
    Ok(Explanation {
        parties,
        threshold: terms.committee().threshold(),
        tier: settings.tier.as_str(),
        field: settings.field.as_str(),
        operations: program.nodes().len(),
        layers: crate::schedule(program).len(),
        rounds: costs.as_ref().map(|(rounds, _)| *rounds),
        bytes_per_party: costs.map(|(_, bytes)| bytes),
        inputs: (program.inputs())
            .map(|(name, owner, id)| (name.to_owned(), owner.to_string(), len(id)))
            .collect(),
        outputs: (program.outputs())
            .map(|output| (output.name.to_owned(), to(output.to), len(output.node)))
            .collect(),
    })
}

fn costs<F: Field>(program: &Program, parties: usize) -> Result<(u64, Vec<u64>), MpcError> {
    let terms = terms(program.settings(), parties, JobTag([0; 32]))?;
    let mut names: Vec<String> = (0..parties).map(|at| format!("party-{}", at + 1)).collect();
    // Whoever is named as a party of its own has a place of its own.
    let owners: Vec<String> = (program.inputs())
        .filter_map(|(_, owner, _)| match owner {
            Owner::Party(name) => Some(name.clone()),
            Owner::Client(_) => None,
        })
        .collect();
    for (at, owner) in owners.into_iter().enumerate() {
        if !names.contains(&owner) {
            names[at % parties] = owner;
        }
    }
    let (program, names) = (Arc::new(program.clone()), Arc::new(names));
    let rehearsed = rehearse(terms, 1, |session| {
        let me = session.me();
        let mut given =
            Given { me, parties: names.to_vec(), shares: BTreeMap::new(), private: BTreeMap::new() };
        for (input, owner, id) in program.inputs() {
            // Ones, known to all: made-up, of the right length, and no divisor is zero.
            let ones = vec![F::ONE; program.node(id).shape.len()];
            match owner {
                Owner::Client(_) => {
                    given.shares.insert(input.to_owned(), Shared::public(&ones).as_slice().to_vec());
                }
                Owner::Party(name) if names.iter().position(|own| own == name) == Some(me.index()) => {
                    given.private.insert(input.to_owned(), ones);
                }
                Owner::Party(_) => {}
            }
        }
        interpret(session, program.clone(), given, Advance::default())
    });
    for result in rehearsed.results {
        result?;
    }
    // A party of a rehearsal finds some frames there already, for which it would have to wait on a link.
    let batches: usize = crate::schedule(&program).iter().map(|layer| layer.batches.len()).sum();
    let rounds =
        rehearsed.traffic.iter().map(|traffic| traffic.rounds).max().unwrap_or_default().max(batches as u64);
    Ok((rounds, rehearsed.traffic.iter().map(|traffic| traffic.bytes_sent).collect()))
}
