//! Feeds `oracles::sealed_objects`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::sealed_objects(data));
