//! Feeds `oracles::requests_of_both_eras`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::requests_of_both_eras(data));
