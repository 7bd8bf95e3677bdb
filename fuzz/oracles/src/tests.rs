use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

type Oracle = fn(&[u8]);

const ORACLES: &[(&str, Oracle)] = &[
    ("frames", frames),
    ("requests_of_both_eras", requests_of_both_eras),
    ("posts", posts),
    ("links", links),
    ("replication_policies", replication_policies),
    ("aws_chunked", aws_chunked),
    ("bucket_policies", bucket_policies),
    ("form_policies", form_policies),
    ("permission_documents", permission_documents),
    ("instance_certificates", instance_certificates),
    ("active_objects", active_objects),
    ("policies", policies),
    ("guest_paths", guest_paths),
    ("pipelines", pipelines),
    ("labels", labels),
    ("byte_counts", byte_counts),
    ("durations", durations),
    ("spiffe_ids", spiffe_ids),
    ("trust_bundles", trust_bundles),
    ("permissions", permissions),
    ("log_heads", log_heads),
    ("evidence", evidence),
    ("keys", keys),
    ("foreign_tokens", foreign_tokens),
    ("sealed_objects", sealed_objects),
    ("sealed_artefacts", sealed_artefacts),
    ("row_keys", row_keys),
    ("ranges", ranges),
    ("quorum_messages", quorum_messages),
    ("manifests", manifests),
    ("jobs", jobs),
    ("stix", stix),
    ("threat_frames", threat_frames),
    ("threat_messages", threat_messages),
    ("threat_payloads", threat_payloads),
    ("gossip_packets", gossip_packets),
    ("nitro_documents", nitro_documents),
    ("snp_reports", snp_reports),
    ("dcap_quotes", dcap_quotes),
    ("attestation_results", attestation_results),
    ("certificate_requests", certificate_requests),
];

