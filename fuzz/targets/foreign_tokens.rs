//! Feeds `oracles::foreign_tokens`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::foreign_tokens(data));
