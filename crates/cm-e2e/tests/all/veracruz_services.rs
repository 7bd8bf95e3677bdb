//! The services of the earlier confidential functions, spoken to by a client that knows nothing but HTTP.

mod attacks;
mod ccfaas;
mod malformed;
mod protocol;
mod vaas;
mod walk_through;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cm_e2e::{Node, NodeOptions, Service};
use cm_types::Timestamp;
use serde_json::{Value, json};

/// What the first published policies grant: reading, and writing.
const READ: u32 = 8198;
const WRITE: u32 = 533_572;

/// A file of the repository. Cargo says at run time where the package lies; see `xtask::shell`.
fn repository(path: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("../..").join(path)
}

fn linear_regression() -> Vec<u8> {
    std::fs::read(repository("examples/linear-regression/linear-regression.wasm")).unwrap()
}

/// A node in open mode, and both services.
struct House {
    _root: tempfile::TempDir,
    node: Node,
    ccfaas: Service,
    vaas: Service,
}

impl House {
    fn open() -> House {
        Self::with(NodeOptions { open: true, ..NodeOptions::default() })
    }

    fn with(options: NodeOptions) -> House {
        let root = tempfile::tempdir().unwrap();
        let node = Node::start(root.path(), &options);
        let service = |listener| Service::of(&node, listener, None);
        let (ccfaas, vaas) = (service("ccfaas"), service("vaas"));
        House { _root: root, node, ccfaas, vaas }
    }

    /// Registers the linear regression as the seed's client does, under a name.
    async fn register(&self, name: &str) {
        let file = "linear-regression.wasm";
        self.ccfaas.post("/function", &seed_function(name)).await.demand(200);
        let path = format!("/function/{name}/program/{file}");
        let uploaded = self.ccfaas.upload(&path, "application/octet-stream", linear_regression()).await;
        uploaded.says(200, "function loaded!");
    }

    /// Nothing was made, by any way to see it.
    async fn check_empty(&self) {
        assert_eq!(self.ccfaas.get("/function").await.json(), json!({ "functions": [] }));
        assert_eq!(self.ccfaas.get("/instance").await.json(), json!({ "instances": [] }));
        assert_eq!(self.vaas.get("/veracruz").await.json(), json!({ "veracruz": [] }));
        let api = Service::of(&self.node, "api", None);
        for family in ["functions", "instances", "function-states"] {
            assert_eq!(api.get(&format!("/api/v1/{family}")).await.json(), json!([]), "{family}");
        }
    }
}

/// A certificate of its own, as the seed's scripts make one.
fn certificate(name: &str) -> String {
    let now = Timestamp::from(std::time::SystemTime::now());
    cm_crypto::cert::generate_identity(name, now, Duration::from_secs(3600)).unwrap().certificate_pem()
}

fn rights(rights: &[(&str, u32)]) -> Vec<Value> {
    rights.iter().map(|(file, rights)| json!({ "file_name": file, "rights": rights })).collect()
}

/// The program policy of the seed, of the linear regression that the repository has.
fn seed_function(name: &str) -> Value {
    json!({
        "function": name, "execution_strategy": "Interpretation",
        "programs": [{
            "id": 0, "pi_hash": cm_crypto::digest::sha256(&linear_regression()),
            "program_file_name": "linear-regression.wasm",
            "file_rights": rights(&[("input-0", READ), ("output", WRITE)]),
        }],
    })
}

/// The user policy of the seed: one identity that writes the input and reads the output.
fn seed_instance(function: &str, instance: &str) -> Value {
    json!({
        "function": function, "instanceid": instance,
        "identities": [{ "certificate": certificate("user"), "file_rights": rights(&[("input-0", WRITE), ("output", READ)]) }],
    })
}

/// The VaaS policy of the seed: one identity each for program, input and output.
fn seed_vaas() -> Value {
    let identity = |id: u32, file: &str, rights_on: u32| json!({ "certificate": certificate(file), "file_rights": rights(&[(file, rights_on)]), "id": id });
    json!({
        "ciphersuite": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "debug": false, "enable_clock": true, "execution_strategy": "Interpretation",
        "identities": [
            identity(0, "linear-regression.wasm", WRITE), identity(1, "input-0", WRITE), identity(2, "output", READ),
        ],
        "programs": seed_function("unused")["programs"],
    })
}
