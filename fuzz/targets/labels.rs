//! Feeds `oracles::labels`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::labels(data));
