//! Feeds `oracles::aws_chunked`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::aws_chunked(data));
