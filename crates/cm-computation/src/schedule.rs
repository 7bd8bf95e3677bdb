//! Layers: what can be done at once.
//!
//! The parties exchange messages for some operations only. All of one kind whose operands are there are done as one, so
//! that the number of rounds is that of the longest chain and not that of the operations.

use crate::{Id, Kind, Op, Program};

/// Operations of a layer that travel together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which operations: of one kind, in the order of their places.
    pub nodes: Vec<Id>,
}

/// What is done once all earlier layers are: first batches that take messages, one after the other, then what each party does alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// What takes messages.
    pub batches: Vec<Batch>,
    /// What takes none, in an order in which it can be done.
    pub local: Vec<Id>,
}

/// Whether the operation takes messages among the parties.
pub fn is_interactive(program: &Program, id: Id) -> bool {
    let node = program.node(id);
    let secret = |id: &Id| program.node(*id).secret;
    match &node.op {
        Op::Reveal { .. } | Op::Input { .. } | Op::Random => true,
        Op::Mul { a, b } | Op::Dot { a, b } | Op::MatMul { a, b } => {
            let both = [a, b].iter().all(|id| program.node(**id).kind == Kind::Real);
            (secret(a) && secret(b)) || (both && (secret(a) || secret(b)))
        }
        Op::Constant { .. }
        | Op::ToReal { .. }
        | Op::Add { .. }
        | Op::Sub { .. }
        | Op::Neg { .. }
        | Op::Sum { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Index { .. }
        | Op::Concat { .. } => false,
        _ => true,
    }
}

/// Binary places that a known factor below one has beyond those of reals, so that it is as exact as one that is not: a product with
/// `1/1000` would otherwise be wrong in its third digit.
pub(crate) fn extra_bits(program: &Program, id: Id) -> u32 {
    const EXTRA_MAX: f64 = 24.0;
    let Op::Mul { a, b } = &program.node(id).op else { return 0 };
    let known = if program.node(*a).secret { *b } else { *a };
    match &program.node(known).op {
        Op::Constant { values } if values.len() == 1 => {
            let size = values[0].to_f64().abs();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 24")]
            if size > 0.0 && size < 1.0 { (-size.log2()).floor().min(EXTRA_MAX) as u32 } else { 0 }
        }
        _ => 0,
    }
}

/// What may travel together: equal for operations that become one call.
fn class(program: &Program, id: Id) -> (u8, usize) {
    let node = program.node(id);
    let kind = |id: &Id| program.node(*id).kind;
    let real = |a: &Id, b: &Id| usize::from(kind(a) == Kind::Real && kind(b) == Kind::Real);
    match &node.op {
        Op::Input { .. } => (0, 0),
        Op::Mul { a, b } if program.node(*a).secret && program.node(*b).secret => (1, real(a, b)),
        Op::Mul { .. } => (11, extra_bits(program, id) as usize),
        Op::Less { .. } => (2, 0),
        Op::Equal { .. } => (3, 0),
        Op::Select { .. } => (4, 0),
        Op::Exp { .. } => (5, 0),
        Op::Sigmoid { .. } => (6, 0),
        Op::Relu { .. } => (7, 0),
        Op::Inverse { .. } => (8, 0),
        Op::Div { a, .. } => (9, usize::from(kind(a) == Kind::Real)),
        Op::Random => (10, 0),
        // Alone: nothing else has its place.
        _ => (u8::MAX, id.index()),
    }
}

/// The layers of a program. Revealing comes last, all of it at once: nothing is opened before everything is computed.
pub fn schedule(program: &Program) -> Vec<Layer> {
    let mut depth = vec![0_usize; program.nodes().len()];
    let mut layers: Vec<Layer> = Vec::new();
    let mut reveals = Vec::new();
    for id in program.ids() {
        let node = program.node(id);
        if matches!(node.op, Op::Reveal { .. }) {
            reveals.push(id);
            continue;
        }
        let before = node.op.uses().iter().map(|used| depth[used.index()]).max().unwrap_or(0);
        let takes_messages = is_interactive(program, id);
        let is_source = matches!(node.op, Op::Input { .. });
        let own = if takes_messages && !is_source { before + 1 } else { before };
        depth[id.index()] = own;
        if layers.len() <= own {
            layers.resize_with(own + 1, Layer::default);
        }
        let layer = &mut layers[own];
        if !takes_messages {
            layer.local.push(id);
            continue;
        }
        let same =
            layer.batches.iter_mut().find(|batch| class(program, batch.nodes[0]) == class(program, id));
        match same {
            Some(batch) => batch.nodes.push(id),
            None => layer.batches.push(Batch { nodes: vec![id] }),
        }
    }
    let batches = if reveals.is_empty() { Vec::new() } else { vec![Batch { nodes: reveals }] };
    layers.push(Layer { batches, local: Vec::new() });
    layers
}
