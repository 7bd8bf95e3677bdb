//! What is left of instances that do not come to run, and of those whose node went away.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

use cm_kernel::KernelError;
use cm_kernel::catalog::CatalogError;
use cm_kernel::catalog::kinds::Instance;
use cm_kernel::policy::Update;

use super::*;
use crate::{FileKind, LaunchError};

const PROVIDED: &[(&str, u32)] = &[("program.wasm", 533_572), ("table.csv", 533_572), ("output", 8198)];

/// Child processes of this test that were started as instances.
fn processes(executable: &str) -> usize {
    let started_as = |process: &std::fs::DirEntry| {
        let path = process.path();
        let parent = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let ours = parent.contains(&format!("PPid:\t{}\n", std::process::id()));
        let name = std::fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        ours && name.ends_with("\0instance\0") && parent.contains(executable)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(started_as).count()
}

impl House {
    /// Nothing is left of an instance but the history of its failure.
    async fn check_nothing_left(&self, failures: usize) {
        assert!(self.records(ResourceKind::Instance).await.is_empty(), "a record was left");
        assert_eq!(self.functions.running_count(), 0);
        let results = self.records(ResourceKind::FunctionResult).await;
        assert_eq!(results.len(), failures, "{results:?}");
        // The one place there is is free again.
        assert!(self.functions.0.launches.reserve().await.is_ok(), "a place was left taken");
    }
}

#[tokio::test]
async fn a_process_that_ends_early_leaves_nothing() {
    let house = House::open("false").await;
    let function = house.function("f", &program_policy("f")).await;
    for attempt in 1..=2 {
        let outcome = house.instance(&function, &user_policy("f", "i", PROVIDED)).await;
        assert!(
            matches!(outcome, Err(FunctionError::Launch(LaunchError::EndedEarly | LaunchError::Process(_)))),
            "{outcome:?}"
        );
        house.check_nothing_left(attempt).await;
    }
    let states = house.records(ResourceKind::FunctionState).await;
    let mut named: Vec<&str> = states.iter().map(|state| state.spec["state"].as_str().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(named, ["deploying", "deploying", "failed", "failed", "initiated", "initiated"]);
}

#[tokio::test]
async fn a_policy_that_is_over_is_refused_before_anything_is_started() {
    let house = House::open("false").await;
    let identities = user_policy("f", "i", PROVIDED)["identities"].clone();
    let mut policy = json!({
        "ciphersuite": "TLS1_3_CHACHA20_POLY1305_SHA256", "debug": false, "enable_clock": false,
        "execution_strategy": "Interpretation", "programs": program_policy("f")["programs"],
        "identities": [{
            "id": 0, "certificate": identities[0]["certificate"], "file_rights": identities[0]["file_rights"],
        }],
    });
    for (year, over) in [(2020, true), (9000, false)] {
        policy["enclave_cert_expiry"] = json!({ "day": 1, "hour": 0, "minute": 0, "month": 1, "year": year });
        let permit = house.kernel.authorize::<Create>(&house.admin, ResourceKind::Instance).await.unwrap();
        let policy = policy.to_string();
        let outcome = house.functions.create_instance_alone(&house.admin, &permit, &policy).await;
        match outcome {
            Err(FunctionError::Policy(error)) if over => assert_eq!(error.path(), "enclave_cert_expiry"),
            // The executable is none that could run it.
            Err(FunctionError::Launch(_)) if !over => {}
            outcome => panic!("year {year}: {outcome:?}"),
        }
        house.check_nothing_left(0).await;
    }
}

#[tokio::test]
async fn an_instance_is_not_made_for_somebody_whose_certificate_is_over() {
    let house = House::open("false").await;
    let function = house.function("f", &program_policy("f")).await;
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(24 * 3600);
    let made =
        cm_crypto::cert::generate_identity("user", yesterday.into(), Duration::from_secs(3600)).unwrap();
    let mut user = user_policy("f", "i", PROVIDED);
    let mut over = user["identities"][0].clone();
    over["certificate"] = json!(made.certificate_pem());
    user["identities"].as_array_mut().unwrap().push(over);
    let outcome = house.instance(&function, &user).await;
    let named = |error: &FunctionError| matches!(error, FunctionError::Policy(error) if error.path() == "identities[1].certificate");
    assert!(outcome.as_ref().is_err_and(named), "{outcome:?}");
    house.check_nothing_left(0).await;
}

#[tokio::test]
async fn the_files_of_a_function_go_with_it() {
    let house = House::open("false").await;
    let function = house.function("f", &program_policy("f")).await;
    house.put(&function, FileKind::Program, "program.wasm", PROGRAM).await.unwrap();
    house.put(&function, FileKind::DataFile, "table.csv", DATA).await.unwrap();
    let other = house.function("f2", &program_policy("f2")).await;
    house.put(&other, FileKind::Program, "program.wasm", PROGRAM).await.unwrap();
    let permit = house.permit::<cm_kernel::policy::Delete>(&function).await;
    let id = &function.header.id;
    let dependents = cm_kernel::catalog::Dependents::Refuse;
    let gone = house.kernel.delete_record(&house.admin, &permit, id, None, dependents).await.unwrap();
    house.functions.forget(&house.admin, &gone).await;
    let again = house.function("f", &program_policy("f")).await;
    for (function, kind, uploaded) in [
        (&again, FileKind::Program, false),
        (&again, FileKind::DataFile, false),
        (&other, FileKind::Program, true),
    ] {
        let permit = house.permit::<cm_kernel::policy::Read>(function).await;
        let files = house.functions.list_files(&house.admin, function, &permit, kind).await.unwrap();
        assert_eq!(files[0].size.is_some(), uploaded, "{} {kind:?}", function.header.id);
    }
}

impl House {
    async fn function_status(&self, id: &str) -> Value {
        let found = self.kernel.look_up::<Update>(&self.admin, ResourceKind::Function, id).await;
        found.unwrap().0.status
    }

    async fn set_function_status(&self, id: &str, status: Value) {
        let (record, permit) =
            self.kernel.look_up::<Update>(&self.admin, ResourceKind::Function, id).await.unwrap();
        let id = &record.header.id;
        self.kernel.set_record_status(&self.admin, &permit, id, status).await.unwrap();
    }
}

#[tokio::test]
async fn a_launch_says_how_far_the_function_is() {
    let house = House::open("false").await;
    let function = house.function("f", &program_policy("f")).await;
    let status = json!({ "deployment_status": "initiated", "note": "of somebody else" });
    house.set_function_status("f", status).await;
    for _ in 0..2 {
        house.instance(&function, &user_policy("f", "i", PROVIDED)).await.unwrap_err();
        let status = house.function_status("f").await;
        assert_eq!(status["deployment_status"], "failed");
        assert!(status["deployment_reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{status}");
        assert_eq!(status["note"], "of somebody else");
    }
    // It worked once: what one instance lacks is no fault of the function.
    for step in ["deploying", "completed"] {
        house.set_function_status("f", json!({ "deployment_status": step })).await;
    }
    house.instance(&function, &user_policy("f", "i", PROVIDED)).await.unwrap_err();
    assert_eq!(house.function_status("f").await, json!({ "deployment_status": "completed" }));
}

#[tokio::test]
async fn a_restart_ends_what_was_being_deployed() {
    let house = House::open("false").await;
    house.function("f", &program_policy("f")).await;
    house.create("i", &instance_of("f")).await;
    house.set_function_status("f", json!({ "deployment_status": "deploying" })).await;
    house.reopen().await;
    let status = house.function_status("f").await;
    assert_eq!(
        (&status["deployment_status"], &status["deployment_reason"]),
        (&json!("failed"), &json!("the node was restarted"))
    );
}

#[tokio::test]
async fn a_process_that_never_gets_ready_is_killed() {
    // It reads its standard input for ever, which is the control socket.
    let adjust = |config: &mut FunctionsConfig| config.launcher.start_timeout = Duration::from_millis(300);
    let house = House::open_with("grep", adjust).await;
    let function = house.function("f", &program_policy("f")).await;
    let outcome = house.instance(&function, &user_policy("f", "i", PROVIDED)).await;
    assert!(matches!(outcome, Err(FunctionError::Launch(LaunchError::Timeout))), "{outcome:?}");
    house.check_nothing_left(1).await;
    let end = Instant::now() + Duration::from_secs(10);
    while processes("") > 0 {
        assert!(Instant::now() < end, "the process was left");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_file_that_nobody_provides_stops_the_start() {
    let house = House::open("false").await;
    let function = house.function("f", &program_policy("f")).await;
    let outcome = house.instance(&function, &user_policy("f", "i", &[("output", 8198)])).await;
    assert!(matches!(outcome, Err(FunctionError::MissingFile(name)) if name.contains("program.wasm")));
    house.check_nothing_left(1).await;
    house.put(&function, FileKind::Program, "program.wasm", PROGRAM).await.unwrap();
    let outcome = house.instance(&function, &user_policy("f", "i", &[("output", 8198)])).await;
    assert!(matches!(outcome, Err(FunctionError::MissingFile(name)) if name.contains("table.csv")));
    house.check_nothing_left(2).await;
}

#[tokio::test]
async fn an_id_that_is_taken_leaves_its_instance_alone() {
    let house = House::open("false").await;
    let function = house.function("f", &program_policy("f")).await;
    let spec = instance_of("f");
    let before = house.create("taken", &spec).await;
    let outcome = house.instance(&function, &user_policy("f", "taken", PROVIDED)).await;
    let taken = |error: &FunctionError| {
        matches!(error, FunctionError::Kernel(KernelError::Catalog(CatalogError::Exists(_))))
    };
    assert!(outcome.as_ref().is_err_and(taken), "{outcome:?}");
    let records = house.records(ResourceKind::Instance).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].header.generation, before.header.generation, "the other instance was touched");
    assert!(house.records(ResourceKind::FunctionState).await.is_empty(), "a state was told of no instance");
    assert!(house.functions.0.launches.reserve().await.is_ok());
}

#[tokio::test]
async fn without_a_place_or_a_port_nothing_begins() {
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = stranger.local_addr().unwrap().port();
    let house = House::open_with("false", |config| config.launcher.ports = Some(port..=port)).await;
    let function = house.function("f", &program_policy("f")).await;
    let outcome = house.instance(&function, &user_policy("f", "i", PROVIDED)).await;
    assert!(matches!(outcome, Err(FunctionError::Launch(LaunchError::NoPort))), "{outcome:?}");
    drop(stranger);
    house.check_nothing_left(0).await;

    let place = house.functions.0.launches.reserve().await.unwrap();
    let outcome = house.instance(&function, &user_policy("f", "i", PROVIDED)).await;
    assert!(matches!(outcome, Err(FunctionError::Launch(LaunchError::TooMany(1)))), "{outcome:?}");
    drop(place);
    house.check_nothing_left(0).await;
}

#[tokio::test]
async fn policies_that_do_not_fit_start_nothing() {
    let house = House::open("false").await;
    let function = house.function("f", &program_policy("f")).await;
    let outcome = house.instance(&function, &user_policy("another", "i", PROVIDED)).await;
    assert!(matches!(outcome, Err(FunctionError::Policy(_))), "{outcome:?}");
    let outcome = house.instance(&function, &json!({ "function": "f" })).await;
    assert!(matches!(outcome, Err(FunctionError::Policy(_))), "{outcome:?}");
    let outcome = house.instance(&function, &user_policy("f", "a line\nand another", PROVIDED)).await;
    assert!(matches!(outcome, Err(FunctionError::Policy(_))), "{outcome:?}");
    house.check_nothing_left(0).await;
}

fn instance_of(function: &str) -> Instance {
    Instance {
        function: Some(ResourceId::parse(function).unwrap()),
        user_policy: None,
        vaas_policy: None,
        policy: None,
        limits: Default::default(),
        lifetime_seconds: None,
        security_policy: None,
    }
}

#[tokio::test]
async fn what_a_crashed_node_left_is_marked_when_it_returns() {
    let house = House::open("false").await;
    house.function("f", &program_policy("f")).await;
    for (id, status) in [
        ("unborn", None),
        ("starting", Some("starting")),
        ("ready", Some("ready")),
        ("exited", Some("exited")),
    ] {
        let record = house.create(id, &instance_of("f")).await;
        if let Some(state) = status {
            let permit = house.permit::<Update>(&record).await;
            let status = json!({ "state": state });
            house.kernel.set_record_status(&house.admin, &permit, &record.header.id, status).await.unwrap();
        }
    }
    house.reopen().await;
    let records = house.records(ResourceKind::Instance).await;
    let mut states: Vec<(&str, &str)> = records
        .iter()
        .map(|record| (record.header.id.as_str(), record.status["state"].as_str().unwrap()))
        .collect();
    states.sort_unstable();
    let expected = [("exited", "exited"), ("ready", "failed"), ("starting", "failed"), ("unborn", "failed")];
    assert_eq!(states, expected);
    // A record is no process: evidence is given about none of them.
    let ready = records.iter().find(|record| record.header.id.as_str() == "ready").unwrap();
    let permit = house.permit::<Invoke>(ready).await;
    let nonce = cm_attest::Nonce::from_bytes([7; 32]).unwrap();
    let evidence = house.functions.evidence(ready, &permit, &nonce);
    assert!(matches!(evidence, Err(FunctionError::NotRunning(_))));
}

#[tokio::test]
async fn instances_share_a_module_key_only_if_they_run_the_same_programs() {
    let house = House::open("false").await;
    let full = |program: &[u8]| {
        let mut policy = program_policy("f");
        policy["programs"][0]["pi_hash"] = json!(sha256(program));
        let policy = cm_instance::ProgramPolicy::parse(policy.to_string().as_bytes()).unwrap();
        let user = user_policy("f", "i", PROVIDED).to_string();
        let user = cm_instance::UserPolicy::parse(user.as_bytes()).unwrap();
        let infrastructure = cm_instance::Infrastructure {
            server_url: "127.0.0.1:1".into(),
            measurement: house.functions.measurement(),
            node_certificate: house.functions.0.node_certificate.clone(),
            attestation_url: "http://127.0.0.1:1".into(),
            expiry: house.kernel.now().after(Duration::from_secs(60)),
            enable_clock: false,
            max_memory_mib: 64,
        };
        cm_instance::merge(&policy, &user, &infrastructure).unwrap()
    };
    let (one, same, other) = (full(b"one"), full(b"one"), full(b"other"));
    let key = |full| house.functions.module_key(full);
    let name = |full| house.functions.cache_name(full, sha256(b"one"));
    assert_eq!((key(&one), name(&one)), (key(&same), name(&same)));
    assert_ne!(key(&one), key(&other));
    assert_ne!(name(&one), name(&other));
    let node_key = house.kernel.keys().sealing_key();
    assert_ne!(key(&one).as_bytes(), node_key.expose(), "an instance is given the node's own key");
}
