//! Feeds `oracles::spiffe_ids`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::spiffe_ids(data));
