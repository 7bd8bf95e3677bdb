//! Feeds `oracles::dcap_quotes`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::dcap_quotes(data));
