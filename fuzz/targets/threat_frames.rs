//! Feeds `oracles::threat_frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::threat_frames(data));
