//! Feeds `oracles::threat_payloads`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::threat_payloads(data));
