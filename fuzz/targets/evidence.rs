//! Feeds `oracles::evidence`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::evidence(data));
