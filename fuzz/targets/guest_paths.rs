//! Feeds `oracles::guest_paths`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::guest_paths(data));
