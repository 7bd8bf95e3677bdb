//! Random bits, and comparison by them.
