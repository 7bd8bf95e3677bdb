//! Feeds `oracles::posts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::posts(data));
