//! What every kind accepts and refuses.

use serde_json::json;

use super::*;

fn tried(kind: ResourceKind, spec: &Value, limits: &Limits) -> Result<Checked, CatalogError> {
    super::check(kind, spec, limits, &Sources::default())
}

fn check(kind: ResourceKind, spec: Value, expected: Result<&[&str], &[&str]>) {
    match (tried(kind, &spec, &Limits::default()), expected) {
        (Ok(checked), Ok(references)) => {
            let found: Vec<String> =
                checked.references.iter().map(|r| format!("{}={}", r.field, r.to)).collect();
            assert_eq!(found, references, "{spec}");
            // What is stored is accepted again and stays as it is.
            let again = tried(kind, &checked.spec, &Limits::default()).unwrap();
            assert_eq!(again.spec, checked.spec);
        }
        (Err(CatalogError::Invalid(errors)), Err(paths)) => {
            let found: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
            assert_eq!(found, paths, "{spec}: {errors:?}");
        }
        (Ok(_), Err(_)) => panic!("{kind} {spec} was accepted"),
        (Err(error), _) => panic!("{kind} {spec}: {error}"),
    }
}

#[test]
fn specs_of_the_seed_are_accepted_with_their_references() {
    let resources = json!({"cpu": 2, "ram": "2GB"});
    check(ResourceKind::Role, json!({"description": "d", "permissions": ["function:invoke"]}), Ok(&[]));
    check(
        ResourceKind::SecurityPolicy,
        json!({"roles": ["a", "b"], "requires_authentication": false}),
        Ok(&["roles[0]=role/a", "roles[1]=role/b"]),
    );
    check(
        ResourceKind::Service,
        json!({"security_policy": "sp1", "resources": resources}),
        Ok(&["security_policy=security-policy/sp1"]),
    );
    check(
        ResourceKind::Microservice,
        json!({"service_id": "s", "resources": resources}),
        Ok(&["service_id=service/s"]),
    );
    check(
        ResourceKind::Function,
        json!({"microservice_id": "m", "endpoint_id": "e", "storage": "st", "image": "i",
            "resources": resources, "executor": "confidential", "confidential": {"policy": "{}"}}),
        Ok(&["microservice_id=microservice/m", "endpoint_id=endpoint/e", "storage=storage/st"]),
    );
    check(
        ResourceKind::Endpoint,
        json!({"image": "i", "resources": resources, "security_policy": "sp1"}),
        Ok(&["security_policy=security-policy/sp1"]),
    );
    check(
        ResourceKind::Storage,
        json!({"capacity": "10GB", "source_path": "/source", "sink_path": "/sink"}),
        Ok(&[]),
    );
    check(
        ResourceKind::EndpointState,
        json!({"endpoint_id": "e", "state": "warm"}),
        Ok(&["endpoint_id=endpoint/e"]),
    );
    check(
        ResourceKind::FunctionState,
        json!({"function_id": "f", "state": "running", "metadata": {"k": "v"}}),
        Ok(&["function_id=function/f"]),
    );
    check(
        ResourceKind::FunctionResult,
        json!({"function_id": "f", "state_id": "s"}),
        Ok(&["function_id=function/f", "state_id=function-state/s"]),
    );
    check(
        ResourceKind::ActiveObject,
        json!({"axo_module": "m", "axo_class_name": "C", "axo_microservice_id": "ms"}),
        Ok(&["axo_microservice_id=microservice/ms"]),
    );
    check(ResourceKind::Bucket, Value::Null, Ok(&[]));
    check(
        ResourceKind::Instance,
        json!({"function": "f", "limits": {"memory": "64MiB"}}),
        Ok(&["function=function/f"]),
    );
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let huge = json!({"cpu": 5, "ram": "9GB"});
    // What words grant is judged elsewhere, for a node in open mode keeps any.
    check(
        ResourceKind::Role,
        json!({"permissions": ["function:invoke", "fly", "", "a\nb"]}),
        Err(&["spec.permissions[2]", "spec.permissions[3]"]),
    );
    check(ResourceKind::SecurityPolicy, json!({"roles": ["a", "b", "a"]}), Err(&["spec.roles[2]"]));
    check(ResourceKind::SecurityPolicy, json!({"roles": [" "]}), Err(&["spec.roles[0]"]));
    check(
        ResourceKind::Service,
        json!({"resources": huge, "description": "a\u{0}"}),
        Err(&["spec.description", "spec.resources.cpu", "spec.resources.ram"]),
    );
    check(
        ResourceKind::Service,
        json!({"resources": {"cpu": null, "ram": "1GB"}}),
        Err(&["spec.resources.cpu"]),
    );
    check(
        ResourceKind::Service,
        json!({"resources": {"cpu": 1, "ram": "GB2GB"}}),
        Err(&["spec.resources.ram"]),
    );
    check(ResourceKind::Service, json!({"colour": "red"}), Err(&["spec.colour"]));
    check(ResourceKind::Microservice, json!({}), Err(&["spec"]));
    check(ResourceKind::Function, json!({"executor": "magic"}), Err(&["spec.executor"]));
    check(
        ResourceKind::Function,
        json!({"confidential": {"policy": ""}}),
        Err(&["spec.confidential.policy"]),
    );
    check(ResourceKind::Endpoint, json!({"image": ""}), Err(&["spec.image"]));
    check(
        ResourceKind::Storage,
        json!({"capacity": "0", "source_path": "", "sink_path": "\n"}),
        Err(&["spec.capacity", "spec.source_path", "spec.sink_path"]),
    );
    check(ResourceKind::FunctionState, json!({"function_id": "f", "state": ""}), Err(&["spec.state"]));
    check(
        ResourceKind::Instance,
        json!({"function": "f", "lifetime_seconds": 0}),
        Err(&["spec.lifetime_seconds"]),
    );
    check(ResourceKind::Bucket, json!([]), Err(&["spec"]));
    check(ResourceKind::Service, json!({"resources": [1, "1GB"]}), Err(&["spec.resources"]));
    check(
        ResourceKind::Function,
        json!({"confidential": {"policy": "x".repeat(1024 * 1024)}}),
        Err(&["spec"]),
    );
}

