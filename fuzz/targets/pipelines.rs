//! Feeds `oracles::pipelines`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::pipelines(data));
