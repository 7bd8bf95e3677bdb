//! Feeds `oracles::instance_certificates`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::instance_certificates(data));
