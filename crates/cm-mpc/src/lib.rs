//! Computations on values that are shared among parties none of which learns one.
