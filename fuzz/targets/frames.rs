//! Feeds `oracles::frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::frames(data));
