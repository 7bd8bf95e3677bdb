//! Feeds `oracles::permissions`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::permissions(data));
