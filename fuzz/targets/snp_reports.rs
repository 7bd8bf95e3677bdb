//! Feeds `oracles::snp_reports`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::snp_reports(data));
