//! Tensors as bytes and as values of the engine.

use rten::Value;
use rten_tensor::prelude::*;

use super::NnErrno;

/// Types of elements, as the interface numbers them.
const F32: u8 = 1;
const U8: u8 = 3;
const I32: u8 = 4;
const I64: u8 = 5;

/// Types of elements as ONNX numbers them (`TensorProto.DataType`), where the engine has others of its own.
const ONNX_INT64: i32 = 7;
const ONNX_BOOL: i32 = 9;

/// Most dimensions of a tensor.
pub(super) const RANK_MAX: usize = 8;

/// Makes a value of bytes in the order of the rows, numbers little-endian. The engine has no integers of 64 bits; those
/// that fit into 32 are taken.
pub(super) fn value(kind: u8, shape: &[usize], bytes: &[u8]) -> Result<Value, NnErrno> {
    let elements = shape.iter().try_fold(1usize, |elements, &side| elements.checked_mul(side));
    let width = match kind {
        F32 | I32 => 4,
        U8 => 1,
        I64 => 8,
        _ => return Err(NnErrno::UnsupportedOperation),
    };
    let len = elements.and_then(|elements| elements.checked_mul(width));
    if shape.len() > RANK_MAX || len != Some(bytes.len()) {
        return Err(NnErrno::InvalidArgument);
    }
    match kind {
        F32 => made(shape, numbers(bytes, f32::from_le_bytes)),
        I32 => made(shape, numbers(bytes, i32::from_le_bytes)),
        I64 => {
            let narrow: Result<Vec<i32>, _> =
                numbers(bytes, i64::from_le_bytes).into_iter().map(i32::try_from).collect();
            made(shape, narrow.map_err(|_| NnErrno::InvalidArgument)?)
        }
        _ => made(shape, bytes.to_vec()),
    }
}

fn numbers<T, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| number(*chunk)).collect()
}

fn made<T>(shape: &[usize], elements: Vec<T>) -> Result<Value, NnErrno>
where
    Value: From<rten_tensor::Tensor<T>>,
{
    Value::from_shape(shape, elements).map_err(|_| NnErrno::InvalidArgument)
}

/// The bytes of an output, in the type of elements that the model declares for it.
pub(super) fn bytes(value: &Value, declared: i32) -> Result<Vec<u8>, NnErrno> {
    match value {
        Value::FloatTensor(tensor) => Ok(tensor.iter().flat_map(|number| number.to_le_bytes()).collect()),
        Value::Int32Tensor(tensor) if declared == ONNX_INT64 => {
            Ok(tensor.iter().flat_map(|number| i64::from(*number).to_le_bytes()).collect())
        }
        Value::Int32Tensor(tensor) if declared == ONNX_BOOL => {
            Ok(tensor.iter().map(|number| u8::from(*number != 0)).collect())
        }
        Value::Int32Tensor(tensor) => Ok(tensor.iter().flat_map(|number| number.to_le_bytes()).collect()),
        Value::Int8Tensor(tensor) => Ok(tensor.iter().flat_map(|number| number.to_le_bytes()).collect()),
        Value::UInt8Tensor(tensor) => Ok(tensor.iter().copied().collect()),
        // Lists of tensors, which no operator here makes.
        _ => Err(NnErrno::UnsupportedOperation),
    }
}

/// The shape of a value.
pub(super) fn shape(value: &Value) -> Vec<usize> {
    value.shape().to_vec()
}

/// How many bytes of memory a value takes.
pub(super) fn held(value: &Value) -> u64 {
    let elements = value.len() as u64;
    match value {
        Value::Int8Tensor(_) | Value::UInt8Tensor(_) => elements,
        _ => elements.saturating_mul(4),
    }
}
