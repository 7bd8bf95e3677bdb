//! Feeds `oracles::manifests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::manifests(data));
