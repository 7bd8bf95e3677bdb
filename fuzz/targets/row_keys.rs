//! Feeds `oracles::row_keys`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::row_keys(data));
