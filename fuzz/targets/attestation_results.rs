//! Feeds `oracles::attestation_results`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::attestation_results(data));
