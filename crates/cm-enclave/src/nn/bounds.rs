//! How much an operator can give, and how much work it is, told from the shapes that it gets.
//!
//! The rules follow the ONNX operator specification. They are upper bounds; operators for which there is none (those whose
//! output's shape is data, as `Expand`, `Range` or `Tile`, and loops) are not computed.

use rten::{OpRegistry, op_registry};

use super::onnx::Step;

/// Most multiplications of one step: some seconds of one processor.
pub(super) const WORK_MAX: u64 = 1 << 36;

/// How an operator's output depends on its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not more elements than the first input has, for each output.
    Same,
    /// The inputs, stretched to each other's shapes.
    Broadcast,
    /// All inputs, one behind the other.
    Joined,
    /// Matrices, multiplied.
    Product,
    /// Matrices, each possibly turned, multiplied; and something added.
    Gemm,
    /// Windows over the input, multiplied with those of the second input.
    Convolution,
    /// Windows over the input, made one number each.
    Pool,
    /// Parts of the first input, chosen by the second.
    Gather,
    /// The shape of the input.
    Shape,
}

macro_rules! operators {
    ($($kind:ident: $($op:ident)+;)+) => {
        /// The kind of an operator; `None` if it is not computed here.
        pub(super) fn kind(operator: &str) -> Option<Kind> {
            match operator {
                $($(stringify!($op))|+ => Some(Kind::$kind),)+
                _ => None,
            }
        }

        /// The engine's operators, as many as there are kinds of here.
        pub(super) fn registry() -> OpRegistry {
            op_registry!($($($op),+),+)
        }
    };
}

operators! {
    Same: Abs Acos ArgMax ArgMin Asin Atan BatchNormalization Cast Ceil Clip Cos CumSum
        DepthToSpace Elu Erf Exp Flatten Floor Gelu GlobalAveragePool HardSigmoid HardSwish Identity
        InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization Neg Not
        Reciprocal ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
        ReduceSum ReduceSumSquare Relu Reshape Round Sigmoid Sign Sin Slice Softmax Softplus Softsign Split
        Sqrt Squeeze Tan Tanh TopK Transpose Trilu Unsqueeze;
    Broadcast: Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum
        Where Xor;
    Joined: Concat;
    Product: MatMul;
    Gemm: Gemm;
    Convolution: Conv;
    Pool: AveragePool MaxPool;
    Gather: Gather;
    Shape: Shape Size;
}

/// What a step can give and take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Elements of each output.
    pub(super) elements: u64,
    /// Multiplications, or about as much.
    pub(super) work: u64,
}

/// The bound of a step on inputs of these shapes; inputs that are not given have none. `None` if the shapes make no
/// sense for the operator.
pub(super) fn bound(step: &Step, shapes: &[Option<Vec<usize>>]) -> Option<Bound> {
    let input = |index: usize| shapes.get(index)?.as_deref();
    match step.kind {
        Kind::Same => Some(once(volume(input(0)?))),
        Kind::Broadcast => Some(once(volume(&stretched(shapes)?))),
        Kind::Joined => {
            Some(once(shapes.iter().flatten().fold(0, |sum: u64, shape| sum.saturating_add(volume(shape)))))
        }
        Kind::Product => product(input(0)?, input(1)?),
        Kind::Gemm => gemm(step, input(0)?, input(1)?),
        Kind::Convolution => convolution(step, input(0)?, input(1)?),
        Kind::Pool => pool(step, input(0)?),
        Kind::Gather => {
            let (data, chosen) = (input(0)?, input(1)?);
            let axis = step.number("axis").unwrap_or(0);
            let axis = if axis < 0 { axis.checked_add(i64::try_from(data.len()).ok()?)? } else { axis };
            let mut rest = data.to_vec();
            *rest.get_mut(usize::try_from(axis).ok()?)? = 1;
            Some(once(volume(chosen).saturating_mul(volume(&rest))))
        }
        Kind::Shape => Some(once(input(0)?.len() as u64 + 1)),
    }
}

