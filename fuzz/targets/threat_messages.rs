//! Feeds `oracles::threat_messages`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::threat_messages(data));
