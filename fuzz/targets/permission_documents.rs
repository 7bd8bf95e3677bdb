//! Feeds `oracles::permission_documents`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::permission_documents(data));
