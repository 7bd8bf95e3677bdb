//! Feeds `oracles::durations`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::durations(data));
