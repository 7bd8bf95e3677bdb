//! Feeds `oracles::trust_bundles`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::trust_bundles(data));
