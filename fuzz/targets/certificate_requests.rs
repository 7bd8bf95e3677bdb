//! Feeds `oracles::certificate_requests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::certificate_requests(data));