/// Inputs that are at least near to what some parser accepts.
const SEEDS: &[&[u8]] = &[
    include_bytes!("../../../crates/cm-attest/fixtures/nitro.cbor"),
    include_bytes!("../../../crates/cm-attest/fixtures/snp-report.bin"),
    include_bytes!("../../../crates/cm-attest/fixtures/snp-vcek.der"),
    include_bytes!("../../../crates/cm-attest/fixtures/tdx-quote.bin"),
    b"",
    include_bytes!("../../../crates/cm-intel/tests/vectors/event_frame.bin"),
    include_bytes!("../../../crates/cm-intel/tests/vectors/hello_frame.bin"),
    include_bytes!("../../../crates/cm-intel/tests/vectors/udp_ping.bin"),
    include_bytes!("../../../crates/cm-intel/tests/vectors/event_payload.json"),
    br#"{"type":"HELLO","payload":{"versions":[1,2],"key":"k"}}"#,
    b"\x01\0{\"id\": \"\"}",
    b"\x02aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    b"\0\0\0\x21\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0\0\0\x01\x05\0\0\0\x05\x06\0\0\0\x3c\0\0\0\x01\x08",
    br#"{"type":"bundle","objects":[{"type":"indicator","id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f","pattern_type":"stix","pattern":"[ipv4-addr:value = '192.0.2.1' OR domain-name:value IN ('a.example', 'b')]","confidence":7}]}"#,
    b"[file:hashes.'SHA-256' = 'a\\'b' AND url:value != 'x'] FOLLOWEDBY [ipv4-addr:value='192.0.2.0/24']",
    br#"{"Event":{"info":"x","Attribute":[{"type":"ip-src|port","value":"192.0.2.1|22","to_ids":true}]}}"#,
    b"tier robust\ninput x[2, 3] from party n1 as real; y = -x[0] * [1, 2.5, 3] + 1\nrepeat 2 { y = y * y }\nreveal sum(y) as s to all, \"b@c\"",
    br#"{"name":"j","field":"secp256k1","steps":[{"operation":"assign","variable_name":"a","value":[1,2]},{"operation":"multiply","variable_name":"p","operand1":"a","operand2":"3"},{"operation":"expr","variable_name":"q","expr":"p + 1","dependencies":["step_2"]}]}"#,
    b"pdl 1\nallow role a, user \"b c\" to read, list on bucket \"a/*\" when mfa and time in 08:00..18:00 Europe/Madrid # x\ndeny anyone to do anything on anything unless owner or address in 10.0.0.0/8",
    b"5;chunk-signature=00\r\nhello\r\n0\r\nx-amz-checksum-crc32:aGVsbG8=\r\n\r\n",
    b"1\r\nx\r\n0\r\n\r\n",
    br#"{"Statement":{"Effect":"Deny","Principal":{"AWS":"*"},"NotAction":"s3:Get*","Resource":"arn:aws:s3:::b/*","Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}}}"#,
    b"eyJleHBpcmF0aW9uIjoiMjAzMC0wMS0wMVQwMDowMDowMFoiLCJjb25kaXRpb25zIjpbeyJidWNrZXQiOiJiIn1dfQ==",
    b"\x01\x09test.echo\0\0\x27\x10\0\0\0\0\0\0\0\0\x03abc\x01\0\0\0\0",
    b"\x02\x01x\0\0\0\x01\0\0\0\0\x12\0\0\0\0",
    b"apac: v1\navailable-resources: {p: [a, b]}\nwho: p\nwhat: [b, \"b.k*\"]\nwhere: [p.a]\nhow: ACTIVE\nwhen:\n  - x: $GET_COUNTER > 10 | $ACCESS_FREQUENCY >= 60.6%\n",
    b"\x03\0\0\0\0\0\0\0\x02\x42\x00",
    b"\x01\0\0\0\0\0\0\0\x10\x12\x0e\x0a\x08/input-0\x12\x02hi",
    br#"{"function":"f","execution_strategy":"JIT","programs":[{"id":1,"pi_hash":"","program_file_name":"p.wasm","file_rights":[{"file_name":"input-0","rights":8198}]}]}"#,
    b"\x01\x42\x00\x08\x05\x12\x0e\x0a\x08/input-0\x12\x02hi",
    b"\x05\0\0\0\0\x02\0\0\x07\x12\x83\x80\x80\x10\x0a\x01x\x12\xfc\xff\xff\x0f",
    b"POST /runtime_manager HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n0 FgMBAAA=",
    b"0 FgMBAAA=",
    b"/user_input/../key\nname",
    b"a//b/./c/\n..",
    b"2d 3 hours, 1.5H and 1s",
    b"spiffe://mesh.example/tenant/default/principal/web-1",
    br#"{"keys":[{"use":"jwt-svid","kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}],"spiffe_sequence":1}"#,
    b"env=prod,tier=gold",
    b"a.wasm ; if /path { b.wasm } else { if x{c;}} /d",
    b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\x0d\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\x01x",
    b"\0\0\0\x01\0\0\0\0\0\0\0\x01\x01\0\0\0\x02hi",
    b"function:12",
    b"512Mi",
    b"1.5GB",
    b"function:invoke@env=prod",
    b"*:*",
    b"function.created",
    b"7:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    b"\0\0\0\0\0\0\x10\0bytes=0-99",
    b"\0\0\0\0\0\0\x10\0bytes=-5",
    b"text\0\x01\0\0\0\0\0\0\0\x07text\0\x01\0\0\0\0\0\0\0\x08",
    b"services: {s: {security_policy: {roles: [r]}, microservices: {m: {functions: {f: }}}}}\n---\nroles: {r: {name: yes}}",
    b"endpoints:\n  e: &e\n    image: |\n      a\n    resources: {cpu: '2', ram: 2GB}\n  f: *e\nservices: {s: {microservices: [m]}}\n",
    b"eyJhbGciOiJFZERTQSIsInR5cCI6ImVhdCtqd3QifQ.e30.AAAA",
    br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
    b"eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJ4In0.AAAA",
    b"class A(B):\n    'C.'\n    def f(self, a: int = -1, *b, c=[{'k': (1,)}]): return f\"{a!r:>{c}} {d[\"k\"]}\"\n",
];

/// A small generator (xorshift), so that a failure is the same everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// One to four changes of a byte, insertions or removals.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(3) {
                0 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                _ => bytes.insert(at, self.next() as u8),
            }
        }
        bytes
    }
}

#[test]
fn every_oracle_holds_over_seeds_and_their_mutations() {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((name, oracle)) = ORACLES.get(next.fetch_add(1, Ordering::Relaxed)) {
            holds(name, *oracle);
        }
    };
    std::thread::scope(|scope| {
        let others = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
        let others: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
        work();
        for other in others {
            other.join().expect("an oracle failed; its input is above");
        }
    });
}

fn holds(name: &str, oracle: Oracle) {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for seed in SEEDS {
        for round in 0..25 {
            let input = if round == 0 { seed.to_vec() } else { noise.mutate(seed) };
            let outcome = std::panic::catch_unwind(|| oracle(&input));
            assert!(outcome.is_ok(), "{name} fails on {input:02x?}");
        }
    }
}

#[test]
fn every_oracle_has_a_target() {
    let manifest = include_str!("../../Cargo.toml");
    for (name, _) in ORACLES {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no target");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), ORACLES.len());
}
