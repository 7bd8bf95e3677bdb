use std::collections::BTreeMap;

use cm_crypto::digest::sha256;

use super::*;

fn config() -> KubernetesConfig {
    KubernetesConfig {
        node: "node-1".to_owned(),
        kubeconfig: None,
        namespace: "default".to_owned(),
        service: "veracruz-nitro-server".to_owned(),
        host: "veracruz-nitro-server".to_owned(),
        image: "example/cryptomesh:1".to_owned(),
        ports: 3014..=3016,
        family: "0.0.0.0".parse().unwrap(),
        control_port: 3013,
        cpu: "500m".to_owned(),
        resources: BTreeMap::from([
            ("smarter-devices/nitro_enclaves".to_owned(), "1".to_owned()),
            ("smarter-devices/vsock".to_owned(), "1".to_owned()),
        ]),
        hugepages: true,
        owner: None,
    }
}

fn order(memory_mib: u64) -> Order {
    Order {
        instance: "i".to_owned(),
        policy_text: "{}".to_owned(),
        policy_hash: sha256(b"{}"),
        memory_bytes: memory_mib << 20,
        storage_bytes: 64 << 20,
    }
}

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": {}, "status": status })).unwrap()
}

#[test]
fn a_pod_asks_for_what_the_policy_needs_and_the_devices() {
    let labels = policy_labels(&order(1));
    let made = Made { name: "n", uid: "u", labels: &labels };
    let check = |memory_mib: u64, hugepages: bool, requests: Value, limits: Value| {
        let pod = made.pod(&KubernetesConfig { hugepages, ..config() }, 3014, &order(memory_mib));
        let resources = &pod["spec"]["containers"][0]["resources"];
        assert_eq!((&resources["requests"], &resources["limits"]), (&requests, &limits), "{memory_mib}");
        serde_json::from_value::<Pod>(pod).expect("a pod that the cluster can read");
    };
    let devices = |further: Value| {
        let mut all = json!({ "smarter-devices/nitro_enclaves": "1", "smarter-devices/vsock": "1" });
        all.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        all
    };
    check(
        2561,
        true,
        devices(
            json!({ "cpu": "500m", "memory": "128Mi", "hugepages-1Gi": "2Gi", "hugepages-2Mi": "514Mi" }),
        ),
        devices(json!({ "memory": "576Mi", "hugepages-1Gi": "2Gi", "hugepages-2Mi": "514Mi" })),
    );
    check(
        256,
        false,
        devices(json!({ "cpu": "500m", "memory": "384Mi" })),
        devices(json!({ "memory": "832Mi" })),
    );
}

#[test]
fn everything_belongs_to_the_claim_and_says_so() {
    let labels = policy_labels(&order(1));
    let made = Made { name: "veracruz-nitro-server-3014", uid: "u", labels: &labels };
    let config = config();
    let slice = made.slice(&config, "10.0.0.7".parse().unwrap(), 3014);
    for object in [made.pod(&config, 3014, &order(1)), made.secret(&config, &[]), slice.clone()] {
        let owner = &object["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["uid"], &owner["blockOwnerDeletion"]), (&json!("u"), &json!(true)));
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["veracruz-nitro"], "server");
        assert_eq!(labels["veracruz-hash"], sha256(b"{}").to_string()[..59]);
        assert_eq!(labels["veracruz-id"], "i");
        assert_eq!(labels[NODE_LABEL], "node-1");
    }
    assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "veracruz-nitro-server");
    assert_eq!(slice["ports"][0], json!({ "name": "p3014", "port": 3014, "protocol": "TCP" }));
}

#[test]
fn only_labels_become_labels() {
    for (text, expected) in
        [("test1", true), ("a_b.c-d", true), ("-a", false), ("a-", false), ("", false), ("a b", false)]
    {
        assert_eq!(is_label(text), expected, "{text}");
    }
    assert!(!is_label(&"a".repeat(64)));
}

#[test]
fn a_pod_says_how_it_ended() {
    let check = |status: Value, expected: Option<Ended>| {
        assert_eq!(ended(Some(&pod(status.clone()))), expected, "{status}");
    };
    let container = |state: Value| {
        json!({ "containerStatuses": [{
        "name": "instance", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state }] })
    };
    assert!(matches!(ended(None), Some(Ended::Removed(_))));
    check(json!({ "phase": "Pending" }), None);
    check(json!({ "phase": "Running", "podIP": "10.0.0.1" }), None);
    check(json!({ "phase": "Succeeded" }), Some(Ended::Exited(0)));
    check(container(json!({ "terminated": { "exitCode": 65 } })), Some(Ended::Exited(65)));
    check(container(json!({ "terminated": { "exitCode": 137 } })), Some(Ended::Killed));
    let oom = container(json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }));
    check(oom, Some(Ended::Removed("the pod took more memory than it may".to_owned())));
    check(container(json!({ "waiting": { "reason": "ContainerCreating" } })), None);
    let image = container(json!({ "waiting": { "reason": "ImagePullBackOff" } }));
    check(image, Some(Ended::Removed("the container does not start: ImagePullBackOff".to_owned())));
    let evicted = json!({ "phase": "Failed", "reason": "Evicted" });
    check(evicted, Some(Ended::Removed("the pod failed: Evicted".to_owned())));
}
