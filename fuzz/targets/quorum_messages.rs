//! Feeds `oracles::quorum_messages`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::quorum_messages(data));
