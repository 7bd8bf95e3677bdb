//! Feeds `oracles::byte_counts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::byte_counts(data));