fn check_cores(cpu: Value, expected: Option<u32>) {
    let spec = json!({"resources": {"cpu": cpu, "ram": "1GB"}});
    match (tried(ResourceKind::Service, &spec, &Limits::default()), expected) {
        (Ok(checked), Some(cores)) => assert_eq!(checked.spec["resources"]["cpu"], cores, "{cpu}"),
        (Err(CatalogError::Invalid(errors)), None) => {
            assert_eq!(errors[0].path, "spec.resources.cpu", "{cpu}")
        }
        (found, _) => panic!("{cpu}: {:?}", found.map(|checked| checked.spec)),
    }
}

#[test]
fn cores_are_a_number_or_its_digits() {
    check_cores(json!(4), Some(4));
    check_cores(json!("1"), Some(1));
    check_cores(json!("04"), Some(4));
    for wrong in ["", " 2", "2.0", "two", "-1", "1e0", "5", "99999999999"] {
        check_cores(json!(wrong), None);
    }
    for wrong in [json!(0), json!(-1), json!(2.0), json!(5), json!(u64::MAX), json!([1]), json!(true)] {
        check_cores(wrong, None);
    }
}

#[test]
fn a_storage_is_an_id_or_places_of_ones_own() {
    let function = |storage: Value| json!({"storage": storage});
    check(ResourceKind::Function, function(json!("st")), Ok(&["storage=storage/st"]));
    let by_paths = json!({"storage_id": "mine", "capacity": "10GB", "source_path": "/a", "sink_path": "/b"});
    check(ResourceKind::Function, function(by_paths), Ok(&[]));
    let by_places = json!({
        "capacity": "1KB",
        "source": {"path": "/a", "bucket_id": "Another_Stores.Bucket", "key": "k/1"},
        "sink": {},
    });
    check(ResourceKind::Function, function(by_places), Ok(&[]));
    check(
        ResourceKind::Function,
        function(json!({
            "capacity": "0", "source_path": "", "source": {"path": "a\u{7}", "bucket_id": ""},
            "sink": {"key": "", "bucket_id": "x".repeat(64)},
        })),
        Err(&[
            "spec.storage.capacity",
            "spec.storage.source_path",
            "spec.storage.source.path",
            "spec.storage.source.bucket_id",
            "spec.storage.sink.bucket_id",
            "spec.storage.sink.key",
        ]),
    );
    for wrong in [json!(7), json!({}), json!("a/b"), json!([]), json!({"capacity": "1GB", "sources": {}})] {
        let refused = tried(ResourceKind::Function, &function(wrong.clone()), &Limits::default());
        let Err(CatalogError::Invalid(errors)) = refused else { panic!("{wrong} was accepted") };
        assert!(errors[0].path.starts_with("spec.storage"), "{wrong}: {errors:?}");
    }
}

#[test]
fn a_policy_is_an_id_or_one_of_ones_own() {
    for kind in [ResourceKind::Service, ResourceKind::Function, ResourceKind::Bucket] {
        let guarded = |policy: Value| json!({"security_policy": policy});
        check(kind, guarded(json!("sp")), Ok(&["security_policy=security-policy/sp"]));
        check(kind, guarded(json!({})), Ok(&[]));
        check(
            kind,
            guarded(json!({"sp_id": "sp", "roles": ["a", "b"], "requires_authentication": false})),
            Ok(&["security_policy.roles[0]=role/a", "security_policy.roles[1]=role/b"]),
        );
        check(kind, guarded(json!({"roles": ["a", "b", "a"]})), Err(&["spec.security_policy.roles[2]"]));
        for wrong in [json!(7), json!({"role": []}), json!(""), json!({"roles": ["a/b"]})] {
            let refused = tried(kind, &guarded(wrong.clone()), &Limits::default());
            let Err(CatalogError::Invalid(errors)) = refused else { panic!("{wrong} was accepted") };
            assert!(errors[0].path.starts_with("spec.security_policy"), "{wrong}: {errors:?}");
        }
    }
}

#[test]
fn limits_are_configurable() {
    let limits = Limits { cpu_cores: 1..=64, ..Limits::default() };
    let spec = json!({"resources": {"cpu": 32, "ram": "8GB"}});
    assert!(tried(ResourceKind::Service, &spec, &limits).is_ok());
    assert!(tried(ResourceKind::Service, &spec, &Limits::default()).is_err());
}

#[test]
fn every_kind_is_either_catalogued_or_refused() {
    for &kind in ResourceKind::ALL {
        let elsewhere = matches!(
            kind,
            ResourceKind::Tenant
                | ResourceKind::Principal
                | ResourceKind::Object
                | ResourceKind::Event
                | ResourceKind::ThreatEvent
        );
        let refused =
            matches!(tried(kind, &Value::Null, &Limits::default()), Err(CatalogError::NotCatalogued(_)));
        assert_eq!(refused, elsewhere, "{kind}");
    }
}
