//! Feeds `oracles::active_objects`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::active_objects(data));
