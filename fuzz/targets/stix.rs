//! Feeds `oracles::stix`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::stix(data));
