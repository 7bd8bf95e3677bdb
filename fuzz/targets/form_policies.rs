//! Feeds `oracles::form_policies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::form_policies(data));
