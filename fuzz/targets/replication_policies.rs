//! Feeds `oracles::replication_policies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::replication_policies(data));
