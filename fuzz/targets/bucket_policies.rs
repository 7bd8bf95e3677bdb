//! Feeds `oracles::bucket_policies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::bucket_policies(data));
