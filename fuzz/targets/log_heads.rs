//! Feeds `oracles::log_heads`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::log_heads(data));
