//! Feeds `oracles::ranges`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::ranges(data));
