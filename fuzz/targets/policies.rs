//! Feeds `oracles::policies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::policies(data));
