//! What the example programs share.
//!
//! [`codec`] reads and writes the few shapes that programs exchange with their owners: unsigned LEB128 counts and
//! little-endian `f64`, which is what postcard writes for vectors of floats. [`program`] is the frame of a
//! program: read the named files, compute, write the output, end with an exit code that says what went wrong.
//! The computations live in the library half of each program and do no input or output.

pub mod codec;
pub mod program;
