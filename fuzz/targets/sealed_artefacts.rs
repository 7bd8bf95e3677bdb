//! Feeds `oracles::sealed_artefacts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::sealed_artefacts(data));