/// So many elements, each made by little work.
fn once(elements: u64) -> Bound {
    Bound { elements, work: elements }
}

/// How many elements something of this shape has at most. A side of 0 counts as 1: what is reduced along it has
/// elements again.
fn volume(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |volume: u64, &side| volume.saturating_mul(side.max(1) as u64))
}

/// The shape that all shapes are stretched to, aligned at their ends.
fn stretched(shapes: &[Option<Vec<usize>>]) -> Option<Vec<usize>> {
    let rank = shapes.iter().flatten().map(Vec::len).max()?;
    let mut out = vec![1; rank];
    for shape in shapes.iter().flatten() {
        for (side, &own) in out.iter_mut().rev().zip(shape.iter().rev()) {
            *side = (*side).max(own);
        }
    }
    Some(out)
}

fn product(left: &[usize], right: &[usize]) -> Option<Bound> {
    let (inner, left_rest) = left.split_last()?;
    // A vector on the right has no columns.
    let columns = if right.len() < 2 { 1 } else { *right.last()? };
    let left_outer = left_rest.split_last();
    let rows = left_outer.map_or(1, |(rows, _)| *rows);
    let batches = [
        Some(left_outer.map_or(Vec::new(), |(_, batch)| batch.to_vec())),
        Some(right.get(..right.len().saturating_sub(2)).unwrap_or(&[]).to_vec()),
    ];
    let batch = volume(&stretched(&batches)?);
    let elements = batch.saturating_mul(rows as u64).saturating_mul(columns as u64);
    Some(Bound { elements, work: elements.saturating_mul(*inner as u64) })
}

fn gemm(step: &Step, left: &[usize], right: &[usize]) -> Option<Bound> {
    let (&[rows, inner], &[inner_too, columns]) = (left, right) else { return None };
    let turned = |name| step.number(name).unwrap_or(0) != 0;
    let (rows, inner) = if turned("transA") { (inner, rows) } else { (rows, inner) };
    let columns = if turned("transB") { inner_too } else { columns };
    let elements = volume(&[rows, columns]);
    Some(Bound { elements, work: elements.saturating_mul(inner as u64) })
}

/// The sides of what a window gives: never longer than the input with its padding, and one more where it is rounded up.
fn sides(step: &Step, sides: &[usize]) -> Option<u64> {
    let pads = step.numbers("pads");
    let mut out = 1u64;
    for (axis, &side) in sides.iter().enumerate() {
        let pad = |at: usize| u64::try_from(pads.get(at).copied().unwrap_or(0)).ok();
        let padded = (side as u64)
            .saturating_add(pad(axis)?)
            .saturating_add(pad(axis + sides.len())?)
            .saturating_add(1);
        out = out.saturating_mul(padded);
    }
    Some(out)
}

fn convolution(step: &Step, input: &[usize], weights: &[usize]) -> Option<Bound> {
    let (batch, rest) = input.split_first()?;
    let (_, spatial) = rest.split_first()?;
    let (&features, window) = weights.split_first()?;
    let elements = (*batch as u64).saturating_mul(features as u64).saturating_mul(sides(step, spatial)?);
    Some(Bound { elements, work: elements.saturating_mul(volume(window)) })
}

fn pool(step: &Step, input: &[usize]) -> Option<Bound> {
    let (batch, rest) = input.split_first()?;
    let (&channels, spatial) = rest.split_first()?;
    let elements = volume(&[*batch, channels]).saturating_mul(sides(step, spatial)?);
    let window = step
        .numbers("kernel_shape")
        .iter()
        .fold(1u64, |window, &side| window.saturating_mul(u64::try_from(side).unwrap_or(u64::MAX)));
    Some(Bound { elements, work: elements.saturating_mul(window) })
}
