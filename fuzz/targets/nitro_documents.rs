//! Feeds `oracles::nitro_documents`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::nitro_documents(data));
