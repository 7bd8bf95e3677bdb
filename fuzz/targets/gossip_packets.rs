//! Feeds `oracles::gossip_packets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::gossip_packets(data));
